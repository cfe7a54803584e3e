"""LDAP messages (RFC 4511), over TCP and, as Windows asks for domain controllers, over UDP.

Promise: linear, lists capped, filters as `packhound.net.ldap_filter` bounds them, never raises. A message that
breaks behind its operation gives its fact as far as it goes, and the reason. Passwords are not shown.
"""

from __future__ import annotations

from collections.abc import Callable

from packhound.net import ber
from packhound.net.facts import Fact, Malformed, Value
from packhound.net.ldap_filter import read_filter
from packhound.net.octets import Octets, Short
from packhound.net.text import decode

MAX_VALUES = 256  # of a list of attributes or references
MAX_MESSAGES = 64  # of one datagram
OPERATIONS = {
    0x60: "bindRequest", 0x61: "bindResponse", 0x42: "unbindRequest", 0x63: "searchRequest", 0x64: "searchResEntry",
    0x65: "searchResDone", 0x66: "modifyRequest", 0x67: "modifyResponse", 0x68: "addRequest", 0x69: "addResponse",
    0x4A: "delRequest", 0x6B: "delResponse", 0x6C: "modDNRequest", 0x6D: "modDNResponse", 0x6E: "compareRequest",
    0x6F: "compareResponse", 0x50: "abandonRequest", 0x73: "searchResRef", 0x77: "extendedReq", 0x78: "extendedResp",
    0x79: "intermediateResponse",
}  # fmt: skip
SCOPES = ("base", "one", "sub", "children")
START_TLS = "1.3.6.1.4.1.1466.20037"
FIELDS = frozenset({
    "ldap.message_id", "ldap.operation", "ldap.dn", "ldap.result", "ldap.diagnostic", "ldap.version", "ldap.auth",
    "ldap.mechanism", "ldap.scope", "ldap.filter", "ldap.attribute", "ldap.reference", "ldap.oid", "ldap.new_rdn",
})  # fmt: skip
Fields = dict[str, Value]


def message_size(data: bytes | bytearray) -> int:
    """Size of the message at the start: 0 when more bytes are needed, negative when none starts there."""
    size = len(data)
    if size and data[0] != ber.SEQUENCE:
        return -1
    if size < 2:
        return 0
    more = data[1] & 0x7F if data[1] >= 0x80 else 0
    if more > 4 or data[1] == 0x80:
        return -1
    start = 2 + more
    if size < start + 2:
        return 0
    whole = start + (int.from_bytes(data[2:start], "big") if more else data[1])
    identifier = data[start + 1]
    if data[start] != ber.INTEGER or not 1 <= identifier <= 4:
        return -1
    operation = start + 2 + identifier
    if operation >= whole or (operation < size and data[operation] not in OPERATIONS):
        return -1
    return whole


def packet_size(data: bytes | bytearray) -> int:
    """Size of the message or of the SASL buffer (RFC 4422 section 3.7) at the start: a length of four octets, whose
    first is zero as buffers that long do not occur."""
    if not data or data[0]:
        return message_size(data)
    if len(data) < 4:
        return 0
    size = int.from_bytes(data[:4], "big")
    return 4 + size if size else -1


def packet_start(data: bytes | bytearray) -> int:
    """As `packet_size`, but a buffer only where a token that `signed` knows is in it."""
    known = not data or data[0] or data[4:6] == b"\5\4" or data[4:5] == b"\x60" or data[4:8] == b"\1\0\0\0"
    return packet_size(data) if known else -1


def signed(token: bytes) -> bytes:
    """Return the plain text of a SASL buffer that is signed but not encrypted: Kerberos (RFC 4121 section 4.2.6.2 as
    Windows rotates it, RFC 1964 section 1.2.2), NTLM (MS-NLMP section 2.2.2.9); empty when it is none of them."""
    if token[:2] == b"\5\4" and len(token) >= 16 and not token[2] & 2:
        extra, rotation = int.from_bytes(token[4:6], "big"), int.from_bytes(token[6:8], "big")
        return token[16 + extra :] if rotation == extra else token[16 : len(token) - extra]
    if token[:1] == b"\x60":
        cursor = Octets(token)
        try:
            inner = ber.element(cursor).body
            ber.expect(inner, ber.OID)
            head = inner.take(8)
            inner.skip(24)  # sequence number, checksum and confounder
        except Short:
            return b""
        text = inner.rest()
        return text[: -text[-1]] if text and head[:2] == b"\2\1" and head[4:6] == b"\xff\xff" else b""
    return token[16:] if token[:4] == b"\1\0\0\0" else b""


def read(data: bytes) -> list[Fact | Malformed]:
    """Read one message into its fact, and the reason where it breaks."""
    fields: Fields = {}
    cursor = Octets(data)
    try:
        if cursor.number(1) != ber.SEQUENCE:
            return [Malformed("no LDAP message")]
        whole = ber.length(cursor)
        cursor = Octets(data, cursor.at, cursor.at + whole)
        fields["ldap.message_id"] = ber.number(cursor)
        tag = cursor.number(1)
        size = ber.length(cursor)
    except Short as short:
        return [Malformed("no LDAP message", short.offset)]
    if tag not in OPERATIONS:
        return [Malformed("LDAP operation is unknown", cursor.at)]
    fields["ldap.operation"] = OPERATIONS[tag]
    found: list[Fact | Malformed] = [Fact("ldap", fields)]
    try:
        _READERS[tag](Octets(data, cursor.at, min(cursor.at + size, cursor.end)), fields)
        if len(cursor) < size:
            found.append(Malformed("LDAP message is cut short"))
    except Short:
        found.append(Malformed("LDAP operation breaks its message"))
    return found


