"""NetBIOS: names and who claims them, datagrams, session set-up, and what breaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net.detect import App
from packhound.net.facts import Fact, Malformed
from packhound.net.netbios import name_text, nbdgm_facts, nbns_facts, nbss_fact
from packhound.net.session import TCP, open_session
from tests.support.corpus import needs_corpus
from tests.support.infra import cut_everywhere, facts, stream
from tests.support.mutations import chunks, damaged, is_linear


def encoded(name: bytes, suffix: int = 0x20, *, scope: bytes = b"") -> bytes:
    padded = name.ljust(15) + bytes((suffix,))
    return b"\x20" + bytes(65 + half for octet in padded for half in (octet >> 4, octet & 15)) + scope + b"\0"


def message(body: bytes, *counts: int, flags: int = 0x0110) -> bytes:
    return b"\x12\x34" + flags.to_bytes(2, "big") + b"".join(each.to_bytes(2, "big") for each in counts) + body


def record(kind: int, data: bytes, *, owner: bytes = b"\xc0\x0c") -> bytes:
    return owner + kind.to_bytes(2, "big") + b"\0\1" + bytes(4) + len(data).to_bytes(2, "big") + data


QUESTION = encoded(b"FILESRV") + b"\0\x20\0\1"
REGISTRATION = message(QUESTION + record(0x20, b"\0\0\xc0\0\2\7"), 1, 0, 0, 1, flags=0x2910)
STATUS = message(
    record(0x21, b"\2" + b"FILESRV".ljust(15) + b"\0\4\0" + b"LAN".ljust(15) + b"\x1e\x84\0" + b"\2\0\0\0\0\x2a" + bytes(40),
           owner=encoded(b"*".ljust(15, b"\0"), 0)), 0, 1, 0, 0, flags=0x8400,
)  # fmt: skip
DATAGRAM = (
    b"\x11\x0a\0\1" + bytes((192, 0, 2, 7)) + b"\0\x8a\0\xbb\0\0" + encoded(b"PC", 0) + encoded(b"LAN", 0x1D)
    + b"\xffSMB\x25" + bytes(60) + b"\\MAILSLOT\\BROWSE\0\1"
)  # fmt: skip
REQUEST = b"\x81\0\0\x44" + encoded(b"FILESRV") + encoded(b"PC", 0)


def fields(data: bytes) -> dict[str, object]:
    (fact,) = nbns_facts(data)
    assert isinstance(fact, Fact)
    return dict(fact.fields)


@needs_corpus
def test_a_host_claims_its_names() -> None:
    found = facts("ndpi/anyconnect-vpn.pcap", "nbns")
    claims = [each for each in found if each["nbns.operation"] == "registration"]
    assert ("LP-RKERUR-OSX<00>",) in {each["nbns.name"] for each in found}
    assert all(each["nbns.address"] for each in claims)
    assert ("<01><02>__MSBROWSE__<02><01>",) in {each["nbns.name"] for each in found}


@needs_corpus
def test_a_host_announces_itself() -> None:
    found = facts("ja4/latest.pcapng", "nbdgm")[0]
    assert (found["nbdgm.source"], found["nbdgm.destination"]) == ("P50TNOEL2<00>", "BLUECATNETWORKS<1d>")
    assert found["nbdgm.mailslot"] == "\\MAILSLOT\\BROWSE"


def test_a_registration_names_its_pair_once() -> None:
    assert fields(REGISTRATION) == {
        "nbns.id": 0x1234, "nbns.response": False, "nbns.operation": "registration", "nbns.name": ("FILESRV<20>",),
        "nbns.type": (32,), "nbns.address": ("192.0.2.7",),
    }  # fmt: skip


def test_a_node_status_answer() -> None:
    found = fields(STATUS)
    assert (found["nbns.response"], found["nbns.rcode"]) == (True, 0)
    assert found["nbns.name"] == ("*" + "<00>" * 15,)
    assert found["nbns.node_name"] == ("FILESRV<00>", "LAN<1e>")
    assert found["nbns.mac"] == "02:00:00:00:00:2a"


def test_a_scope_stands_behind_the_name() -> None:
    assert fields(message(encoded(b"PC", 0, scope=b"\x03lan\x02de") + b"\0\x20\0\1", 1, 0, 0, 0))["nbns.name"] == (
        "PC<00>.lan.de",
    )


def test_a_name_that_is_not_encoded_is_shown_as_it_is() -> None:
    assert fields(message(b"\x04wpad\0\0\x20\0\1", 1, 0, 0, 0))["nbns.name"] == ("wpad",)
    outside = QUESTION.replace(b"EG", b"SG", 1)  # RFC 1001 has the letters A to P
    assert "<" not in str(fields(message(outside, 1, 0, 0, 0))["nbns.name"])


@given(st.binary(min_size=16, max_size=16))
def test_names_are_printable_and_end_in_their_suffix(name: bytes) -> None:
    text = name_text(name)
    assert text.isprintable()
    assert text.endswith(f"<{name[15]:02x}>")


@pytest.mark.parametrize("body", [b"\xc0\x0c\0\x20\0\1", b"\xc0\x40", b"\x20AB", b"\x01a" * 40 + b"\0\0\x20\0\1"])
def test_names_that_do_not_end_break_their_message(body: bytes) -> None:
    fact, why = nbns_facts(message(body, 1, 0, 0, 0))
    assert isinstance(fact, Fact)
    assert why == Malformed("NetBIOS name or record breaks its message")


def test_lying_counts_cost_nothing() -> None:
    assert isinstance(nbns_facts(message(QUESTION * 200, 0xFFFF, 0xFFFF, 0, 0))[1], Malformed)


def test_a_session_request_and_its_refusal_in_any_cut() -> None:
    for size in (1, 3, 72):
        session = open_session(App.NBSS, proto=TCP)
        assert session
        (asked,) = stream(session, chunks(REQUEST, [size]))
        assert asked == Fact("nbss", {"nbss.type": "request", "nbss.called": "FILESRV<20>", "nbss.calling": "PC<00>"})
        (refused,) = stream(session, chunks(b"\x83\0\0\1\x82", [size]), direction=1)
        assert refused == Fact("nbss", {"nbss.type": "negative-response", "nbss.error": 0x82})


def test_a_session_message_is_passed_over_whatever_its_size() -> None:
    session = open_session(App.NBSS, proto=TCP)
    assert session
    assert stream(session, [b"\0\1\xff\xff" + bytes(0x1FFFF - 10)]) == []
    session.gap(0, 6)
    (fact,) = stream(session, [bytes(4) + b"\x82\0\0\0"])
    assert fact == Fact("nbss", {"nbss.type": "positive-response"})


def test_cut_anywhere_it_never_raises() -> None:
    for sample in (REGISTRATION, STATUS):
        assert cut_everywhere(nbns_facts, sample)
    assert cut_everywhere(nbdgm_facts, DATAGRAM)
    assert cut_everywhere(lambda data: [nbss_fact(data[0], data[4:])], REQUEST)


@given(damaged([REGISTRATION, STATUS, DATAGRAM, b"\x14\x0a" + bytes(8) + encoded(b"PC"), REQUEST]))
def test_no_bytes_raise(data: bytes) -> None:
    nbns_facts(data)
    nbdgm_facts(data)
    session = open_session(App.NBSS, proto=TCP)
    assert session
    stream(session, [data])


def test_hostile_messages_stay_linear() -> None:
    assert is_linear(
        nbns_facts,
        lambda n: message(b"".join(b"\xc0" + bytes((12 + at % 200,)) + bytes(4) for at in range(n)), n, 0, 0, 0),
        size=2000,
    )
    assert is_linear(nbns_facts, lambda n: message(QUESTION * n, n, 0, 0, 0), size=2000)
