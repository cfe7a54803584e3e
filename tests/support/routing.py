"""Bytes of routing protocols, built by hand."""

from __future__ import annotations

MARKER = b"\xff" * 16


def message(kind: int, body: bytes = b"", *, marker: bytes = MARKER) -> bytes:
    """A BGP message."""
    return marker + (19 + len(body)).to_bytes(2, "big") + bytes((kind,)) + body


def capability(code: int, body: bytes = b"") -> bytes:
    """A capability as an optional parameter of its own."""
    return bytes((2, len(body) + 2, code, len(body))) + body


def bgp_open(asn: int, *parameters: bytes) -> bytes:
    """An OPEN of router 192.0.2.1."""
    body = b"".join(parameters)
    return message(1, b"\4" + min(asn, 23456).to_bytes(2, "big") + b"\0\xb4\xc0\0\2\1" + bytes((len(body),)) + body)


def attribute(kind: int, body: bytes, *, flags: int = 0x40) -> bytes:
    """A path attribute, its length in two octets where it needs them."""
    wide = len(body) > 255
    return bytes((flags | 0x10 * wide, kind)) + len(body).to_bytes(2 if wide else 1, "big") + body


def path(*numbers: int, width: int, kind: int = 2) -> bytes:
    """A segment of an AS path."""
    return bytes((kind, len(numbers))) + b"".join(each.to_bytes(width, "big") for each in numbers)


def update(*attributes: bytes, withdrawn: bytes = b"", routes: bytes = b"") -> bytes:
    """An UPDATE."""
    body = b"".join(attributes)
    return message(2, len(withdrawn).to_bytes(2, "big") + withdrawn + len(body).to_bytes(2, "big") + body + routes)
