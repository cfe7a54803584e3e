"""Wanted packets into batches: closed at 512 packets, 512 KiB or 100 ms of packet time, whichever is first.

Promise: every packet given to it is in exactly one batch, in the order given; no Python object per packet on the
way from a block. Times come with the packets; `tick` closes a batch that waits on a quiet wire.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from packhound.net.facts import Fact
from packhound.sensor.filtersets import FilterSets
from packhound.sensor.kept import Kept
from packhound.sensor.tap.frames import Block, Interface
from packhound.wire.batch import Batch

MAX_PACKETS = 512
MAX_BYTES = 512 * 1024
MAX_AGE = 100_000_000

COLUMNS = ("ts", "caplen", "wirelen", "iface", "flow", "fset", "direction", "app")
_TYPES = (np.int64, np.uint32, np.uint32, np.uint16, np.uint64, np.uint32, np.uint8, np.uint8)


@dataclass(frozen=True, slots=True)
class Limits:
    """When a batch closes: packets, bytes, age in ns of packet time."""

    packets: int = MAX_PACKETS
    bytes: int = MAX_BYTES
    age: int = MAX_AGE


class Batcher:
    """Collects packets of one worker; calls `deliver` with each closed batch."""

    def __init__(
        self,
        *,
        deliver: Callable[[Batch], None],
        gather: Callable[[Any, npt.NDArray[Any], npt.NDArray[Any]], bytes],
        interfaces: Sequence[Interface],
        limits: Limits | None = None,
    ) -> None:
        self._deliver = deliver
        self._gather = gather
        self._interfaces = interfaces
        self._limits = limits or Limits()
        self._sets: FilterSets | None = None
        self._sequence = 0
        self.packets = 0
        self._matched: Counter[tuple[str, ...]] = Counter()
        self._clear()

    def _clear(self) -> None:
        self._parts: list[tuple[npt.NDArray[Any], ...]] = []
        self._single: list[tuple[int, ...]] = []
        self._blob: list[bytes] = []
        self._facts: list[tuple[int, int, int, Fact]] = []
        self._calls: dict[int, str] = {}
        self._count = 0
        self._size = 0
        self._opened: int | None = None

    def use(self, sets: FilterSets) -> None:
        """Take filter sets from another plan; what was collected under the old one is shipped first."""
        self.flush()
        self._sets = sets

    def add(self, packet: Kept, fset: int, *, size: int) -> None:
        """Add one packet out of its block, its first `size` bytes, for filter set `fset`."""
        self._open(packet.ts)
        for fact in packet.facts:
            self._facts.append((self._count, packet.flow, packet.ts, fact))
        if packet.call:
            self._calls[self._count] = packet.call
        data = packet.data if size >= len(packet.data) else packet.data[:size]
        self._single.append(
            (packet.ts, len(data), packet.wirelen, packet.iface, packet.flow, fset, packet.direction, packet.app)
        )
        self._blob.append(data)
        self._count += 1
        self._size += len(data)
        self._close_if_due(packet.ts)

    def add_rows(
        self,
        block: Block,
        rows: npt.NDArray[Any],
        fsets: npt.NDArray[np.uint32],
        sizes: npt.NDArray[np.uint32],
        calls: dict[int, str],
    ) -> None:
        """Add packets of `block`: event rows, the filter set of each, bytes kept of each, calls by flow serial."""
        start = 0
        while start < len(rows):
            pick = rows["pkt"][start : start + self._limits.packets]
            self._open(int(block.ts[pick[0]]))
            assert self._opened is not None
            fits = self._fits(sizes[start : start + len(pick)], block.ts[pick], self._opened)
            self._take(
                block, rows[start : start + fits], fsets[start : start + fits], sizes[start : start + fits], calls
            )
            start += fits

    def _fits(self, sizes: npt.NDArray[np.uint32], ts: npt.NDArray[np.int64], opened: int) -> int:
        room = self._limits.packets - self._count
        bytes_ok = (
            int(np.searchsorted(np.cumsum(sizes, dtype=np.int64) + self._size, self._limits.bytes, side="left")) + 1
        )
        late = np.flatnonzero(ts[:room] - opened >= self._limits.age)
        age_ok = int(late[0]) + 1 if len(late) else room
        return max(1, min(room, bytes_ok, age_ok, len(sizes)))

    def _take(
        self,
        block: Block,
        rows: npt.NDArray[Any],
        fsets: npt.NDArray[np.uint32],
        sizes: npt.NDArray[np.uint32],
        calls: dict[int, str],
    ) -> None:
        pick = rows["pkt"]
        self._settle()
        self._parts.append(
            (
                block.ts[pick],
                sizes.copy(),
                block.wirelen[pick],
                block.iface[pick],
                rows["flow"].copy(),
                fsets.copy(),
                rows["dir"].copy(),
                rows["app"].copy(),
            )
        )
        self._blob.append(self._gather(block.data, block.offset[pick], sizes))
        if calls:
            for at, serial in enumerate(rows["flow"].tolist()):
                if serial in calls:
                    self._calls[self._count + at] = calls[serial]
        self._count += len(rows)
        self._size += int(sizes.sum())
        self._close_if_due(int(block.ts[pick[-1]]))

    def _settle(self) -> None:
        if self._single:
            self._parts.append(
                tuple(np.array(c, t) for c, t in zip(zip(*self._single, strict=True), _TYPES, strict=True))
            )
            self._single = []

    def _open(self, ts: int) -> None:
        if self._opened is None:
            self._opened = ts

    def _close_if_due(self, ts: int) -> None:
        limits = self._limits
        aged = self._opened is not None and ts - self._opened >= limits.age
        if aged or self._count >= limits.packets or self._size >= limits.bytes:
            self.flush()

    def fact(self, serial: int, ts: int, fact: Fact) -> None:
        """Ship a message without a packet of its own (its packets went before)."""
        self._open(ts)
        self._facts.append((-1, serial, ts, fact))

    def tick(self, now: int) -> None:
        """Close the open batch when it is older than the limit at `now` (ns)."""
        if self._opened is not None and now - self._opened >= self._limits.age:
            self.flush()

    @property
    def open(self) -> int:
        """Packets in the batch that is not closed yet."""
        return self._count

    @property
    def ready(self) -> bool:
        """It has a plan's filter sets."""
        return self._sets is not None

    def flush(self) -> None:
        """Close and deliver the open batch, if any."""
        if not self._count and not self._facts:
            return
        assert self._sets is not None
        self._settle()
        parts = self._parts or [tuple(np.zeros(0, t) for t in _TYPES)]
        columns: dict[str, Any] = {
            name: np.concatenate(arrays) for name, arrays in zip(COLUMNS, zip(*parts, strict=True), strict=True)
        }
        calls = None
        if self._calls:
            calls = np.full(self._count, None, object)
            for at, call in self._calls.items():
                calls[at] = call
        self._sequence += 1
        numbers, counts = np.unique(columns["fset"], return_counts=True)
        names = {number: self._sets.names(number) for number in numbers.tolist()}
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            self._matched[names[number]] += count
        batch = Batch(
            **columns,
            blob=b"".join(self._blob),
            fsets=names,
            interfaces=list(self._interfaces),
            facts=self._facts,
            sequence=self._sequence,
            calls=calls,
        )
        self.packets += self._count
        self._clear()
        self._deliver(batch)

    def by_filter(self) -> dict[str, int]:
        """Packets delivered so far, by name of every filter that wanted them."""
        out: Counter[str] = Counter()
        for names, count in self._matched.items():
            for name in names:
                out[name] += count
        return dict(out)
