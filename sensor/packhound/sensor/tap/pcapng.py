"""pcapng files: sections, interfaces, drop counts, and the walk over packets as blocks.

Promise: every packet before a fault is delivered; the fault is raised after them. Both byte orders, several sections,
enhanced, simple and obsolete packet blocks are read; blocks of other kinds are skipped. A packet without a time
(simple packet block) gets that of the packet before it. Reference: draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator

from packhound.sensor.tap.errors import CaptureError
from packhound.sensor.tap.frames import BLOCK_BYTES, MAX_RECORD, Arrays, Block, Drops
from packhound.sensor.tap.index import (
    FULL,
    INTERFACE,
    MORE,
    REASONS,
    SECTION_HEADER,
    SPECIAL,
    STATISTICS,
    walk_pcapng,
)
from packhound.sensor.tap.reading import Reading
from packhound.sensor.tap.section import Clocks

MAGIC = b"\x0a\x0d\x0d\x0a"
BYTE_ORDER = 0x1A2B3C4D
# options: of interfaces, of statistics
IF_NAME, IF_DESCRIPTION, IF_TSRESOL, IF_TSOFFSET = 2, 3, 9, 14
ISB_IFDROP, ISB_OSDROP = 5, 7


def is_pcapng(head: bytes) -> bool:
    """Whether a file that starts with `head` is a pcapng file."""
    return head[:4] == MAGIC


def blocks(reading: Reading, *, name: str, budget: int = BLOCK_BYTES) -> Iterator[Block | None]:
    """Blocks of the pcapng file that `reading` has open, from its first byte on; raises CaptureError at a fault."""
    walker = _Walker(reading, name)
    arrays = Arrays()
    pos = 0
    while not reading.stopped:
        used, start, pos, code = walker.fill(arrays, pos, budget)
        if used:
            yield reading.block(arrays, used, start, pos)
        if code in REASONS:
            raise reading.fault(pos, REASONS[code])
        if code == MORE:
            ended = yield from reading.further(pos)
            pos = 0
            if ended and len(reading.data) and not reading.stopped:
                raise reading.fault(0, "file is cut short in the middle of a block")
            if ended:
                return


class _Walker:
    """The section that is being read."""

    def __init__(self, reading: Reading, name: str) -> None:
        self.reading = reading
        self.name = name
        self.clocks = Clocks(big=False)
        self.last = 0

    def fill(self, arrays: Arrays, pos: int, budget: int) -> tuple[int, int, int, int]:
        """Rows from `pos` on -> (rows, first byte, next byte, code): SPECIAL blocks are read on the way.

        Rows count from `first byte`.
        """
        start = pos
        view = self.reading.data[start:]
        used = at = 0
        while True:
            walk = walk_pcapng(
                view,
                at,
                len(view),
                arrays,
                self.clocks,
                row=used,
                last=self.last,
                longest=MAX_RECORD,
                budget=max(1, budget - at),
            )
            used, at, self.last = walk.used, walk.pos, walk.last
            if walk.code != SPECIAL:
                return used, start, start + at, walk.code
            if at >= budget:
                return used, start, start + at, FULL
            try:
                size = self._special(view, start, at)
            except CaptureError:
                if not used:
                    raise
                return used, start, start + at, FULL  # what is good first: the next call meets the fault again
            if size == 0:
                return used, start, start + at, MORE
            at += size

    def _special(self, view: memoryview, start: int, at: int) -> int:
        """Read the section, interface or statistics block at `at` -> its size, 0 when it is not all there yet."""
        fault = self.reading.fault
        if len(view) - at < 12:
            return 0
        if bytes(view[at : at + 4]) == MAGIC:
            self._byte_order(view, start, at)
        order = ">" if self.clocks.big else "<"
        kind, total = struct.unpack_from(order + "II", view, at)
        least = {SECTION_HEADER: 28, INTERFACE: 20, STATISTICS: 24}[kind]
        padded = (total + 3) & ~3
        if total < least:
            raise fault(start + at, f"a block of {total} bytes is too small for what it should hold")
        if total > MAX_RECORD:
            raise fault(start + at, f"a block claims {total} bytes")
        if len(view) - at < padded:
            return 0
        if struct.unpack_from(order + "I", view, at + padded - 4)[0] != total:
            raise fault(start + at, "the two length fields of a block differ")
        body = view[at + 8 : at + total - 4]
        if kind == SECTION_HEADER:
            self._section(body, order, start + at)
        elif kind == INTERFACE:
            self._interface(body, order)
        else:
            self._statistics(body, order)
        return int(padded)

    def _byte_order(self, view: memoryview, start: int, at: int) -> None:
        for order, big in (("<", False), (">", True)):
            if struct.unpack_from(order + "I", view, at + 8)[0] == BYTE_ORDER:
                self.clocks = Clocks(big=big)
                return
        raise self.reading.fault(start + at, "section header without a byte-order mark")

    def _section(self, body: memoryview, order: str, pos: int) -> None:
        major, minor = struct.unpack_from(order + "HH", body, 4)
        if major != 1:
            raise self.reading.fault(pos, f"pcapng version {major}.{minor} is not known")
        self.reading.close_section()

    def _interface(self, body: memoryview, order: str) -> None:
        linktype, _reserved, snaplen = struct.unpack_from(order + "HHI", body)
        name, description, resolution, tsoffset = "", "", 6, 0
        for code, value in _options(body, 8, order):
            if code == IF_NAME:
                name = _text(value)
            elif code == IF_DESCRIPTION:
                description = _text(value)
            elif code == IF_TSRESOL and len(value) >= 1:
                resolution = value[0]
            elif code == IF_TSOFFSET and len(value) >= 8:
                (tsoffset,) = struct.unpack_from(order + "q", value)
        named = name or f"{self.name}#{len(self.reading.interfaces)}"
        index = self.reading.interface(named, linktype, snaplen, description, shared=bool(name))
        self.clocks.add(resolution=resolution, tsoffset=tsoffset, snaplen=snaplen, iface=index)

    def _statistics(self, body: memoryview, order: str) -> None:
        (who,) = struct.unpack_from(order + "I", body)
        if who >= self.clocks.count:
            return
        counts = {ISB_IFDROP: 0, ISB_OSDROP: 0}
        for code, value in _options(body, 12, order):
            if code in counts and len(value) >= 8:
                (counts[code],) = struct.unpack_from(order + "Q", value)
        # counts of one section are cumulative, and a later section of the same interface starts anew
        self.reading.lost[who] = Drops(kernel=counts[ISB_OSDROP], interface=counts[ISB_IFDROP])


def _options(body: memoryview, pos: int, order: str) -> Generator[tuple[int, bytes], None, None]:
    """(code, value) of the options from `pos` on; ends at the first one that does not fit."""
    while pos + 4 <= len(body):
        code, size = struct.unpack_from(order + "HH", body, pos)
        if code == 0 or pos + 4 + size > len(body):
            return
        yield code, bytes(body[pos + 4 : pos + 4 + size])
        pos += 4 + (size + 3 & ~3)


def _text(value: bytes) -> str:
    return value.rstrip(b"\x00").decode("utf-8", "replace")
