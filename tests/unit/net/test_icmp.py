"""ICMP and ICMPv6: what each type says, what an error quotes, and messages without payload in both kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from packhound.net import icmp
from packhound.net.facts import Fact, Malformed
from packhound.run.look import Inspection
from packhound.sensor.agent import AgentSettings
from packhound.sensor.kernel import available
from packhound.sensor.tap.merge import open_captures
from tests.support.mutations import damaged
from tests.support.tape import Tape, ipv4

GROUP = bytes.fromhex("ff020000000000000000000000000016")
HOST = bytes.fromhex("20010db8000000000000000000000001")
UDP_4 = bytes.fromhex("4500001c00000000 0111 0000 c0000201 c0000209 9c40 829b 0008 0000")
UDP_6 = bytes.fromhex("60000000 0008 11 01") + HOST + GROUP + bytes.fromhex("0035 9c40 0008 0000")
MAC = b"\1\1\0\0\x5e\0\x53\1"

SAID: list[tuple[int, bytes, dict[str, Any]]] = [
    (4, b"\x08\0\0\0\x12\x34\0\7hello", {"icmp.id": 0x1234, "icmp.seq": 7}),
    (4, b"\x0d\0\0\0\0\1\0\2" + bytes(12), {"icmp.id": 1, "icmp.seq": 2}),
    (4, b"\x2a\0\0\0\0\1\5\1", {"icmp.id": 1, "icmp.seq": 5}),
    (4, b"\5\1\0\0\xc0\0\2\xfe" + UDP_4, {
        "icmp.gateway": "192.0.2.254", "icmp.quoted.src": "192.0.2.1", "icmp.quoted.dst": "192.0.2.9",
        "icmp.quoted.proto": 17, "icmp.quoted.port.src": 40000, "icmp.quoted.port.dst": 33435,
    }),
    (4, b"\3\4\0\0\0\0\5\0" + UDP_4[:20], {
        "icmp.mtu": 1280, "icmp.quoted.src": "192.0.2.1", "icmp.quoted.dst": "192.0.2.9", "icmp.quoted.proto": 17,
    }),
    (4, b"\x09\0\0\0\2\2\0\x3c\xc0\0\2\1\0\0\0\0\xc0\0\2\2\0\0\0\1", {"icmp.gateway": ("192.0.2.1", "192.0.2.2")}),
    (4, b"\x0a\0\0\0\0\0\0\0", {}),
    (6, b"\x80\0\0\0\0\1\0\2", {"icmp.id": 1, "icmp.seq": 2}),
    (6, b"\2\0\0\0\0\0\5\0" + UDP_6, {
        "icmp.mtu": 1280, "icmp.quoted.src": "2001:db8::1", "icmp.quoted.dst": "ff02::16", "icmp.quoted.proto": 17,
        "icmp.quoted.port.src": 53, "icmp.quoted.port.dst": 40000,
    }),
    (6, b"\x87\0\0\0\0\0\0\0" + HOST + MAC, {"icmp.target": "2001:db8::1", "icmp.mac": "00:00:5e:00:53:01"}),
    (6, b"\x89\0\0\0\0\0\0\0" + HOST + GROUP, {"icmp.target": "2001:db8::1"}),
    (6, b"\x86\0\0\0\x40\0\7\x08" + bytes(8) + MAC + b"\5\1\0\0\0\0\5\xdc" + b"\3\4\x40\xc0" + bytes(12) + HOST[:8] + bytes(8), {
        "icmp.mac": "00:00:5e:00:53:01", "icmp.mtu": 1500, "icmp.prefix": ("2001:db8::/64",),
    }),
    (6, b"\x83\0\0\0\0\0\0\0" + GROUP, {"icmp.group": "ff02::16", "icmp.note": "multicast"}),
    (6, b"\x82\0\0\0\0\0\0\0" + bytes(16), {"icmp.note": "multicast"}),
    (6, b"\x8f\0\0\0\0\0\0\2\4\1\0\1" + GROUP + bytes(20) + b"\3\0\0\0" + HOST, {
        "icmp.group": ("ff02::16", "2001:db8::1"), "icmp.note": "multicast",
    }),
]  # fmt: skip


def facts(version: int, data: bytes) -> list[Fact | Malformed]:
    return icmp.read6(data) if version == 6 else icmp.read4(data)


@pytest.mark.parametrize(("version", "data", "said"), SAID)
def test_a_message_says_what_its_type_defines(version: int, data: bytes, said: dict[str, Any]) -> None:
    kind = "icmpv6" if version == 6 else "icmp"
    assert facts(version, data) == [Fact(kind, {"icmp.type": data[0], "icmp.code": data[1], **said})]


@pytest.mark.parametrize(("version", "data", "said"), SAID)
def test_a_message_cut_anywhere_keeps_its_type(version: int, data: bytes, said: dict[str, Any]) -> None:
    for size in range(len(data)):
        found = facts(version, data[:size])
        if size < 4:
            assert [type(each) for each in found] == [Malformed]
            continue
        assert isinstance(found[0], Fact)
        assert found[0].fields["icmp.type"] == data[0]
        mistaken = found[0].fields.keys() - said.keys() - {"icmp.type", "icmp.code"}
        assert not mistaken


@pytest.mark.parametrize(
    ("version", "data", "note"),
    [
        (4, b"\x0b\0\0\0\0\0\0\0" + UDP_4, "traceroute"),
        (4, b"\x0b\1\0\0\0\0\0\0" + UDP_4, None),
        (4, b"\3\3\0\0\0\0\0\0" + UDP_4, "traceroute"),
        (4, b"\3\3\0\0\0\0\0\0" + UDP_4[:22] + b"\0\x35" + UDP_4[24:], None),
        (4, b"\3\1\0\0\0\0\0\0" + UDP_4, None),
        (6, b"\3\0\0\0\0\0\0\0" + UDP_6, "traceroute"),
        (6, b"\1\4\0\0\0\0\0\0" + UDP_6[:42] + b"\x82\x9a" + UDP_6[44:], "traceroute"),
    ],
)  # fmt: skip
def test_steps_of_a_traceroute_are_noted(version: int, data: bytes, note: str | None) -> None:
    (found,) = facts(version, data)
    assert isinstance(found, Fact)
    assert found.fields.get("icmp.note") == note


def test_what_breaks_is_said_once_and_keeps_what_was_read() -> None:
    loop = b"\x87\0\0\0\0\0\0\0" + HOST + b"\1\0" + bytes(6)
    assert facts(6, loop) == [
        Fact("icmpv6", {"icmp.type": 135, "icmp.code": 0, "icmp.target": "2001:db8::1"}),
        Malformed("neighbour discovery option has no length"),
    ]
    assert facts(4, b"\3\1\0\0\0\0\0\0\x60")[1] == Malformed("quoted packet is cut short")
    report = b"\x8f\0\0\0\0\0\xff\xff" + (b"\4\0\0\0" + GROUP) * 3
    found, why = facts(6, report)
    assert isinstance(found, Fact)
    assert found.fields["icmp.group"] == ("ff02::16",) * 3
    assert why == Malformed("ICMP message is cut short")


def test_lists_are_bounded() -> None:
    many = icmp.MAX_LISTED + 1
    for data in (
        b"\x8f\0\0\0\0\0\xff\xff" + (b"\4\0\0\0" + GROUP) * many,
        b"\x86\0\0\0" + bytes(12) + (b"\3\4\x40\0" + bytes(28)) * many,
    ):
        fact = facts(6, data)[0]
        assert isinstance(fact, Fact)
        assert [len(each) for each in fact.fields.values() if isinstance(each, tuple)] == [icmp.MAX_LISTED]


@given(damaged([data for _, data, _ in SAID]))
def test_no_bytes_raise(data: bytes) -> None:
    for version in (4, 6):
        for found in facts(version, data):
            declared = icmp.FIELDS_6 if version == 6 else icmp.FIELDS
            assert isinstance(found, Malformed) or found.fields.keys() <= declared


def test_every_field_is_filled_by_some_message() -> None:
    filled: dict[int, set[str]] = {4: {"icmp.note"}, 6: set()}  # see the steps of a traceroute
    for version, data, _ in SAID:
        filled[version].update(*(found.fields for found in facts(version, data) if isinstance(found, Fact)))
    assert filled == {4: icmp.FIELDS, 6: icmp.FIELDS_6}


@pytest.mark.parametrize("mode", sorted({"portable", available()}))
def test_messages_without_payload_are_dissected(mode: str, tmp_path: Path) -> None:
    asked, answered, cut = b"\x08\0\0\0\0\1\0\2", b"\0\0\0\0\0\1\0\2", b"\x0a\0\0\0"
    said = Tape().add(ipv4(1, 2, 1, asked), ipv4(2, 1, 1, answered), ipv4(1, 2, 1, cut))
    tap = open_captures([str(said.save(tmp_path / "a.pcap"))])
    rows = list(Inspection(tap, settings=AgentSettings(kernel=mode)).rows())
    tap.close()
    assert [(r["icmp.type"], r.get("icmp.seq"), r["ip.src"]) for r in rows if r["kind"] == "icmp"] == [
        (8, 2, "10.0.0.1"), (0, 2, "10.0.0.2"), (10, None, "10.0.0.1")
    ]  # fmt: skip
    assert {r["app.protocol"] for r in rows if r["kind"] == "flow"} == {"icmp"}