def cldap_facts(data: bytes) -> list[Fact | Malformed]:
    """Read the messages of one datagram."""
    found: list[Fact | Malformed] = []
    for _ in range(MAX_MESSAGES):
        found += read(data)
        size = message_size(data)
        if not 0 < size < len(data):
            break
        data = data[size:]
    return found


def _put(fields: Fields, name: str, data: bytes) -> None:
    if data:
        fields[name] = decode(data)


def _bind(body: Octets, fields: Fields) -> None:
    fields["ldap.version"] = ber.number(body)
    _put(fields, "ldap.dn", ber.octets(body))
    tag, auth = ber.element(body)
    fields["ldap.auth"] = {0x80: "simple", 0xA3: "sasl"}.get(tag, "sicily")
    if tag == 0xA3:
        _put(fields, "ldap.mechanism", ber.octets(auth))


def _result(body: Octets, fields: Fields) -> None:
    fields["ldap.result"] = ber.integer(ber.expect(body, ber.ENUMERATED))
    name = ber.octets(body)
    if not name.startswith(b"NTLMSSP\0"):  # a sicily bind has its challenge there (MS-ADTS section 5.1.1.1.3)
        _put(fields, "ldap.dn", name)
    _put(fields, "ldap.diagnostic", ber.octets(body).rstrip(b"\0"))
    while len(body):
        tag, value = ber.element(body)
        if tag == 0x8A:  # the name of an extended response
            _put(fields, "ldap.oid", value.rest())


def _search(body: Octets, fields: Fields) -> None:
    _put(fields, "ldap.dn", ber.octets(body))
    scope = ber.integer(ber.expect(body, ber.ENUMERATED))
    fields["ldap.scope"] = SCOPES[scope] if 0 <= scope < len(SCOPES) else str(scope)
    for tag in (ber.ENUMERATED, ber.INTEGER, ber.INTEGER, ber.BOOLEAN):
        ber.expect(body, tag)
    fields["ldap.filter"] = read_filter(body)
    _names(ber.expect(body, ber.SEQUENCE), "ldap.attribute", fields)


def _names(body: Octets, name: str, fields: Fields) -> None:
    names: list[str] = []
    while len(body) and len(names) < MAX_VALUES:
        names.append(decode(ber.octets(body)))
    if names:
        fields[name] = tuple(names)


def _entry(body: Octets, fields: Fields) -> None:
    """An entry found or to be added: its name and the types of its attributes."""
    _put(fields, "ldap.dn", ber.octets(body))
    _attributes(ber.expect(body, ber.SEQUENCE), fields)


def _attributes(attributes: Octets, fields: Fields, *, changes: bool = False) -> None:
    names: list[str] = []
    try:
        while len(attributes) and len(names) < MAX_VALUES:
            attribute = ber.expect(attributes, ber.SEQUENCE)
            if changes:
                ber.expect(attribute, ber.ENUMERATED)
                attribute = ber.expect(attribute, ber.SEQUENCE)
            names.append(decode(ber.octets(attribute)))
    finally:
        if names:
            fields["ldap.attribute"] = tuple(names)


def _modify(body: Octets, fields: Fields) -> None:
    _put(fields, "ldap.dn", ber.octets(body))
    _attributes(ber.expect(body, ber.SEQUENCE), fields, changes=True)


def _rename(body: Octets, fields: Fields) -> None:
    _put(fields, "ldap.dn", ber.octets(body))
    _put(fields, "ldap.new_rdn", ber.octets(body))


def _compare(body: Octets, fields: Fields) -> None:
    _put(fields, "ldap.dn", ber.octets(body))
    assertion = ber.expect(body, ber.SEQUENCE)
    fields["ldap.attribute"] = (decode(ber.octets(assertion)),)


def _extended(body: Octets, fields: Fields) -> None:
    while len(body):
        tag, value = ber.element(body)
        if tag == 0x80:
            _put(fields, "ldap.oid", value.rest())


def _delete(body: Octets, fields: Fields) -> None:
    _put(fields, "ldap.dn", body.rest())


def _references(body: Octets, fields: Fields) -> None:
    _names(body, "ldap.reference", fields)


def _nothing(body: Octets, fields: Fields) -> None:
    """Unbind holds nothing, abandon only the number of another message."""


_READERS: dict[int, Callable[[Octets, Fields], None]] = {
    0x60: _bind, 0x42: _nothing, 0x63: _search, 0x64: _entry, 0x66: _modify, 0x68: _entry, 0x4A: _delete, 0x6C: _rename,
    0x6E: _compare, 0x50: _nothing, 0x73: _references, 0x77: _extended, 0x79: _extended,
    **dict.fromkeys((0x61, 0x65, 0x67, 0x69, 0x6B, 0x6D, 0x6F, 0x78), _result),
}  # fmt: skip
