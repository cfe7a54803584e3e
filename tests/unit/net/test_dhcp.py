"""DHCP: who asks, what is given, and options that break."""

from __future__ import annotations

from hypothesis import given

from packhound.net.dhcp import DhcpMessage, dhcp_facts, parse
from packhound.net.facts import Fact, Malformed
from tests.support.corpus import needs_corpus
from tests.support.infra import cut_everywhere, facts
from tests.support.mutations import damaged, is_linear

COOKIE = b"\x63\x82\x53\x63"


def message(
    *options: tuple[int, bytes], operation: int = 1, sname: bytes = b"", file: bytes = b"", end: bytes = b"\xff"
) -> bytes:
    fixed = bytes((operation, 1, 6, 0)) + b"\0\0\1\2" + bytes(4) + bytes(4) + bytes((192, 0, 2, 7)) + bytes(8)
    mac = b"\x02\0\0\0\0\x2a".ljust(16, b"\0")
    body = b"".join(bytes((code, len(value))) + value for code, value in options)
    return fixed + mac + sname.ljust(64, b"\0") + file.ljust(128, b"\0") + COOKIE + body + end


def fields(data: bytes) -> dict[str, object]:
    (fact,) = dhcp_facts(data)
    assert isinstance(fact, Fact)
    return dict(fact.fields)


@needs_corpus
def test_a_lease_from_discover_to_ack() -> None:
    found = facts("ndpi/android.pcap", "dhcp")[-4:]
    assert [each["dhcp.type"] for each in found] == ["DISCOVER", "OFFER", "REQUEST", "ACK"]
    assert {each["dhcp.client_mac"] for each in found} == {"4c:6a:f6:9f:f6:27"}
    assert found[2]["dhcp.requested_ip"] == found[3]["dhcp.your_ip"] == "192.168.2.16"
    assert found[2]["dhcp.vendor_class"] == "android-dhcp-9"
    assert found[2]["dhcp.parameters"] == (1, 3, 6, 15, 26, 28, 51, 58, 59, 43)
    assert found[3]["dhcp.server_id"] == "192.168.2.1"
    assert (found[3]["dhcp.router"], found[3]["dhcp.lease_time"]) == (("192.168.2.1",), 85536)


def test_a_message_without_a_type_is_bootp() -> None:
    assert fields(message()[:240])["dhcp.type"] == "BOOTREQUEST"
    assert fields(message(operation=2)[:236])["dhcp.type"] == "BOOTREPLY"


def test_a_type_without_a_name_is_its_number() -> None:
    assert fields(message((53, b"\x63")))["dhcp.type"] == "99"


def test_pieces_of_one_option_are_joined() -> None:
    assert fields(message((12, b"host-"), (0xFA, b"x"), (12, b"name")))["dhcp.hostname"] == "host-name"


def test_options_go_on_in_the_file_and_server_name() -> None:
    found = fields(message((52, b"\3"), sname=b"\x0f\x03lan\xff", file=b"\x0c\x02pc\xff"))
    assert (found["dhcp.hostname"], found["dhcp.domain"]) == ("pc", "lan")


def test_a_client_name_as_labels_and_as_text() -> None:
    assert fields(message((81, b"\5\0\0\x02pc\x03lan\0")))["dhcp.fqdn"] == "pc.lan"
    assert fields(message((81, b"\1\0\0pc.lan")))["dhcp.fqdn"] == "pc.lan"
    assert "dhcp.fqdn" not in fields(message((81, b"\5\0\0\x09pc")))


def test_addresses_of_a_wrong_size_are_left_out() -> None:
    found = fields(message((50, b"\1\2\3"), (54, bytes(4)), (6, bytes(range(1, 10)))))
    assert not found.keys() & {"dhcp.requested_ip", "dhcp.server_id"}
    assert found["dhcp.dns"] == ("1.2.3.4", "5.6.7.8")


def test_options_that_break_leave_what_was_before_and_say_so() -> None:
    fact, why = dhcp_facts(message((53, b"\1"), (12, b"host"), end=b"\x3c\x40MSFT"))
    assert isinstance(fact, Fact)
    assert fact.fields["dhcp.hostname"] == "host"
    assert why == Malformed("DHCP option breaks its message")


def test_more_options_than_are_read_are_reported() -> None:
    found = parse(message(*[(200, b"")] * 400))
    assert isinstance(found, DhcpMessage)
    assert found.broken


def test_what_is_no_dhcp_is_malformed() -> None:
    assert isinstance(parse(message()[:235]), Malformed)
    assert isinstance(parse(b"\3" + message()[1:]), Malformed)


SAMPLE = message((53, b"\3"), (50, b"\1\2\3\4"), (81, b"\5\0\0\x02pc\x03lan\0"), (55, b"\1\3\6"), (52, b"\3"))


def test_cut_anywhere_it_never_raises() -> None:
    assert cut_everywhere(dhcp_facts, SAMPLE) > 235


@given(damaged([SAMPLE]))
def test_no_bytes_raise(data: bytes) -> None:
    dhcp_facts(data)


def test_hostile_messages_stay_linear() -> None:
    assert is_linear(dhcp_facts, lambda count: message(*[(12, b"x" * 200)] * count), size=500)
    assert is_linear(dhcp_facts, lambda count: message(end=bytes(count)), size=2000)
