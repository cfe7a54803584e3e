"""ARP: who asks for whom, what breaks, and that a frame without a flow reaches its dissector in both kernels."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given

from packhound.net import arp
from packhound.net.arp import ArpMessage
from packhound.net.facts import Fact, Malformed
from packhound.run.look import Inspection
from packhound.sensor.agent import AgentSettings
from packhound.sensor.kernel import available
from packhound.sensor.tap.merge import open_captures
from tests.support.corpus import CORPUS, needs_corpus
from tests.support.mutations import damaged

ME, YOU, NOBODY = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 9)), bytes(4)
MAC, ZERO = bytes.fromhex("00005e005301"), bytes(6)


def message(opcode: int, sender: bytes, target: bytes, *, to: bytes = ZERO) -> bytes:
    return b"\0\1\x08\0\6\4" + opcode.to_bytes(2, "big") + MAC + sender + to + target


REQUEST = message(1, ME, YOU)
ATM = bytes.fromhex("00130800 14 00 0001 04 14 00 04") + bytes(range(20)) + ME + bytes(20) + YOU


def fact(data: bytes) -> Fact:
    (found,) = arp.read(data)
    assert isinstance(found, Fact)
    return found


def test_a_request_names_both_ends_and_ends_before_its_padding() -> None:
    assert fact(REQUEST + bytes(18)).fields == {
        "arp.opcode": 1, "arp.hardware": 1, "arp.sender.mac": "00:00:5e:00:53:01", "arp.sender.ip": "192.0.2.1",
        "arp.target.mac": "00:00:00:00:00:00", "arp.target.ip": "192.0.2.9",
    }  # fmt: skip


def test_a_probe_and_an_announcement_are_told_apart() -> None:
    assert fact(message(1, NOBODY, YOU)).fields["arp.probe"] is True
    assert fact(message(2, ME, ME, to=b"\xff" * 6)).fields["arp.gratuitous"] is True
    for plain in (fact(REQUEST), fact(message(2, NOBODY, NOBODY)), fact(message(2, NOBODY, YOU))):
        assert not {"arp.probe", "arp.gratuitous"} & plain.fields.keys()


def test_hardware_that_is_not_ethernet() -> None:
    assert fact(ATM).fields == {
        "arp.opcode": 1, "arp.hardware": 19, "arp.sender.ip": "192.0.2.1", "arp.target.ip": "192.0.2.9",
    }  # fmt: skip
    assert "arp.sender.ip" not in fact(b"\0\1\x86\xdd\2\2\0\1" + bytes(8)).fields


@pytest.mark.parametrize("data", [REQUEST, ATM])
def test_a_message_cut_anywhere_says_so(data: bytes) -> None:
    for size in range(len(data)):
        found = arp.read(data[:size])
        assert isinstance(found[-1], Malformed)
        assert len(found) == 1 or found[0] == Fact("arp", {"arp.opcode": 1, "arp.hardware": 1})


@given(damaged([REQUEST, ATM]))
def test_no_bytes_raise(data: bytes) -> None:
    arp.read(data)


def test_facts_hold_only_what_they_declare() -> None:
    whole = ArpMessage(1, arp.IPV4, 1, MAC, NOBODY, ZERO, YOU)
    gratuitous = dataclasses.replace(whole, sender=YOU)
    assert {*arp.arp_fact(whole).fields, *arp.arp_fact(gratuitous).fields} == arp.FIELDS


@needs_corpus
@pytest.mark.parametrize("mode", sorted({"portable", available()}))
def test_frames_without_a_flow_are_dissected_and_the_books_close(mode: str) -> None:
    tap = open_captures([str(CORPUS / "captures/ipfixprobe/mixed.pcap")])
    look = Inspection(tap, settings=AgentSettings(kernel=mode))
    found = [row for row in look.rows() if row["kind"] == "arp"]
    tap.close()
    assert [sum(row["arp.opcode"] == each for row in found) for each in (1, 2)] == [37, 11]
    assert {row["flow.id"] for row in found} == {0}
    books = look.agent.counters()
    assert books["captured"] == books["unmatched"]
