"""A capture file read the plain way, for tests that must not depend on the tap: pcap and pcapng, whole in memory."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PCAP_MAGICS = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"


class RawPacket(NamedTuple):
    """One packet as the file holds it; `ts` in ns (as the file's own resolution gives it)."""

    linktype: int
    ts: int
    wirelen: int
    data: bytes


def packets(path: Path) -> Iterator[RawPacket]:
    """Yield the packets of a capture up to the first record that is broken."""
    blob = path.read_bytes()
    if blob[:2] == b"\x1f\x8b":
        blob = gzip.decompress(blob)
    if blob[:4] in PCAP_MAGICS:
        yield from _pcap(blob)
    elif blob[:4] == PCAPNG_MAGIC:
        yield from _pcapng(blob)


def _pcap(blob: bytes) -> Iterator[RawPacket]:
    if len(blob) < 24:
        return
    order, scale = PCAP_MAGICS[blob[:4]]
    linktype = struct.unpack_from(order + "I", blob, 20)[0] & 0xFFFF
    at = 24
    while at + 16 <= len(blob):
        seconds, fraction, caplen, wirelen = struct.unpack_from(order + "IIII", blob, at)
        at += 16
        if at + caplen > len(blob):
            return
        yield RawPacket(linktype, seconds * 1_000_000_000 + fraction * scale, wirelen, blob[at : at + caplen])
        at += caplen


def _pcapng(blob: bytes) -> Iterator[RawPacket]:
    order, at = "<", 0
    interfaces: list[tuple[int, int]] = []
    while at + 12 <= len(blob):
        if blob[at : at + 4] == PCAPNG_MAGIC:
            order = "<" if blob[at + 8 : at + 12] == b"\x4d\x3c\x2b\x1a" else ">"
            interfaces = []
        kind, size = struct.unpack_from(order + "II", blob, at)
        if size < 12 or at + size > len(blob):
            return
        body = blob[at + 8 : at + size - 4]
        at += size
        if kind == 1 and len(body) >= 8:
            interfaces.append((struct.unpack_from(order + "H", body)[0], _resolution(body[8:], order)))
        elif kind == 6 and len(body) >= 20:
            index, high, low, caplen, wirelen = struct.unpack_from(order + "IIIII", body)
            if index < len(interfaces):
                linktype, units = interfaces[index]
                ts = (high << 32 | low) * 1_000_000_000 // units
                yield RawPacket(linktype, ts, wirelen, body[20 : 20 + caplen])
        elif kind == 3 and len(body) >= 4 and interfaces:
            wirelen = struct.unpack_from(order + "I", body)[0]
            yield RawPacket(interfaces[0][0], 0, wirelen, body[4 : 4 + wirelen])


def _resolution(options: bytes, order: str) -> int:
    """Units per second from option if_tsresol (9); microseconds without it."""
    at = 0
    while at + 4 <= len(options):
        code, size = struct.unpack_from(order + "HH", options, at)
        if code == 9 and size == 1:
            value = options[at + 4]
            return 1 << (value & 0x7F) if value & 0x80 else 10 ** min(value, 18)
        if code == 0:
            break
        at += 4 + (size + 3) // 4 * 4
    return 1_000_000
