"""pcap files: the header, and the walk over records as blocks.

Promise: every record before a fault is delivered; the fault is raised after them. Byte orders, ns and us stamps, the
"modified" layout and pre-2.3 files are read. Reference: draft-ietf-opsawg-pcap.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator

from packhound.sensor.tap.errors import CaptureError
from packhound.sensor.tap.frames import BLOCK_BYTES, MAX_RECORD, SNAPLEN, Arrays, Block
from packhound.sensor.tap.index import HUGE, MORE, PcapLayout, walk_pcap
from packhound.sensor.tap.reading import Reading

HEADER = 24
#: magic (as a big-endian number) -> (byte order, ns per tick, record header bytes)
MAGICS = {
    0xA1B2C3D4: (">", 1000, 16),
    0xD4C3B2A1: ("<", 1000, 16),
    0xA1B23C4D: (">", 1, 16),
    0x4D3CB2A1: ("<", 1, 16),
    0xA1B2CD34: (">", 1000, 24),
    0x34CDB2A1: ("<", 1000, 24),
}


def is_pcap(head: bytes) -> bool:
    """Whether a file that starts with `head` is a pcap file."""
    return len(head) >= 4 and int.from_bytes(head[:4]) in MAGICS


def layout(head: bytes) -> tuple[PcapLayout, int, int]:
    """The 24 header bytes -> (layout, link type, snap length). The caller has checked `is_pcap`."""
    order, unit, record = MAGICS[int.from_bytes(head[:4])]
    major, minor, _zone, _sigfigs, snaplen, network = struct.unpack_from(order + "HHiIII", head, 4)
    old = (major, minor) < (2, 3)
    believed = SNAPLEN if snaplen == 0 else snaplen
    longest = min(max(believed, SNAPLEN), MAX_RECORD)
    lengths = 2 if old else 1 if (major, minor) == (2, 3) else 0
    big = order == ">"
    shape = PcapLayout(
        swapped=big != (sys.byteorder == "big"), unit=unit, header=record, longest=longest, lengths=lengths, big=big
    )
    return shape, network & 0xFFFF, snaplen


def blocks(reading: Reading, *, name: str, budget: int = BLOCK_BYTES) -> Iterator[Block | None]:
    """Blocks of the pcap file that `reading` has open, from its first byte on; raises CaptureError at a fault."""
    while len(reading.data) < HEADER:
        if (yield from reading.further(0)):
            raise reading.fault(0, "file header is cut short")
    shape, linktype, snaplen = layout(bytes(reading.data[:HEADER]))
    iface = reading.interface(name, linktype, snaplen)
    arrays = Arrays()
    pos = HEADER
    while not reading.stopped:
        view = reading.data[pos:]
        walk = walk_pcap(view, 0, len(view), arrays, shape, iface=iface, budget=budget)
        start, pos = pos, pos + walk.pos
        if walk.used:
            yield reading.block(arrays, walk.used, start, pos)
        if walk.code == HUGE:
            raise _too_long(reading, pos, shape)
        if walk.code == MORE:
            ended = yield from reading.further(pos)
            pos = 0
            if ended and len(reading.data) and not reading.stopped:
                raise reading.fault(0, "file is cut short in the middle of a packet")
            if ended:
                return


def _too_long(reading: Reading, pos: int, shape: PcapLayout) -> CaptureError:
    caplen, wirelen = struct.unpack_from((">" if shape.big else "<") + "II", reading.data, pos + 8)
    claimed = min(caplen, wirelen) if shape.lengths == 1 else wirelen if shape.lengths == 2 else caplen
    return reading.fault(pos, f"record claims {claimed} bytes, more than the {shape.longest} that it may have")
