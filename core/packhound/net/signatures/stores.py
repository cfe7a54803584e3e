"""Signatures of databases and brokers: MQTT, AMQP, NATS, Kafka, MongoDB, PostgreSQL, MySQL."""

from __future__ import annotations

from packhound.net.signatures.apps import App
from packhound.net.signatures.look import SAID_PING, TWO_PACKETS, Found, Look, printable, u16, u32, u32le

_KAFKA_OPENERS = (3, 18)  # metadata, versions: what a client asks first
_MONGO_OPERATIONS = (1, 2004, 2010, 2012, 2013)


def mqtt(look: Look) -> Found | None:
    """MQTT 3.1.1 and 5 section 3.1: CONNECT names the protocol; of a connection joined later, a ping and its answer."""
    p = look.p
    if len(p) == 2 and p[1] == 0 and p[0] in {0xC0, 0xD0}:
        if p[0] == 0xD0 and look.scratch[0] == SAID_PING:
            return Found(App.MQTT, 80, TWO_PACKETS)
        look.scratch[0] = SAID_PING if p[0] == 0xC0 else look.scratch[0]
        return None
    if p[0] != 0x10:
        return None
    at = 1
    while at < len(p) and at < 4 and p[at] & 0x80:
        at += 1
    rest = p[at + 1 : at + 10]
    if rest.startswith((b"\0\4MQTT\3", b"\0\4MQTT\4", b"\0\4MQTT\5", b"\0\6MQIsdp\3")):
        return Found(App.MQTT, 95)
    return None


def postgresql(look: Look) -> Found | None:
    """Protocol 3.0 start-up: a request for TLS or GSS, a cancel, or a version with the user's name."""
    p = look.p
    n = len(p)
    if n < 8 or u32(p, 0) != n:
        return None
    code = u32(p, 4)
    if (n == 8 and code in {80877103, 80877104}) or (n == 16 and code == 80877102):
        return Found(App.POSTGRESQL, 95)
    return Found(App.POSTGRESQL, 95) if code >> 16 == 3 and p[-1] == 0 and b"user\0" in p[8:256] else None


def mysql(look: Look) -> Found | None:
    """Protocol 10: the server's greeting with its version."""
    p = look.p
    n = len(p)
    if n < 24 or p[3] != 0 or p[4] != 10 or p[0] | p[1] << 8 | p[2] << 16 != n - 4 or not 48 <= p[5] <= 57:
        return None
    end = p.find(b"\0", 5, 69)
    return Found(App.MYSQL, 90) if end > 7 and end + 14 <= n and printable(p, 5, end) and p[end + 13] == 0 else None


def amqp(look: Look) -> Found | None:
    """AMQP 0-9-1 section 4.2.2 and 1.0 section 2.2: the protocol header."""
    p = look.p
    return Found(App.AMQP, 95) if len(p) >= 8 and p.startswith(b"AMQP") and p[4] <= 3 and p[5] <= 1 else None


def nats(look: Look) -> Found | None:
    """The server's INFO or the client's CONNECT, both with an object."""
    p = look.p
    if p.startswith(b"INFO {") and b'"server_id"' in p[:512]:
        return Found(App.NATS, 95)
    return Found(App.NATS, 95) if p.startswith(b"CONNECT {") and b'"verbose"' in p[:512] else None


def kafka(look: Look) -> Found | None:
    """A request of a client that has just connected: its length, a first call, a printable client name."""
    p = look.p
    n = len(p)
    if n < 14 or u32(p, 0) != n - 4 or u16(p, 4) not in _KAFKA_OPENERS or u16(p, 6) > 13:
        return None
    size = u16(p, 12)
    return Found(App.KAFKA, 85) if 0 < size <= 255 and 14 + size <= n and printable(p, 14, 14 + size) else None


def mongodb(look: Look) -> Found | None:
    """A message whose header length is that of the segment, with a known operation (little-endian)."""
    p = look.p
    n = len(p)
    if n < 21 or u32le(p, 0) != n or u32le(p, 12) not in _MONGO_OPERATIONS:
        return None
    return Found(App.MONGODB, 90)
