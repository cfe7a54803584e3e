"""LDAP: every operation, filters as text, streams in any cut, signed buffers, and what breaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net.detect import App
from packhound.net.facts import Fact, Malformed
from packhound.net.ldap import cldap_facts, message_size, read, signed
from packhound.net.session import TCP, open_session
from packhound.net.sessions.infra_streams import LdapStream
from tests.support.corpus import needs_corpus
from tests.support.hellos import client_hello, handshake, record, sni
from tests.support.infra import cut_everywhere, facts, stream
from tests.support.mutations import chunks, damaged, is_linear


def tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body)
    length = bytes((size,)) if size < 128 else b"\x84" + size.to_bytes(4, "big")
    return bytes((tag,)) + length + body


def message(operation: bytes, number: int = 7) -> bytes:
    return tlv(0x30, tlv(2, bytes((number,))), operation)


def text(value: str, tag: int = 4) -> bytes:
    return tlv(tag, value.encode())


def equals(name: str, value: str, tag: int = 0xA3) -> bytes:
    return tlv(tag, text(name), text(value))


def search(filters: bytes, *, base: str = "dc=lan", scope: int = 2) -> bytes:
    number = tlv(2, b"\0")
    return message(
        tlv(0x63, text(base), tlv(10, bytes((scope,))), tlv(10, b"\0"), number, number, tlv(1, b"\0"), filters,
            tlv(0x30, text("cn"), text("mail")))
    )  # fmt: skip


def result(tag: int, code: int, *more: bytes, number: int = 7, name: str = "") -> bytes:
    return message(tlv(tag, tlv(10, bytes((code,))), text(name), text("why\0"), *more), number)


def fields(data: bytes) -> dict[str, object]:
    (fact,) = read(data)
    assert isinstance(fact, Fact)
    return {name.removeprefix("ldap."): value for name, value in fact.fields.items() if name != "ldap.message_id"}


BIND = message(tlv(0x60, tlv(2, b"\3"), text("cn=admin,dc=lan"), text("secret", 0x80)))
SASL = message(tlv(0x60, tlv(2, b"\3"), text(""), tlv(0xA3, text("GSS-SPNEGO"), text("token"))))
BOUND = result(0x61, 0)
SEARCH = search(tlv(0xA0, equals("uid", "jo"), tlv(0x87, b"mail")))
ENTRY = message(tlv(0x64, text("cn=jo"), tlv(0x30, tlv(0x30, text("mail"), tlv(0x31, text("jo@lan"))))))
DONE = result(0x65, 32, name="dc=lan")
SAMPLES = [BIND, SASL, BOUND, SEARCH, ENTRY, DONE]


def wrapped(*messages: bytes, flags: int = 4, rotated: bool = True) -> bytes:
    """A SASL buffer with the token of RFC 4121."""
    plain, check = b"".join(messages), b"checksum12by"
    head = b"\5\4" + bytes((flags, 0xFF)) + b"\0\x0c" + (b"\0\x0c" if rotated else bytes(2)) + bytes(8)
    token = head + (check + plain if rotated else plain + check)
    return len(token).to_bytes(4, "big") + token


@needs_corpus
def test_a_search_of_a_capture_and_its_answer() -> None:
    found = facts("zeek/sasl-ntlm.pcap", "ldap")
    assert [each["ldap.mechanism"] for each in found if "ldap.mechanism" in each] == ["NTLM", "NTLM"]
    (asked,) = (each for each in found if each["ldap.operation"] == "searchRequest")
    assert (asked["ldap.dn"], asked["ldap.filter"], asked["ldap.scope"]) == (
        "dc=example,dc=com",
        "(objectclass=*)",
        "sub",
    )
    assert sum(each["ldap.operation"] == "searchResEntry" for each in found) == 9


@needs_corpus
def test_signed_buffers_of_a_capture_even_larger_than_what_is_held() -> None:
    found = facts("zeek/missing_ldap_logs.pcapng", "ldap")
    last = [each for each in found if each["ldap.message_id"] == 13 and each["ldap.operation"] == "searchResDone"]
    assert len(last) == 1
    assert sum(each["ldap.message_id"] == 13 and each["ldap.operation"] == "searchResEntry" for each in found) == 38


def test_binds_show_who_and_how_but_no_password() -> None:
    assert fields(BIND) == {"operation": "bindRequest", "version": 3, "dn": "cn=admin,dc=lan", "auth": "simple"}
    assert fields(SASL) == {"operation": "bindRequest", "version": 3, "auth": "sasl", "mechanism": "GSS-SPNEGO"}
    assert fields(message(tlv(0x60, tlv(2, b"\3"), text("x"), text("NTLMSSP\0", 0x8A))))["auth"] == "sicily"


def test_results() -> None:
    assert fields(DONE) == {"operation": "searchResDone", "result": 32, "dn": "dc=lan", "diagnostic": "why"}
    assert "dn" not in fields(result(0x61, 0, name="NTLMSSP\0\2"))
    assert fields(result(0x78, 0, text("1.2.3", 0x8A)))["oid"] == "1.2.3"


@pytest.mark.parametrize(
    ("operation", "wanted"),
    [
        (tlv(0x42), {"operation": "unbindRequest"}),
        (tlv(0x50, b"\6"), {"operation": "abandonRequest"}),
        (tlv(0x4A, b"cn=x"), {"operation": "delRequest", "dn": "cn=x"}),
        (tlv(0x66, text("cn=x"), tlv(0x30, tlv(0x30, tlv(10, b"\2"), tlv(0x30, text("mail"), tlv(0x31))))),
         {"operation": "modifyRequest", "dn": "cn=x", "attribute": ("mail",)}),
        (tlv(0x68, text("cn=x"), tlv(0x30, tlv(0x30, text("sn"), tlv(0x31, text("x"))))),
         {"operation": "addRequest", "dn": "cn=x", "attribute": ("sn",)}),
        (tlv(0x6C, text("cn=x"), text("cn=y"), tlv(1, b"\xff")), {"operation": "modDNRequest", "dn": "cn=x", "new_rdn": "cn=y"}),
        (tlv(0x6E, text("cn=x"), tlv(0x30, text("sn"), text("y"))),
         {"operation": "compareRequest", "dn": "cn=x", "attribute": ("sn",)}),
        (tlv(0x73, text("ldap://b/"), text("ldap://c/")), {"operation": "searchResRef", "reference": ("ldap://b/", "ldap://c/")}),
        (tlv(0x77, text("1.3.6", 0x80), text("v", 0x81)), {"operation": "extendedReq", "oid": "1.3.6"}),
        (tlv(0x79, text("1.3.6", 0x80)), {"operation": "intermediateResponse", "oid": "1.3.6"}),
    ],
)  # fmt: skip
def test_operations(operation: bytes, wanted: dict[str, object]) -> None:
    assert fields(message(operation)) == wanted


@pytest.mark.parametrize(
    ("filters", "written"),
    [
        (tlv(0x87, b"cn"), "(cn=*)"),
        (equals("cn", "a*(b)\\"), "(cn=a\\2a\\28b\\29\\5c)"),
        (tlv(0xA3, text("guid"), tlv(4, b"\0\xff(a")), "(guid=\\00\\ff\\28a)"),
        (equals("name", "Üü"), "(name=Üü)"),
        (equals("n", "1", 0xA5), "(n>=1)"), (equals("n", "1", 0xA6), "(n<=1)"), (equals("n", "1", 0xA8), "(n~=1)"),
        (tlv(0xA0), "(&)"), (tlv(0xA2, equals("a", "b")), "(!(a=b))"),
        (tlv(0xA1, equals("a", "b"), tlv(0xA0, equals("c", "d"))), "(|(a=b)(&(c=d)))"),
        (tlv(0xA4, text("cn"), tlv(0x30, text("a", 0x80), text("b", 0x81), text("c", 0x82))), "(cn=a*b*c)"),
        (tlv(0xA4, text("cn"), tlv(0x30, text("b", 0x81))), "(cn=*b*)"),
        (tlv(0xA4, text("cn"), tlv(0x30, text("a", 0x80))), "(cn=a*)"),
        (tlv(0xA4, text("cn"), tlv(0x30, text("c", 0x82))), "(cn=*c)"),
        (tlv(0xA9, text("1.2.840", 0x81), text("uac", 0x82), text("2", 0x83)), "(uac:1.2.840:=2)"),
        (tlv(0xA9, text("ou", 0x82), text("x", 0x83), tlv(0x84, b"\xff")), "(ou:dn:=x)"),
    ],
)  # fmt: skip
def test_filters_as_text(filters: bytes, written: str) -> None:
    assert fields(search(filters))["filter"] == written


def test_filters_too_deep_or_too_long_leave_the_rest() -> None:
    deep = equals("a", "b")
    for _ in range(60):
        deep = tlv(0xA2, deep)
    for filters in (deep, tlv(0xA0, equals("a", "b") * 400)):
        fact, why = read(search(filters))
        assert isinstance(fact, Fact)
        assert (fact.fields["ldap.dn"], "ldap.filter" in fact.fields) == ("dc=lan", False)
        assert why == Malformed("LDAP operation breaks its message")


def test_a_datagram_may_hold_an_entry_and_its_result() -> None:
    found = cldap_facts(ENTRY + DONE)
    assert [each.fields["ldap.operation"] for each in found if isinstance(each, Fact)] == [
        "searchResEntry",
        "searchResDone",
    ]


@given(st.lists(st.integers(1, 60), max_size=6))
def test_any_cut_of_a_stream_gives_the_same_messages(sizes: list[int]) -> None:
    sent = b"".join(SAMPLES) + wrapped(SEARCH) + wrapped(ENTRY, DONE, flags=5)
    found = stream(LdapStream(max_bytes=4096), chunks(sent, sizes))
    assert list(found) == [fact for each in (*SAMPLES, SEARCH, ENTRY, DONE) for fact in read(each)]


def test_a_message_larger_than_the_cap_is_known_by_its_head() -> None:
    large = message(tlv(0x64, text("cn=jo"), tlv(0x30, tlv(0x30, text("photo"), tlv(0x31, tlv(4, bytes(20000)))))))
    found = stream(LdapStream(max_bytes=512), chunks(large + DONE, [700]))
    assert not any(isinstance(each, Malformed) for each in found)
    assert [each.fields["ldap.dn"] for each in found if isinstance(each, Fact)] == ["cn=jo", "dc=lan"]


def test_a_message_may_go_on_in_the_next_signed_buffer() -> None:
    found = stream(LdapStream(max_bytes=4096), [wrapped(ENTRY[:20]), wrapped(ENTRY[20:], DONE)])
    assert [each.fields["ldap.operation"] for each in found if isinstance(each, Fact)] == [
        "searchResEntry",
        "searchResDone",
    ]


def test_signed_tokens() -> None:
    assert signed(wrapped(DONE)[4:]) == signed(wrapped(DONE, rotated=False)[4:]) == DONE
    assert signed(wrapped(DONE, flags=6)[4:]) == b""  # sealed
    assert signed(b"\1\0\0\0" + bytes(12) + DONE) == DONE
    oid = bytes.fromhex("06092a864886f712010202")
    assert signed(tlv(0x60, oid, b"\2\1\x11\0\xff\xff\xff\xff" + bytes(24) + DONE + b"\1")) == DONE
    assert signed(tlv(0x60, oid, b"\2\1\x11\0\x10\0\xff\xff" + bytes(24) + DONE + b"\1")) == b""


def test_encrypted_buffers_say_nothing_and_break_nothing() -> None:
    sealed = (40).to_bytes(4, "big") + bytes(range(200, 240))
    assert stream(LdapStream(max_bytes=4096), [SASL + sealed * 3 + wrapped(DONE, flags=6)]) == read(SASL)


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_behind_starttls_the_hellos_are_read(size: int) -> None:
    hello = record(22, handshake(1, client_hello((0x1301,), sni("ldap.example.org"))))
    session = LdapStream(max_bytes=4096)
    stream(session, [message(tlv(0x77, text("1.3.6.1.4.1.1466.20037", 0x80)), 9)])
    stream(session, [result(0x78, 0, number=9)], direction=1)
    assert not session.done
    (fact,) = stream(session, [hello[at : at + size] for at in range(0, len(hello), size)])
    assert isinstance(fact, Fact)
    assert (fact.kind, fact.fields["tls.sni"]) == ("tls.client_hello", "ldap.example.org")


def test_a_refused_starttls_changes_nothing() -> None:
    session = LdapStream(max_bytes=4096)
    stream(session, [message(tlv(0x77, text("1.3.6.1.4.1.1466.20037", 0x80)), 9)])
    stream(session, [result(0x78, 52, number=9)], direction=1)
    assert stream(session, [SEARCH]) == read(SEARCH)


def test_a_hello_is_read_though_the_agreement_was_lost() -> None:
    session = LdapStream(max_bytes=4096)
    assert stream(session, [SEARCH]) == read(SEARCH)
    session.gap(1, 40)
    (fact,) = stream(session, [record(22, handshake(1, client_hello((0x1301,), sni("a.example"))))])
    assert isinstance(fact, Fact)
    assert fact.kind == "tls.client_hello"


def test_after_a_gap_it_goes_on_with_the_next_message() -> None:
    session = LdapStream(max_bytes=4096)
    assert stream(session, [SEARCH[:20]]) == []
    session.gap(0, 30)
    assert stream(session, [b"rest of what was torn", SEARCH]) == read(SEARCH)


def test_a_capture_may_begin_inside_a_message() -> None:
    assert stream(LdapStream(max_bytes=4096), [b"part of an entry", DONE]) == read(DONE)


def test_broken_framing_is_said_once() -> None:
    found = stream(LdapStream(max_bytes=4096), [DONE + b"\xffgarbage", b"more", DONE])
    assert [each for each in found if isinstance(each, Malformed)] == [Malformed("LDAP stream lost its framing")]


@pytest.mark.parametrize(
    "data", [b"\x31", b"\x30\x80", b"\x30\x85", b"\x30\5\4\1", b"\x30\5\2\1\1\xff", b"\x30\3\2\1\1"]
)
def test_what_starts_no_message(data: bytes) -> None:
    assert message_size(data) == -1


def test_cut_anywhere_it_never_raises() -> None:
    for sample in SAMPLES:
        assert cut_everywhere(cldap_facts, sample) == len(sample) - 1
        assert all(message_size(sample[:size]) in (0, len(sample)) for size in range(len(sample)))


@given(damaged([*SAMPLES, wrapped(SEARCH), wrapped(ENTRY, DONE), b"".join(SAMPLES)]))
def test_no_bytes_raise(data: bytes) -> None:
    cldap_facts(data)
    stream(LdapStream(max_bytes=64), [data])


def test_hostile_messages_stay_linear() -> None:
    def unended(count: int) -> bytes:
        return b"\x30\x84\x7f\xff\xff\xff\2\1\1\x64" + bytes(count)

    assert is_linear(lambda data: stream(LdapStream(max_bytes=65536), chunks(data, [50])), unended, size=50_000)
    assert is_linear(
        lambda data: stream(LdapStream(max_bytes=65536), [data]), lambda n: message(tlv(0x42)) * n, size=3000
    )
    assert open_session(App.LDAP, proto=TCP)
