"""Where the packets of a buffer lie: the native walkers of the kernel, or the same walks in Python.

Promise: both give the same rows, positions and codes for the same bytes (twin test); which one runs is decided here
and nowhere else (`MODE`). A walk never reads outside `buf[pos:end]`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

from packhound.sensor.tap.frames import BLOCK_BYTES, Arrays, Buffer
from packhound.sensor.tap.section import Clocks, nanoseconds

# Why a walk stopped (the same numbers in kernel/_index.pxi).
FULL = 0
MORE = 1
SPECIAL = 2
HUGE = 3
SHORT = 4
TRAILER = 5
NO_INTERFACE = 6

REASONS = {
    HUGE: "record length is absurd",
    SHORT: "a length field is too small for what it should hold",
    TRAILER: "the two length fields of a block differ",
    NO_INTERFACE: "a packet of an interface that the file does not describe",
}

SECTION_HEADER, INTERFACE, PACKET, SIMPLE, STATISTICS, ENHANCED = 0x0A0D0D0A, 1, 2, 3, 5, 6

_native: ModuleType | None
try:
    _native = import_module("packhound.sensor.kernel._scan")
except ImportError:
    _native = None

MODE = "native" if _native else "portable"


@dataclass(frozen=True, slots=True)
class PcapLayout:
    """How the records of one pcap file are laid out, from its header.

    `swapped`: byte order is not this machine's; `unit`: ns per tick of the sub-second field; `header`: bytes of a
    record header; `longest`: biggest captured length believed; `lengths`: 0 as they stand, 1 swap the two where
    captured > original, 2 always swapped (files older than version 2.3).
    """

    swapped: bool
    unit: int
    header: int
    longest: int
    lengths: int
    big: bool


class Walk(NamedTuple):
    """`used`: rows in all; `pos`: first byte not walked; `code`: why it stopped; `last`: time of the last row."""

    used: int
    pos: int
    code: int
    last: int = 0


def walk_pcap(
    buf: Buffer, pos: int, end: int, arrays: Arrays, layout: PcapLayout, *, iface: int, budget: int = BLOCK_BYTES
) -> Walk:
    """Rows for the pcap records of `buf[pos:end]`, until the arrays are full, `budget` bytes are walked, or a fault."""
    if _native is None:
        return walk_pcap_portable(buf, pos, end, arrays, layout, iface=iface, budget=budget)
    return Walk(
        *_native.index_pcap(
            buf,
            pos,
            end,
            budget,
            *arrays.columns(),
            swapped=layout.swapped,
            unit=layout.unit,
            header=layout.header,
            longest=layout.longest,
            iface=iface,
            lengths=layout.lengths,
        )
    )


def walk_pcap_portable(
    buf: Buffer, pos: int, end: int, arrays: Arrays, layout: PcapLayout, *, iface: int, budget: int = BLOCK_BYTES
) -> Walk:
    """`walk_pcap` in Python."""
    record = struct.Struct((">" if layout.big else "<") + "IIII")
    start, used, end = pos, 0, min(end, len(buf))
    while used < arrays.size and pos - start < budget:
        if end - pos < layout.header:
            return Walk(used, pos, MORE)
        seconds, ticks, caplen, wirelen = record.unpack_from(buf, pos)
        if layout.lengths == 2 or (layout.lengths == 1 and caplen > wirelen):
            caplen, wirelen = wirelen, caplen
        if caplen > layout.longest:
            return Walk(used, pos, HUGE)
        if end - pos - layout.header < caplen:
            return Walk(used, pos, MORE)
        arrays.put(used, pos + layout.header, caplen, wirelen, seconds * 1_000_000_000 + ticks * layout.unit, iface)
        used += 1
        pos += layout.header + caplen
    return Walk(used, pos, FULL)


def walk_pcapng(
    buf: Buffer,
    pos: int,
    end: int,
    arrays: Arrays,
    clocks: Clocks,
    *,
    row: int,
    last: int,
    longest: int,
    budget: int = BLOCK_BYTES,
) -> Walk:
    """Rows, from `row` on, for the pcapng blocks of `buf[pos:end]`; stops at a block that changes the section.

    `last` is the time that a packet without one gets; `longest` the biggest block believed, bytes.
    """
    if _native is None:
        return walk_pcapng_portable(buf, pos, end, arrays, clocks, row=row, last=last, longest=longest, budget=budget)
    return Walk(
        *_native.index_pcapng(
            buf,
            pos,
            end,
            budget,
            *arrays.columns(),
            row=row,
            swapped=clocks.swapped,
            longest=longest,
            last=last,
            mul=clocks.mul,
            div=clocks.div,
            shift=clocks.shift,
            tsoffset=clocks.tsoffset,
            snaplen=clocks.snaplen,
            iface=clocks.iface,
            count=clocks.count,
        )
    )


def walk_pcapng_portable(
    buf: Buffer,
    pos: int,
    end: int,
    arrays: Arrays,
    clocks: Clocks,
    *,
    row: int,
    last: int,
    longest: int,
    budget: int = BLOCK_BYTES,
) -> Walk:
    """`walk_pcapng` in Python."""
    order = ">" if clocks.big else "<"
    word, head = struct.Struct(order + "I"), struct.Struct(order + "II")
    start, end = pos, min(end, len(buf))
    while row < arrays.size and pos - start < budget:
        if end - pos < 12:
            return Walk(row, pos, MORE, last)
        kind, total = head.unpack_from(buf, pos)
        if kind in (SECTION_HEADER, INTERFACE, STATISTICS):
            return Walk(row, pos, SPECIAL, last)
        if total < 12:
            return Walk(row, pos, SHORT, last)
        if total > longest:
            return Walk(row, pos, HUGE, last)
        padded = (total + 3) & ~3
        if end - pos < padded:
            return Walk(row, pos, MORE, last)
        if word.unpack_from(buf, pos + padded - 4)[0] != total:
            return Walk(row, pos, TRAILER, last)
        if kind in (ENHANCED, PACKET, SIMPLE):
            read = _simple if kind == SIMPLE else _enhanced
            packet = read(buf, pos, total - 12, clocks, order, kind)
            if isinstance(packet, int):
                return Walk(row, pos, packet, last)
            last = last if packet.ts is None else packet.ts
            arrays.put(row, packet.at, packet.caplen, packet.wirelen, last, packet.iface)
            row += 1
        pos += padded
    return Walk(row, pos, FULL, last)


class _Packet(NamedTuple):
    at: int
    caplen: int
    wirelen: int
    ts: int | None
    iface: int


def _enhanced(buf: Buffer, pos: int, body: int, clocks: Clocks, order: str, kind: int) -> _Packet | int:
    if body < 20:
        return SHORT
    who, high, low, caplen, wirelen = struct.unpack_from(order + "IIIII", buf, pos + 8)
    if kind == PACKET:
        (who,) = struct.unpack_from(order + "H", buf, pos + 8)
    if who >= clocks.count:
        return NO_INTERFACE
    if caplen > body - 20:
        return SHORT
    return _Packet(pos + 28, caplen, wirelen, nanoseconds(high << 32 | low, clocks, who), int(clocks.iface[who]))


def _simple(buf: Buffer, pos: int, body: int, clocks: Clocks, order: str, kind: int) -> _Packet | int:
    if body < 4:
        return SHORT
    if clocks.count == 0:
        return NO_INTERFACE
    (wirelen,) = struct.unpack_from(order + "I", buf, pos + 8)
    caplen = min(wirelen, int(clocks.snaplen[0])) if clocks.snaplen[0] else wirelen
    if caplen > body - 4:
        return SHORT
    return _Packet(pos + 12, caplen, wirelen, None, int(clocks.iface[0]))


# ---- TPACKET_V3 blocks

RAW, ETHERNET, COOKED = 0, 1, 2
OUTGOING = 4
VLAN_VALID, VLAN_TPID_VALID = 0x10, 0x40
#: Room in front of each frame that `walk_ring` needs (PACKET_RESERVE), bytes: SLL header, VLAN tag, alignment.
RESERVE = 24

_HEADER = struct.Struct("=IIIIIIHH")
_TAG = struct.Struct("=IH")


def walk_ring(
    memory: memoryview, address: int, arrays: Arrays, *, iface: int, snaplen: int, mode: int, incoming_only: bool
) -> int:
    """Rows for one retired ring block, VLAN tags put back into the frames, SLL headers written (`mode` COOKED).

    `memory` is the block, writable, and `address` where it lies; `snaplen` 0: as captured. Returns the rows used.
    """
    if _native is None:
        return walk_ring_portable(memory, arrays, iface=iface, snaplen=snaplen, mode=mode, incoming_only=incoming_only)
    used: int = _native.index_ring(
        address,
        len(memory),
        *arrays.columns(),
        iface=iface,
        snaplen=snaplen,
        mode=mode,
        incoming_only=incoming_only,
    )
    return used


def walk_ring_portable(
    memory: memoryview, arrays: Arrays, *, iface: int, snaplen: int, mode: int, incoming_only: bool
) -> int:
    """`walk_ring` in Python."""
    packets, pos = struct.unpack_from("=II", memory, 12)
    used = 0
    for _ in range(packets):
        if used >= arrays.size or pos + 80 > len(memory):
            break
        step, seconds, nanos, caplen, wirelen, status, mac, _net = _HEADER.unpack_from(memory, pos)
        first = pos + mac
        outgoing = incoming_only and memory[pos + 58] == OUTGOING
        if mac >= 68 + RESERVE and first + caplen <= len(memory) and not outgoing:
            if mode == COOKED:
                first, caplen, wirelen = first - 16, caplen + 16, wirelen + 16
                _put_cooked_header(memory, first, pos + 48)
            grown = _put_tag(memory, first, caplen, status, pos, mode)
            first, caplen, wirelen = first - grown, caplen + grown, wirelen + grown
            arrays.put(used, first, min(caplen, snaplen or caplen), wirelen, seconds * 1_000_000_000 + nanos, iface)
            used += 1
        if step == 0:
            break
        pos += step
    return used


def _put_tag(memory: memoryview, first: int, caplen: int, status: int, pos: int, mode: int) -> int:
    where = 14 if mode == COOKED else 12
    if not status & VLAN_VALID or mode == RAW or caplen < where:
        return 0
    tci, tpid = _TAG.unpack_from(memory, pos + 32)
    memory[first - 4 : first - 4 + where] = bytes(memory[first : first + where])
    struct.pack_into(">HH", memory, first - 4 + where, tpid if status & VLAN_TPID_VALID else 0x8100, tci & 0xFFFF)
    return 4


def _put_cooked_header(memory: memoryview, first: int, sll: int) -> None:
    hatype, kind, halen = struct.unpack_from("=HBB", memory, sll + 8)
    struct.pack_into(">HHH", memory, first, kind, hatype, min(halen, 8))
    memory[first + 6 : first + 14] = bytes(memory[sll + 12 : sll + 20])
    memory[first + 14 : first + 16] = bytes(memory[sll + 2 : sll + 4])


def ring_status(memory: memoryview, address: int) -> int:
    """block_status of the ring block `memory` at `address` (bit 0: ours), read before anything else of the block."""
    if _native is None:
        return int(struct.unpack_from("=I", memory, 8)[0])
    return int(_native.ring_status(address))


def ring_release(memory: memoryview, address: int) -> None:
    """Hand the ring block `memory` at `address` back to the kernel; its packet count becomes 0 until it is reused."""
    if _native is None:
        struct.pack_into("=I", memory, 12, 0)
        struct.pack_into("=I", memory, 8, 0)
    else:
        _native.ring_release(address)
