"""NTP: time, control and private messages."""

from __future__ import annotations

import pytest
from hypothesis import given

from packhound.net.facts import Fact, Malformed
from packhound.net.ntp import ntp_facts, parse
from tests.support.corpus import needs_corpus
from tests.support.infra import cut_everywhere, facts
from tests.support.mutations import damaged


def message(first: int, *, stratum: int = 0, poll: int = 6, reference: bytes = bytes(4)) -> bytes:
    return bytes((first, stratum, poll & 0xFF, 0xEC)) + bytes(8) + reference + bytes(32)


def fields(data: bytes) -> dict[str, object]:
    (fact,) = ntp_facts(data)
    assert isinstance(fact, Fact)
    return dict(fact.fields)


@needs_corpus
def test_a_client_and_its_server() -> None:
    first, second = facts("ipfixprobe/ntp.pcap", "ntp")[:2]
    assert (first["ntp.mode"], first["ntp.stratum"], first["ntp.ref_id"], first["ntp.leap"]) == ("client", 0, "INIT", 3)
    assert (second["ntp.mode"], second["ntp.stratum"]) == ("server", 2)
    assert second["ntp.ref_id"] == "193.190.230.66"


@needs_corpus
def test_control_messages_of_a_capture() -> None:
    found = facts("tcpdump/ntp-control.pcap", "ntp")
    assert {each["ntp.mode"] for each in found} == {"control"}
    assert {each["ntp.response"] for each in found} == {True, False}
    assert not any("ntp.stratum" in each for each in found)


@pytest.mark.parametrize(
    ("stratum", "reference", "text"),
    [(0, b"RATE", "RATE"), (1, b"GPS\0", "GPS"), (2, b"RATE", "82.65.84.69"), (1, b"\x7f\x7f\1\0", "127.127.1.0")],
)
def test_references(stratum: int, reference: bytes, text: str) -> None:
    assert fields(message(0x24, stratum=stratum, reference=reference))["ntp.ref_id"] == text


def test_no_reference_and_a_negative_poll() -> None:
    assert fields(message(0xE3, poll=-2)) == {
        "ntp.version": 4, "ntp.mode": "client", "ntp.leap": 3, "ntp.stratum": 0, "ntp.poll": -2,
    }  # fmt: skip


def test_a_private_request_for_the_list_of_peers() -> None:
    assert fields(b"\x17\0\3\x2a" + bytes(4)) == {
        "ntp.version": 2, "ntp.mode": "private", "ntp.response": False, "ntp.operation": 42,
    }  # fmt: skip
    assert fields(b"\x97\0\3\x2a" + bytes(40))["ntp.response"] is True


@pytest.mark.parametrize(("first", "size"), [(0x23, 48), (0x16, 12), (0x17, 8)])
def test_a_header_that_is_cut_is_malformed(first: int, size: int) -> None:
    whole = message(first)[:size]
    assert not isinstance(parse(whole), Malformed)
    assert cut_everywhere(ntp_facts, whole) == size - 1
    assert isinstance(parse(b""), Malformed)


@given(damaged([message(0x23), message(0x16), message(0x97)]))
def test_no_bytes_raise(data: bytes) -> None:
    ntp_facts(data)
