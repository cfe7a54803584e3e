"""RADIUS authentication and accounting (RFC 2865, 2866, 3162, 5176).

Promise: linear, at most `MAX_ATTRIBUTES` attributes, never raises. Passwords, which the protocol hides, are not shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from packhound.net.dhcp import address_text
from packhound.net.dns import address6
from packhound.net.facts import Fact, Malformed, Value
from packhound.net.octets import Octets, Short
from packhound.net.text import decode

HEADER = 20
MAX_ATTRIBUTES = 512  # 4096 octets hold 2038 of the smallest
CODES = {
    1: "Access-Request", 2: "Access-Accept", 3: "Access-Reject", 4: "Accounting-Request", 5: "Accounting-Response",
    11: "Access-Challenge", 12: "Status-Server", 13: "Status-Client", 40: "Disconnect-Request", 41: "Disconnect-ACK",
    42: "Disconnect-NAK", 43: "CoA-Request", 44: "CoA-ACK", 45: "CoA-NAK",
}  # fmt: skip
STATUS = {1: "Start", 2: "Stop", 3: "Interim-Update", 7: "Accounting-On", 8: "Accounting-Off"}
_TEXTS = {
    1: "radius.username", 18: "radius.reply", 30: "radius.called_station", 31: "radius.calling_station",
    32: "radius.nas_id", 44: "radius.session_id",
}  # fmt: skip
_ADDRESSES = {4: "radius.nas_ip", 8: "radius.framed_ip", 95: "radius.nas_ip"}
_ACCT_STATUS = 40
FIELDS = frozenset({
    "radius.code", "radius.id", "radius.acct_status", *_TEXTS.values(), *_ADDRESSES.values(),
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class RadiusMessage:
    """One message; `attributes` holds the first value of each type."""

    code: int
    id: int
    attributes: Mapping[int, bytes]
    broken: str = ""


def parse(data: bytes) -> RadiusMessage | Malformed:
    """Read a message; octets behind its length are padding."""
    if len(data) < HEADER:
        return Malformed("RADIUS header is cut short", len(data))
    size = int.from_bytes(data[2:4], "big")
    if size < HEADER:
        return Malformed("RADIUS length is shorter than a header")
    attributes: dict[int, bytes] = {}
    cursor = Octets(data, HEADER, size)
    broken = "RADIUS message is cut short" if size > len(data) else ""
    try:
        for _ in range(MAX_ATTRIBUTES):
            if not len(cursor):
                break
            kind, length = cursor.number(1), cursor.number(1)
            attributes.setdefault(kind, cursor.take(max(0, length - 2)))
            if length < 2:
                raise Short(cursor.at)
        else:
            broken = "more RADIUS attributes than are read"
    except Short:
        broken = broken or "RADIUS attribute breaks its message"
    return RadiusMessage(data[0], data[1], attributes, broken)


def radius_fact(message: RadiusMessage) -> Fact:
    """Return the fact of a message."""
    fields: dict[str, Value] = {"radius.code": CODES.get(message.code, str(message.code)), "radius.id": message.id}
    for kind, value in message.attributes.items():
        if kind in _TEXTS and value:
            fields[_TEXTS[kind]] = decode(value)
        elif kind in _ADDRESSES and len(value) in (4, 16):
            fields[_ADDRESSES[kind]] = address_text(value) if len(value) == 4 else address6(value)
        elif kind == _ACCT_STATUS and len(value) == 4:
            number = int.from_bytes(value, "big")
            fields["radius.acct_status"] = STATUS.get(number, str(number))
    return Fact("radius", fields)


def radius_facts(data: bytes) -> list[Fact | Malformed]:
    """Read one datagram into its fact, and the reason where it breaks."""
    message = parse(data)
    if isinstance(message, Malformed):
        return [message]
    found: list[Fact | Malformed] = [radius_fact(message)]
    if message.broken:
        found.append(Malformed(message.broken))
    return found
