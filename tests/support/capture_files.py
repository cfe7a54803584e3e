"""Capture files built byte by byte, and a way to read a tap to its end."""

from __future__ import annotations

import struct
from typing import NamedTuple

from packhound.sensor.tap.frames import Tap


class Packet(NamedTuple):
    """One packet as a tap delivers it."""

    data: bytes
    wirelen: int
    ts: int
    iface: int


def read(tap: Tap) -> list[Packet]:
    """Every packet of `tap`; checks that blocks are numbered on without gaps and stay inside their data."""
    found: list[Packet] = []
    for block in tap.blocks():
        if block is None:
            continue
        assert block.first_number == len(found) + 1
        for n in range(len(block)):
            assert int(block.offset[n]) + int(block.caplen[n]) <= len(block.data)
            found.append(Packet(block.packet(n), int(block.wirelen[n]), int(block.ts[n]), int(block.iface[n])))
    return found


def pcap_header(
    *, order: str = "<", magic: int = 0xA1B2C3D4, minor: int = 4, snaplen: int = 65535, net: int = 1
) -> bytes:
    """The 24 bytes at the head of a pcap file."""
    return struct.pack(order + "IHHiIII", magic, 2, minor, 0, 0, snaplen, net)


def record(
    seconds: int, ticks: int, data: bytes, *, wirelen: int | None = None, order: str = "<", tail: bytes = b""
) -> bytes:
    """One pcap record; `tail` is what the modified layout adds to its header."""
    size = len(data) if wirelen is None else wirelen
    return struct.pack(order + "IIII", seconds, ticks, len(data), size) + tail + data


def block(kind: int, body: bytes, *, order: str = "<") -> bytes:
    """One pcapng block, padded."""
    body += bytes(-len(body) % 4)
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


def section(*, order: str = "<") -> bytes:
    """A pcapng section header."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order=order)


def option(code: int, value: bytes, *, order: str = "<") -> bytes:
    """One pcapng option, padded."""
    return struct.pack(order + "HH", code, len(value)) + value + bytes(-len(value) % 4)


def interface(*, net: int = 1, snaplen: int = 0, options: bytes = b"", order: str = "<") -> bytes:
    """A pcapng interface description."""
    return block(1, struct.pack(order + "HHI", net, 0, snaplen) + options, order=order)


def enhanced(ticks: int, data: bytes, *, who: int = 0, wirelen: int | None = None, order: str = "<") -> bytes:
    """A pcapng enhanced packet."""
    size = len(data) if wirelen is None else wirelen
    head = struct.pack(order + "IIIII", who, ticks >> 32, ticks & 0xFFFFFFFF, len(data), size)
    return block(6, head + data, order=order)
