"""Where the parcels of a spool are: in segments on the disk, or in memory when the disk would not take them.

Promise: what waits in a closed segment is known as rows (`refs`), which cost little memory, and unpacked when it is its
turn. Nothing is deleted that anything here still needs. Not thread-safe: the spool has the lock.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from packhound.sensor.parcel import LOST
from packhound.sensor.spool import refs
from packhound.sensor.spool.done import DoneLog
from packhound.sensor.spool.limits import SpoolLimits
from packhound.sensor.spool.records import Record
from packhound.sensor.spool.recovery import Found, scan
from packhound.sensor.spool.refs import Ref
from packhound.sensor.spool.segments import SUFFIX, Segment

DISK_FULL, IO_ERROR = "disk_full", "io_error"
PACKED_FROM = 256  # parcels of a segment that are worth packing
_LEAST = 1024  # what a record counts for at least among the bytes that wait


class Shelf:
    """The segments in `folder`. `refs`: parcels by number, but those that are packed; `here`: those that are in memory
    only, `here_bytes` of them; `bytes` of all; `fault`: why the disk takes nothing, or empty."""

    def __init__(self, folder: Path, limits: SpoolLimits) -> None:
        self._folder, self._limits = folder, limits
        self.refs: dict[int, Ref] = {}
        self.here: dict[int, Record] = {}
        self.here_bytes = self.bytes = 0
        self.fault = ""
        self.segments: list[Segment] = []
        self._open: dict[bool, Segment] = {}
        self._made = 0
        self._packed: list[Segment] = []
        self._ready: list[int] = []  # a heap; may hold numbers that are gone or out
        self._tail: OrderedDict[int, Record] = OrderedDict()
        self._tail_bytes = 0
        self._replaced: list[tuple[int, Segment]] = []  # records on the disk for which others stand that are not yet
        self.done = DoneLog(folder)

    def recover(self) -> Found:
        """Take up what is not done. Raises OSError."""
        done = self.done.read()
        found = scan(self._folder, done)
        self.segments, self.refs, self._made = found.segments, found.refs, found.made
        self._ready = sorted(self.refs)
        self.bytes = sum(max(ref.size, _LEAST) for ref in self.refs.values())
        for segment in list(self.segments):
            self._pack(segment)
            self.close_over(segment)
        self.done.replace(done if self.segments else ())
        return found

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return sum(each.size for each in self.segments)

    def __len__(self) -> int:
        return len(self.refs) + sum(map(refs.count, list(self._packed)))

    # in and out ------------------------------------------------------------------------------------------------------

    def write(self, record: Record) -> tuple[Segment, int, int] | None:
        """Write a record: segment, offset, size; None when the disk will not take it."""
        try:
            segment = self._segment(media=record.parcel.media)
            return segment, *segment.append(record)
        except OSError as error:
            self.fault = DISK_FULL if error.errno in {28, 122} else IO_ERROR
            full = self._open.get(record.parcel.media)
            if full is not None and full.size:  # it goes when it is delivered, and makes room
                self._finish_open(full)
            return None

    def add(self, number: int, ref: Ref, record: Record) -> None:
        """There is one more, which waits."""
        self.refs[number] = ref
        self.offer(number)
        if len(self._ready) > 2 * len(self.refs) + 1024:
            self._sort()
        self._place(number, ref, record)

    def remove(self, number: int) -> None:
        """It is needed no more."""
        self._unplace(number, self.refs.pop(number))

    def lift(self, number: int, record: Record) -> None:
        """Have it in memory only."""
        ref = self.refs[number]
        self._unplace(number, ref)
        ref.segment, ref.at, ref.size = None, 0, len(record.parcel.data)
        self._place(number, ref, record)

    def lower(self, numbers: Iterable[int]) -> None:
        """Write what is in memory only, as far as the disk takes it."""
        for number in numbers:
            record, ref = self.here[number], self.refs[number]
            where = self.write(record)
            if where is None:
                return
            self._unplace(number, ref)
            ref.segment, ref.at, ref.size = where
            self._place(number, ref, record)
        if not self.here:
            self._forget_replaced()

    def replaced(self, number: int) -> None:
        """Another record will stand for this one: it counts until that is written."""
        segment = self.refs[number].segment
        if segment is not None:
            segment.held = True
            self._replaced.append((number, segment))

    def _forget_replaced(self) -> None:
        for number, segment in self._replaced:
            if number not in self.refs:
                self.log(number)
            segment.held = False
            self.close_over(segment)
        self._replaced.clear()

    def log(self, number: int) -> None:
        """Note on the disk that it is done."""
        self.done.note(number, first=min((each.first for each in self.segments if each.first), default=number))

    def read(self, number: int) -> Record | None:
        """A record; None when it is damaged or cannot be read."""
        held = self._tail.get(number) or self.here.get(number)
        if held is not None:
            return held
        ref = self.refs[number]
        return ref.segment.read(ref.at, ref.size) if ref.segment is not None else None

    # whose turn it is ------------------------------------------------------------------------------------------------

    def offer(self, number: int) -> None:
        """It waits to be handed out."""
        heapq.heappush(self._ready, number)

    def first(self) -> int | None:
        """The lowest number that waits."""
        while self._ready and ((ref := self.refs.get(self._ready[0])) is None or ref.out):
            heapq.heappop(self._ready)
        if self._packed:
            oldest = min(self._packed, key=refs.first)
            if not self._ready or refs.first(oldest)[0] < self._ready[0]:
                self._unpack(oldest)
        return self._ready[0] if self._ready else None

    def _sort(self) -> None:
        self._ready = sorted(number for number, ref in self.refs.items() if not ref.out)

    # places ----------------------------------------------------------------------------------------------------------

    def _place(self, number: int, ref: Ref, record: Record) -> None:
        """Enter where it is now, which `ref` says. What may be asked for soon is kept in memory too."""
        self.bytes += max(ref.size, _LEAST)
        if ref.segment is None:
            self.here[number] = record
            self.here_bytes += ref.size
            return
        ref.segment.live.add(number)
        self._tail[number] = record
        self._tail_bytes += len(record.parcel.data)
        while self._tail_bytes > self._limits.memory and self._tail:
            self._tail_bytes -= len(self._tail.popitem(last=False)[1].parcel.data)

    def _unplace(self, number: int, ref: Ref) -> None:
        """It is no more where `ref` says."""
        self.bytes -= max(ref.size, _LEAST)
        if ref.segment is None:
            del self.here[number]
            self.here_bytes -= ref.size
            return
        record = self._tail.pop(number, None)
        if record is not None:
            self._tail_bytes -= len(record.parcel.data)
        ref.segment.live.discard(number)
        self.close_over(ref.segment)

    def _segment(self, *, media: bool) -> Segment:
        segment = self._open.get(media)
        if segment is not None and segment.size < self._limits.segment:
            return segment
        if segment is not None:
            self._finish_open(segment)
        self._made += 1
        name = f"{self._made:012d}-{'m' if media else 's'}{SUFFIX}"
        made = self._open[media] = Segment(self._folder / name, media=media, create=True)
        self.segments.append(made)
        return made

    def _finish_open(self, segment: Segment) -> None:
        segment.close()
        del self._open[segment.media]
        self._pack(segment)
        self.close_over(segment)

    def close_over(self, segment: Segment) -> None:
        """Delete a segment that nobody needs any more."""
        if segment.over and segment in self.segments:
            self.segments.remove(segment)
            segment.remove()

    def _pack(self, segment: Segment) -> None:
        """Know what waits in a closed segment as rows, when it is much."""
        known = ((number, self.refs[number]) for number in sorted(segment.live))
        chosen = [(number, ref) for number, ref in known if not ref.out and ref.kind != LOST]
        if len(chosen) < PACKED_FROM:
            return
        segment.rows = refs.pack(chosen)
        for number, _ in chosen:
            del self.refs[number]
        segment.live = segment.live.difference(number for number, _ in chosen)
        self._packed.append(segment)
        self._sort()

    def _unpack(self, segment: Segment) -> None:
        for number, ref in refs.unpack(segment):
            self.refs[number] = ref
            segment.live.add(number)
            heapq.heappush(self._ready, number)
        segment.rows = b""
        self._packed.remove(segment)

    def finish(self, segment: Segment) -> None:
        """Append nothing more to it, know all that is in it, and keep it for now."""
        segment.close()
        if self._open.get(segment.media) is segment:
            del self._open[segment.media]
        if segment.rows:
            self._unpack(segment)
        segment.held = True

    def close(self) -> None:
        """Make what waits durable and let go of the folder. Raises OSError."""
        self.lower(list(self.here))
        for segment in list(self.segments):
            segment.close()
            segment.held = False
            if segment.live or segment.rows:
                segment.sync()
                segment.shut()
            else:
                self.close_over(segment)
        try:
            if not len(self):
                self.done.replace(())
        finally:
            self.done.close()
