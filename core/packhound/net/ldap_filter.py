"""LDAP search filters, from BER (RFC 4511 section 4.5.1.7) to the text that people write (RFC 4515).

Promise: at most `MAX_DEPTH` deep and `MAX_ITEMS` items long; what is larger or breaks raises `Short` of
`packhound.net.octets`, which never leaves `packhound.net.ldap`.
"""

from __future__ import annotations

from packhound.net import ber
from packhound.net.octets import Octets, Short
from packhound.net.text import decode

MAX_DEPTH = 32
MAX_ITEMS = 256


def read_filter(cursor: Octets) -> str:
    """Read the filter at the cursor and write it as text."""
    return _Filter().text(cursor, MAX_DEPTH)


class _Filter:
    """Writes a search filter as text (RFC 4515)."""

    __slots__ = ("_items",)

    def __init__(self) -> None:
        self._items = 0

    def text(self, cursor: Octets, depth: int) -> str:
        """Read the filter at the cursor; one that is too deep or too long raises Short."""
        tag, body = ber.element(cursor)
        self._items += 1
        if not depth or self._items > MAX_ITEMS:
            raise Short(body.at)
        if tag in (0xA0, 0xA1):
            parts = []
            while len(body):
                parts.append(self.text(body, depth - 1))
            return f"({'&' if tag == 0xA0 else '|'}{''.join(parts)})"
        if tag == 0xA2:
            return f"(!{self.text(body, depth - 1)})"
        if tag == 0x87:
            return f"({decode(body.rest())}=*)"
        if tag == 0xA4:
            return f"({decode(ber.octets(body))}={_substrings(ber.expect(body, ber.SEQUENCE))})"
        if tag == 0xA9:
            return f"({_extensible(body)})"
        sign = {0xA3: "=", 0xA5: ">=", 0xA6: "<=", 0xA8: "~="}.get(tag)
        if sign is None:
            raise Short(body.at)
        return f"({decode(ber.octets(body))}{sign}{_escaped(ber.octets(body))})"


def _substrings(body: Octets) -> str:
    out = ""
    for _ in range(MAX_ITEMS):
        if not len(body):
            break
        tag, value = ber.element(body)
        text = _escaped(value.rest())
        out = text if tag == 0x80 and not out else f"{out}*{text}"
        if tag == 0x82:
            return out
    return f"{out}*"


def _extensible(body: Octets) -> str:
    parts = {1: b"", 2: b"", 3: b"", 4: b""}
    while len(body):
        tag, value = ber.element(body)
        parts[tag & 7] = value.rest()
    rule = f":{decode(parts[1])}" if parts[1] else ""
    whole = ":dn" if any(parts[4]) else ""
    return f"{decode(parts[2])}{whole}{rule}:={_escaped(parts[3])}"


def _escaped(value: bytes) -> str:
    """A value as RFC 4515 section 3 writes it: what is no text or has a meaning in filters as octets in hex."""
    text = decode(value)
    if not text.isprintable():
        return "".join(chr(each) if 32 <= each < 127 and each not in b"*()\\" else f"\\{each:02x}" for each in value)
    return "".join(f"\\{ord(each):02x}" if each in "*()\\" else each for each in text)
