"""The spool of one sensor: parcels in, in order; out again until each is done; bounded; found again after a crash.

Promise: a parcel that `append` took is handed out until `done` says otherwise, across any death of the process, unless
the spool grew over its cap: then the oldest segment of media goes, then the oldest of the rest, and `lost` tombstones
stand for every parcel of it, written before the data goes. Any thread; no call waits for anything but the disk. What
waits costs memory only as rows (`refs`), tombstones that adjoin become one (`stones`): an outage may last.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from packhound.kit.errors import BadInput, from_os
from packhound.sensor.parcel import LOST, PACKETS, Parcel
from packhound.sensor.spool.limits import SpoolLimits
from packhound.sensor.spool.records import Record, Wanted
from packhound.sensor.spool.refs import Ref
from packhound.sensor.spool.segments import Segment
from packhound.sensor.spool.shelf import IO_ERROR, Shelf
from packhound.sensor.spool.stones import Stone, Stones
from packhound.wire.codec import encode
from packhound.wire.lost import Lost

SPOOL_FULL = "spool_full"
_AT_ONCE = 8  # records from memory written with a new one, once the disk has room again
_LOCK = "lock"


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
        self._shelf = Shelf(folder, self._limits)
        self._out: set[int] = set()  # parcels on their way
        self._stones = Stones()
        self._matched = self._number = self._waiting = 0
        self._packets: Counter[str] = Counter()  # of this epoch, by fate
        self.lost: Counter[str] = Counter()
        self.lost_by_filter: Counter[tuple[str, str]] = Counter()
        self.delivered_by_filter: Counter[str] = Counter()
        self.recovered: dict[int, int] = {}
        self.torn = 0
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

    def _recover(self) -> None:
        """Take up what is not done."""
        found = self._shelf.recover()
        self._number, self.recovered, self.torn = found.number, found.matched, found.torn
        self._waiting = found.packets

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
            while self._shelf.size + size > self._limits.cap and self._drop_oldest():
                pass
            self._put(record)

    def _put(self, record: Record) -> None:
        where = self._shelf.write(record)
        if where is not None:
            self._shelf.fault = ""
            self._add(*where, record)
            if self._shelf.here:
                self._shelf.lower(list(islice(self._shelf.here, _AT_ONCE)))
        elif self._shelf.here_bytes + len(record.parcel.data) <= self._limits.memory:
            self._add(None, 0, len(record.parcel.data), record)
        else:
            self._count_lost(record, self.fault)
            self._stand(self._stone(record, self.fault))

    def _add(self, segment: Segment | None, at: int, size: int, record: Record, *, tried: bool = False) -> None:
        parcel = record.parcel
        ref = Ref(segment, at, size, parcel.epoch, parcel.packets, record.made_ns, parcel.kind, tried)
        self._shelf.add(parcel.number, ref, record)
        self._waiting += ref.packets
        if ref.epoch == self.epoch and ref.kind == PACKETS:
            self._packets["spooled"] += ref.packets

    # over the cap ----------------------------------------------------------------------------------------------------

    def _drop_oldest(self) -> bool:
        """Drop the oldest segment, media before the rest; False when there is none to drop."""
        for media in (True, False):
            for segment in self._shelf.segments:
                if segment.media is media and (segment.rows or any(self._may_go(number) for number in segment.live)):
                    self._drop(segment)
                    return True
        return False

    def _may_go(self, number: int) -> bool:
        """A tombstone stays, and so does what is on its way: dropping only these would free nothing."""
        ref = self._shelf.refs[number]
        return ref.kind != LOST and not ref.out

    def _drop(self, segment: Segment) -> None:
        """Tombstones for what waits in a segment, again what is on its way, then the file goes."""
        self._shelf.finish(segment)
        for number in sorted(segment.live):
            ref = self._shelf.refs.get(number)
            if ref is None or ref.segment is not segment:  # part of another tombstone by now
                continue
            record = self._shelf.read(number)
            stone = self._stones.get(number)
            if record is None:
                self._count_lost(None, SPOOL_FULL, ref)
                self._settle(number, ref)
            elif stone is not None:
                self._settle(number, ref, log=False)
                self._stand(stone, on_disk=True)
            elif ref.kind == LOST or ref.out:
                self._shelf.lift(number, record)
            else:
                self._count_lost(record, SPOOL_FULL, ref)
                self._settle(number, ref, log=False)
                self._stand(self._stone(record, SPOOL_FULL), tried=ref.tried, on_disk=True)
        self._shelf.lower(list(self._shelf.here))
        segment.held = False
        self._shelf.close_over(segment)
        self._shelf.lower(list(self._shelf.here))  # in the room that it left

    def _stone(self, record: Record, cause: str) -> Stone:
        """A tombstone for a parcel."""
        parcel = record.parcel
        lost = Lost(
            epoch=parcel.epoch, shard=parcel.shard, sequence=parcel.sequence, sensor=self._sensor,
            wanted=record.wanted, cause=cause, kind_lost=parcel.kind, media=parcel.media, cluster=self._cluster,
        )  # fmt: skip
        return Stone(lost, record)

    def _stand(self, stone: Stone, *, tried: bool = False, on_disk: bool = False) -> None:
        """Put a tombstone where its parcel was: in memory, as one with those that it adjoins there (and `on_disk`, if
        it is to be written now), unless the far side may have the parcel."""
        lost, others = stone.lost, list[Stone]()
        if not tried:
            lost, others = self._stones.join(lost, lambda number: on_disk or number in self._shelf.here)
        for each in others:
            number = each.record.parcel.number
            self._shelf.replaced(number)
            self._settle(number, self._shelf.refs[number], log=False)
        records = [stone.record, *(each.record for each in others)]
        number, data = min(each.parcel.number for each in records), encode(lost)
        parcel = replace(
            stone.record.parcel, number=number, kind=LOST, media=False, sequence=lost.sequence, packets=lost.packets,
            data=data,
        )  # fmt: skip
        matched, made = max(each.matched for each in records), min(each.made_ns for each in records)
        record = Record(parcel, lost.wanted, made, matched)
        self._add(None, 0, len(data), record, tried=tried)
        if not tried:
            self._stones.note(Stone(lost, record))

    def _count_lost(self, record: Record | None, cause: str, ref: Ref | None = None) -> None:
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
            while len(found) < count and (number := self._shelf.first()) is not None:
                ref = self._shelf.refs[number]
                record = self._shelf.read(number)
                if record is None:
                    self._count_lost(None, IO_ERROR, ref)
                    self._settle(number, ref)
                    continue
                ref.out = ref.tried = True
                ref.wanted = record.wanted
                self._out.add(number)
                self._stones.forget(number)
                self._move("spooled", "in_flight", ref)
                found.append(record.parcel)
        return found

    def again(self, number: int) -> None:
        """It did not arrive, or nobody knows: hand it out again."""
        with self._lock:
            ref = self._shelf.refs.get(number)
            if ref is not None and ref.out:
                ref.out = False
                self._out.discard(number)
                self._move("in_flight", "spooled", ref)
                self._shelf.offer(number)

    def done(self, number: int) -> None:
        """The far side has it."""
        with self._lock:
            ref = self._shelf.refs.get(number)
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
            ref = self._shelf.refs.get(number)
            if ref is None:
                return
            record = self._shelf.read(number)
            if record is None or ref.kind == LOST:
                self._settle(number, ref)
                return
            self._count_lost(record, cause)
            segment = ref.segment
            before = segment is not None and segment.held
            if segment is not None:
                segment.held = True  # until the tombstone is written
            self._settle(number, ref, log=False)
            self._stand(self._stone(record, cause), tried=True)
            self._shelf.lower([number])
            if segment is not None:
                segment.held = before
                self._shelf.close_over(segment)

    def _settle(self, number: int, ref: Ref, *, log: bool = True) -> None:
        if log:
            self._shelf.log(number)
        self._out.discard(number)
        self._stones.forget(number)
        self._waiting -= ref.packets
        if ref.epoch == self.epoch and ref.kind == PACKETS:
            self._packets["in_flight" if ref.out else "spooled"] -= ref.packets
        self._shelf.remove(number)

    def _move(self, before: str, after: str, ref: Ref) -> None:
        if ref.epoch == self.epoch and ref.kind == PACKETS:
            self._packets[before] -= ref.packets
            self._packets[after] += ref.packets

    # how it stands ---------------------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._folder

    @property
    def fault(self) -> str:
        """Why the disk takes nothing, or empty."""
        return self._shelf.fault

    def books(self) -> Mapping[str, Any]:
        """Packets of this epoch by fate; they add up to what was appended."""
        with self._lock:
            found: dict[str, Any] = {name: self._packets[name] for name in ("delivered", "in_flight", "spooled")}
            return found | {"lost": dict(self.lost)}

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait or are on their way, of all epochs."""
        return self._shelf.bytes

    @property
    def waiting_packets(self) -> int:
        """Packets that wait or are on their way, of all epochs."""
        return self._waiting

    @property
    def in_flight(self) -> int:
        """Parcels on their way."""
        return len(self._out)

    @property
    def oldest_ns(self) -> int:
        """When the oldest parcel that is not done was made; 0: there is none."""
        with self._lock:
            first = self._shelf.first()
            numbers = [*self._out, *([] if first is None else [first])]
            return self._shelf.refs[min(numbers)].made_ns if numbers else 0

    @property
    def ready(self) -> bool:
        """Something waits to be handed out."""
        return len(self._shelf) > len(self._out)

    def __len__(self) -> int:
        return len(self._shelf)

    def close(self) -> None:
        """Make what waits durable and let go of the folder."""
        with self._lock:
            with suppress(OSError):
                self._shelf.close()
            os.close(self._lock_file)
