"""SNMP: communities, users, variables, and messages that break."""

from __future__ import annotations

import pytest
from hypothesis import given

from packhound.net.facts import Fact, Malformed
from packhound.net.snmp import SnmpMessage, parse, snmp_facts
from tests.support.corpus import needs_corpus
from tests.support.infra import cut_everywhere, facts, payloads
from tests.support.mutations import damaged, is_linear


def tlv(tag: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    size = len(body)
    length = bytes((size,)) if size < 128 else b"\x83" + size.to_bytes(3, "big")
    return bytes((tag,)) + length + body


def number(value: int, tag: int = 2) -> bytes:
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


SYS_NAME = tlv(6, b"\x2b\6\1\2\1\1\5\0")


def pdu(tag: int, *bindings: bytes, error: int = 0) -> bytes:
    return tlv(tag, number(77), number(error), number(0), tlv(0x30, *bindings))


def community(body: bytes, *, version: int = 1, name: bytes = b"public") -> bytes:
    return tlv(0x30, number(version), tlv(4, name), body)


def version3(scoped: bytes, *, flags: int = 0, user: bytes = b"admin") -> bytes:
    security = tlv(0x30, tlv(4, b"\x80\0\x1f\x88"), number(1), number(2), tlv(4, user), tlv(4), tlv(4))
    head = tlv(0x30, number(5), number(65507), tlv(4, bytes((flags,))), number(3))
    return tlv(0x30, number(3), head, tlv(4, security), scoped)


GET = community(pdu(0xA0, tlv(0x30, SYS_NAME, tlv(5))))
ANSWER = community(pdu(0xA2, tlv(0x30, SYS_NAME, tlv(4, b"router")), tlv(0x30, SYS_NAME, number(5)), error=0))
SCOPED = tlv(0x30, tlv(4, b"\x80\1"), tlv(4, b"vrf-a"), pdu(0xA1, tlv(0x30, SYS_NAME, tlv(5))))


def fields(data: bytes) -> dict[str, object]:
    (fact,) = snmp_facts(data)
    assert isinstance(fact, Fact)
    return dict(fact.fields)


@needs_corpus
def test_versions_and_credentials_of_a_capture() -> None:
    found = facts("ndpi/snmp.pcap", "snmp")
    assert found[1]["snmp.value"] == ("GlobomanticsHQ",)
    assert found[0]["snmp.community"] == "public"
    assert {each.get("snmp.user") for each in found} >= {"NOAUTHNOPRIV", "SHA1AES128"}
    assert {each["snmp.version"] for each in found} == {"1", "2c", "3"}


@needs_corpus
def test_a_trap_whose_tag_is_written_long() -> None:
    capture = "suricata-verify/ruletype-firewall-54-snmp-v1-trap__public-wiresharkwiki-c06-snmpv1-trap-app-r1-1-12.pcap"
    trap = fields(next(each for each in payloads(capture, port=162) if b"\xbf\4" in each))
    assert (trap["snmp.pdu"], trap["snmp.enterprise"]) == ("trap", "1.3.6.1.4.1.4.1.2.21")
    assert (trap["snmp.agent"], trap["snmp.oid"]) == ("127.0.0.1", ("1.3.6.1.2.1.2.1.0",))


def test_a_request_has_identifiers_and_no_values() -> None:
    assert fields(GET) == {
        "snmp.version": "2c", "snmp.community": "public", "snmp.pdu": "get-request", "snmp.request_id": 77,
        "snmp.oid": ("1.3.6.1.2.1.1.5.0",),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"),
    [(tlv(4, b"router"), "router"), (tlv(4, b"\0\1"), "0001"), (number(-5), "-5"), (tlv(0x41, b"\xff" * 4), "4294967295"),
     (tlv(0x40, b"\xc0\0\2\1"), "192.0.2.1"), (tlv(0x40, b"\xc0"), "c0"), (SYS_NAME, "1.3.6.1.2.1.1.5.0"), (tlv(4), "")],
)  # fmt: skip
def test_values_as_text(value: bytes, text: str) -> None:
    found = fields(community(pdu(0xA2, tlv(0x30, SYS_NAME, value), tlv(0x30, SYS_NAME, number(1)))))
    assert found["snmp.value"] == (text, "1")


def test_error_status_but_not_the_bounds_of_a_bulk_request() -> None:
    assert fields(community(pdu(0xA2, error=2)))["snmp.error"] == 2
    assert "snmp.error" not in fields(community(pdu(0xA5, error=2)))


def test_a_version_3_message_in_the_clear_and_encrypted() -> None:
    clear = fields(version3(SCOPED))
    assert (clear["snmp.user"], clear["snmp.context"], clear["snmp.engine_id"]) == ("admin", "vrf-a", "8001")
    assert (clear["snmp.pdu"], clear["snmp.encrypted"]) == ("get-next-request", False)
    assert fields(version3(tlv(4, b"secret"), flags=3)) == {
        "snmp.version": "3", "snmp.user": "admin", "snmp.engine_id": "80001f88", "snmp.encrypted": True,
    }  # fmt: skip


def test_a_user_is_named_where_the_length_around_it_lies() -> None:
    fact, why = snmp_facts(version3(SCOPED).replace(b"\x04\x19\x30\x17", b"\x04\x19\x30\x1d"))
    assert isinstance(fact, Fact)
    assert (fact.fields["snmp.user"], "snmp.pdu" in fact.fields) == ("admin", False)
    assert why == Malformed("SNMP message breaks its encoding")


def test_what_breaks_behind_the_community_keeps_the_community() -> None:
    fact, why = snmp_facts(community(b"\xa0\3\2\1"))
    assert isinstance(fact, Fact)
    assert fact.fields["snmp.community"] == "public"
    assert why == Malformed("SNMP message breaks its encoding")


def test_what_is_no_snmp_is_malformed() -> None:
    for data in (b"\x30", b"\x31\3\2\1\1", tlv(0x30, number(9))):
        assert isinstance(parse(data), Malformed)


def test_more_variables_than_are_read_are_reported() -> None:
    found = parse(community(pdu(0xA2, tlv(0x30, SYS_NAME, tlv(5)) * 2000)))
    assert isinstance(found, SnmpMessage)
    assert (found.broken, len(found.bindings)) == ("more SNMP variables than are read", 512)


def test_cut_anywhere_it_never_raises() -> None:
    for sample in (GET, ANSWER, version3(SCOPED)):
        assert cut_everywhere(snmp_facts, sample) == len(sample) - 1


@given(damaged([GET, ANSWER, version3(SCOPED), version3(tlv(4, b"x"), flags=3)]))
def test_no_bytes_raise(data: bytes) -> None:
    snmp_facts(data)


def test_hostile_messages_stay_linear() -> None:
    assert is_linear(snmp_facts, lambda n: community(pdu(0xA2, tlv(0x30, SYS_NAME, tlv(4, b"a" * n)))), size=5000)
    assert is_linear(snmp_facts, lambda n: community(pdu(0xA2, tlv(0x30, tlv(6, b"\1" * n), tlv(5)))), size=5000)
