"""MQTT control packets (OASIS MQTT 3.1.1 and 5.0): clients, topics and return codes.

Promise: linear, at most `MAX_TOPICS` topics of one packet, never raises. Payloads and passwords are not shown.
"""

from __future__ import annotations

from dataclasses import dataclass

from packhound.net.facts import Fact, Malformed, Value
from packhound.net.octets import Octets, Short
from packhound.net.text import decode

MAX_TOPICS = 64
TYPES = (
    "", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBSCRIBE", "SUBACK", "UNSUBSCRIBE",
    "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH",
)  # fmt: skip
CONNECT, CONNACK, PUBLISH, SUBSCRIBE, UNSUBSCRIBE = 1, 2, 3, 8, 10
VERSIONS = {3: "3.1", 4: "3.1.1", 5: "5.0"}
_FLAGGED = (6, SUBSCRIBE, UNSUBSCRIBE)  # their flags are 2, those of all others but PUBLISH 0
FIELDS = frozenset({
    "mqtt.type", "mqtt.version", "mqtt.client_id", "mqtt.username", "mqtt.topic", "mqtt.qos", "mqtt.code",
})  # fmt: skip


def packet_size(data: bytes | bytearray) -> int:
    """Size of the packet at the start: 0 when more bytes are needed, negative when none starts there."""
    if data and not data[0] >> 4:
        return -1
    size = 0
    for at in range(1, 5):
        if at >= len(data):
            return 0
        size |= (data[at] & 0x7F) << 7 * (at - 1)
        if data[at] < 0x80:
            return 1 + at + size
    return -1


def packet_start(data: bytes | bytearray) -> int:
    """As `packet_size`, but only where the flags are those that the type must have."""
    if data and data[0] >> 4 != PUBLISH and data[0] & 15 != (2 if data[0] >> 4 in _FLAGGED else 0):
        return -1
    return packet_size(data)


@dataclass(slots=True)
class Mqtt:
    """Reads the packets of one connection; remembers its version, which decides where properties stand."""

    level: int = 4

    def read(self, packet: bytes) -> list[Fact | Malformed]:
        """Read one packet, which may be cut behind its head."""
        if packet_size(packet) <= 0:
            return [Malformed("no MQTT packet")]
        kind = packet[0] >> 4
        fields: dict[str, Value] = {"mqtt.type": TYPES[kind]}
        cursor = Octets(packet, 1)
        _number(cursor)
        try:
            if kind == CONNECT:
                self._connect(cursor, fields)
            elif kind == CONNACK:
                cursor.skip(1)
                fields["mqtt.code"] = cursor.number(1)
            elif kind == PUBLISH:
                fields["mqtt.qos"] = packet[0] >> 1 & 3
                fields["mqtt.topic"] = (decode(cursor.vector(2).rest()),)
            elif kind in (SUBSCRIBE, UNSUBSCRIBE):
                self._topics(cursor, fields, options=kind == SUBSCRIBE)
        except Short:
            return [Fact("mqtt", fields), Malformed("MQTT packet breaks its fields")]
        return [Fact("mqtt", fields)]

    def _connect(self, cursor: Octets, fields: dict[str, Value]) -> None:
        if cursor.vector(2).rest() not in (b"MQTT", b"MQIsdp"):
            raise Short(cursor.at)
        self.level = cursor.number(1)
        fields["mqtt.version"] = VERSIONS.get(self.level, str(self.level))
        flags = cursor.number(1)
        cursor.skip(2)
        self._properties(cursor)
        if client := decode(cursor.vector(2).rest()):
            fields["mqtt.client_id"] = client
        if flags & 4:  # a will: its topic, then its message
            self._properties(cursor)
            fields["mqtt.topic"] = (decode(cursor.vector(2).rest()),)
            cursor.vector(2)
        if flags & 0x80 and (user := decode(cursor.vector(2).rest())):
            fields["mqtt.username"] = user

    def _topics(self, cursor: Octets, fields: dict[str, Value], *, options: bool) -> None:
        cursor.skip(2)
        self._properties(cursor)
        topics: list[str] = []
        try:
            while len(cursor) and len(topics) < MAX_TOPICS:
                topics.append(decode(cursor.vector(2).rest()))
                cursor.skip(int(options))
        finally:
            if topics:
                fields["mqtt.topic"] = tuple(topics)

    def _properties(self, cursor: Octets) -> None:
        if self.level >= 5:
            cursor.skip(_number(cursor))


def _number(cursor: Octets) -> int:
    """Read a number of up to four octets, seven bits each, the lowest first."""
    number = 0
    for shift in (0, 7, 14, 21):
        octet = cursor.number(1)
        number |= (octet & 0x7F) << shift
        if octet < 0x80:
            return number
    raise Short(cursor.at)
