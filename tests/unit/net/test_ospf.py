"""OSPF of both versions: headers, hellos, advertisements, and the links and prefixes that make the topology."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from packhound.net import ospf, ospf_lsa
from packhound.net.facts import Fact, Malformed
from packhound.run.look import Inspection
from packhound.sensor.agent import AgentSettings
from packhound.sensor.kernel import available
from packhound.sensor.tap.merge import open_captures
from tests.support.corpus import CORPUS, needs_corpus
from tests.support.mutations import damaged, is_linear

ME, YOU, AREA = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2)), bytes((0, 0, 0, 7))
NET, MASK = bytes((198, 51, 100, 0)), bytes((255, 255, 255, 0))
V6 = bytes.fromhex("20010db800000001")


def packet2(kind: int, body: bytes) -> bytes:
    return b"\2" + bytes((kind,)) + (24 + len(body)).to_bytes(2, "big") + ME + AREA + bytes(2) + b"\0\2" + bytes(8) + body


def packet3(kind: int, body: bytes) -> bytes:
    return b"\3" + bytes((kind,)) + (16 + len(body)).to_bytes(2, "big") + ME + AREA + bytes(2) + b"\5\0" + body


def lsa(kind: int, ident: bytes, body: bytes = b"", *, size: int | None = None) -> bytes:
    head = b"\0\1" + kind.to_bytes(2, "big") + ident + YOU + b"\x80\0\0\1\0\0"
    return head + (20 + len(body) if size is None else size).to_bytes(2, "big") + body


def update(*found: bytes) -> bytes:
    return len(found).to_bytes(4, "big") + b"".join(found)


def link2(kind: int, to: bytes, data: bytes, cost: int, *, more: int = 0) -> bytes:
    return to + data + bytes((kind, more)) + cost.to_bytes(2, "big") + bytes(4 * more)


LINKS2 = link2(1, YOU, ME, 1, more=1) + link2(2, ME, ME, 10) + link2(3, NET, MASK, 5) + link2(4, YOU, ME, 9)
ROUTER2 = lsa(0x0201, YOU, b"\0\0\0\4" + LINKS2)  # options precede the type in version 2
LINKS3 = b"\1\0\0\x0a" + bytes(8) + ME
PREFIX3 = b"\x40\0\0\1" + V6
SAMPLES = [
    packet2(1, MASK + b"\0\x0a\2\1\0\0\0\x28" + ME + bytes(4) + YOU),
    packet3(1, b"\0\0\0\5\1\0\0\x13\0\x0a\0\x28" + ME + YOU + YOU),
    packet2(2, bytes(8) + lsa(1, ME)),
    packet3(2, bytes(12) + lsa(0x2001, ME)),
    packet2(3, b"\0\0\0\1" + ME + YOU),
    packet2(4, update(ROUTER2, lsa(2, ME, MASK + ME + YOU), lsa(3, NET, MASK + bytes(4)))),
    packet3(4, update(lsa(0x2001, bytes(4), bytes(4) + LINKS3), lsa(0x2009, ME, b"\0\1\x20\1" + bytes(8) + PREFIX3))),
    packet2(5, lsa(5, NET)),
]


def fields(data: bytes) -> dict[str, Any]:
    (fact,) = ospf.read(data)
    assert isinstance(fact, Fact)
    assert fact.kind == "ospf"
    return dict(fact.fields)


def test_a_hello_of_version_2() -> None:
    assert fields(SAMPLES[0]) == {
        "ospf.version": 2, "ospf.type": "HELLO", "ospf.router_id": "192.0.2.1", "ospf.area": "0.0.0.7", "ospf.auth": 2,
        "ospf.mask": "255.255.255.0", "ospf.hello_interval": 10, "ospf.priority": 1, "ospf.dead_interval": 40,
        "ospf.dr": "192.0.2.1", "ospf.neighbor": ("192.0.2.2",),
    }  # fmt: skip


def test_a_hello_of_version_3() -> None:
    assert fields(SAMPLES[1]) == {
        "ospf.version": 3, "ospf.type": "HELLO", "ospf.router_id": "192.0.2.1", "ospf.area": "0.0.0.7",
        "ospf.instance": 5, "ospf.interface": 5, "ospf.priority": 1, "ospf.hello_interval": 10,
        "ospf.dead_interval": 40, "ospf.dr": "192.0.2.1", "ospf.bdr": "192.0.2.2", "ospf.neighbor": ("192.0.2.2",),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "kind", "number", "ident"),
    [
        (SAMPLES[2], "DD", 1, "192.0.2.1"), (SAMPLES[3], "DD", 0x2001, "192.0.2.1"),
        (SAMPLES[4], "LSR", 1, "192.0.2.1"), (SAMPLES[7], "LSACK", 5, "198.51.100.0"),
    ],
)  # fmt: skip
def test_advertisements_are_named_by_type_id_and_router(data: bytes, kind: str, number: int, ident: str) -> None:
    found = fields(data)
    assert found["ospf.type"] == kind
    assert (found["ospf.lsa.type"], found["ospf.lsa.id"]) == ((number,), (ident,))
    assert found["ospf.lsa.router"] == ("192.0.2.2",)


def test_updates_of_version_2_tell_the_topology() -> None:
    found = fields(SAMPLES[5])
    assert found["ospf.link"] == (
        "192.0.2.2 p2p 192.0.2.2 1", "192.0.2.2 transit 192.0.2.1 10", "192.0.2.2 stub 198.51.100.0/24 5",
        "192.0.2.2 virtual 192.0.2.2 9", "192.0.2.1 attached 192.0.2.1 0", "192.0.2.1 attached 192.0.2.2 0",
    )  # fmt: skip
    assert found["ospf.prefix"] == ("198.51.100.0/24", "192.0.2.0/24")


def test_updates_of_version_3_tell_the_topology() -> None:
    found = fields(SAMPLES[6])
    assert found["ospf.link"] == ("192.0.2.2 p2p 192.0.2.1 10",)
    assert found["ospf.prefix"] == ("2001:db8:0:1::/64",)


@pytest.mark.parametrize(
    ("version", "number", "body", "links", "prefixes"),
    [
        (2, 4, bytes(5) + b"\0\0\x0b", ("192.0.2.2 asbr 198.51.100.0 11",), ()),
        (2, 5, MASK + bytes(12), (), ("198.51.100.0/24",)),
        (2, 7, bytes((255, 0, 255, 0)) + bytes(12), (), ("198.0.100.0/255.0.255.0",)),
        (2, 10, b"\0\1\0\4" + ME, (), ()),
        (3, 0x2002, bytes(4) + ME + YOU, ("192.0.2.2 attached 192.0.2.1 0", "192.0.2.2 attached 192.0.2.2 0"), ()),
        (3, 0x2003, b"\0\0\0\1\x30\0\0\0" + V6, (), ("2001:db8:0:1::/48",)),
        (3, 0x2004, bytes(4) + b"\0\0\0\3" + ME, ("192.0.2.2 asbr 192.0.2.1 3",), ()),
        (3, 0x4005, b"\0\0\0\1\0\0\0\0", (), ("::/0",)),
        (3, 0x2007, b"\0\0\0\1" + PREFIX3, (), ("2001:db8:0:1::/64",)),
        (3, 0x0008, bytes(20) + b"\0\0\0\1" + PREFIX3, (), ("2001:db8:0:1::/64",)),
        (3, 0xA00B, b"\0\1\2\3", (), ()),
    ],
)
def test_each_kind_of_advertisement(
    version: int, number: int, body: bytes, links: tuple[str, ...], prefixes: tuple[str, ...]
) -> None:
    found = fields((packet2 if version == 2 else packet3)(4, update(lsa(number, NET, body))))
    assert (found.get("ospf.link", ()), found.get("ospf.prefix", ())) == (links, prefixes)


def test_what_follows_a_packet_is_not_part_of_it() -> None:
    assert fields(SAMPLES[0] + bytes(16)) == fields(SAMPLES[0])


def test_a_broken_advertisement_leaves_the_ones_behind_it() -> None:
    short = lsa(1, ME, b"\0\0\0\2" + link2(1, YOU, ME, 1))
    fact, why = ospf.read(packet2(4, update(short, lsa(3, NET, MASK + bytes(4)))))
    assert isinstance(fact, Fact)
    assert fact.fields["ospf.prefix"] == ("198.51.100.0/24",)
    assert why == Malformed("OSPF advertisement is shorter than its parts")
    too_short = ospf.read(packet2(4, update(lsa(1, ME, size=19))))
    assert too_short[1] == Malformed("OSPF packet is cut short")
    too_long = ospf.read(packet3(4, update(lsa(0x2003, ME, b"\0\0\0\1\x81\0\0\0" + bytes(20)))))
    assert too_long[1] == Malformed("OSPF advertisement is shorter than its parts")


@pytest.mark.parametrize("data", SAMPLES)
def test_a_packet_cut_anywhere_says_so(data: bytes) -> None:
    whole = fields(data)
    for size in range(len(data)):
        found = ospf.read(data[:size])
        assert isinstance(found[-1], Malformed)
        if size >= ospf.HEADER[data[0]]:
            assert isinstance(found[0], Fact)
            assert found[0].fields["ospf.router_id"] == whole["ospf.router_id"]
            assert found[0].fields.keys() <= whole.keys()


def test_other_versions_and_types() -> None:
    assert ospf.read(b"\4" + SAMPLES[0][1:]) == [Malformed("OSPF version is neither 2 nor 3")]
    assert fields(packet2(9, b""))["ospf.type"] == "9"
    assert ospf.read(packet2(1, b"")[:2] + b"\0\3" + SAMPLES[0][4:])[1] == Malformed("OSPF length is shorter than a header")


@given(damaged(SAMPLES))
def test_no_bytes_raise(data: bytes) -> None:
    for found in ospf.read(data):
        assert isinstance(found, Malformed) or found.fields.keys() <= ospf.FIELDS


def test_lists_are_bounded_and_work_is_linear() -> None:
    many = packet2(5, lsa(1, ME) * (ospf.MAX_LISTED + 9))
    assert len(fields(many)["ospf.lsa.id"]) == ospf.MAX_LISTED
    links = b"".join(link2(1, i.to_bytes(4, "big"), ME, 1) for i in range(ospf_lsa.MAX_LINKS + 9))
    wide = fields(packet2(4, update(lsa(1, ME, b"\0\0" + (ospf_lsa.MAX_LINKS + 9).to_bytes(2, "big") + links))))
    assert len(wide["ospf.link"]) == ospf_lsa.MAX_LINKS
    assert is_linear(ospf.read, lambda size: packet2(4, update(*[ROUTER2] * size)), size=100)


@needs_corpus
@pytest.mark.parametrize("mode", sorted({"portable", available()}))
def test_packets_over_ip_reach_dissection(mode: str) -> None:
    tap = open_captures([str(CORPUS / "captures/tcpdump/OSPFv3_broadcast_adjacency.pcap")])
    rows = [row for row in Inspection(tap, settings=AgentSettings(kernel=mode)).rows() if row["kind"] == "ospf"]
    tap.close()
    assert len(rows) == 38
    assert {row["ospf.router_id"] for row in rows} == {"1.1.1.1", "2.2.2.2"}
    assert {link for row in rows for link in row.get("ospf.link", ())} == {
        "1.1.1.1 transit 1.1.1.1 10", "2.2.2.2 transit 1.1.1.1 10", "1.1.1.1 attached 1.1.1.1 0",
        "1.1.1.1 attached 2.2.2.2 0",
    }  # fmt: skip
