"""STUN and TURN: methods, addresses behind their mask, streams, and what shares the port."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net.detect import App
from packhound.net.facts import Fact, Malformed
from packhound.net.session import TCP, UDP, open_session
from packhound.net.stun import COOKIE, message_size, stun_facts
from tests.support.corpus import needs_corpus
from tests.support.infra import cut_everywhere, facts, stream
from tests.support.mutations import chunks, damaged, is_linear

ID = b"transaction!"


def attribute(number: int, value: bytes) -> bytes:
    return struct.pack(">HH", number, len(value)) + value + bytes(-len(value) % 4)


def message(kind: int, *attributes: bytes, cookie: bytes = COOKIE) -> bytes:
    body = b"".join(attributes)
    return struct.pack(">HH", kind, len(body)) + cookie + ID + body


def masked(address: bytes, port: int) -> bytes:
    mask = COOKIE + ID
    hidden = bytes(a ^ b for a, b in zip(address, mask, strict=False))
    return bytes((0, 1 if len(address) == 4 else 2)) + struct.pack(">H", port ^ 0x2112) + hidden


V4, V6 = bytes((192, 0, 2, 7)), bytes.fromhex("20010db8000000000000000000000007")
ASK = message(1, attribute(6, b"a:b"), attribute(0x8022, b"ICE 1\0"))
SAY = message(0x0101, attribute(0x20, masked(V4, 4242)))
RELAY = message(0x0103, attribute(0x16, masked(V6, 9)), attribute(0x20, masked(V6, 5)))
DENY = message(0x0113, attribute(9, b"\0\0\4\1No"), attribute(0x14, b"lan"))
SEND = message(0x0016, attribute(0x12, masked(V4, 9)), attribute(0x13, b"data"))
SAMPLES = [ASK, SAY, RELAY, DENY, SEND]


def fields(data: bytes) -> dict[str, object]:
    (fact,) = stun_facts(data)
    assert isinstance(fact, Fact)
    return {key.removeprefix("stun."): value for key, value in fact.fields.items() if key != "stun.transaction"}


@needs_corpus
def test_a_relay_of_a_capture() -> None:
    found = facts("ndpi/stun.pcap", "stun")
    assert {"Allocate", "Binding", "CreatePermission"} <= {each["stun.method"] for each in found}
    assert "apps-host.com" in {each.get("stun.realm") for each in found}
    assert "Coturn-4.5.0.5 'dan Eider'" in {each.get("stun.software") for each in found}


@needs_corpus
def test_several_messages_of_one_segment() -> None:
    found = facts("ndpi/stun_tcp_multiple_msgs_same_pkt.pcap", "stun")
    assert [each["stun.transaction"] for each in found[-3:]] == ["704b6e453952586746596c59"] * 3


def test_who_asks_and_what_the_server_saw() -> None:
    assert fields(ASK) == {"method": "Binding", "class": "request", "username": "a:b", "software": "ICE 1"}
    assert fields(SAY) == {"method": "Binding", "class": "success", "mapped": "192.0.2.7", "mapped_port": 4242}


def test_relays() -> None:
    assert fields(RELAY) == {
        "method": "Allocate", "class": "success", "relayed": "2001:db8::7", "mapped": "2001:db8::7", "mapped_port": 5,
    }  # fmt: skip
    assert fields(DENY) == {"method": "Allocate", "class": "error", "error": 401, "realm": "lan"}
    assert fields(SEND) == {"method": "Send", "class": "indication", "peer": "192.0.2.7"}


def test_classic_stun_has_no_cookie_and_no_mask() -> None:
    said = message(0x0101, attribute(1, b"\0\1\x10\x92" + V4), cookie=b"\0\0\0\1")
    assert fields(said) == {"method": "Binding", "class": "success", "mapped": "192.0.2.7", "mapped_port": 4242}
    assert stun_facts(said + b"x") == []


@pytest.mark.parametrize("data", [b"", b"\x80\x60" + bytes(40), b"\x16\xfe\xfd" + bytes(40), b"\0\1\0\0" + bytes(60)])
def test_what_shares_the_port_is_left_alone(data: bytes) -> None:
    session = open_session(App.STUN, proto=UDP)
    assert session
    assert session.feed(0, data, now=0) == []


def test_what_breaks_keeps_what_was_before() -> None:
    fact, why = stun_facts(message(1, attribute(6, b"a:b"), b"\0\x14\0\x40"))
    assert isinstance(fact, Fact)
    assert (fact.fields["stun.username"], why) == ("a:b", Malformed("STUN attribute breaks its message"))


@given(st.lists(st.integers(1, 50), max_size=6))
def test_any_cut_of_a_stream_gives_the_same_messages(sizes: list[int]) -> None:
    session = open_session(App.TURN, proto=TCP)
    assert session
    channel = b"\x40\1\0\5hello\0\0\0"
    sent = channel.join(SAMPLES) + len(ASK).to_bytes(2, "big") + ASK
    assert stream(session, chunks(sent, sizes)) == [fact for each in (*SAMPLES, ASK) for fact in stun_facts(each)]


def test_what_starts_no_message_in_a_stream() -> None:
    assert message_size(b"\x16\3\1\0\5" + bytes(40)) == -1


def test_cut_anywhere_it_never_raises() -> None:
    for sample in SAMPLES:
        assert cut_everywhere(stun_facts, sample) == len(sample) - 20


@given(damaged([*SAMPLES, b"\x40\1\0\2hi", b"\0\x2c" + ASK]))
def test_no_bytes_raise(data: bytes) -> None:
    stun_facts(data)
    session = open_session(App.STUN, proto=TCP, max_bytes=64)
    assert session
    stream(session, [data])


def test_hostile_messages_stay_linear() -> None:
    assert is_linear(stun_facts, lambda n: message(1, attribute(6, b"") * n), size=4000)
