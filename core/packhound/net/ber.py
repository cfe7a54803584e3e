"""The part of BER that SNMP, LDAP and Kerberos use (X.690): definite lengths, short tags, integers, object identifiers.

Promise: every read is bounded by the element it is in; what breaks raises `Short` of `packhound.net.octets`, which
never leaves the parser that called. Nothing here recurses: how deep elements are read is the caller's to bound.
"""

from __future__ import annotations

from typing import NamedTuple

from packhound.net.octets import Octets, Short

BOOLEAN, INTEGER, OCTETS, NULL, OID, ENUMERATED, SEQUENCE, SET = 1, 2, 4, 5, 6, 10, 0x30, 0x31
MAX_ARCS = 128  # of an object identifier, RFC 2578 section 3.5
_MAX_ARC = 1 << 64


class Element(NamedTuple):
    """One element: its identifier octet and a cursor over its content."""

    tag: int
    body: Octets


def element(cursor: Octets) -> Element:
    """Read the next element; a tag above 30 or an indefinite length, which none of the protocols has, breaks."""
    tag = cursor.number(1)
    if tag & 0x1F == 0x1F:  # some agents write small tags in the long form, against section 8.1.2.2
        small = cursor.number(1)
        if small > 30:
            raise Short(cursor.at)
        tag = tag & 0xE0 | small
    return Element(tag, cursor.part(length(cursor)))


def length(cursor: Octets) -> int:
    """Read a definite length of up to four octets."""
    first = cursor.number(1)
    if first < 0x80:
        return first
    if not 1 <= first & 0x7F <= 4:
        raise Short(cursor.at)
    return cursor.number(first & 0x7F)


def expect(cursor: Octets, tag: int) -> Octets:
    """Read the next element, which must have this tag; return its content."""
    found = element(cursor)
    if found.tag != tag:
        raise Short(found.body.at)
    return found.body


def peek(cursor: Octets) -> int:
    """The tag of the next element, -1 when there is none."""
    return cursor.data[cursor.at] if len(cursor) else -1


def integer(body: Octets, *, signed: bool = True) -> int:
    """Read the content of an INTEGER or ENUMERATED of up to nine octets."""
    if not 1 <= len(body) <= 9:
        raise Short(body.at)
    return int.from_bytes(body.rest(), "big", signed=signed)


def number(cursor: Octets) -> int:
    """Read an INTEGER."""
    return integer(expect(cursor, INTEGER))


def octets(cursor: Octets) -> bytes:
    """Read an OCTET STRING of the simple form."""
    return expect(cursor, OCTETS).rest()


def oid(body: Octets) -> str:
    """Read the content of an OBJECT IDENTIFIER as dotted numbers; empty content is an empty text."""
    arcs: list[int] = []
    arc, open_ = 0, False
    for octet in body.rest():
        arc, open_ = arc << 7 | octet & 0x7F, octet >= 0x80
        if arc >= _MAX_ARC or len(arcs) > MAX_ARCS:
            raise Short(body.at)
        if open_:
            continue
        if arcs:
            arcs.append(arc)
        else:
            top = min(arc // 40, 2)
            arcs += [top, arc - 40 * top]
        arc = 0
    if open_:
        raise Short(body.at)
    return ".".join(map(str, arcs))
