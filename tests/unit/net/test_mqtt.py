"""MQTT: who connects, topics, versions, and what breaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net.detect import App
from packhound.net.facts import Fact, Malformed
from packhound.net.mqtt import Mqtt, packet_size, packet_start
from packhound.net.session import TCP, open_session
from tests.support.corpus import needs_corpus
from tests.support.infra import cut_everywhere, facts, held, stream
from tests.support.mutations import chunks, damaged, is_linear


def text(value: str) -> bytes:
    return len(value.encode()).to_bytes(2, "big") + value.encode()


def packet(first: int, *parts: bytes) -> bytes:
    body, size = b"".join(parts), b""
    left = len(body)
    while left >= 0x80:
        size += bytes((left & 0x7F | 0x80,))
        left >>= 7
    return bytes((first,)) + size + bytes((left,)) + body


CONNECT = packet(
    0x10, text("MQTT"), b"\4\xc6\0\x3c", text("sensor-1"), text("will/topic"), text("gone"), text("bob"), text("pw")
)
CONNECT_5 = packet(0x10, text("MQTT"), b"\5\x80\0\x3c", b"\3\x21\0\x14", text("sensor-5"), text("eve"))
PUBLISH = packet(0x32, text("a/b"), b"\0\7", b"payload" * 40)
SUBSCRIBE = packet(0x82, b"\0\1", text("a/#"), b"\1", text("b/+"), b"\0")
SUBSCRIBE_5 = packet(0x82, b"\0\1", b"\2\x0b\1", text("c/#"), b"\1")
UNSUBSCRIBE = packet(0xA2, b"\0\1", text("a/#"), text("b/+"))
SAMPLES = [CONNECT, b"\x20\2\0\5", PUBLISH, SUBSCRIBE, UNSUBSCRIBE, b"\xc0\0", b"\xe0\0"]


def fields(*packets: bytes) -> dict[str, object]:
    reader = Mqtt()
    for each in packets:
        (fact,) = held(reader.read(each))
    assert isinstance(fact, Fact)
    return {key.removeprefix("mqtt."): value for key, value in fact.fields.items()}


@needs_corpus
def test_clients_of_a_capture() -> None:
    found = facts("arkime/mqtt_synthetic.pcap", "mqtt")
    assert {"sensor-001", "legacy-device", "mqtt5-client"} <= {each.get("mqtt.client_id") for each in found}
    assert {each["mqtt.version"] for each in found if "mqtt.version" in each} == {"3.1", "3.1.1", "5.0"}
    assert ("factory/line1/#", "factory/line2/#", "alerts/+") in {each.get("mqtt.topic") for each in found}


def test_who_connects_without_the_password() -> None:
    assert fields(CONNECT) == {
        "type": "CONNECT", "version": "3.1.1", "client_id": "sensor-1", "topic": ("will/topic",), "username": "bob",
    }  # fmt: skip
    assert fields(CONNECT_5) == {"type": "CONNECT", "version": "5.0", "client_id": "sensor-5", "username": "eve"}


def test_topics() -> None:
    assert fields(PUBLISH) == {"type": "PUBLISH", "qos": 1, "topic": ("a/b",)}
    assert fields(SUBSCRIBE)["topic"] == fields(UNSUBSCRIBE)["topic"] == ("a/#", "b/+")
    assert fields(CONNECT_5, SUBSCRIBE_5)["topic"] == ("c/#",)


def test_return_codes_and_packets_that_say_no_more_than_their_type() -> None:
    assert fields(b"\x20\2\0\5") == {"type": "CONNACK", "code": 5}
    assert fields(b"\xc0\0") == {"type": "PINGREQ"}


@pytest.mark.parametrize(
    "data", [packet(0x10, text("HTTP"), bytes(9)), packet(0x82, b"\0\1", b"\0\x40a"), packet(0x20, b"\0")]
)
def test_what_breaks_keeps_its_type(data: bytes) -> None:
    fact, why = Mqtt().read(data)
    assert isinstance(fact, Fact)
    assert why == Malformed("MQTT packet breaks its fields")


@given(st.lists(st.integers(1, 50), max_size=6))
def test_any_cut_of_a_stream_gives_the_same_packets(sizes: list[int]) -> None:
    session, reader = open_session(App.MQTT, proto=TCP), Mqtt()
    assert session
    assert stream(session, chunks(b"".join(SAMPLES), sizes)) == [fact for each in SAMPLES for fact in reader.read(each)]


def test_a_large_payload_is_passed_over() -> None:
    session = open_session(App.MQTT, proto=TCP, max_bytes=64)
    assert session
    large = packet(0x30, text("a/b"), bytes(100_000))
    found = stream(session, chunks(large + CONNECT, [1000]))
    assert [each.fields["mqtt.type"] for each in found if isinstance(each, Fact)] == ["PUBLISH", "CONNECT"]


@pytest.mark.parametrize("data", [b"\0\0", b"\x11\0", b"\x80\0", b"\x30\xff\xff\xff\xff\1"])
def test_what_starts_no_packet(data: bytes) -> None:
    assert packet_start(data) == -1


def test_cut_anywhere_it_never_raises() -> None:
    def read(data: bytes) -> list[Fact | Malformed]:
        return Mqtt().read(data) if packet_size(data) > 0 else [Malformed("cut")]

    for sample in (CONNECT, CONNECT_5, SUBSCRIBE):
        assert cut_everywhere(read, sample)


@given(damaged([*SAMPLES, CONNECT_5 + SUBSCRIBE_5]))
def test_no_bytes_raise(data: bytes) -> None:
    held(Mqtt().read(data))
    session = open_session(App.MQTT, proto=TCP, max_bytes=64)
    assert session
    stream(session, [data])


def test_hostile_packets_stay_linear() -> None:
    reader = Mqtt()
    assert is_linear(reader.read, lambda n: packet(0x82, b"\0\1", (text("a") + b"\0") * n), size=5000)
    session = open_session(App.MQTT, proto=TCP)
    assert session
    assert is_linear(lambda data: stream(session, [data]), lambda n: b"\xc0\0" * n, size=5000)
