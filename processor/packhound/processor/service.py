"""The processor in one piece: batches in, books, calls, flows, recordings and tables out.

Promise: synchronous, one thread. Nothing that goes wrong with the disk raises from `accept`, `flows` or `close`: it is
a condition, and what it cost is in the books with its cause. The same batches give the same files.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from packhound.net.detect import App, name_of
from packhound.net.flowrow import flow_columns
from packhound.processor.intake.ledger import Ledger, Verdict
from packhound.processor.store import layout
from packhound.processor.store.callfiles import CallFiles
from packhound.processor.store.columns import ALERTS, CALLS, FLOWS, MESSAGES
from packhound.processor.store.comments import Comments
from packhound.processor.store.segments import InterfaceDrops, Limits, Recorder, recover
from packhound.processor.store.tables import TableWriter
from packhound.processor.track.calls import CallTracker, call_row
from packhound.processor.track.flows import FlowNotes
from packhound.wire.batch import Batch, check
from packhound.wire.books import MALFORMED, Books

SECOND = layout.SECOND
MAX_ALERTED = 65_536


@dataclass(frozen=True, slots=True)
class Actions:
    """What a filter wants done with its packets. `alert`: severity, empty for none; `rate`: its sample, stamped on
    what it took."""

    record: bool = True
    per_call: bool = False
    alert: str = ""
    rate: float = 1.0


@dataclass(frozen=True, slots=True)
class ProcessorSettings:
    """`name` of recordings; `application` in their header; when files rotate; `flush`: ns that rows wait for their
    part at most; `live`: packet time is now, so a silent wire closes files too."""

    name: str = "packhound"
    application: str = "packhound"
    segment: Limits = field(default_factory=Limits)
    flush: int = 60 * SECOND
    live: bool = False


class Condition(NamedTuple):
    """Something a person should know: `reason` one word, `message` a sentence (our words, system errors and paths)."""

    reason: str
    message: str


class Processor:
    """Writes below `out_dir`, which is made when missing; raises OSError when it cannot be.

    `books` holds the processor's side (recorded, processed only, duplicates, lost): add the sensor's.
    """

    def __init__(self, out_dir: Path, settings: ProcessorSettings | None = None, *, clock: Callable[[], int]) -> None:
        self._settings = settings or ProcessorSettings()
        self._clock = clock
        out_dir.mkdir(layout.FOLDER_MODE, parents=True, exist_ok=True)
        self.out_dir = out_dir
        recordings = layout.folder(out_dir, "recordings")
        self.recovered = recover(out_dir)
        self.books = Books()
        self.tracker = CallTracker()
        self.ledger = Ledger()
        self._drops: dict[tuple[str, int], InterfaceDrops] = {}
        self._notes: dict[str, FlowNotes] = {}
        self._comments: dict[str, Comments] = {}
        self._actions: Mapping[str, Actions] = {}
        self._alerted: OrderedDict[tuple[str, str], None] = OrderedDict()
        chosen = self._settings
        self._recorder = Recorder(
            recordings, name=chosen.name, application=chosen.application, limits=chosen.segment,
            drops=lambda sensor, index: self._drops.get((sensor, index), InterfaceDrops()),
        )  # fmt: skip
        self._call_files = CallFiles(
            layout.folder(recordings, "calls"), limits=chosen.segment, application=chosen.application
        )
        self.tables = {table.name: TableWriter(out_dir, table) for table in (FLOWS, CALLS, MESSAGES, ALERTS)}
        self._now = 0
        self._ticked = 0
        self._flushed = clock()
        self._closed = False

    def use(self, actions: Mapping[str, Actions]) -> None:
        """Set what each filter (`ns/name`) wants done; a filter that is not named is recorded."""
        self._actions = dict(actions)
        for comments in self._comments.values():
            comments.use(self._rates())

    def _rates(self) -> dict[str, float]:
        return {name: each.rate for name, each in self._actions.items() if each.rate < 1}

    def note_drops(self, drops: InterfaceDrops, *, sensor: str = "", index: int = 0) -> None:
        """Set the cumulative counts of an interface, for the statistics in recordings."""
        self._drops[sensor, index] = drops

    def accept(self, batch: Batch) -> bool:
        """Take one batch; False when it was a duplicate or not a valid batch (both are in the books)."""
        fault = check(batch)
        if fault:
            self.books.settle(batch.sensor, {(): len(batch.ts)}, "lost", cause=MALFORMED)
            return False
        if batch.sequence > 0 and self.ledger.judge(batch.identity) is Verdict.DUPLICATE:
            self.books.settle(batch.sensor, _wanted(batch, slice(None)), "duplicates_dropped")
            return False
        notes = self._notes_of(batch.sensor)
        notes.see(batch)
        self._understand(batch, notes)
        self._record(batch)
        self._raise_alerts(batch, notes)
        if len(batch):
            self._advance(int(batch.ts.max()))
        return True

    def _notes_of(self, sensor: str) -> FlowNotes:
        if sensor not in self._notes:
            self._notes[sensor] = notes = FlowNotes()
            self._comments[sensor] = Comments(notes.community, rates=self._rates())
        return self._notes[sensor]

    def _understand(self, batch: Batch, notes: FlowNotes) -> None:
        """Facts to messages and calls."""
        rows = []
        for packet, serial, ts, fact in batch.facts:
            note = notes.of(serial)
            filters = tuple(note.filters) if packet < 0 else batch.fsets[int(batch.fset[packet])]
            row = {"kind": fact.kind, "time_ns": ts, "filter": filters} | dict(fact.fields)
            if serial:
                row |= {"flow.id": serial, "flow.community_id": note.community or None}
            if packet >= 0:
                row["interface"] = batch.interfaces[int(batch.iface[packet])].name
            rows.append(row)
            if fact.kind == "sip":
                src, dst = note.ends or (None, None)
                self.tracker.message(fact.fields, now=ts, src=src, dst=dst, filters=filters)
        self.tables["messages"].add_rows(rows)
        if batch.calls is not None:
            last = int(batch.ts.max()) if len(batch) else 0
            for call in {call for call in batch.calls.tolist() if call}:
                self.tracker.alive(call, now=last)

    def _record(self, batch: Batch) -> None:
        """Packets of filters that record into the recording, the rest is processed only."""
        if not len(batch):
            return
        options = self._comments[batch.sensor].options(batch)
        record = [number for number, names in batch.fsets.items() if self._any(names, "record")]
        if len(record) == len(batch.fsets):
            rows = np.arange(len(batch), dtype=np.int64)
            chosen = options
        else:
            mask = np.isin(batch.fset, np.array(record, np.uint32))
            rows = np.flatnonzero(mask)
            chosen = [options[at] for at in rows.tolist()]
            self.books.settle(batch.sensor, _wanted(batch, ~mask), "processed_only")
        kept = self._recorder.write(batch, chosen, rows=rows)
        self.books.settle(batch.sensor, _wanted(batch, rows[kept]), "recorded")
        if not kept.all():
            cause = self._recorder.fault.cause if self._recorder.fault else "io_error"
            self.books.settle(batch.sensor, _wanted(batch, rows[~kept]), "lost", cause=cause)
        self._unpublished()
        per_call = frozenset(number for number, names in batch.fsets.items() if self._any(names, "per_call"))
        self._call_files.write(batch, options, per_call)

    def _any(self, names: Iterable[str], action: str) -> bool:
        return any(getattr(self._actions.get(name, _DEFAULT), action) for name in names)

    def _unpublished(self) -> None:
        """Move packets of a file that could not be made durable from recorded to lost."""
        gone, self._recorder.unpublished = self._recorder.unpublished, Counter()
        cause = self._recorder.fault.cause if self._recorder.fault else "io_error"
        for (sensor, names), count in gone.items():
            self.books.settle(sensor, {names: -count}, "recorded")
            self.books.settle(sensor, {names: count}, "lost", cause=cause)

    def _raise_alerts(self, batch: Batch, notes: FlowNotes) -> None:
        """One alert per filter and call, or per filter and flow, at its first packet."""
        loud = {number: [n for n in names if self._any((n,), "alert")] for number, names in batch.fsets.items()}
        if not any(loud.values()):
            return
        calls = [None] * len(batch) if batch.calls is None else batch.calls.tolist()
        rows = []
        for at, (fset, serial, call) in enumerate(zip(batch.fset.tolist(), batch.flow.tolist(), calls, strict=True)):
            for name in loud[fset]:
                subject = f"call {call}" if call else f"flow {serial}"
                if (name, subject) in self._alerted:
                    continue
                self._alerted[name, subject] = None
                rows.append({
                    "time_ns": int(batch.ts[at]), "filter": name, "alert.severity": self._actions[name].alert,
                    "alert.subject": subject, "flow.id": serial, "sip.call_id": call,
                    "flow.community_id": notes.community(serial) or None, "app.protocol": name_of(int(batch.app[at])),
                })  # fmt: skip
        while len(self._alerted) > MAX_ALERTED:
            self._alerted.popitem(last=False)
        self.tables["alerts"].add_rows(rows)

    def flows(
        self,
        records: npt.NDArray[Any],
        *,
        hosts: Mapping[int, str] | None = None,
        filters: Mapping[int, Sequence[str]] | None = None,
        calls: Mapping[int, str] | None = None,
        interfaces: Sequence[str] = (),
        sensor: str = "",
    ) -> None:
        """Take records of flows that ended (FLOW_DTYPE); by serial their host, filters and call, where the sensor
        says so, else as the batches said."""
        if not len(records):
            return
        notes = self._notes_of(sensor)
        serials = records["serial"].tolist()
        named = filters if filters is not None else {serial: tuple(notes.of(serial).filters) for serial in serials}
        columns = flow_columns(records, hosts=hosts, filters=named, interfaces=interfaces)
        for at in np.flatnonzero((records["app"] == App.RTP) | (records["app"] == App.RTCP)).tolist():
            call = (calls or {}).get(serials[at]) or notes.of(serials[at]).call
            if call:
                record = records[at]
                self.tracker.media(
                    call, packets=int(record["packets"].sum()), last=int(record["last"]),
                    rtcp=bool(record["app"] == App.RTCP),
                )  # fmt: skip
        self.tables["flows"].add(columns)
        notes.forget(serials)

    def _advance(self, now: int) -> None:
        """Let packet time pass."""
        self._now = max(self._now, now)
        if self._now - self._ticked >= SECOND:
            self._ticked = self._now
            self._finish(self.tracker.finished(self._now))
            if self._clock() - self._flushed >= self._settings.flush:
                self._flush_tables()

    def tick(self) -> None:
        """Let time pass without packets: publish rows that have waited, and on a live wire files that are silent."""
        now = self._clock()
        if now - self._flushed >= self._settings.flush:
            self._flush_tables()
        last = self._recorder.last
        if self._settings.live and last:
            self._advance(now)
            if now - last >= self._settings.segment.age or layout.hour_of(now) > layout.hour_of(last):
                self._recorder.close()
                self._unpublished()

    def _flush_tables(self) -> None:
        self._flushed = self._clock()
        for writer in self.tables.values():
            writer.flush()

    def _finish(self, calls: Iterable[Any]) -> None:
        rows = []
        for call in calls:
            self._call_files.finish(call.call_id)
            rows.append(call_row(call))
        self.tables["calls"].add_rows(rows)

    def conditions(self) -> list[Condition]:
        """What is wrong now: writes that fail, rows and call recordings lost, files a crash left."""
        faults = (self._recorder.fault, self._call_files.fault, *(w.fault for w in self.tables.values()))
        found = [Condition(each.cause, f"cannot write {each.path}: {each.detail}") for each in faults if each]
        for name, writer in self.tables.items():
            if writer.lost:
                found.append(Condition("rows_lost", f"{writer.lost.total()} rows of {name} could not be written"))
        if self._call_files.lost:
            found.append(Condition("call_files_lost", f"call recordings miss {self._call_files.lost} packets"))
        found += [Condition("recovered", str(each)) for each in self.recovered]
        return found

    @property
    def recordings(self) -> list[Path]:
        """Recordings published by this processor so far, in order, the main stream's first."""
        return [*self._recorder.published, *self._call_files.published]

    def close(self) -> Books:
        """Publish everything; return the processor's books. Give `flows` the last records first."""
        if not self._closed:
            self._closed = True
            self._finish(self.tracker.flush())
            self._recorder.close()
            self._unpublished()
            self._call_files.close()
            for writer in self.tables.values():
                writer.close()
        return self.books


_DEFAULT = Actions()


def _wanted(batch: Batch, rows: Any) -> dict[tuple[str, ...], int]:
    """How many of `rows` (indexes, mask or slice) are wanted by which filters."""
    numbers, counts = np.unique(batch.fset[rows], return_counts=True)
    found: Counter[tuple[str, ...]] = Counter()
    for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
        found[batch.fsets[number]] += count
    return dict(found)
