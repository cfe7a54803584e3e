"""QUIC: Initial keys as in the RFCs, and the ClientHello out of any spread of CRYPTO frames."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.net import quic
from packhound.net.facts import Fact, Malformed
from packhound.net.quic_crypto import InitialKeys, initial_keys
from packhound.net.sessions.quic import QuicDatagrams
from tests.support.hellos import alpn, client_hello, crypto_frame, handshake, initial, server_hello, sni
from tests.support.mutations import damaged

DCID = bytes.fromhex("8394c8f03e515708")
HELLO = handshake(1, client_hello((0x1301,), sni("quic.example") + alpn(b"h3")))


def keys(version: int = 1) -> tuple[InitialKeys, InitialKeys]:
    found = initial_keys(DCID, version)
    assert found
    return found


def packets(found: list[Fact | Malformed]) -> list[Fact]:
    """What is told of packets themselves."""
    return [fact for fact in found if isinstance(fact, Fact) and "quic.dcid" in fact.fields]


def inside(found: list[Fact | Malformed]) -> list[Fact | Malformed]:
    """What is told of what packets hold."""
    told = packets(found)
    return [fact for fact in found if fact not in told]


def run(*datagrams: bytes, direction: int = 0) -> list[Fact | Malformed]:
    session = QuicDatagrams()
    return inside([fact for data in datagrams for fact in session.feed(direction, data, now=0)])


def test_keys_of_rfc_9001_appendix_a() -> None:
    client, server = keys()
    assert client == InitialKeys(
        bytes.fromhex("1f369613dd76d5467730efcbe3b1a22d"),
        bytes.fromhex("fa044b2f42a3fd3b46fb255c"),
        bytes.fromhex("9f50449e04a0e810283a1e9933adedd2"),
    )
    assert server.key == bytes.fromhex("cf3a5331653c364c88f0f379b6067e37")


def test_keys_of_rfc_9369_appendix_a() -> None:
    client, _ = keys(0x6B3343CF)
    assert client.key == bytes.fromhex("8b1a0bc121284290a29e0971b5cd045d")
    assert client.hp == bytes.fromhex("45b95e15235d6f45a6b19cbcb0294ba9")


@pytest.mark.parametrize(
    ("version", "first", "text"),
    [(1, 0xC1, "1"), (0x6B3343CF, 0xD1, "2"), (0xFF00001D, 0xC1, "draft-29"), (0xFF000017, 0xC1, "draft-23")],
)
def test_a_hello_of_every_version(version: int, first: int, text: str) -> None:
    (fact,) = run(initial(keys(version)[0], crypto_frame(0, HELLO), dcid=DCID, version=version, first=first))
    assert isinstance(fact, Fact)
    assert (fact.fields["quic.sni"], fact.fields["tls.sni"], fact.fields["quic.version"]) == ("quic.example",) * 2 + (
        text,
    )
    assert (fact.fields["tls.quic"], fact.fields["quic.http3"]) == (True, True)
    assert str(fact.fields["tls.ja4"]).startswith("q12d0102h3")


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(0, 1 << 16))
def test_frames_in_any_order_over_any_packets(size: int, seed: int) -> None:
    frames = [crypto_frame(at, HELLO[at : at + size]) for at in range(0, len(HELLO), size)]
    random.Random(seed).shuffle(frames)
    client = keys()[0]
    packets = [
        initial(client, b"\0\0\1" + b"".join(frames[at : at + 3]) + bytes(30), dcid=DCID, number=at)
        for at in range(0, len(frames), 3)
    ]
    half = len(packets) // 2
    coalesced = [b"".join(packets[:half][-10:]), *packets[half:], *packets[:half]]
    facts = run(*(data for data in coalesced if data))
    assert [fact.fields["quic.sni"] for fact in facts if isinstance(fact, Fact)] == ["quic.example"]


def test_the_server_hello_is_opened_with_the_clients_connection_id() -> None:
    session = QuicDatagrams()
    session.feed(0, initial(keys()[0], crypto_frame(0, HELLO), dcid=DCID), now=0)
    answer = b"\2\0\0\0\0" + crypto_frame(0, handshake(2, server_hello(0x1301)))
    (fact,) = inside(session.feed(1, initial(keys()[1], answer, dcid=b"other"), now=1))
    assert isinstance(fact, Fact)
    assert (fact.kind, fact.fields["tls.cipher"]) == ("tls.server_hello", 0x1301)
    session.feed(0, b"\x40" + bytes(40), now=2)
    assert session.done


def test_a_retry_changes_the_keys_and_repeats_nothing() -> None:
    other = initial_keys(b"retried", 1)
    assert other
    first = initial(keys()[0], crypto_frame(0, HELLO), dcid=DCID)
    again = initial(other[0], crypto_frame(0, HELLO), dcid=b"retried")
    assert len(run(first, again)) == 1
    assert len(run(initial(keys()[0], crypto_frame(0, HELLO[:50]), dcid=DCID), again)) == 1


def test_a_google_hello_in_the_clear() -> None:
    name = b"www.example.com"
    table = b"CHLO\2\0\0\0PAD\0" + (4).to_bytes(4, "little") + b"SNI\0" + (4 + len(name)).to_bytes(4, "little")
    data = b"\x0d" + bytes(8) + b"Q043" + b"\1" + bytes(20) + table + b"----" + name
    assert run(data) == [Fact("quic", {"quic.version": "Q043", "quic.sni": "www.example.com"})]


def long_header(first: int, version: int, rest: bytes = b"", *, dcid: bytes = DCID) -> bytes:
    return bytes((first,)) + version.to_bytes(4, "big") + bytes((len(dcid),)) + dcid + b"\2ab" + rest


def test_every_kind_of_packet_is_told_once_a_side() -> None:
    session = QuicDatagrams()
    hello = initial(keys()[0], crypto_frame(0, HELLO), dcid=DCID)
    early = long_header(0xD0, 1, b"\x20" + bytes(32))
    told = [
        packets(session.feed(direction, data, now=0))
        for direction, data in ((0, hello), (0, hello), (0, hello + early), (1, long_header(0xF0, 1, bytes(32))))
    ]
    assert [[fact.fields["quic.type"] for fact in each] for each in told] == [
        [("initial",)], [], [("initial", "0rtt")], [("retry",)],
    ]  # fmt: skip
    assert told[0][0].fields == {"quic.version": "1", "quic.type": ("initial",), "quic.dcid": DCID.hex()}
    assert told[3][0].fields["quic.scid"] == "6162"


def test_a_negotiation_lists_its_versions_an_unknown_version_has_no_types() -> None:
    (fact,) = packets(QuicDatagrams().feed(1, long_header(0xC0, 0, bytes.fromhex("00000001ff00001d")), now=0))
    assert (fact.fields["quic.type"], fact.fields["quic.versions"]) == (("negotiation",), ("1", "draft-29"))
    (fact,) = packets(QuicDatagrams().feed(0, long_header(0xC0, 0x1A2A3A4A, bytes(20)), now=0))
    assert (fact.fields["quic.version"], "quic.type" in fact.fields) == ("0x1a2a3a4a", False)


@pytest.mark.parametrize("kind", [b"\x1c\x41\x28\x06", b"\x1d\x41\x28"])
def test_a_connection_that_ends_in_its_handshake_says_why(kind: bytes) -> None:
    (fact,) = run(initial(keys()[0], crypto_frame(0, HELLO)[:0] + kind + b"\4oops" + bytes(20), dcid=DCID))
    assert fact == Fact("quic", {"quic.version": "1", "quic.error": 0x128, "quic.reason": "oops"})


def test_kinds_of_packets_are_bounded() -> None:
    session = QuicDatagrams()
    told = [packets(session.feed(0, long_header(0xC0, 0x0A0A0A0A + n, bytes(9)), now=0)) for n in range(60)]
    assert sum(map(len, told)) == 16


def test_what_cannot_be_opened_says_nothing() -> None:
    assert run(initial(keys()[0], crypto_frame(0, HELLO), dcid=b"wrong id")) == []
    assert run(long_header(0xC0, 0xBABABABA, bytes(100))) == []
    assert isinstance(run(b"\xc0\0\0\0\1\xff")[0], Malformed)


def test_a_connection_without_hello_is_given_up() -> None:
    session = QuicDatagrams()
    for now in range(100):
        session.feed(0, b"\xc0" + bytes(60), now=now)
    assert session.done


@given(damaged([initial(keys()[0], crypto_frame(0, HELLO), dcid=DCID), b"\x0d" + bytes(8) + b"Q043CHLO\2\0\0\0SNI\0"]))
def test_no_bytes_raise(data: bytes) -> None:
    session = QuicDatagrams()
    for direction in (0, 1, 0):
        session.feed(direction, data, now=0)


@given(damaged([crypto_frame(0, HELLO), b"\2\1\2\3\4\5\1\1\0\0" + crypto_frame(5, b"x"), b"\x1c\1\2"]))
def test_no_frames_raise(payload: bytes) -> None:
    frames = quic.initial_frames(payload)
    stream = quic.CryptoStream()
    for offset, data in [] if isinstance(frames, Malformed) else frames.crypto:
        stream.push(offset, data)
        assert len(stream.contiguous()) <= quic.MAX_CRYPTO
