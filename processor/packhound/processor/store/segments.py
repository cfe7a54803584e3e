"""Rotating pcapng recordings: packets in the order given, each once, in files that are whole once they have a name.

Promise: rotation depends on the packets alone (size, packet time, hour), so the same packets make the same files. A
full disk costs packets, counted in what `write` returns, never a file: what does not fit is cut back to the last whole
packet and writing is tried again with the next batch. One thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from packhound.net import pcapng
from packhound.net.sanitise import token
from packhound.processor.store import layout
from packhound.processor.store.layout import Pending, cause_of
from packhound.processor.store.pending import OpenFile, TwoPhase
from packhound.wire.batch import Batch, InterfaceLike

SUFFIX = ".pcapng"
_BLOCK_OVERHEAD = 32


@dataclass(frozen=True, slots=True)
class Limits:
    """When a recording starts a new file: bytes, ns of packet time since its first packet."""

    bytes: int = 256 << 20
    age: int = layout.HOUR


@dataclass(frozen=True, slots=True)
class InterfaceDrops:
    """Cumulative counts of one interface since the capture began; None where the source does not know."""

    received: int | None = None
    kernel: int | None = None
    interface: int | None = None

    def since(self, earlier: InterfaceDrops) -> InterfaceDrops:
        """What was added since `earlier`."""
        pairs = zip(
            (self.received, self.kernel, self.interface),
            (earlier.received, earlier.kernel, earlier.interface),
            strict=True,
        )
        return InterfaceDrops(*(None if now is None else max(0, now - (then or 0)) for now, then in pairs))


class Fault(NamedTuple):
    """A write that failed: cause for the books (`disk_full`, `io_error`), what the system said, the path."""

    cause: str
    detail: str
    path: str


Interface = tuple[str, int, int]
"""Sensor, its epoch, index of the interface there."""


@dataclass(slots=True)
class Segment(OpenFile):
    """One file. `counts[i]` packets of interface i; `wanted` packets by sensor and filters."""

    started: int = 0
    hour: int = 0
    packets: int = 0
    last: int = 0
    interfaces: dict[Interface, int] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    wanted: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)


class Recorder:
    """A stream of packets into files `NAME-NNNN.pcapng` below `root`, in a folder per hour.

    `drops` gives the cumulative counts of an interface by (sensor, index) when a file is closed. `on_hour`: a new
    file with every hour of packet time too. `files`: those written in two phases; without, a file is published when it
    is closed. `preface` is told of every new file and gives the comment of its header. `sensors`: interfaces say whose
    they are.
    """

    def __init__(
        self,
        root: Path,
        *,
        name: str,
        application: str = "packhound",
        limits: Limits | None = None,
        drops: Callable[[str, int], InterfaceDrops] = lambda _sensor, _index: InterfaceDrops(),
        on_hour: bool = True,
        files: TwoPhase | None = None,
        preface: Callable[[Path], str] | None = None,
        sensors: bool = False,
    ) -> None:
        self._root = root
        self._name = name
        self._application = application
        self._limits = limits or Limits()
        self._drops = drops
        self._on_hour = on_hour
        self._files = files
        self._preface = preface
        self._sensors = sensors
        self._told: dict[tuple[str, int], InterfaceDrops] = {}
        self._open: Segment | None = None
        self.published: list[Path] = []
        self.fault: Fault | None = None
        self.unpublished: Counter[tuple[str, tuple[str, ...]]] = Counter()

    @property
    def last(self) -> int:
        """Time of the newest packet of the open file, ns; 0 when none is open."""
        return self._open.last if self._open and not self._open.gone else 0

    def write(
        self, batch: Batch, options: Sequence[bytes], *, rows: npt.NDArray[np.int64] | None = None
    ) -> npt.NDArray[np.bool_]:
        """Record `rows` of `batch` (all, when None) with `options[k]` for the k-th; return which were recorded.

        Those that were not are lost by the cause of `fault`, which is None while writing works.
        """
        pick = np.arange(len(batch), dtype=np.int64) if rows is None else rows
        kept = np.zeros(len(pick), bool)
        sizes = np.fromiter(map(len, options), np.int64, len(pick))
        sizes += ((batch.caplen[pick].astype(np.int64) + 3) & ~3) + _BLOCK_OVERHEAD
        ts = batch.ts[pick]
        at = 0
        while at < len(pick):
            segment = self._segment(batch, int(ts[at]))
            if segment is None:
                break
            count = self._fitting(segment, ts[at:], sizes[at:])
            if not count:
                self.close()
                continue
            part = slice(at, at + count)
            done = self._append(segment, batch, pick[part], options[part])
            kept[at : at + done] = True
            at += count
            if done < count:
                break
        return kept

    def _segment(self, batch: Batch, ts: int) -> Segment | None:
        """The open file, or a new one for a packet of time `ts`, with every interface of the batch described."""
        try:
            if self._open is None or self._open.gone:
                self._open = None
                self._open = self._begin(ts)
            new = [i for i in range(len(batch.interfaces)) if _key(batch, i) not in self._open.interfaces]
            missing = self._missing(self._open, batch, new)
        except OSError as error:
            self._fail(error)
            return None
        if missing:
            done, fault = self._open.append(missing)
            if fault or done < len(missing):
                self._open.trim()
                self._fail(fault or OSError("short write"))
                return None
            self._open.keep(done)
            for index in new:
                self._open.interfaces[_key(batch, index)] = len(self._open.interfaces)
        return self._open

    def _begin(self, ts: int) -> Segment:
        hour = layout.hour_of(ts)

        def begin() -> Pending:
            return layout.begin(layout.folder(self._root, *layout.hour_path(hour)), self._name, SUFFIX)

        segment = Segment(layout.made(begin), started=ts, hour=hour)
        if self._files is not None:
            self._files.track(segment)
        return segment

    def _missing(self, segment: Segment, batch: Batch, new: Sequence[int]) -> bytes:
        """Blocks that must precede packets of `batch`: section header, the `new` interfaces."""
        parts = []
        if not segment.size:
            comment = self._preface(segment.pending.final) if self._preface else ""
            parts.append(pcapng.section_header(application=self._application, comment=comment))
        sensor = batch.sensor if self._sensors else ""
        parts += [_describe(batch.interfaces[i], sensor) for i in new]
        return b"".join(parts)

    def _fitting(self, segment: Segment, ts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> int:
        """How many of the next packets still belong into `segment`; at least one into an empty file."""
        room = self._limits.bytes - segment.size
        count = int(np.searchsorted(np.cumsum(sizes), room, side="right"))
        if segment.packets == 0:
            count = max(count, 1)
        end = segment.started + self._limits.age
        if self._on_hour:
            end = min(end, (segment.hour + 1) * layout.HOUR)
        late = np.flatnonzero(ts[:count] >= end)
        if len(late) and (segment.packets or late[0]):
            count = int(late[0])
        return count

    def _append(self, segment: Segment, batch: Batch, rows: npt.NDArray[np.int64], options: Sequence[bytes]) -> int:
        """Write packets; return how many are in the file whole."""
        iface = batch.iface[rows]
        local = np.array([segment.interfaces[_key(batch, i)] for i in range(len(batch.interfaces))], np.uint32)
        data, ends = pcapng.packet_blocks(
            ts=batch.ts[rows], caplen=batch.caplen[rows], wirelen=batch.wirelen[rows], iface=local[iface],
            start=batch.offsets[rows], blob=batch.blob, options=options,
        )  # fmt: skip
        done, error = segment.append(data)
        count = int(np.searchsorted(ends, done, side="right"))
        segment.keep(int(ends[count - 1]) if count else 0)
        if error:
            segment.trim()
            self._fail(error)
        else:
            self.fault = None
        self._count(segment, batch, rows[:count])
        return count

    def _count(self, segment: Segment, batch: Batch, rows: npt.NDArray[np.int64]) -> None:
        if not len(rows):
            return
        segment.packets += len(rows)
        segment.last = max(segment.last, int(batch.ts[rows].max()))
        for index, many in zip(*np.unique(batch.iface[rows], return_counts=True), strict=True):
            segment.counts[segment.interfaces[_key(batch, int(index))]] += int(many)
        for fset, many in zip(*np.unique(batch.fset[rows], return_counts=True), strict=True):
            segment.wanted[batch.sensor, batch.fsets[int(fset)]] += int(many)

    def close(self) -> Path | None:
        """Finish the open file; return its path. It is published, or sealed where that takes two phases. A file that
        cannot be made durable stays hidden and its packets move from recorded to `unpublished`."""
        segment, self._open = self._open, None
        if segment is None or segment.gone:
            return None
        if not segment.packets:
            if self._files is not None:
                self._files.discard(segment)
            else:
                layout.discard(segment.pending)
            return None
        done, error = segment.append(self._statistics(segment))
        if error:
            segment.trim()
        else:
            segment.keep(done)
        if self._files is not None:
            segment.sealed = True
            return segment.pending.final
        return self._publish(segment)

    def _publish(self, segment: Segment) -> Path | None:
        try:
            layout.publish(segment.pending)
        except OSError as error:
            self._fail(error)
            self.unpublished.update(segment.wanted)
            return None
        self.published.append(segment.pending.final)
        return segment.pending.final

    def _statistics(self, segment: Segment) -> bytes:
        parts = []
        for (sensor, _, index), local in segment.interfaces.items():
            now = self._drops(sensor, index)
            new = now.since(self._told.get((sensor, index), InterfaceDrops()))
            self._told[sensor, index] = now
            parts.append(pcapng.interface_statistics(
                index=local, start=segment.started, end=segment.last, delivered=segment.counts[local],
                received=new.received, if_drop=new.interface, os_drop=new.kernel,
            ))  # fmt: skip
        return b"".join(parts)

    def _fail(self, error: OSError) -> None:
        path = str(self._open.pending.final) if self._open else str(error.filename or self._root)
        self.fault = Fault(cause_of(error), error.strerror or str(error), path)


def _describe(interface: InterfaceLike, sensor: str) -> bytes:
    description = getattr(interface, "description", "")
    if sensor:
        description = f"sensor {token(sensor)} {description}".strip()
    return pcapng.interface_description(
        name=interface.name, linktype=interface.linktype, snaplen=interface.snaplen, description=description
    )


def _key(batch: Batch, index: int) -> Interface:
    return batch.sensor, batch.epoch, index
