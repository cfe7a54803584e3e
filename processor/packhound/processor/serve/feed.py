"""Live events for subscribers: each gets what it selected and may see; a slow one misses events and is told how many.

Promise: a slow subscriber costs nobody but itself: what waits for it is bounded in events and bytes. `put` may be
called from any thread and never blocks. Positions let a subscriber go on after a short absence, as far as `kept`
reaches back.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from packhound.wire.batch import Batch
from packhound.wire.shards import gather_packets

Kind = Literal["packets", "flows", "calls"]
Row = Mapping[str, Any]
MAX_WAITING, MAX_WAITING_BYTES = 512, 16 << 20
KEPT, KEPT_BYTES = 1024, 32 << 20


@dataclass(frozen=True, slots=True)
class View:
    """What a subscriber wants and may see. Empty `filters`, `namespace`, `node`: all; `namespaces`: those whose
    filters may be seen, None for every filter, those of no namespace included."""

    filters: frozenset[str] = frozenset()
    namespace: str = ""
    node: str = ""
    namespaces: frozenset[str] | None = None

    def sees(self, name: str) -> bool:
        """Tell whether what the filter `name` (`ns/name`, or `name` of a cluster's) took is for this subscriber."""
        space = name.rpartition("/")[0]
        allowed = self.namespaces is None or (space != "" and space in self.namespaces)
        wanted = (not self.filters or name in self.filters) and (not self.namespace or space == self.namespace)
        return allowed and wanted

    @property
    def everything(self) -> bool:
        """No filter is hidden."""
        return not self.filters and not self.namespace and self.namespaces is None


class Event(NamedTuple):
    """Something that happened: packets as a Batch, flows and calls as rows under registry names."""

    number: int
    kind: Kind
    node: str
    batch: Batch | None
    rows: Sequence[Row]
    size: int


class Missed(NamedTuple):
    """What a subscriber is given: an event, and how many packets or rows it missed before it."""

    event: Event
    skipped: int


@dataclass(slots=True, eq=False)
class Subscription:
    """One subscriber of one kind of event, on its event loop."""

    kind: Kind
    view: View
    loop: asyncio.AbstractEventLoop
    waiting: deque[Event] = field(default_factory=deque)
    size: int = 0
    skipped: int = 0
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def next(self) -> Missed:
        """Wait for the next event."""
        while not self.waiting:
            self.wake.clear()
            await self.wake.wait()
        event = self.waiting.popleft()
        self.size -= event.size
        skipped, self.skipped = self.skipped, 0
        return Missed(event, skipped)

    def offer(self, event: Event) -> None:
        """Queue an event, or count it as missed."""
        if len(self.waiting) >= MAX_WAITING or self.size + event.size > MAX_WAITING_BYTES:
            self.skipped += len(event.batch) if event.batch is not None else len(event.rows)
            return
        self.waiting.append(event)
        self.size += event.size
        self.wake.set()


class Feed:
    """All subscribers of a processor."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscriptions: list[Subscription] = []
        self._kept: deque[Event] = deque()
        self._kept_bytes = 0
        self._number = 0

    def __len__(self) -> int:
        return len(self._subscriptions)

    def packets(self, batch: Batch) -> None:
        """Offer the packets of a batch."""
        if len(batch):
            self._put("packets", batch.sensor, batch, (), len(batch.blob) + 40 * len(batch))

    def rows(self, kind: Literal["flows", "calls"], rows: Sequence[Row], *, node: str = "") -> None:
        """Offer rows of flows or calls; their filters are in `filter`."""
        if rows:
            self._put(kind, node, None, rows, 512 * len(rows))

    def _put(self, kind: Kind, node: str, batch: Batch | None, rows: Sequence[Row], size: int) -> None:
        with self._lock:
            self._number += 1
            event = Event(self._number, kind, node, batch, rows, size)
            self._kept.append(event)
            self._kept_bytes += size
            while len(self._kept) > KEPT or self._kept_bytes > KEPT_BYTES:
                self._kept_bytes -= self._kept.popleft().size
            for each in self._subscriptions:
                if each.kind == kind and (cut := cut_to(event, each.view)) is not None:
                    each.loop.call_soon_threadsafe(each.offer, cut)

    def subscribe(self, kind: Kind, view: View, *, after: int | None = None) -> Subscription:
        """Begin; `after`: the number of the last event that the subscriber took, None for from now on. What is not
        kept any more counts as missed, one for each event."""
        made = Subscription(kind, view, asyncio.get_running_loop())
        with self._lock:
            if after is not None:
                first = self._kept[0].number if self._kept else self._number + 1
                made.skipped = max(0, first - 1 - after)
                for event in self._kept:
                    if event.number > after and event.kind == kind and (cut := cut_to(event, view)) is not None:
                        made.offer(cut)
            self._subscriptions.append(made)
        return made

    def end(self, subscription: Subscription) -> None:
        """Stop offering."""
        with self._lock:
            if subscription in self._subscriptions:
                self._subscriptions.remove(subscription)


def cut_to(event: Event, view: View) -> Event | None:
    """An event as a subscriber may see it; None when nothing is left."""
    if view.node and event.node != view.node:
        return None
    if view.everything:
        return event
    if event.batch is not None:
        batch = cut_batch(event.batch, view.sees)
        return None if batch is None else event._replace(batch=batch, size=len(batch.blob) + 40 * len(batch))
    rows = [cut for row in event.rows if (cut := _cut_row(row, view.sees)) is not None]
    return event._replace(rows=rows, size=512 * len(rows)) if rows else None


def _cut_row(row: Row, sees: Callable[[str], bool]) -> Row | None:
    names = tuple(name for name in row.get("filter") or () if sees(name))
    return {**row, "filter": names} if names else None


def cut_batch(batch: Batch, sees: Callable[[str], bool]) -> Batch | None:
    """The packets of a batch that a filter in sight took, naming only such filters; None when there are none."""
    fsets = {number: tuple(filter(sees, names)) for number, names in batch.fsets.items()}
    wanted = np.isin(batch.fset, np.array([number for number, names in fsets.items() if names], np.uint32))
    if not wanted.any():
        return None
    out = pick(batch, np.flatnonzero(wanted))
    out.fsets = {number: fsets[number] for number in np.unique(out.fset).tolist()}
    return out


def pick(batch: Batch, rows: npt.NDArray[np.int64]) -> Batch:
    """Packets `rows` of a batch (ascending) with their messages; messages without a packet are left out."""
    place = {row: at for at, row in enumerate(rows.tolist())}
    return replace(
        batch,
        ts=batch.ts[rows], caplen=batch.caplen[rows], wirelen=batch.wirelen[rows], iface=batch.iface[rows],
        flow=batch.flow[rows], fset=batch.fset[rows], direction=batch.direction[rows], app=batch.app[rows],
        blob=gather_packets(batch.blob, batch.offsets[rows], batch.caplen[rows]),
        facts=[(place[fact[0]], *fact[1:]) for fact in batch.facts if fact[0] in place],
        calls=None if batch.calls is None else batch.calls[rows], _offsets=None,
    )  # fmt: skip
