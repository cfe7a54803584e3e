"""What a hunt asks of an X.509 certificate (RFC 5280): who it is for, who signed it, its serial number and names.

Promise: a bounded walk over DER; linear; never raises. Nothing is verified here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address

from packhound.net.facts import Malformed
from packhound.net.octets import Octets, Short
from packhound.net.text import decode

MAX_ATTRIBUTES = 64
MAX_NAMES = 256
ATTRIBUTES = {
    "2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
    "2.5.4.9": "street", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.42": "GN",
    "1.2.840.113549.1.9.1": "emailAddress", "0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID",
}  # fmt: skip
_SUBJECT_ALT_NAME = "2.5.29.17"
_TIME = re.compile(r"(\d\d)??(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)?(?:\.\d+)?(?:Z|([+-])(\d\d)(\d\d))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Certificate:
    """`subject` and `issuer` as `CN=a, O=b` in the certificate's order, `serial` as hex digits, `names` DNS names and
    addresses of subjectAltName, `not_before` and `not_after` s since the epoch (None: no time)."""

    subject: str
    issuer: str
    serial: str
    names: tuple[str, ...]
    not_before: int | None = None
    not_after: int | None = None


def parse(der: bytes) -> Certificate | Malformed:
    """Read a DER certificate."""
    try:
        body = _expect(_expect(Octets(der), 0x30), 0x30)
        tag, content = _next(body)
        if tag == 0xA0:  # version
            tag, content = _next(body)
        serial = (content.rest()[:32].lstrip(b"\0") or b"\0").hex()
        _expect(body, 0x30)
        issuer = _name(_expect(body, 0x30))
        times = _expect(body, 0x30)
        validity = _time(*_next(times)), _time(*_next(times))
        subject = _name(_expect(body, 0x30))
        names = _alt_names(body)
    except Short as short:
        return Malformed("certificate breaks DER", short.offset)
    return Certificate(subject, issuer, serial, names, *validity)


def _next(cursor: Octets) -> tuple[int, Octets]:
    """Read one tag and return it with a cursor over its content."""
    tag = cursor.number(1)
    length = cursor.number(1)
    if length == 0x80 or length > 0x84:
        raise Short(cursor.at)
    if length > 0x80:
        length = cursor.number(length - 0x80)
    return tag, cursor.part(length)


def _expect(cursor: Octets, wanted: int) -> Octets:
    tag, content = _next(cursor)
    if tag != wanted:
        raise Short(content.at)
    return content


def _time(tag: int, content: Octets) -> int | None:
    return time_of(tag, content.rest()[:32])


def time_of(tag: int, text: bytes) -> int | None:
    """Read UTCTime or GeneralizedTime (RFC 5280 section 4.1.2.5); old ones may lack seconds or have a zone."""
    found = _TIME.fullmatch(decode(text))
    if tag not in (0x17, 0x18) or not found or (found[1] is not None) != (tag == 0x18):
        return None
    year = int(found[2])
    year += 100 * int(found[1]) if found[1] else 1900 if year >= 50 else 2000
    month, day, hour, minute, second = (int(each or 0) for each in found.group(3, 4, 5, 6, 7))
    try:
        at = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        return None
    shift = 60 * (60 * int(found[9]) + int(found[10])) if found[8] else 0
    return int(at.timestamp()) - (shift if found[8] == "+" else -shift)


def _name(cursor: Octets) -> str:
    """Write a Name: attributes in order, commas and backslashes in values escaped."""
    parts: list[str] = []
    while len(cursor) and len(parts) < MAX_ATTRIBUTES:
        relative = _expect(cursor, 0x31)
        while len(relative) and len(parts) < MAX_ATTRIBUTES:
            attribute = _expect(relative, 0x30)
            number = _identifier(_expect(attribute, 0x06).rest())
            tag, value = _next(attribute)
            content = value.rest()
            text = content.decode("utf-16-be", "replace") if tag == 0x1E else decode(content)
            parts.append(
                f"{ATTRIBUTES.get(number, number)}={text.replace(chr(92), chr(92) * 2).replace(',', chr(92) + ',')}"
            )
    return ", ".join(parts)


def _identifier(data: bytes) -> str:
    """Write an object identifier in dotted form."""
    arcs: list[int] = []
    value = 0
    for octet in data[:64]:
        value = value << 7 | octet & 0x7F
        if not octet & 0x80:
            arcs.append(value)
            value = 0
    if not arcs:
        return ""
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def _alt_names(body: Octets) -> tuple[str, ...]:
    """Return the DNS names of subjectAltName; none when the extensions cannot be read."""
    try:
        while len(body):
            tag, content = _next(body)
            if tag == 0xA3:
                return _find_alt_names(_expect(content, 0x30))
    except Short:
        pass
    return ()


def _find_alt_names(extensions: Octets) -> tuple[str, ...]:
    while len(extensions):
        extension = _expect(extensions, 0x30)
        if _identifier(_expect(extension, 0x06).rest()) != _SUBJECT_ALT_NAME:
            continue
        tag, content = _next(extension)
        if tag == 0x01:  # critical
            tag, content = _next(extension)
        names: list[str] = []
        general = _expect(content, 0x30)
        while len(general) and len(names) < MAX_NAMES:
            tag, value = _next(general)
            if tag == 0x82:
                names.append(decode(value.rest()))
            elif tag == 0x87 and len(value) in (4, 16):
                names.append(str(ip_address(value.rest())))
        return tuple(names)
    return ()
