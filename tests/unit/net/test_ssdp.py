"""SSDP: searches, notifications and answers."""

from __future__ import annotations

from hypothesis import given

from packhound.net.facts import Fact, Malformed
from packhound.net.ssdp import ssdp_facts
from tests.support.corpus import needs_corpus
from tests.support.infra import cut_everywhere, facts
from tests.support.mutations import damaged, is_linear

SEARCH = (
    b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMan: \"ssdp:discover\"\r\nMX: 1\r\nst: ssdp:all\r\n"
    b"USER-AGENT: Chrome\r\n\r\n"
)  # fmt: skip
NOTIFY = (
    b"NOTIFY * HTTP/1.1\r\nHOST:[FF02::C]:1900\r\nNT:upnp:rootdevice\r\nNTS:ssdp:byebye\r\nUSN:uuid:1::upnp:rootdevice\r\n"
    b"Location:http://192.0.2.1:80/d.xml\r\nSERVER:Linux UPnP/1.0 x/1\r\n\r\n"
)  # fmt: skip


def fields(data: bytes) -> dict[str, object]:
    (fact,) = ssdp_facts(data)
    assert isinstance(fact, Fact)
    return dict(fact.fields)


@needs_corpus
def test_answers_of_a_capture_wherever_they_come_from() -> None:
    found = [each for each in facts("ndpi/anyconnect-vpn.pcap", "ssdp") if each.get("ssdp.status") == 200]
    assert {each["ssdp.location"] for each in found} == {
        "http://10.0.0.149:8008/ssdp/device-desc.xml", "http://10.0.0.151:8060/dial/dd.xml",
    }  # fmt: skip


def test_a_search() -> None:
    assert fields(SEARCH) == {
        "ssdp.method": "M-SEARCH", "ssdp.uri": "*", "ssdp.host": "239.255.255.250:1900", "ssdp.st": "ssdp:all",
        "ssdp.man": '"ssdp:discover"', "ssdp.user_agent": "Chrome",
    }  # fmt: skip


def test_a_notification() -> None:
    assert fields(NOTIFY) == {
        "ssdp.method": "NOTIFY", "ssdp.uri": "*", "ssdp.host": "[FF02::C]:1900", "ssdp.nt": "upnp:rootdevice",
        "ssdp.nts": "ssdp:byebye", "ssdp.usn": "uuid:1::upnp:rootdevice", "ssdp.location": "http://192.0.2.1:80/d.xml",
        "ssdp.server": "Linux UPnP/1.0 x/1",
    }  # fmt: skip


def test_without_a_start_line_it_is_malformed() -> None:
    assert ssdp_facts(b"\r\nHOST: x\r\n") == [Malformed("no SSDP start line")]


def test_cut_anywhere_it_never_raises() -> None:
    assert cut_everywhere(ssdp_facts, SEARCH) == SEARCH.index(b"\n")


@given(damaged([SEARCH, NOTIFY, b"HTTP/1.1 200 OK\r\nST:a\r\n\r\n"]))
def test_no_bytes_raise(data: bytes) -> None:
    ssdp_facts(data)


def test_hostile_messages_stay_linear() -> None:
    assert is_linear(ssdp_facts, lambda n: b"NOTIFY * HTTP/1.1\r\n" + b"NT: x\r\n" * n, size=2000)
    assert is_linear(ssdp_facts, lambda n: b"NOTIFY * HTTP/1.1\r\nNT: x" + b"\r\n " * n, size=2000)
