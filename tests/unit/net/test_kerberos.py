"""Kerberos: who asks for what, tickets and their encryption, errors, and what breaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net.detect import App
from packhound.net.facts import Fact, Malformed
from packhound.net.kerberos import kerberos_facts, packet_size
from packhound.net.session import TCP, open_session
from tests.support.corpus import needs_corpus
from tests.support.infra import cut_everywhere, facts, stream
from tests.support.mutations import chunks, damaged, is_linear


def tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return bytes((tag, 0x82)) + len(body).to_bytes(2, "big") + body


def part(number: int, *value: bytes) -> bytes:
    return tlv(0xA0 + number, *value)


def number(value: int) -> bytes:
    return tlv(2, value.to_bytes(4, "big", signed=True))


def text(value: bytes) -> bytes:
    return tlv(0x1B, value)


def name(*parts: bytes) -> bytes:
    return tlv(0x30, part(0, number(1)), part(1, tlv(0x30, *map(text, parts))))


def encrypted(kind: int) -> bytes:
    return tlv(0x30, part(0, number(kind)), part(2, tlv(4, b"secret")))


def padata(*kinds: int) -> bytes:
    return tlv(0x30, *(tlv(0x30, part(1, number(kind)), part(2, tlv(4, b"x"))) for kind in kinds))


TICKET = tlv(
    0x61, tlv(0x30, part(0, number(5)), part(1, text(b"LAN")), part(2, name(b"cifs", b"srv")), part(3, encrypted(23)))
)
ASK = tlv(0x6A, tlv(
    0x30, part(1, number(5)), part(2, number(10)), part(3, padata(2, 128)),
    part(4, tlv(0x30, part(0, tlv(3, bytes(5))), part(1, name(b"alice")), part(2, text(b"LAN")),
                part(3, name(b"krbtgt", b"LAN")), part(7, number(1)), part(8, tlv(0x30, number(18), number(-135))))),
))  # fmt: skip
GIVE = tlv(0x6D, tlv(
    0x30, part(0, number(5)), part(1, number(13)), part(2, padata(19)), part(3, text(b"LAN")), part(4, name(b"alice")),
    part(5, TICKET), part(6, encrypted(18)),
))  # fmt: skip
FAIL = tlv(0x7E, tlv(
    0x30, part(0, number(5)), part(1, number(30)), part(6, number(25)), part(7, text(b"LAN")), part(8, name(b"alice")),
    part(9, text(b"DMZ")), part(10, name(b"krbtgt", b"DMZ")), part(11, text(b"NEEDED_PREAUTH")),
))  # fmt: skip
USE = tlv(0x6E, tlv(0x30, part(0, number(5)), part(1, number(14)), part(3, TICKET)))
SAMPLES = [ASK, GIVE, FAIL, USE]


def fields(data: bytes) -> dict[str, object]:
    (fact,) = kerberos_facts(data)
    assert isinstance(fact, Fact)
    return {key.removeprefix("kerberos."): value for key, value in fact.fields.items()}


@needs_corpus
def test_a_log_on_of_a_capture() -> None:
    found = facts("ndpi/kerberos.pcap", "kerberos")
    assert [each["kerberos.type"] for each in found[:2]] == ["AS-REQ", "KRB-ERROR"]
    assert (found[0]["kerberos.cname"], found[0]["kerberos.realm"]) == ("johnson-pc$", "happycraft.org")
    assert (found[1]["kerberos.error"], found[1]["kerberos.sname"]) == (25, "krbtgt/happycraft.org")
    assert found[0]["kerberos.etype"] == (18, 17, 23, 24, -135, 3)


def test_a_request() -> None:
    assert fields(ASK) == {
        "type": "AS-REQ", "padata": (2, 128), "cname": "alice", "realm": "LAN", "sname": "krbtgt/LAN", "etype": (18, -135),
    }  # fmt: skip


def test_a_ticket_and_how_it_is_encrypted() -> None:
    wanted = {"realm": "LAN", "sname": "cifs/srv", "ticket_etype": 23}
    assert fields(USE) == {"type": "AP-REQ", **wanted}
    assert fields(GIVE) == {
        "type": "TGS-REP", "padata": (19,), "client_realm": "LAN", "cname": "alice", "etype": (18,), **wanted,
    }  # fmt: skip


def test_an_error() -> None:
    assert fields(FAIL) == {
        "type": "KRB-ERROR", "error": 25, "client_realm": "LAN", "cname": "alice", "realm": "DMZ", "sname": "krbtgt/DMZ",
        "error_text": "NEEDED_PREAUTH",
    }  # fmt: skip


def test_what_says_no_more_than_its_type() -> None:
    assert fields(tlv(0x6F, tlv(0x30, part(0, number(5)))))["type"] == "AP-REP"
    assert kerberos_facts(b"\x30\x03") == [Malformed("no Kerberos message")]


def test_what_breaks_keeps_what_was_before() -> None:
    broken = tlv(0x7E, tlv(0x30, part(6, number(25)), part(7, b"\x1b\x7f")))
    assert kerberos_facts(broken) == [
        Fact("kerberos", {"kerberos.type": "KRB-ERROR", "kerberos.error": 25}),
        Malformed("Kerberos message breaks its encoding"),
    ]


@given(st.lists(st.integers(1, 60), max_size=6))
def test_any_cut_of_a_stream_gives_the_same_messages(sizes: list[int]) -> None:
    session = open_session(App.KERBEROS, proto=TCP)
    assert session
    sent = b"".join(len(each).to_bytes(4, "big") + each for each in SAMPLES)
    assert stream(session, chunks(sent, sizes)) == [fact for each in SAMPLES for fact in kerberos_facts(each)]


@pytest.mark.parametrize("data", [b"\x01", bytes(5), b"\0\0\0\x05\x30", b"\0\0\0\x01\x6a", b"GET /"])
def test_what_starts_no_message_over_tcp(data: bytes) -> None:
    assert packet_size(data) == -1


def test_cut_anywhere_it_never_raises() -> None:
    for sample in SAMPLES:
        assert cut_everywhere(kerberos_facts, sample) == len(sample) - 1


@given(damaged([*SAMPLES, b"\0\0\1\0" + ASK]))
def test_no_bytes_raise(data: bytes) -> None:
    kerberos_facts(data)
    session = open_session(App.KERBEROS, proto=TCP, max_bytes=64)
    assert session
    stream(session, [data])


def test_hostile_messages_stay_linear() -> None:
    def nested(count: int) -> bytes:
        return b"\x7e\x84\0\xff\xff\xff" + b"\x30\x84\0\xff\xff\xf0" + b"\xa6\x84\0\xff\xff\0" * count

    assert is_linear(kerberos_facts, nested, size=3000)
    assert is_linear(kerberos_facts, lambda n: tlv(0x6A, tlv(0x30, part(3, padata(*[2] * min(n, 2000))))), size=400)
