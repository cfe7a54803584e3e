"""DNS: questions, answers and what breaks; pointers cannot make it loop or slow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net import dns
from packhound.net.dns import DnsMessage
from packhound.net.facts import Fact, Malformed
from packhound.net.sessions.dns import MAX_PENDING, DnsDatagrams, DnsStream
from tests.support.mutations import chunks, damaged, is_linear


def header(*counts: int, flags: int = 0x8180, ident: int = 0x1234) -> bytes:
    return b"".join(number.to_bytes(2, "big") for number in (ident, flags, *counts))


def name(*labels: bytes) -> bytes:
    return b"".join(bytes((len(label),)) + label for label in labels) + b"\0"


def rr(kind: int, data: bytes, *, owner: bytes = b"\xc0\x0c", ttl: int = 60) -> bytes:
    return owner + kind.to_bytes(2, "big") + b"\0\1" + ttl.to_bytes(4, "big") + len(data).to_bytes(2, "big") + data


QUESTION = name(b"www", b"Example", b"com") + b"\0\1\0\1"
ANSWER = (
    header(1, 4, 1, 2) + QUESTION + rr(5, b"\x03cdn\xc0\x10") + rr(1, bytes((192, 0, 2, 1)))
    + rr(28, bytes.fromhex("20010db8000000000000000000000001")) + rr(16, b"\x03a=b\x02;c")
    + rr(2, name(b"ns")) + rr(1, bytes((192, 0, 2, 9))) + rr(41, b"", owner=b"\0", ttl=1 << 24)
)  # fmt: skip
QUERY = header(1, 0, 0, 0, flags=0x0100) + QUESTION


def parsed(data: bytes) -> DnsMessage:
    found = dns.parse(data)
    assert isinstance(found, DnsMessage)
    return found


def test_a_query_has_no_rcode() -> None:
    (fact,) = DnsDatagrams(kind="dns").feed(0, QUERY, now=0)
    assert fact == Fact("dns", {
        "dns.id": 0x1234, "dns.response": False, "dns.opcode": 0, "dns.answers": 0, "dns.qname": ("www.Example.com",),
        "dns.qtype": (1,), "dns.qclass": (1,), "dns.aa": False, "dns.tc": False, "dns.rd": True, "dns.ra": False,
        "dns.z": False, "dns.ad": False, "dns.cd": False,
    })  # fmt: skip


def test_answers_of_every_section_and_the_extended_rcode() -> None:
    (fact,) = DnsDatagrams(kind="mdns").feed(1, ANSWER, now=0)
    assert isinstance(fact, Fact)
    assert fact.kind == "mdns"
    assert fact.fields["dns.answer"] == ("cdn.Example.com", "192.0.2.1", "2001:db8::1", "a=b;c")
    assert fact.fields["dns.a"] == ("192.0.2.1", "192.0.2.9")
    assert fact.fields["dns.cname"] == ("cdn.Example.com",)
    assert (fact.fields["dns.rcode"], fact.fields["dns.answers"], fact.fields["dns.ttl"]) == (16, 4, (60,) * 4)


@pytest.mark.parametrize(
    ("bit", "name"), [(1 << at, name) for at, name in zip(range(4, 11), ("cd", "ad", "z", "ra", "rd", "tc", "aa"), strict=True)]
)
def test_every_flag_of_the_header(bit: int, name: str) -> None:
    (fact,) = DnsDatagrams(kind="dns").feed(0, header(1, 0, 0, 0, flags=bit) + QUESTION, now=0)
    assert isinstance(fact, Fact)
    assert [flag for flag in dns.FLAGS if fact.fields[flag]] == [f"dns.{name}"]


def opt(*options: tuple[int, bytes], flags: int = 0x8000) -> bytes:
    data = b"".join(number.to_bytes(2, "big") + len(body).to_bytes(2, "big") + body for number, body in options)
    return rr(41, data, owner=b"\0", ttl=flags).replace(b"\0\x29\0\1", b"\0\x29\x04\xd0", 1)


def test_what_edns_says() -> None:
    record = opt((8, b"\0\1\x18\0\xc0\0\2"), (10, bytes(8)), (15, b"\0\x12blocked"))
    (fact,) = DnsDatagrams(kind="dns").feed(0, header(1, 0, 0, 1, flags=0x0100) + QUESTION + record, now=0)
    assert isinstance(fact, Fact)
    assert {name: value for name, value in fact.fields.items() if "edns" in name} == {
        "dns.edns.version": 0, "dns.edns.udp_size": 1232, "dns.edns.do": True, "dns.edns.option": (8, 10, 15),
        "dns.edns.client_subnet": "192.0.2.0/24", "dns.edns.error": 18,
    }  # fmt: skip
    six = opt((8, b"\0\2\x38\0\x20\x01\x0d\xb8\0\0\1"), flags=0)
    (fact,) = DnsDatagrams(kind="dns").feed(0, header(0, 0, 0, 1, flags=0) + six, now=0)
    assert isinstance(fact, Fact)
    assert (fact.fields["dns.edns.client_subnet"], fact.fields["dns.edns.do"]) == ("2001:db8:0:100::/56", False)


def test_options_that_break_their_record_are_said() -> None:
    fact, why = DnsDatagrams(kind="dns").feed(0, header(0, 0, 0, 1) + rr(41, b"\0\x08\0\x09x", owner=b"\0"), now=0)
    assert isinstance(fact, Fact)
    assert "dns.edns.option" not in fact.fields
    assert why == Malformed("EDNS option breaks its record")


def test_an_answer_says_how_long_it_took() -> None:
    session = DnsDatagrams(kind="dns")
    asked, answer = header(1, 0, 0, 0, flags=0x0100) + QUESTION, header(1, 0, 0, 0) + QUESTION
    other = header(1, 0, 0, 0, ident=7) + QUESTION
    session.feed(0, asked, now=100)
    session.feed(0, asked, now=150)  # sent again
    times = [
        fact.fields.get("dns.response_time")
        for direction, data in ((0, answer), (1, other), (1, answer.replace(b"Example", b"eXAMPLE")), (1, answer))
        for fact in session.feed(direction, data, now=400)
        if isinstance(fact, Fact)
    ]
    assert times == [None, None, 300, None]
    mdns = DnsDatagrams(kind="mdns")
    mdns.feed(0, asked, now=1)
    (fact,) = mdns.feed(1, answer, now=2)
    assert isinstance(fact, Fact)
    assert "dns.response_time" not in fact.fields


def test_queries_that_nobody_answers_are_bounded() -> None:
    session = DnsDatagrams(kind="dns")
    for number in range(MAX_PENDING + 100):
        session.feed(0, header(1, 0, 0, 0, flags=0, ident=number) + QUESTION, now=number)
    assert len(session._waiting._asked) == MAX_PENDING


def test_text_of_names() -> None:
    assert parsed(header(1, 0, 0, 0) + b"\0\0\2\0\1").questions == ((".", 2),)
    assert parsed(header(1, 0, 0, 0) + name(b"a.b", "é".encode()) + b"\0\1\0\1").questions == (("a\\.b.é", 1),)


def test_pointers_forward_or_to_themselves_are_refused() -> None:
    for pointer in (b"\xc0\x0c", b"\xc0\x20", b"\x01a\xc0\x0c"):
        assert isinstance(dns.parse(header(1, 0, 0, 0) + pointer + b"\0\1\0\1" + bytes(40)), Malformed)


def test_a_message_that_breaks_behind_its_question_says_both() -> None:
    fact, why = DnsDatagrams(kind="dns").feed(1, ANSWER[:70], now=0)
    assert isinstance(fact, Fact)
    assert fact.fields["dns.qname"] == ("www.Example.com",)
    assert isinstance(why, Malformed)


def test_names_longer_than_255_octets_are_refused() -> None:
    assert isinstance(dns.parse(header(1, 0, 0, 0) + name(*[b"x" * 63] * 5) + b"\0\1\0\1"), Malformed)


def test_lying_counts_cost_nothing() -> None:
    assert parsed(header(0, 0xFFFF, 0xFFFF, 0xFFFF)).broken
    assert parsed(header(0xFFFF, 0, 0, 0) + QUESTION * 300).broken


@given(st.lists(st.integers(1, 90), max_size=6))
def test_any_cut_of_a_stream_gives_the_same_messages(sizes: list[int]) -> None:
    stream = b"".join(len(each).to_bytes(2, "big") + each for each in (QUERY, ANSWER, QUERY))
    session = DnsStream(kind="dns")
    facts = [fact for piece in chunks(stream, sizes) for fact in session.feed(0, piece, now=0)]
    assert [fact.fields["dns.response"] for fact in facts if isinstance(fact, Fact)] == [False, True, False]


def test_a_stream_gives_up_where_its_framing_is_lost() -> None:
    session = DnsStream(kind="dns")
    session.gap(0, 10)
    assert session.feed(0, b"\0\x1d" + QUERY, now=0) == []
    assert isinstance(session.feed(1, b"\0\1x", now=0)[0], Malformed)
    assert session.done


@given(damaged([QUERY, ANSWER]))
def test_no_bytes_raise(data: bytes) -> None:
    DnsDatagrams(kind="llmnr").feed(0, data, now=0)
    DnsStream(kind="dns").feed(0, len(data).to_bytes(2, "big") + data, now=0)


def test_hostile_messages_stay_linear() -> None:
    def pointers(count: int) -> bytes:
        """Each record's name points to the one before it: a chain that would be walked anew every time."""
        out = bytearray(header(0, count, 0, 0))
        previous = 0
        for _ in range(count):
            target = b"\x01a" + ((0xC000 | previous).to_bytes(2, "big") if previous else b"\0")
            start = len(out) + 11
            out += rr(5, target, owner=b"\0")
            previous = start if start < 0x3F00 else previous
        return bytes(out)

    def deep(count: int) -> bytes:
        """Every answer points to one name of 127 labels."""
        return header(1, count, 0, 0) + name(*[b"a"] * 127) + b"\0\1\0\1" + rr(5, b"\xc0\x0c") * count

    assert is_linear(dns.parse, pointers, size=1000)
    assert is_linear(dns.parse, deep, size=1000)
