"""DHCPv6: clients, leases, relays, and options that break."""

from __future__ import annotations

from hypothesis import given

from packhound.net.dhcpv6 import Dhcpv6Message, dhcpv6_facts, parse
from packhound.net.facts import Fact, Malformed
from tests.support.corpus import needs_corpus
from tests.support.infra import cut_everywhere, facts
from tests.support.mutations import damaged, is_linear

PEER = bytes.fromhex("fe80000000000000000000000000002a")
ADDRESS = bytes.fromhex("20010db8000000000000000000000007")


def option(code: int, value: bytes) -> bytes:
    return code.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value


def relayed(inner: bytes) -> bytes:
    return b"\x0c\0" + bytes(16) + PEER + option(9, inner)


SOLICIT = (
    b"\1\0\0\x2a" + option(1, b"\0\3\0\1\2\0\0\0\0\x2a") + option(6, b"\0\x17\0\x18") + option(39, b"\0\x02pc\x03lan\0")
)
REPLY = (
    b"\7\0\0\x2a"
    + option(3, bytes(12) + option(5, ADDRESS + bytes(8)) + option(13, b"\0\2no"))
    + option(25, bytes(12) + option(26, bytes(8) + b"\x38" + ADDRESS[:8] + bytes(8)))
    + option(23, ADDRESS)
    + option(24, b"\x03lan\0\x01b\x02de\0")
)


def fields(data: bytes) -> dict[str, object]:
    (fact,) = dhcpv6_facts(data)
    assert isinstance(fact, Fact)
    return dict(fact.fields)


@needs_corpus
def test_a_client_of_a_capture() -> None:
    first = facts("ipfixprobe/mixed.pcap", "dhcpv6")[0]
    assert first["dhcpv6.type"] == ("SOLICIT",)
    assert first["dhcpv6.client_mac"] == "a0:f3:c1:16:5a:ca"
    assert first["dhcpv6.fqdn"] == "OpenWrt"


@needs_corpus
def test_a_relay_of_a_capture_and_what_it_carries() -> None:
    (found,) = (
        each
        for each in facts("tcpdump/dhcpv6-vendor-specific-information.pcap", "dhcpv6")
        if "dhcpv6.relay_peer" in each
    )
    assert found["dhcpv6.type"] == ("RELAY-FORW", "REQUEST")
    assert found["dhcpv6.relay_peer"] == ("fc00:502:411:1::1",)
    assert found["dhcpv6.vendor_class"] == ("docsis3.0",)


def test_who_asks_and_for_what() -> None:
    assert fields(SOLICIT) == {
        "dhcpv6.type": ("SOLICIT",), "dhcpv6.xid": 42, "dhcpv6.client_duid": "0003000102000000002a",
        "dhcpv6.client_mac": "02:00:00:00:00:2a", "dhcpv6.parameters": (23, 24), "dhcpv6.fqdn": "pc.lan",
    }  # fmt: skip


def test_what_a_server_gives() -> None:
    assert fields(REPLY) == {
        "dhcpv6.type": ("REPLY",), "dhcpv6.xid": 42, "dhcpv6.address": ("2001:db8::7",), "dhcpv6.status": (2,),
        "dhcpv6.prefix": ("2001:db8::/56",), "dhcpv6.dns": ("2001:db8::7",), "dhcpv6.domain": ("lan", "b.de"),
    }  # fmt: skip


def test_relays_are_named_from_the_outside_in() -> None:
    found = fields(relayed(relayed(SOLICIT)))
    assert found["dhcpv6.type"] == ("RELAY-FORW", "RELAY-FORW", "SOLICIT")
    assert found["dhcpv6.relay_peer"] == ("fe80::2a", "fe80::2a")
    assert (found["dhcpv6.xid"], found["dhcpv6.fqdn"]) == (42, "pc.lan")


def test_options_that_break_leave_what_was_before_and_say_so() -> None:
    fact, why = dhcpv6_facts(SOLICIT + b"\0\x27\0\x40")
    assert isinstance(fact, Fact)
    assert fact.fields["dhcpv6.fqdn"] == "pc.lan"
    assert why == Malformed("DHCPv6 option breaks its message")


def test_relays_and_options_have_an_end() -> None:
    chain = SOLICIT
    for _ in range(60):
        chain = relayed(chain)
    for data in (chain, b"\1\0\0\x2a" + option(200, b"") * 400):
        found = parse(data)
        assert isinstance(found, Dhcpv6Message)
        assert found.broken.startswith("more DHCPv6")


def test_cut_anywhere_it_never_raises() -> None:
    for sample in (SOLICIT, REPLY, relayed(SOLICIT)):
        assert cut_everywhere(dhcpv6_facts, sample)


@given(damaged([SOLICIT, REPLY, relayed(SOLICIT)]))
def test_no_bytes_raise(data: bytes) -> None:
    dhcpv6_facts(data)


def test_hostile_messages_stay_linear() -> None:
    def nested(count: int) -> bytes:
        body = b""
        for _ in range(min(count, 4000)):
            body = option(3, bytes(12) + body)[:65000]
        return b"\1\0\0\x2a" + body

    assert is_linear(dhcpv6_facts, nested, size=900)
    assert is_linear(dhcpv6_facts, lambda count: b"\1\0\0\x2a" + option(24, b"\x01a" * count), size=2000)
