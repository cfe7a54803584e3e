"""Fragments: whole datagrams come out once, hostile ones cost little and are counted."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.net.facts import Malformed
from packhound.net.fragments import OVERHEAD, Reassembler, decode_datagram
from packhound.net.frame import DecodeConfig, Frame, Status, decode
from tests.support.headers import INNER4, eth, fragment6, gre, ip4, ip6, tcp, udp, vxlan

SECOND = 1_000_000_000
BODY = udp(bytes(range(256)) * 4)


def piece4(
    start: int, end: int, *, body: bytes = BODY, last: bool | None = None, ident: int = 7, proto: int = 17
) -> bytes:
    more = end < len(body) if last is None else not last
    return ip4(proto, body[start:end], piece=start // 8 | more << 13, ident=ident)


def piece6(start: int, end: int, *, body: bytes = BODY, ident: int = 9) -> bytes:
    return ip6(60, b"\x2c" + bytes(7) + fragment6(17, body[start:end], offset=start, more=end < len(body), ident=ident))


def add(reassembler: Reassembler, packet: bytes, *, now: int = 0, linktype: int = 101) -> bytes | Malformed | None:
    frame = decode(packet, linktype=linktype)
    assert frame.status is Status.FRAGMENT
    return reassembler.add(frame, packet, now=now)


def checksum_is_right(header: bytes) -> bool:
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, len(header), 2))
    return (total & 0xFFFF) + (total >> 16) == 0xFFFF


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (2, 0, 1)])
def test_pieces_in_any_order_make_the_datagram(order: tuple[int, ...]) -> None:
    cuts = [(0, 400), (400, 800), (800, len(BODY))]
    reassembler = Reassembler()
    whole = [add(reassembler, piece4(*cuts[index])) for index in order]
    assert whole[:2] == [None, None]
    assert isinstance(whole[2], bytes)
    assert whole[2][20:] == BODY
    assert checksum_is_right(whole[2][:20])
    frame = decode(whole[2], linktype=101)
    assert (frame.status, frame.sport, frame.payload_len) == (Status.OK, 1000, 1024)
    assert (len(reassembler), reassembler.held) == (0, 0)
    assert reassembler.counters["completed"] == 1


def test_ipv6_loses_its_fragment_header_and_keeps_the_others() -> None:
    reassembler = Reassembler()
    assert add(reassembler, piece6(512, len(BODY))) is None
    whole = add(reassembler, piece6(0, 512))
    assert whole == ip6(60, b"\x11" + bytes(7) + BODY)
    assert decode(whole, linktype=101).sport == 1000


def test_ipv4_options_of_the_first_piece_stay() -> None:
    reassembler = Reassembler()
    add(reassembler, ip4(17, BODY[:512], piece=0x2000, options=b"\x94\x04\0\0"))
    whole = add(reassembler, piece4(512, len(BODY)))
    assert isinstance(whole, bytes)
    assert whole[20:24] == b"\x94\x04\0\0"
    assert whole[24:] == BODY


def test_ipv4_overlap_keeps_what_came_first() -> None:
    reassembler = Reassembler()
    assert add(reassembler, piece4(8, 16, last=False)) is None
    assert add(reassembler, ip4(17, BODY[:8] + b"EVILEVIL" + BODY[16:24], piece=0x2000)) is None
    whole = add(reassembler, piece4(24, len(BODY)))
    assert isinstance(whole, bytes)
    assert whole[20:] == BODY
    assert reassembler.counters["overlap"] == 1


def test_ipv6_overlap_condemns_the_datagram_and_what_follows() -> None:
    reassembler = Reassembler()
    assert add(reassembler, piece6(0, 512)) is None
    assert isinstance(add(reassembler, piece6(504, len(BODY))), Malformed)
    assert add(reassembler, piece6(0, 512)) is None
    assert add(reassembler, piece6(512, len(BODY))) is None
    assert reassembler.counters["condemned"] == 1
    assert reassembler.counters["after_condemned"] == 2
    assert reassembler.held == OVERHEAD


@pytest.mark.parametrize("piece", [piece4, piece6])
def test_a_repeated_piece_is_a_duplicate_and_no_overlap(piece: Callable[[int, int], bytes]) -> None:
    reassembler = Reassembler()
    assert add(reassembler, piece(0, 512)) is None
    assert add(reassembler, piece(0, 512)) is None
    assert isinstance(add(reassembler, piece(512, len(BODY))), bytes)
    assert reassembler.counters["duplicate"] == 1
    assert reassembler.counters["overlap"] == 0


def test_a_middle_piece_must_be_a_multiple_of_eight() -> None:
    reassembler = Reassembler()
    assert isinstance(add(reassembler, piece4(0, 13)), Malformed)
    assert reassembler.counters["misaligned"] == 1


def test_more_than_a_datagram_can_hold_is_refused() -> None:
    reassembler = Reassembler()
    assert isinstance(add(reassembler, ip4(1, bytes(64), piece=0x1FFF)), Malformed)
    assert reassembler.counters["too_long"] == 1


def test_header_options_that_come_late_count_too() -> None:
    reassembler = Reassembler()
    assert add(reassembler, ip4(1, bytes(65_515 - 65_000), piece=65_000 // 8)) is None
    assert isinstance(add(reassembler, ip4(1, bytes(8), piece=0x2000, options=bytes(40))), Malformed)


def test_pieces_that_disagree_about_the_end_are_refused() -> None:
    reassembler = Reassembler()
    assert add(reassembler, piece4(512, 520, last=True)) is None
    assert isinstance(add(reassembler, piece4(800, 808, last=False)), Malformed)
    reassembler = Reassembler()
    assert add(reassembler, piece4(512, 520, last=True)) is None
    assert isinstance(add(reassembler, piece4(400, 408, last=True)), Malformed)
    assert reassembler.counters["inconsistent"] == 1


def test_a_piece_cut_by_the_snap_length_condemns_its_datagram() -> None:
    reassembler = Reassembler()
    assert isinstance(add(reassembler, piece4(0, 512)[:100]), Malformed)
    assert reassembler.counters["cut"] == 1


def test_an_incomplete_datagram_ends_after_its_time() -> None:
    reassembler = Reassembler()
    assert add(reassembler, piece4(0, 512), now=0) is None
    assert add(reassembler, piece4(512, len(BODY)), now=31 * SECOND) is None
    assert reassembler.counters["timeout"] == 1
    assert isinstance(add(reassembler, piece4(0, 512), now=32 * SECOND), bytes)


def test_caps_hold_and_are_counted() -> None:
    reassembler = Reassembler(max_datagrams=10)
    for ident in range(50):
        add(reassembler, piece4(0, 512, ident=ident))
        assert len(reassembler) <= 10
    assert reassembler.counters["evicted_datagrams"] == 40
    reassembler = Reassembler(max_bytes=200_000)
    for ident in range(50):
        add(reassembler, ip4(17, bytes(8), piece=0x2000 | 0x1F00, ident=ident))
        assert reassembler.held <= 200_000
    assert reassembler.counters["evicted_bytes"] > 0


def test_condemned_datagrams_are_capped_too() -> None:
    reassembler = Reassembler(max_datagrams=10)
    for ident in range(50):
        add(reassembler, piece4(0, 13, ident=ident))
    assert len(reassembler) == 10


def test_scattered_pieces_are_refused() -> None:
    reassembler = Reassembler()
    answers = [add(reassembler, ip4(17, bytes(8), piece=0x2000 | number)) for number in range(2, 1000, 2)]
    assert sum(isinstance(answer, Malformed) for answer in answers) == 1
    assert reassembler.counters["scattered"] == 1


def test_pieces_are_matched_across_vlans_but_not_across_tenants() -> None:
    reassembler = Reassembler()
    first, second = piece4(0, 512), piece4(512, len(BODY))
    assert add(reassembler, eth(0x8100, b"\x00\x05\x08\x00" + first), linktype=1) is None
    assert isinstance(add(reassembler, eth(0x8100, b"\x00\x06\x08\x00" + second), linktype=1), bytes)

    def tunnelled(vni: int, inner: bytes) -> bytes:
        return eth(0x0800, ip4(17, udp(vxlan(vni, eth(0x0800, inner)), dport=4789)))

    assert add(reassembler, tunnelled(1, first), linktype=1) is None
    assert add(reassembler, tunnelled(2, second), linktype=1) is None
    assert isinstance(add(reassembler, tunnelled(1, second), linktype=1), bytes)


def test_a_tunnel_in_fragments_is_read_after_reassembly_and_bounded_by_depth() -> None:
    body = gre(0x0800, ip4(6, tcp(b"x" * 600)))
    pieces = [piece4(0, 304, body=body, proto=47), piece4(304, len(body), body=body, proto=47)]
    for limit, status in ((8, Status.OK), (0, Status.UNSUPPORTED)):
        reassembler = Reassembler()
        add(reassembler, pieces[0])
        whole = add(reassembler, pieces[1])
        assert isinstance(whole, bytes)
        outer = Frame(vlan=5, tenant=6)
        frame = decode_datagram(whole, piece=outer, config=DecodeConfig(max_depth=limit))
        assert (frame.status, frame.vlan, frame.tenant) == (status, 5, 6)
    frame = decode_datagram(ip4(4, INNER4), piece=Frame(depth=3), config=DecodeConfig())
    assert (frame.depth, frame.sport) == (4, 1000)


@settings(max_examples=100, deadline=None)
@given(
    size=st.integers(1, 3000),
    seed=st.integers(0, 2**32),
    version=st.sampled_from([4, 6]),
    cuts=st.lists(st.integers(1, 370), max_size=12, unique=True),
)
def test_any_cut_and_order_gives_the_datagram_back(size: int, seed: int, version: int, cuts: list[int]) -> None:
    chance = random.Random(seed)
    body = udp(chance.randbytes(size))
    edges = sorted({0, len(body), *(cut * 8 for cut in cuts if cut * 8 < len(body))})
    if len(edges) < 3:
        return
    pieces = list(pairwise(edges))
    chance.shuffle(pieces)
    reassembler = Reassembler()
    build = piece4 if version == 4 else piece6
    answers = [add(reassembler, build(start, end, body=body)) for start, end in pieces]
    assert answers[:-1] == [None] * (len(pieces) - 1)
    assert isinstance(answers[-1], bytes)
    assert answers[-1].endswith(body)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_noise_never_raises_and_the_memory_is_bounded(data: st.DataObject) -> None:
    reassembler = Reassembler(max_datagrams=4, max_bytes=100_000)
    for now in range(data.draw(st.integers(1, 30))):
        offset, size = data.draw(st.integers(0, 0x1FFF)), data.draw(st.integers(0, 64))
        packet = ip4(
            17, bytes(size), piece=offset | data.draw(st.sampled_from([0, 0x2000])), options=bytes(4 * (size % 11))
        )
        frame = decode(packet, linktype=101)
        if frame.status is Status.FRAGMENT:
            reassembler.add(frame, packet, now=now)
        assert len(reassembler) <= 4
        assert reassembler.held <= 100_000
