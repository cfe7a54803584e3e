"""STUN and TURN messages (RFC 8489, 8656; classic STUN RFC 3489).

Promise: linear, at most `MAX_ATTRIBUTES` attributes, never raises. Media and DTLS that share a STUN flow (RFC 7983) are
none of these messages and no error.
"""

from __future__ import annotations

from packhound.net.dhcp import address_text
from packhound.net.dns import address6
from packhound.net.facts import Fact, Malformed, Value
from packhound.net.octets import Octets, Short
from packhound.net.text import decode

HEADER = 20
COOKIE = b"\x21\x12\xa4\x42"
MAX_ATTRIBUTES = 64
CLASSES = ("request", "indication", "success", "error")
METHODS = {
    1: "Binding", 2: "SharedSecret", 3: "Allocate", 4: "Refresh", 6: "Send", 7: "Data", 8: "CreatePermission",
    9: "ChannelBind", 10: "Connect", 11: "ConnectionBind", 12: "ConnectionAttempt",
}  # fmt: skip
_TEXTS = {0x0006: "stun.username", 0x0014: "stun.realm", 0x8022: "stun.software"}
_ADDRESSES = {
    0x0001: "stun.mapped", 0x0020: "stun.mapped", 0x8020: "stun.mapped", 0x0012: "stun.peer", 0x0016: "stun.relayed",
}  # fmt: skip
_ERROR = 0x0009
FIELDS = frozenset({
    "stun.method", "stun.class", "stun.transaction", "stun.error", "stun.mapped_port", *_TEXTS.values(),
    *_ADDRESSES.values(),
})  # fmt: skip


def message_size(data: bytes | bytearray) -> int:
    """Size of the message at the start of a TCP stream, or of the TURN channel data, or of either with the length of
    RFC 4571 before it: 0 when more bytes are needed, negative when none starts there."""
    if data and 0x40 <= data[0] < 0x80:
        return 4 + (int.from_bytes(data[2:4], "big") + 3 & ~3) if len(data) >= 4 else 0
    if len(data) < 10:
        return 0
    size = int.from_bytes(data[2:4], "big")
    if data[0] < 0x40 and data[4:8] == COOKIE:
        return HEADER + size
    if data[2] < 0x40 and data[6:10] == COOKIE:
        return 2 + int.from_bytes(data[:2], "big")
    return -1


def stun_facts(data: bytes) -> list[Fact | Malformed]:
    """Read one datagram; nothing when it is no STUN message."""
    if len(data) < HEADER or data[0] >= 0x40:
        return []
    kind, size = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
    if data[4:8] != COOKIE and (size + HEADER != len(data) or data[0] > 3):
        return []
    method = kind & 15 | (kind & 0xE0) >> 1 | (kind & 0x3E00) >> 2
    fields: dict[str, Value] = {
        "stun.method": METHODS.get(method, f"0x{method:03x}"),
        "stun.class": CLASSES[kind >> 4 & 1 | kind >> 7 & 2],
        "stun.transaction": data[8:HEADER].hex(),
    }
    found: list[Fact | Malformed] = [Fact("stun", fields)]
    cursor = Octets(data, HEADER, HEADER + size)
    try:
        for _ in range(MAX_ATTRIBUTES):
            if len(cursor) < 4:
                break
            number, body = cursor.number(2), cursor.vector(2)
            _attribute(number, body, data[4:HEADER], fields)
            cursor.at = min(cursor.end, cursor.at + (-cursor.at % 4))  # the header and all attributes are whole words
        if HEADER + size > len(data):
            found.append(Malformed("STUN message is cut short"))
    except Short:
        found.append(Malformed("STUN attribute breaks its message"))
    return found


def stun_packet(packet: bytes) -> list[Fact | Malformed]:
    """Read one message of a TCP stream as `message_size` cuts it."""
    return stun_facts(packet if packet[4:8] == COOKIE else packet[2:])


def _attribute(number: int, body: Octets, mask: bytes, fields: dict[str, Value]) -> None:
    if number in _TEXTS:
        if text := decode(body.rest().rstrip(b"\0")):
            fields[_TEXTS[number]] = text
    elif number == _ERROR:
        body.skip(2)
        hundreds = body.number(1) & 7
        fields["stun.error"] = 100 * hundreds + body.number(1)
    elif number in _ADDRESSES:
        _address(number, body, mask, fields)


def _address(number: int, body: Octets, mask: bytes, fields: dict[str, Value]) -> None:
    """An address, XORed with the cookie and the transaction but in classic STUN (RFC 8489 section 14.2)."""
    body.skip(1)
    family, port = body.number(1), body.take(2)
    address = body.take(16 if family == 2 else 4)
    if number != 1:
        port, address = _xor(port, mask), _xor(address, mask)
    name = _ADDRESSES[number]
    fields[name] = address6(address) if family == 2 else address_text(address)
    if name == "stun.mapped":
        fields["stun.mapped_port"] = int.from_bytes(port, "big")


def _xor(data: bytes, mask: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(data, mask, strict=False))
