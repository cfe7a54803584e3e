"""The spool of one sensor: parcels in, in order; out again until each is done; bounded; found again after a crash.

Promise: a parcel that `append` took is handed out until `done` says otherwise, across any death of the process, unless
the spool grew over its cap: then the oldest segment of media goes, then the oldest of the rest, and a `lost` tombstone
of the same identity stands for every parcel of it, written before the data goes. Any thread; no call waits for
anything but the disk.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from packhound.kit.errors import BadInput, from_os
from packhound.sensor.parcel import LOST, PACKETS, Parcel
from packhound.sensor.spool.done import DoneLog
from packhound.sensor.spool.limits import SpoolLimits
from packhound.sensor.spool.records import Record, Wanted
from packhound.sensor.spool.segments import SUFFIX, Segment
from packhound.wire.codec import encode
from packhound.wire.lost import Lost

SPOOL_FULL, DISK_FULL, IO_ERROR = "spool_full", "disk_full", "io_error"
_LEAST = 1024  # what a record counts for at least, so that the index is bounded by the cap too
_LOCK = "lock"


@dataclass(slots=True)
class _Ref:
    segment: Segment | None
    at: int
    size: int
    epoch: int
    packets: int
    made_ns: int
    kind: str
    wanted: Wanted
    out: bool = False


class Spool:
    """Below `folder`, which is made when missing. `sensor` and `cluster` name the tombstones. Raises BadInput when
    another process has the folder, NotPermitted or BadInput when it cannot be used."""

    def __init__(
        self,
        folder: Path,
        *,
        sensor: str,
        epoch: int,
        cluster: str = "",
        limits: SpoolLimits | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._folder, self._sensor, self._cluster, self._clock = folder, sensor, cluster, clock
        chosen = limits or SpoolLimits()
        self._limits = replace(chosen, segment=min(chosen.segment, chosen.cap // 8))
        self.epoch = epoch
        self._lock = threading.Lock()
        self._refs: dict[int, _Ref] = {}
        self._ready: list[int] = []
        self._tail: OrderedDict[int, Record] = OrderedDict()
        self._tail_bytes = 0
        self._here: dict[int, Record] = {}  # parcels that the disk would not take
        self._only_here = 0  # their bytes
        self._outside = 0  # parcels on their way
        self._segments: list[Segment] = []
        self._open: dict[bool, Segment] = {}
        self._matched = 0
        self._number = self._made = 0
        self._done = DoneLog(folder)
        self._packets: Counter[str] = Counter()  # of this epoch, by fate
        self._waiting: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.lost_by_filter: Counter[tuple[str, str]] = Counter()
        self.delivered_by_filter: Counter[str] = Counter()
        self.recovered: dict[int, int] = {}
        self.torn = 0
        self.fault = ""
        try:
            folder.mkdir(0o700, parents=True, exist_ok=True)
            self._take_lock()
            self._recover()
        except OSError as error:
            raise from_os(error, what=f"cannot use the spool {folder}") from error

    def _take_lock(self) -> None:
        self._lock_file = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadInput(
                f"the spool {self._folder} is in use by another sensor: stop it, or give this one its own folder"
            ) from None

    # after a crash ---------------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Find what is not done: whole records of all segments, tombstones before what they stand for."""
        done = self._done.read()
        self._number = max(done, default=0)
        for path in sorted(self._folder.glob(f"{'[0-9]' * 12}-[ms]{SUFFIX}")):
            self._made = max(self._made, int(path.name.partition("-")[0]))
            segment = Segment(path, media=path.stem.endswith("-m"), create=False)
            before = segment.size
            self._segments.append(segment)
            for at, head, record in segment.records():
                self._number = max(self._number, head.number)
                segment.noticed(head.number)
                self.recovered[head.epoch] = max(self.recovered.get(head.epoch, 0), head.matched)
                old = self._refs.get(head.number)
                if head.number in done or (old is not None and old.kind == LOST):
                    continue
                if old is not None and old.segment is not None:
                    old.segment.live.discard(head.number)
                self._refs[head.number] = _Ref(
                    segment, at, head.size, head.epoch, head.packets, head.made_ns, record.parcel.kind, record.wanted
                )
                segment.live.add(head.number)
            self.torn += before - segment.size
            segment.close()
        for segment in [each for each in self._segments if not each.live]:
            self._forget(segment)
        self._ready = sorted(self._refs)
        for ref in self._refs.values():
            self._waiting["packets"] += ref.packets
            self._waiting["bytes"] += max(ref.size, _LEAST)
        self._done.replace(done if self._segments else ())

    # in --------------------------------------------------------------------------------------------------------------

    def number(self) -> int:
        """A number for the next parcel: higher than that of any parcel of any epoch here."""
        with self._lock:
            self._number += 1
            return self._number

    def append(self, parcel: Parcel, wanted: Wanted) -> None:
        """Take a parcel. Never raises for the disk: what it does not take is kept in memory while that has room, else
        lost, with the cause."""
        with self._lock:
            self._matched += parcel.packets
            record = Record(parcel, wanted, self._clock(), self._matched)
            size = len(parcel.data) + 256
            while sum(each.size for each in self._segments) + size > self._limits.cap and self._drop_oldest():
                pass
            self._put(record)

    def _put(self, record: Record) -> None:
        parcel = record.parcel
        try:
            segment = self._segment(media=parcel.media)
            at, size = segment.append(record)
            self.fault = ""
        except OSError as error:
            self.fault = DISK_FULL if error.errno in {28, 122} else IO_ERROR
            if not self._keep_here(record):
                return
        else:
            segment.live.add(parcel.number)
            self._add(segment, at, size, record)

    def _keep_here(self, record: Record) -> bool:
        """Keep in memory what the disk would not take; a tombstone in its place when there is no room either."""
        parcel = record.parcel
        if self._only_here + len(parcel.data) > self._limits.memory:
            self._count_lost(record, self.fault)
            if parcel.kind == LOST:
                return False
            record = self._tombstone(record, self.fault)
        self._only_here += len(record.parcel.data)
        parcel = record.parcel
        self._add(None, 0, len(parcel.data), record)
        return True

    def _add(self, segment: Segment | None, at: int, size: int, record: Record) -> None:
        parcel, number = record.parcel, record.parcel.number
        ref = _Ref(segment, at, size, parcel.epoch, parcel.packets, record.made_ns, parcel.kind, record.wanted)
        self._refs[number] = ref
        heapq.heappush(self._ready, number)
        self._waiting["packets"] += ref.packets
        self._waiting["bytes"] += max(ref.size, _LEAST)
        if ref.epoch == self.epoch and ref.kind == PACKETS:
            self._packets["spooled"] += ref.packets
        self._remember(number, record)

    def _remember(self, number: int, record: Record) -> None:
        """Keep in memory what may be asked for soon; what is on the disk goes again when it is too much."""
        if self._refs[number].segment is None:
            self._here[number] = record
            return
        self._tail[number] = record
        self._tail_bytes += len(record.parcel.data)
        while self._tail_bytes > self._limits.memory and self._tail:
            self._tail_bytes -= len(self._tail.popitem(last=False)[1].parcel.data)

    def _segment(self, *, media: bool) -> Segment:
        segment = self._open.get(media)
        if segment is not None and segment.size < self._limits.segment:
            return segment
        if segment is not None:
            segment.close()
            del self._open[media]
            if not segment.live:
                self._forget(segment)
        self._made += 1
        name = f"{self._made:012d}-{'m' if media else 's'}{SUFFIX}"
        made = self._open[media] = Segment(self._folder / name, media=media, create=True)
        self._segments.append(made)
        return made

    def _forget(self, segment: Segment) -> None:
        if segment in self._segments:
            self._segments.remove(segment)
        segment.remove()

    # over the cap ----------------------------------------------------------------------------------------------------

    def _drop_oldest(self) -> bool:
        """Drop the oldest segment, media before the rest; False when there is none to drop."""
        for media in (True, False):
            for segment in self._segments:
                if segment.media is media and any(self._may_go(number) for number in segment.live):
                    self._drop(segment)
                    return True
        return False

    def _may_go(self, number: int) -> bool:
        """A tombstone stays, and so does what is on its way: dropping only these would free nothing."""
        ref = self._refs[number]
        return ref.kind != LOST and not ref.out

    def _drop(self, segment: Segment) -> None:
        """Tombstones for what waits in a segment, again what is on its way, then the file goes."""
        segment.close()
        if self._open.get(segment.media) is segment:
            del self._open[segment.media]
        numbers = sorted(segment.live)
        segment.live.add(-1)  # the file stays until every tombstone is written
        for number in numbers:
            ref = self._refs[number]
            record = self._record(number, ref)
            if record is None or (ref.kind != LOST and not ref.out):
                self._count_lost(record, SPOOL_FULL, ref)
                record = self._tombstone(record, SPOOL_FULL) if record is not None else None
            self._replace(number, ref, record)
        segment.live.clear()
        self._forget(segment)

    def _replace(self, number: int, old: _Ref, record: Record | None) -> None:
        """Put `record` where the parcel `number` was; nothing when it is damaged beyond naming."""
        self._settle(number, old, log=record is None)
        if record is None:
            return
        self._put(record)
        if old.out and number in self._refs:
            self._leave(self._refs[number])

    def _tombstone(self, record: Record, cause: str) -> Record:
        parcel = record.parcel
        lost = Lost(
            epoch=parcel.epoch, shard=parcel.shard, sequence=parcel.sequence, sensor=self._sensor,
            wanted=record.wanted, cause=cause, kind_lost=parcel.kind, media=parcel.media, cluster=self._cluster,
        )  # fmt: skip
        return record._replace(parcel=replace(parcel, kind=LOST, media=False, data=encode(lost)))

    def _count_lost(self, record: Record | None, cause: str, ref: _Ref | None = None) -> None:
        epoch = record.parcel.epoch if record is not None else ref.epoch if ref is not None else self.epoch
        packets = record.parcel.packets if record is not None else ref.packets if ref is not None else 0
        kind = record.parcel.kind if record is not None else ref.kind if ref is not None else PACKETS
        if kind != PACKETS:
            return
        if epoch == self.epoch:
            self.lost[cause] += packets
        for names, count in record.wanted.items() if record is not None else ():
            for name in names:
                self.lost_by_filter[name, cause] += count

    # out -------------------------------------------------------------------------------------------------------------

    def next(self, count: int) -> list[Parcel]:
        """The oldest parcels that wait, at most `count`; they are on their way until `done`, `again` or `lose`."""
        found: list[Parcel] = []
        with self._lock:
            while self._ready and len(found) < count:
                number = heapq.heappop(self._ready)
                ref = self._refs.get(number)
                if ref is None or ref.out:
                    continue
                record = self._record(number, ref)
                if record is None:
                    self._count_lost(None, IO_ERROR, ref)
                    self._settle(number, ref)
                    continue
                self._leave(ref)
                found.append(record.parcel)
        return found

    def _record(self, number: int, ref: _Ref) -> Record | None:
        held = self._tail.get(number) or self._here.get(number)
        if held is not None:
            return held
        return ref.segment.read(ref.at, ref.size) if ref.segment is not None else None

    def again(self, number: int) -> None:
        """It did not arrive, or nobody knows: hand it out again."""
        with self._lock:
            ref = self._refs.get(number)
            if ref is not None and ref.out:
                ref.out = False
                self._outside -= 1
                self._move("in_flight", "spooled", ref)
                heapq.heappush(self._ready, number)

    def done(self, number: int) -> None:
        """The far side has it."""
        with self._lock:
            ref = self._refs.get(number)
            if ref is None:
                return
            if ref.epoch == self.epoch and ref.kind == PACKETS:
                self._packets["delivered"] += ref.packets
                for names, count in ref.wanted.items():
                    self.delivered_by_filter.update(dict.fromkeys(names, count))
            self._settle(number, ref)

    def lose(self, number: int, cause: str) -> None:
        """The far side will never take it: a tombstone is sent in its place. A tombstone that is refused is done."""
        with self._lock:
            ref = self._refs.get(number)
            record = None if ref is None else self._record(number, ref)
            if ref is None:
                return
            if record is None or ref.kind == LOST:
                self._settle(number, ref)
                return
            self._count_lost(record, cause)
            segment = ref.segment
            if segment is not None:
                segment.live.add(-1)  # the file stays until the tombstone is written
            self._settle(number, ref, log=False)
            self._put(self._tombstone(record, cause))
            if segment is not None:
                segment.live.discard(-1)
                if segment.closed and not segment.live:
                    self._forget(segment)

    def _settle(self, number: int, ref: _Ref, *, log: bool = True) -> None:
        del self._refs[number]
        self._outside -= ref.out
        self._here.pop(number, None)
        record = self._tail.pop(number, None)
        if record is not None:
            self._tail_bytes -= len(record.parcel.data)
        self._waiting["packets"] -= ref.packets
        self._waiting["bytes"] -= max(ref.size, _LEAST)
        if ref.epoch == self.epoch and ref.kind == PACKETS:
            self._packets["in_flight" if ref.out else "spooled"] -= ref.packets
        segment = ref.segment
        if segment is None:
            self._only_here -= ref.size
            return
        if log:
            self._done.note(number, first=self._first())
        segment.live.discard(number)
        if segment.closed and not segment.live:
            self._forget(segment)

    def _first(self) -> int:
        """The lowest number of which there may be a record."""
        return min((each.first for each in self._segments if each.first), default=self._number + 1)

    def _leave(self, ref: _Ref) -> None:
        ref.out = True
        self._outside += 1
        self._move("spooled", "in_flight", ref)

    def _move(self, before: str, after: str, ref: _Ref) -> None:
        if ref.epoch == self.epoch and ref.kind == PACKETS:
            self._packets[before] -= ref.packets
            self._packets[after] += ref.packets

    # how it stands ---------------------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._folder

    def books(self) -> Mapping[str, Any]:
        """Packets of this epoch by fate; they add up to what was appended."""
        with self._lock:
            found: dict[str, Any] = {name: self._packets[name] for name in ("delivered", "in_flight", "spooled")}
            return found | {"lost": dict(self.lost)}

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait or are on their way, of all epochs."""
        return self._waiting["bytes"]

    @property
    def waiting_packets(self) -> int:
        """Packets that wait or are on their way, of all epochs."""
        return self._waiting["packets"]

    @property
    def in_flight(self) -> int:
        """Parcels on their way."""
        return self._outside

    @property
    def oldest_ns(self) -> int:
        """When the oldest parcel that is not done was made; 0: there is none."""
        with self._lock:
            first = next(iter(self._refs.values()), None)  # in the order in which they came
            return first.made_ns if first is not None else 0

    @property
    def ready(self) -> bool:
        """Something waits to be handed out."""
        return bool(self._ready)

    def __len__(self) -> int:
        return len(self._refs)

    def close(self) -> None:
        """Make what waits durable and let go of the folder."""
        with self._lock:
            for segment in list(self._segments):
                segment.close()
                if segment.live:
                    segment.sync()
                    segment.shut()
                else:
                    self._forget(segment)
            if not self._refs:
                with suppress(OSError):
                    self._done.replace(())
            self._done.close()
            os.close(self._lock_file)
