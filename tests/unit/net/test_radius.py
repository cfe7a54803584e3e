"""RADIUS: who logs in where, and attributes that break."""

from __future__ import annotations

import pytest
from hypothesis import given

from packhound.net.facts import Fact, Malformed
from packhound.net.radius import parse, radius_facts
from tests.support.corpus import needs_corpus
from tests.support.infra import cut_everywhere, facts
from tests.support.mutations import damaged, is_linear


def message(code: int, *attributes: tuple[int, bytes], tail: bytes = b"", size: int | None = None) -> bytes:
    body = b"".join(bytes((kind, len(value) + 2)) + value for kind, value in attributes) + tail
    return bytes((code, 9)) + (20 + len(body) if size is None else size).to_bytes(2, "big") + bytes(16) + body


REQUEST = message(
    1, (1, b"alice"), (2, bytes(16)), (4, bytes((192, 0, 2, 1))), (30, b"00-aa:net"), (31, b"02-00-00-00-00-2a"), (32, b"nas")
)  # fmt: skip
ACCOUNT = message(4, (40, b"\0\0\0\2"), (44, b"5b22"), (8, bytes((192, 0, 2, 9))), (95, bytes(15) + b"\1"))


def fields(data: bytes) -> dict[str, object]:
    (fact,) = radius_facts(data)
    assert isinstance(fact, Fact)
    return {name.removeprefix("radius."): value for name, value in fact.fields.items()}


@needs_corpus
def test_a_log_in_of_a_capture() -> None:
    found = facts("ndpi/fuzz-2020-02-16-11740.pcap", "radius")
    assert {each.get("radius.reply") for each in found} >= {"Success", "32764 Subscriber not provisioned"}
    assert "0311480271516480@wlan.mnc480.mcc311.3gppnetwork.org" in {each.get("radius.username") for each in found}


def test_a_request_without_its_password() -> None:
    assert fields(REQUEST) == {
        "code": "Access-Request", "id": 9, "username": "alice", "nas_ip": "192.0.2.1", "called_station": "00-aa:net",
        "calling_station": "02-00-00-00-00-2a", "nas_id": "nas",
    }  # fmt: skip


def test_accounting() -> None:
    assert fields(ACCOUNT) == {
        "code": "Accounting-Request", "id": 9, "acct_status": "Stop", "session_id": "5b22", "framed_ip": "192.0.2.9",
        "nas_ip": "::1",
    }  # fmt: skip


def test_numbers_without_a_name_and_addresses_of_a_wrong_size() -> None:
    assert fields(message(99, (40, b"\0\0\0\x63"), (4, b"abc"))) == {"code": "99", "id": 9, "acct_status": "99"}


def test_the_first_of_several_and_nothing_behind_the_length() -> None:
    assert fields(message(2, (18, b"one"), (18, b"two")) + b"padding")["reply"] == "one"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (message(1, (1, b"alice"), tail=b"\x1e\1"), "RADIUS attribute breaks its message"),
        (message(1, (1, b"alice"), tail=b"\x1e\x40"), "RADIUS attribute breaks its message"),
        (message(1, (1, b"alice"), size=200), "RADIUS message is cut short"),
        (message(1, (1, b"alice"), tail=b"\xfa\2" * 600), "more RADIUS attributes than are read"),
    ],
)
def test_what_breaks_keeps_what_was_before(data: bytes, reason: str) -> None:
    fact, why = radius_facts(data)
    assert isinstance(fact, Fact)
    assert (fact.fields["radius.username"], why) == ("alice", Malformed(reason))


def test_without_a_header_it_is_malformed() -> None:
    assert isinstance(parse(REQUEST[:19]), Malformed)
    assert isinstance(parse(message(1, size=19)), Malformed)


def test_cut_anywhere_it_never_raises() -> None:
    for sample in (REQUEST, ACCOUNT):
        assert cut_everywhere(radius_facts, sample) == len(sample) - 1


@given(damaged([REQUEST, ACCOUNT]))
def test_no_bytes_raise(data: bytes) -> None:
    radius_facts(data)


def test_hostile_messages_stay_linear() -> None:
    assert is_linear(radius_facts, lambda n: message(1, tail=b"\1\3a" * n), size=4000)
