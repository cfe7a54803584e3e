"""Diameter over TCP and SCTP: commands, ends, results, subscribers; framing found again after loss."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net import diameter
from packhound.net.facts import Fact, Malformed
from packhound.net.sessions.routing import DiameterStream
from packhound.net.sessions.routing_sctp import MAX_PARTS, SctpPackets
from packhound.run.look import Inspection
from packhound.sensor.agent import AgentSettings
from packhound.sensor.kernel import available
from packhound.sensor.tap.merge import open_captures
from tests.support.mutations import chunks, damaged, is_linear
from tests.support.tape import Tape, ipv4

CAP = 65536


def avp(code: int, body: bytes, *, vendor: int = 0) -> bytes:
    head = struct.pack(">IB", code, 0x40 | 0x80 * bool(vendor))
    extra = struct.pack(">I", vendor) if vendor else b""
    return head + (8 + len(extra) + len(body)).to_bytes(3, "big") + extra + body + bytes(-len(body) % 4)


def message(command: int, *avps: bytes, flags: int = 0xC0, application: int = 16777251) -> bytes:
    body = b"".join(avps)
    head = b"\1" + (20 + len(body)).to_bytes(3, "big") + bytes((flags,)) + command.to_bytes(3, "big")
    return head + struct.pack(">III", application, 0x1234, 0x5678) + body


ULR = message(
    316, avp(263, b"mme1;1;2"), avp(264, b"mme1.epc"), avp(296, b"epc.example"), avp(293, b"hss.epc"),
    avp(283, b"example"), avp(1, b"001010123456789"),
)  # fmt: skip
ULA = message(316, avp(263, b"mme1;1;2"), avp(297, avp(266, b"\0\0\x28\xaf") + avp(298, b"\0\0\x13\x8d")), flags=0x40)
CER = message(
    257, avp(257, b"\0\1\xc0\0\2\1"), avp(257, b"\0\2" + bytes(15) + b"\1"), avp(257, b"\0\x09x"), avp(269, "né".encode()),
    application=0,
)  # fmt: skip
CCR = message(
    272, avp(443, avp(450, b"\0\0\0\1") + avp(444, b"001010123456789")), avp(601, b"sip:a@b", vendor=10415), application=4
)
CEA = message(257, avp(268, b"\0\0\x0b\xbc"), flags=0x20, application=0)
SAMPLES = [ULR, ULA, CER, CCR, CEA]


def fields(data: bytes) -> dict[str, Any]:
    (fact,) = diameter.read(data)
    assert isinstance(fact, Fact)
    assert fact.kind == "diameter"
    return {name.removeprefix("diameter."): value for name, value in fact.fields.items()}


def names(found: list[Fact | Malformed]) -> list[object]:
    return [each.fields["diameter.name"] if isinstance(each, Fact) else each.reason for each in found]


def feed(data: bytes, sizes: list[int] | None = None, *, session: DiameterStream | None = None) -> list[Fact | Malformed]:
    session = session or DiameterStream(max_bytes=CAP)
    return [fact for piece in chunks(data, sizes or []) for fact in session.feed(0, piece, now=0)]


def test_a_request_names_its_ends_and_its_subscriber() -> None:
    assert fields(ULR) == {
        "command": 316, "name": "ULR", "request": True, "application": 16777251, "hop_by_hop": 0x1234,
        "end_to_end": 0x5678, "session_id": "mme1;1;2", "origin_host": "mme1.epc", "origin_realm": "epc.example",
        "destination_host": "hss.epc", "destination_realm": "example", "user_name": "001010123456789",
    }  # fmt: skip
    assert fields(CCR)["subscriber"] == ("001010123456789", "sip:a@b")
    assert (fields(CER)["address"], fields(CER)["product"]) == (("192.0.2.1", "::1"), "né")


def test_an_answer_has_a_result() -> None:
    ula, cea = fields(ULA), fields(CEA)
    assert (ula["name"], ula["request"], ula["result"], ula.get("error")) == ("ULA", False, 5005, None)
    assert (cea["name"], cea["result"], cea["error"]) == ("CEA", 3004, True)
    assert "name" not in fields(message(999))


@pytest.mark.parametrize("data", SAMPLES)
def test_a_message_cut_anywhere_keeps_its_header(data: bytes) -> None:
    whole = fields(data)
    for size in range(len(data)):
        found = diameter.read(data[:size])
        assert isinstance(found[-1], Malformed)
        if size >= diameter.HEADER:
            assert isinstance(found[0], Fact)
            assert found[0].fields["diameter.command"] == whole["command"]


def test_what_breaks_is_said() -> None:
    assert diameter.read(b"\2" + ULR[1:]) == [Malformed("Diameter header is broken")]
    short = message(316, avp(264, b"host"), b"\0\0\1\x08\x40\0\0\7")
    fact, why = diameter.read(short)
    assert isinstance(fact, Fact)
    assert fact.fields["diameter.origin_host"] == "host"
    assert why == Malformed("Diameter attribute breaks its message")
    assert isinstance(diameter.read(message(316, avp(297, b"\0\0\0\0\0\0\0")))[1], Malformed)


@given(st.lists(st.integers(1, 90), max_size=6))
def test_any_cut_of_a_stream_gives_the_same_messages(sizes: list[int]) -> None:
    assert names(feed(b"".join(SAMPLES), sizes)) == ["ULR", "ULA", "CER", "CCR", "CEA"]


def test_the_next_message_is_found_behind_a_gap_or_junk() -> None:
    session = DiameterStream(max_bytes=CAP)
    assert names(feed(ULR + ULA[:30], session=session)) == ["ULR"]
    session.gap(0, 100)
    assert names(feed(b"\1\1\0\0\1" * 9 + CER, [11], session=session)) == ["CER"]
    assert names(feed(b"hello there, this is no header" + CER)) == ["Diameter stream lost its framing", "CER"]
    assert names(feed(b"\1\xff\xff\xfc\xc0\0\1\1" + bytes(12) + CER)) == ["Diameter stream lost its framing", "CER"]


@given(damaged(SAMPLES))
def test_no_bytes_raise(data: bytes) -> None:
    sctp = SctpPackets(max_bytes=CAP)
    found = [*feed(data, [40]), *feed(message(316, data)), *sctp.feed(0, data, now=0), *sctp.feed(1, chunk(1, data), now=0)]
    for each in found:
        assert isinstance(each, Malformed) or each.fields.keys() <= diameter.FIELDS


def test_work_is_bounded_and_linear() -> None:
    many = message(316, *[avp(444, b"x")] * (diameter.MAX_LISTED + 9), avp(264, b"y" * (diameter.MAX_TEXT + 9)))
    assert len(fields(many)["subscriber"]) == diameter.MAX_LISTED
    assert len(fields(many)["origin_host"]) == diameter.MAX_TEXT
    assert is_linear(lambda data: feed(data, [1460]), lambda size: b"\1" * size, size=20_000)
    assert is_linear(lambda data: feed(data, [1460]), lambda size: ULR * size, size=300)


# SCTP ---------------------------------------------------------------------------------------------------------------


def chunk(tsn: int, body: bytes, *, flags: int = 3, stream: int = 0, order: int = 0, protocol: int = 46) -> bytes:
    head = struct.pack(">BBHIHHI", 0, flags, 16 + len(body), tsn, stream, order, protocol)
    return head + body + bytes(-len(body) % 4)


def test_messages_of_an_association_are_put_together_once() -> None:
    session = SctpPackets(max_bytes=CAP)
    sack = b"\3\0\0\x10" + bytes(12)
    assert names(session.feed(0, sack + chunk(1, ULR) + chunk(2, CER, order=1), now=0)) == ["ULR", "CER"]
    assert session.feed(0, chunk(1, ULR) + chunk(3, b"not ours", protocol=0), now=0) == []
    assert session.feed(0, chunk(4, CCR[:20], flags=2, order=2), now=0) == []
    assert names(session.feed(0, chunk(7, ULA, stream=1), now=0)) == ["ULA"]
    assert session.feed(0, chunk(5, CCR[20:40], flags=0, order=2), now=0) == []
    assert names(session.feed(0, chunk(6, CCR[40:], flags=1, order=2), now=0)) == ["CCR"]
    assert session.feed(1, chunk(8, CCR[20:], flags=1, order=9), now=0) == []


def test_an_association_is_bounded() -> None:
    session = SctpPackets(max_bytes=100)
    for number in range(MAX_PARTS + 1):
        session.feed(0, chunk(number, CER[:20], flags=2, order=number), now=0)
    assert session.feed(0, chunk(900, CER[20:], flags=1, order=0), now=0) == []
    assert names(session.feed(0, chunk(901, CER[20:], flags=1, order=1), now=0)) == ["CER"]
    large = session.feed(0, chunk(902, bytes(101)), now=0)
    assert names(large) == ["Diameter message is larger than its cap"]
    assert names(session.feed(0, b"\0\3\0\3", now=0)) == ["SCTP chunk breaks its packet"]


@pytest.mark.parametrize("mode", sorted({"portable", available()}))
def test_an_association_is_dissected(mode: str, tmp_path: Path) -> None:
    head = struct.pack(">HHII", 40000, 3868, 1, 0)
    said = Tape().add(ipv4(1, 2, 132, head + chunk(1, ULR)))
    tap = open_captures([str(said.save(tmp_path / "a.pcap"))])
    rows = list(Inspection(tap, settings=AgentSettings(kernel=mode)).rows())
    tap.close()
    assert [row["diameter.name"] for row in rows if row["kind"] == "diameter"] == ["ULR"]
