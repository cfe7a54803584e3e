"""EIGRP: who the sender is, what it wants, and routes of every TLV that carries them."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given

from packhound.net import eigrp
from packhound.net.facts import Fact, Malformed
from packhound.run.look import Inspection
from packhound.sensor.agent import AgentSettings
from packhound.sensor.kernel import available
from packhound.sensor.tap.merge import open_captures
from tests.support.corpus import CORPUS, needs_corpus
from tests.support.mutations import damaged, is_linear


def packet(opcode: int, *tlvs: bytes, seq: int = 0, ack: int = 0) -> bytes:
    return struct.pack(">BBHIIIHH", 2, opcode, 0, 0, seq, ack, 0, 100) + b"".join(tlvs)


def tlv(kind: int, body: bytes) -> bytes:
    return struct.pack(">HH", kind, 4 + len(body)) + body


HOP, HOP_6 = bytes((192, 0, 2, 9)), bytes(16)
METRIC = struct.pack(">II", 25600, 256) + b"\0\5\xdc\2\xff\1\0\0"
WIDE = b"\1\0\xff\1\0\5\xdc\2" + (1234567).to_bytes(6, "big") + (100000).to_bytes(6, "big") + bytes(6)
ORIGIN = bytes((198, 51, 100, 1)) + struct.pack(">III", 65001, 7, 20) + b"\0\0\x0b\0"
NET, NET_6 = b"\x18\xc0\0\2", b"\x40" + bytes.fromhex("20010db80000000100")
HELLO = packet(5, tlv(1, b"\1\0\1\0\0\0\0\x0f"), tlv(4, b"\x0c\4\1\2"))
ROUTES: list[tuple[bytes, dict[str, Any]]] = [
    (tlv(0x0102, HOP + METRIC + NET + b"\0"), {
        "eigrp.route": ("192.0.2.0/24", "0.0.0.0/0"), "eigrp.metric": (25856,) * 2,
        "eigrp.next_hop": ("192.0.2.9",) * 2,
    }),
    (tlv(0x0103, HOP + ORIGIN + METRIC + NET), {
        "eigrp.route": ("192.0.2.0/24",), "eigrp.metric": (25856,), "eigrp.next_hop": ("192.0.2.9",),
        "eigrp.external": ("192.0.2.0/24",), "eigrp.origin_router": ("198.51.100.1",), "eigrp.origin_as": (65001,),
    }),
    (tlv(0x0102, HOP + b"\xff" * 4 + METRIC[4:] + NET), {
        "eigrp.route": ("192.0.2.0/24",), "eigrp.metric": (0xFFFFFFFF,), "eigrp.next_hop": ("192.0.2.9",),
    }),
    (tlv(0x0402, HOP_6 + METRIC + NET_6 + NET_6), {
        "eigrp.route": ("2001:db8:0:1::/64",) * 2, "eigrp.metric": (25856,) * 2, "eigrp.next_hop": ("::",) * 2,
    }),
    (tlv(0x0402, HOP_6 + METRIC + NET_6[:-1]), {
        "eigrp.route": ("2001:db8:0:1::/64",), "eigrp.metric": (25856,), "eigrp.next_hop": ("::",),
    }),
    (tlv(0x0602, b"\0\0\0\1" + bytes(4) + WIDE + HOP + NET), {
        "eigrp.route": ("192.0.2.0/24",), "eigrp.metric": (1234567,), "eigrp.next_hop": ("192.0.2.9",),
    }),
    (tlv(0x0603, b"\0\0\0\2" + bytes(4) + WIDE + HOP_6 + ORIGIN + NET_6), {
        "eigrp.route": ("2001:db8:0:1::/64",), "eigrp.metric": (1234567,), "eigrp.next_hop": ("::",),
        "eigrp.external": ("2001:db8:0:1::/64",), "eigrp.origin_router": ("198.51.100.1",),
        "eigrp.origin_as": (65001,),
    }),
    (tlv(0x0602, b"\0\0\0\7" + bytes(4) + WIDE), {}),
    (tlv(0x0302, bytes(30)), {}),
]  # fmt: skip
HEAD = {"eigrp.opcode": "UPDATE", "eigrp.as": 100, "eigrp.vrid": 0, "eigrp.seq": 1, "eigrp.ack": 0}
SAMPLES = [HELLO, packet(3, *(each for each, _ in ROUTES), seq=9), packet(5, ack=7)]


def fields(data: bytes) -> dict[str, Any]:
    (fact,) = eigrp.read(data)
    assert isinstance(fact, Fact)
    assert fact.kind == "eigrp"
    return dict(fact.fields)


def test_a_hello_tells_of_its_sender() -> None:
    assert fields(HELLO) == {
        "eigrp.opcode": "HELLO", "eigrp.as": 100, "eigrp.vrid": 0, "eigrp.seq": 0, "eigrp.ack": 0,
        "eigrp.k": (1, 0, 1, 0, 0, 0), "eigrp.hold_time": 15, "eigrp.software": "12.4",
    }  # fmt: skip


def test_a_sender_takes_its_leave() -> None:
    gone = fields(packet(5, tlv(1, b"\xff" * 5 + b"\0\0\x0f")))
    assert (gone["eigrp.goodbye"], gone.get("eigrp.k")) == (True, None)
    assert fields(packet(5, tlv(7, b"\1\1")))["eigrp.goodbye"] is True


def test_a_hello_that_acknowledges_is_an_ack() -> None:
    assert (fields(packet(5, ack=7))["eigrp.opcode"], fields(packet(5, ack=7))["eigrp.ack"]) == ("ACK", 7)
    assert fields(packet(10, ack=7))["eigrp.opcode"] == "SIA-QUERY"
    assert fields(packet(99))["eigrp.opcode"] == "99"


@pytest.mark.parametrize(("route", "said"), ROUTES)
def test_routes_of_each_tlv(route: bytes, said: dict[str, Any]) -> None:
    assert fields(packet(1, route, seq=1)) == HEAD | said


def test_a_broken_tlv_leaves_the_ones_behind_it() -> None:
    fact, why = eigrp.read(packet(1, tlv(0x0102, HOP + METRIC + b"\x21\1\2\3\4\5"), ROUTES[0][0], seq=1))
    assert fact == Fact("eigrp", HEAD | ROUTES[0][1])
    assert why == Malformed("EIGRP TLV is shorter than its parts")
    assert eigrp.read(packet(1, b"\0\1\0\3"))[1] == Malformed("EIGRP TLV breaks its packet")
    assert eigrp.read(b"\1" + HELLO[1:]) == [Malformed("EIGRP version is not 2")]


@pytest.mark.parametrize("data", SAMPLES)
def test_a_packet_cut_anywhere_keeps_its_header(data: bytes) -> None:
    whole = fields(data)
    for size in range(len(data)):
        found = eigrp.read(data[:size])
        if size < eigrp.HEADER:
            assert found == [Malformed("EIGRP header is cut short", size)]
        else:
            assert isinstance(found[0], Fact)
            assert {name: found[0].fields[name] for name in HEAD} == {name: whole[name] for name in HEAD}
            assert found[0].fields.keys() <= whole.keys()


@given(damaged(SAMPLES))
def test_no_bytes_raise(data: bytes) -> None:
    for found in eigrp.read(data):
        assert isinstance(found, Malformed) or found.fields.keys() <= eigrp.FIELDS


def test_lists_are_bounded_and_work_is_linear() -> None:
    many = tlv(0x0102, HOP + METRIC + b"\0" * (eigrp.MAX_ROUTES + 9))
    assert len(fields(packet(1, many))["eigrp.route"]) == eigrp.MAX_ROUTES
    assert is_linear(eigrp.read, lambda size: packet(1, *[ROUTES[0][0]] * size), size=500)


@needs_corpus
@pytest.mark.parametrize("mode", sorted({"portable", available()}))
def test_packets_over_ip_reach_dissection(mode: str) -> None:
    tap = open_captures([str(CORPUS / "captures/tcpdump/EIGRP_subnet_down.pcap")])
    rows = [row for row in Inspection(tap, settings=AgentSettings(kernel=mode)).rows() if row["kind"] == "eigrp"]
    tap.close()
    assert len(rows) == 21
    lost = [row for row in rows if row.get("eigrp.metric") == (0xFFFFFFFF,)]
    assert {row["eigrp.route"] for row in lost} == {("192.168.4.0/24",)}
    assert {row["eigrp.opcode"] for row in lost} == {"UPDATE", "QUERY", "REPLY"}
