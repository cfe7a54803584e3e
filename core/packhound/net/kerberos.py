"""Kerberos 5 messages with a key distribution centre or a service (RFC 4120 section 5).

Promise: linear, nothing recurses, lists capped, never raises. A message that breaks behind its type gives its fact as
far as it goes, and the reason. What is encrypted is not looked at, but for the numbers of its encryption.
"""

from __future__ import annotations

from packhound.net import ber
from packhound.net.facts import Fact, Malformed, Value
from packhound.net.octets import Octets, Short
from packhound.net.text import decode

MAX_VALUES = 64  # of a list
MAX_PARTS = 16  # of a principal's name
TYPES = {
    0x6A: "AS-REQ", 0x6B: "AS-REP", 0x6C: "TGS-REQ", 0x6D: "TGS-REP", 0x6E: "AP-REQ", 0x6F: "AP-REP", 0x7E: "KRB-ERROR",
}  # fmt: skip
FIELDS = frozenset({
    "kerberos.type", "kerberos.realm", "kerberos.client_realm", "kerberos.cname", "kerberos.sname", "kerberos.etype",
    "kerberos.ticket_etype", "kerberos.padata", "kerberos.error", "kerberos.error_text",
})  # fmt: skip
_TICKET = 0x61
Fields = dict[str, Value]
Parts = dict[int, Octets]


def packet_size(data: bytes | bytearray) -> int:
    """Size of the message with its length over TCP (RFC 4120 section 7.2.2): 0 when more bytes are needed, negative
    when none starts there."""
    if len(data) < 5:
        return -1 if data and data[0] else 0
    size = int.from_bytes(data[:4], "big")
    return 4 + size if data[4] in TYPES and 2 < size < 1 << 24 else -1


def kerberos_facts(data: bytes) -> list[Fact | Malformed]:
    """Read one message into its fact, and the reason where it breaks."""
    if not data or data[0] not in TYPES:
        return [Malformed("no Kerberos message")]
    kind = TYPES[data[0]]
    fields: Fields = {"kerberos.type": kind}
    try:
        parts = _parts(ber.element(Octets(data)).body)
        if kind.endswith("-REQ") and kind != "AP-REQ":
            _request(parts, fields)
        elif kind in ("AS-REP", "TGS-REP"):
            _reply(parts, fields)
        elif kind == "AP-REQ":
            _ticket(parts, 3, fields)
        elif kind == "KRB-ERROR":
            _error(parts, fields)
    except Short:
        return [Fact("kerberos", fields), Malformed("Kerberos message breaks its encoding")]
    return [Fact("kerberos", fields)]


def _parts(cursor: Octets) -> Parts:
    """Read a SEQUENCE of context-tagged parts."""
    body = ber.expect(cursor, ber.SEQUENCE)
    parts: Parts = {}
    while len(body) and len(parts) < MAX_VALUES:
        tag, value = ber.element(body)
        if tag & 0xE0 == 0xA0:
            parts[tag & 0x1F] = value
    return parts


def _request(parts: Parts, fields: Fields) -> None:
    _padata(parts, 3, fields)
    if 4 not in parts:
        return
    body = _parts(parts[4])
    _name(body, 1, "kerberos.cname", fields)
    _text(body, 2, "kerberos.realm", fields)
    _name(body, 3, "kerberos.sname", fields)
    if 8 in body:
        found: list[int] = []
        types = ber.expect(body[8], ber.SEQUENCE)
        while len(types) and len(found) < MAX_VALUES:
            found.append(ber.number(types))
        fields["kerberos.etype"] = tuple(found)


def _reply(parts: Parts, fields: Fields) -> None:
    _padata(parts, 2, fields)
    _text(parts, 3, "kerberos.client_realm", fields)
    _name(parts, 4, "kerberos.cname", fields)
    _ticket(parts, 5, fields)
    if 6 in parts:
        fields["kerberos.etype"] = (_etype(parts[6]),)


def _error(parts: Parts, fields: Fields) -> None:
    if 6 in parts:
        fields["kerberos.error"] = ber.number(parts[6])
    _text(parts, 7, "kerberos.client_realm", fields)
    _name(parts, 8, "kerberos.cname", fields)
    _text(parts, 9, "kerberos.realm", fields)
    _name(parts, 10, "kerberos.sname", fields)
    _text(parts, 11, "kerberos.error_text", fields)


def _ticket(parts: Parts, number: int, fields: Fields) -> None:
    if number not in parts:
        return
    ticket = _parts(ber.expect(parts[number], _TICKET))
    _text(ticket, 1, "kerberos.realm", fields)
    _name(ticket, 2, "kerberos.sname", fields)
    if 3 in ticket:
        fields["kerberos.ticket_etype"] = _etype(ticket[3])


def _etype(cursor: Octets) -> int:
    """Encryption type of an EncryptedData."""
    parts = _parts(cursor)
    if 0 not in parts:
        raise Short(cursor.at)
    return ber.number(parts[0])


def _padata(parts: Parts, number: int, fields: Fields) -> None:
    """Types of the pre-authentication data."""
    if number not in parts:
        return
    found: list[int] = []
    each = ber.expect(parts[number], ber.SEQUENCE)
    while len(each) and len(found) < MAX_VALUES:
        entry = _parts(each)
        if 1 in entry:
            found.append(ber.number(entry[1]))
    if found:
        fields["kerberos.padata"] = tuple(found)


def _text(parts: Parts, number: int, name: str, fields: Fields) -> None:
    if number in parts:
        text = decode(ber.element(parts[number]).body.rest())
        if text:
            fields[name] = text


def _name(parts: Parts, number: int, name: str, fields: Fields) -> None:
    """Write a principal's name as people do, its parts joined by a slash."""
    if number not in parts:
        return
    principal = _parts(parts[number])
    if 1 not in principal:
        raise Short(parts[number].at)
    found: list[str] = []
    strings = ber.expect(principal[1], ber.SEQUENCE)
    while len(strings) and len(found) < MAX_PARTS:
        found.append(decode(ber.element(strings).body.rest()))
    if any(found):
        fields[name] = "/".join(found)
