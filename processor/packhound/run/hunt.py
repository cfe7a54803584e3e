"""`packhound run`: a tap through the engine into recordings and tables, in one process.

Promise: one capture thread and one processor thread joined by a bounded queue; a slow disk makes the capture thread
wait (a file) or the ring fill and count its drops (live). Stop ends intake, then drains everything, then balances
the books.
"""

from __future__ import annotations

import gc
import queue
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packhound.processor.recording import Actions
from packhound.processor.service import Processor, ProcessorSettings
from packhound.processor.store.segments import InterfaceDrops, Limits
from packhound.rules.plan import HuntPlan
from packhound.run.filters import Change, FilterFiles
from packhound.sensor.agent import Agent, AgentSettings
from packhound.sensor.tap.frames import Tap
from packhound.wire.batch import Batch
from packhound.wire.books import Books

WATCH_SECONDS = 0.2
QUEUED = 256


@dataclass(frozen=True, slots=True)
class HuntSettings:
    """`name` of the sensor in the books; `live`: the tap is a wire; rotation of recordings by bytes and ns."""

    name: str = "local"
    live: bool = False
    rotate_bytes: int = 256 << 20
    rotate_ns: int = 3600 * 1_000_000_000
    agent: AgentSettings = field(default_factory=AgentSettings)


@dataclass(slots=True)
class Outcome:
    """What a run ends with: the books, counters of the sensor, files, rows written, calls, what was wrong."""

    books: Books
    counters: dict[str, int]
    recordings: list[Path]
    tables: dict[str, int]
    messages: dict[str, int]
    malformed: dict[str, int]
    conditions: list[str]
    seconds: float
    revision: int


class Hunt:
    """One run. `on_change` hears of every look at the filter files that found something."""

    def __init__(
        self,
        tap: Tap,
        *,
        filters: FilterFiles | None,
        out: Path,
        settings: HuntSettings,
        on_change: Callable[[Change], None] | None = None,
    ) -> None:
        self._tap = tap
        self._filters = filters
        self._settings = settings
        self._on_change = on_change
        limits = Limits(bytes=settings.rotate_bytes, age=settings.rotate_ns)
        made = ProcessorSettings(segment=limits, live=settings.live)
        self.processor = Processor(out, made, clock=time.time_ns)
        self._queue: queue.Queue[Callable[[], None] | None] = queue.Queue(QUEUED)
        self._epoch = secrets.randbits(63)
        self.agent = Agent(
            tap, settings=settings.agent, on_batch=self._on_batch, on_flows=self._on_flows, name=settings.name,
            epoch=self._epoch, clock=time.time_ns if settings.live else None,
        )  # fmt: skip
        self._done = threading.Event()
        self._failed: BaseException | None = None

    def _on_batch(self, batch: Batch) -> None:
        self._put(lambda: self.processor.accept(batch))

    def _on_flows(self, records: Any, hosts: dict[int, str], filters: dict[int, tuple[str, ...]]) -> None:
        names = [each.name for each in self._tap.interfaces]
        sensor = self._settings.name
        self._put(lambda: self.processor.flows(
            records, hosts=hosts, filters=filters, interfaces=names, sensor=sensor, epoch=self._epoch,
        ))  # fmt: skip

    def _put(self, work: Callable[[], object]) -> None:
        if self._failed is None:
            self._queue.put(lambda: (work(), None)[1])

    def _process(self) -> None:
        """The processor's thread: everything it does, in the order it was queued."""
        while True:
            try:
                work = self._queue.get(timeout=1.0)
            except queue.Empty:
                self.processor.tick()
                continue
            if work is None:
                return
            if self._failed is None:
                try:
                    work()
                except Exception as error:  # told to the capture thread, which ends the run
                    self._failed = error
                    self._tap.stop()

    def _watch(self) -> None:
        while not self._done.wait(WATCH_SECONDS):
            change = self._filters.refresh() if self._filters else None
            if change is not None:
                self.use(change)

    def use(self, change: Change) -> None:
        """Put the plan of a look at the files in force and tell of it."""
        if change.changed:
            self._take(change.plan)
        if self._on_change is not None:
            self._on_change(change)

    def _take(self, plan: HuntPlan) -> None:
        actions = {
            f.name: Actions(record=f.record, per_call=f.per_call, alert=f.alert_severity, rate=f.sample)
            for f in plan.filters
        }
        self._put(lambda: self.processor.use(actions))
        self.agent.set_plan(plan)

    def run(self, on_tick: Callable[[dict[str, int]], None] | None = None) -> Outcome:
        """Capture until the tap ends or is stopped; drain; balance the books."""
        began = time.monotonic()
        worker = threading.Thread(target=self._process, name="processor")
        worker.start()
        watcher = threading.Thread(target=self._watch, name="filter files", daemon=True)
        if self._filters is not None:
            self.use(self._filters.refresh() or Change(self._filters.plan, changed=True))
            watcher.start()
        gc.collect()
        gc.freeze()
        try:
            self.agent.run(self._ticker(on_tick))
        finally:
            gc.unfreeze()
            self._done.set()
            self._note_drops()
            self._queue.put(None)
            worker.join()
        if self._failed is not None:
            raise self._failed
        books = self.processor.close()
        books.add(self._sensor_books())
        return self._outcome(books, time.monotonic() - began)

    def _ticker(self, on_tick: Callable[[dict[str, int]], None] | None) -> Callable[[], None] | None:
        if on_tick is None:
            return None
        told = time.monotonic()

        def tick() -> None:
            nonlocal told
            if time.monotonic() - told >= 0.5:
                told = time.monotonic()
                on_tick(self.agent.counters())

        return tick

    def _note_drops(self) -> None:
        drops = self._tap.drops()
        noted = InterfaceDrops(kernel=drops.kernel, interface=drops.interface)
        self._put(lambda: self.processor.note_drops(noted, sensor=self._settings.name, index=0))

    def _sensor_books(self) -> Books:
        counters = self.agent.counters()
        books = Books()
        mine = books.sensor(self._settings.name)
        mine.seen = counters["seen"]
        mine.unmatched = counters["unmatched"]
        mine.sampled_out = counters["sampled_out"]
        mine.duplicate_capture = counters["duplicate_capture"]
        mine.matched = counters["matched"]
        for cause, key in (("kernel", "dropped_kernel"), ("interface", "dropped_interface")):
            if counters[key]:
                mine.kernel_dropped[cause] = counters[key]
        if counters["shed"]:
            mine.shed["budget"] = counters["shed"]
        for name, count in self.agent.matched_by_filter().items():
            books.filter(name).matched = count
        return books

    def _outcome(self, books: Books, seconds: float) -> Outcome:
        conditions = [f"{each.reason}: {each.message}" for each in self.processor.conditions()]
        conditions += [f"{each.interface}: {each.state} {each.detail}".strip() for each in self._tap.conditions()]
        conditions += self.agent.warnings()
        return Outcome(
            books=books,
            counters=self.agent.counters(),
            recordings=[path for path in self.processor.recordings if path.exists()],  # the old may be gone
            tables={name: table.written for name, table in self.processor.tables.items()},
            messages=self.agent.engine.messages,
            malformed=self.agent.engine.malformed,
            conditions=conditions,
            seconds=seconds,
            revision=self.agent.revision,
        )
