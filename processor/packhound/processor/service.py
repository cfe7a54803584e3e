"""The processor in one piece: parcels in, books, calls, flows, recordings and tables out.

Promise: synchronous, one thread. Nothing that goes wrong with the disk raises from `accept`, `flows` or `close`: it is
a condition, and what it cost is in the books with its cause. The same batches give the same files. In two phases
(`processor.groups` leads it) nothing is lost to a disk either: what could not be written whole is undone and done again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from packhound.net.detect import App
from packhound.net.flowrow import flow_columns
from packhound.net.sanitise import token
from packhound.processor.alerts import alert_rows
from packhound.processor.intake.ledger import Verdict
from packhound.processor.shared.entries import TOLD_LOST, entries_of
from packhound.processor.shared.state import Entry
from packhound.processor.store import layout
from packhound.processor.store.callfiles import CallFiles
from packhound.processor.store.columns import ALERTS, CALLS, FLOWS, MESSAGES
from packhound.processor.store.comments import Comments
from packhound.processor.store.folder import is_fleets
from packhound.processor.store.journal import JournalTable, RowJournal
from packhound.processor.store.pending import Prepared, TwoPhase
from packhound.processor.store.recovery import Recovered, recover
from packhound.processor.store.segments import Fault, InterfaceDrops, Limits, Recorder
from packhound.processor.store.tables import TableWriter
from packhound.processor.track.dialog import call_row
from packhound.processor.track.flows import FlowNotes
from packhound.processor.track.shard import Limits as TrackLimits
from packhound.processor.track.shard import ShardTrack
from packhound.wire import batch as batches
from packhound.wire import flowrecords
from packhound.wire.batch import Batch
from packhound.wire.books import MALFORMED, Books
from packhound.wire.flowrecords import FlowRecords
from packhound.wire.lost import Lost

SECOND = layout.SECOND
TABLES = (FLOWS, CALLS, MESSAGES, ALERTS)


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
    part at most; `live`: packet time is now, so a silent wire closes files too. `node`: the processor's name in a
    fleet, which writes in two phases; empty: alone."""

    name: str = "packhound"
    application: str = "packhound"
    segment: Limits = field(default_factory=Limits)
    flush: int = 60 * SECOND
    live: bool = False
    node: str = ""
    track: TrackLimits = field(default_factory=TrackLimits)


class Condition(NamedTuple):
    """Something a person should know: `reason` one word, `message` a sentence (our words, system errors and paths)."""

    reason: str
    message: str


class DiskFault(Exception):
    """What was accepted since the last `keep` could not be written whole: `undo` it. `fault` says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"cannot write {fault.path}: {fault.detail}")
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Work:
    """What was done since the last `keep`: files, saved state by shard (pairs to put, keys to drop), counters."""

    files: Prepared
    shards: Mapping[int, tuple[Mapping[bytes, bytes], frozenset[bytes]]]
    counts: Mapping[Entry, int]


class Processor:
    """Writes below `out_dir`, which is made when missing; raises OSError when it cannot be.

    `books` holds the processor's side (recorded, processed only, duplicates, lost): add the sensor's.
    """

    def __init__(
        self,
        out_dir: Path,
        settings: ProcessorSettings | None = None,
        *,
        clock: Callable[[], int],
        recovered: Sequence[Recovered] = (),
    ) -> None:
        self._settings = chosen = settings or ProcessorSettings()
        self._clock = clock
        self._two_phase = bool(chosen.node)
        out_dir.mkdir(layout.FOLDER_MODE, parents=True, exist_ok=True)
        self.out_dir = out_dir
        recordings = layout.folder(out_dir, "recordings")
        self.recovered = list(recovered)
        if not self._two_phase and not is_fleets(out_dir):
            self.recovered = recover(out_dir)
        self.books = Books()
        self.redelivered = 0
        self.tracks: dict[int, ShardTrack] = {}
        self._group: dict[tuple[str, int], Books] = {}
        self._told: Counter[Entry] = Counter()
        self._drops: dict[tuple[str, int], InterfaceDrops] = {}
        self._comments: dict[tuple[int, str, int], tuple[FlowNotes, Comments]] = {}
        self._actions: Mapping[str, Actions] = {}
        self._files = TwoPhase(out_dir) if self._two_phase else None
        self._recorder = Recorder(
            recordings, name=chosen.name, application=chosen.application, limits=chosen.segment,
            drops=lambda sensor, index: self._drops.get((sensor, index), InterfaceDrops()),
            files=self._files, sensors=self._two_phase,
        )  # fmt: skip
        self._call_files = CallFiles(
            layout.folder(recordings, "calls"), limits=chosen.segment, application=chosen.application,
            preface=self._preface, files=self._files, sensors=self._two_phase,
        )  # fmt: skip
        self._journal = RowJournal(out_dir, TABLES, self._files) if self._files else None
        self.tables: Mapping[str, TableWriter | JournalTable] = (
            self._journal.tables if self._journal else {table.name: TableWriter(out_dir, table) for table in TABLES}
        )
        self._now = 0
        self._ticked = 0
        self._flushed = self._wrote = clock()
        self._failed: Fault | None = None
        self._closed = False

    def use(self, actions: Mapping[str, Actions]) -> None:
        """Set what each filter (`ns/name`) wants done; a filter that is not named is recorded."""
        self._actions = dict(actions)
        for _, comments in self._comments.values():
            comments.use(self._rates())

    def _rates(self) -> dict[str, float]:
        return {name: each.rate for name, each in self._actions.items() if each.rate < 1}

    def note_drops(self, drops: InterfaceDrops, *, sensor: str = "", index: int = 0) -> None:
        """Set the cumulative counts of an interface, for the statistics in recordings."""
        self._drops[sensor, index] = drops

    # parcels in ----------------------------------------------------------------------------------------------------

    def accept(self, parcel: Batch | FlowRecords | Lost, *, redelivered: bool = False) -> bool:
        """Take one parcel; False when it was a duplicate or not valid (both are in the books). `redelivered`: the link
        may have brought it before, so that a duplicate was sent once only."""
        if isinstance(parcel, Batch) and batches.check(parcel) is not None:
            self._settle(parcel.sensor, parcel.epoch, {(): len(parcel.ts)}, "lost", cause=MALFORMED)
            return False
        if isinstance(parcel, FlowRecords) and flowrecords.check(parcel) is not None:
            return False
        track = self._track(parcel.shard)
        if parcel.sequence > 0 and track.ledger.judge(parcel.identity) is Verdict.DUPLICATE:
            if redelivered:
                self.redelivered += 1
            elif isinstance(parcel, Batch):
                self._settle(parcel.sensor, parcel.epoch, _wanted(parcel, slice(None)), "duplicates_dropped")
            return False
        if isinstance(parcel, Batch):
            self._packets(track, parcel)
        elif isinstance(parcel, FlowRecords):
            self.flows(
                parcel.records, hosts=parcel.hosts, filters=parcel.filters, calls=parcel.calls,
                interfaces=parcel.interfaces, sensor=parcel.sensor, epoch=parcel.epoch, shard=parcel.shard,
            )  # fmt: skip
        else:
            self._tombstone(parcel)
        return True

    def _track(self, shard: int) -> ShardTrack:
        track = self.tracks.get(shard)
        if track is None:
            track = self.tracks[shard] = ShardTrack(shard, self._settings.track)
        return track

    def _packets(self, track: ShardTrack, batch: Batch) -> None:
        notes = track.notes_of(batch.sensor, batch.epoch)
        notes.see(batch)
        self._understand(track, batch, notes)
        self._record(batch, self._options(track, batch, notes))
        self._raise_alerts(track, batch, notes)
        if len(batch):
            now = int(batch.ts.max())
            track.hear(batch.sensor, now, self._clock())
            self._advance(now)

    def _tombstone(self, lost: Lost) -> None:
        for names, count in lost.wanted.items():
            cause = f"{lost.kind_lost}:{lost.cause}" if lost.kind_lost != "packets" else lost.cause
            self._told[Entry("sensor", lost.sensor, lost.epoch, TOLD_LOST, cause)] += count
            for name in names:
                self._told[Entry("filter", name, 0, TOLD_LOST, cause)] += count

    def _settle(
        self, sensor: str, epoch: int, wanted: Mapping[tuple[str, ...], int], change: str, *, cause: str = ""
    ) -> None:
        books = self._group.setdefault((sensor, epoch), Books()) if self._two_phase else self.books
        books.settle(sensor, wanted, change, cause=cause)

    def _options(self, track: ShardTrack, batch: Batch, notes: FlowNotes) -> list[bytes]:
        """Comments of the packets."""
        key = track.shard, batch.sensor, batch.epoch
        known, comments = self._comments.get(key, (None, None))
        if comments is None or known is not notes:
            comments = Comments(notes.community, rates=self._rates())
            self._comments[key] = notes, comments
        return comments.options(batch)

    def _understand(self, track: ShardTrack, batch: Batch, notes: FlowNotes) -> None:
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
                track.calls.message(fact.fields, now=ts, src=src, dst=dst, filters=filters, source=batch.sensor)
        self.tables["messages"].add_rows(rows)
        if batch.calls is not None:
            last = int(batch.ts.max()) if len(batch) else 0
            for call in {call for call in batch.calls.tolist() if call}:
                track.calls.alive(call, now=last, source=batch.sensor)

    def _record(self, batch: Batch, options: list[bytes]) -> None:
        """Packets of filters that record into the recording, the rest is processed only."""
        if not len(batch):
            return
        record = [number for number, names in batch.fsets.items() if self._any(names, "record")]
        if len(record) == len(batch.fsets):
            rows = np.arange(len(batch), dtype=np.int64)
            chosen = options
        else:
            mask = np.isin(batch.fset, np.array(record, np.uint32))
            rows = np.flatnonzero(mask)
            chosen = [options[at] for at in rows.tolist()]
            self._settle(batch.sensor, batch.epoch, _wanted(batch, ~mask), "processed_only")
        kept = self._recorder.write(batch, chosen, rows=rows)
        self._wrote = self._clock()
        self._settle(batch.sensor, batch.epoch, _wanted(batch, rows[kept]), "recorded")
        if not kept.all():
            fault = self._failed = self._recorder.fault or Fault("io_error", "short write", str(self.out_dir))
            self._settle(batch.sensor, batch.epoch, _wanted(batch, rows[~kept]), "lost", cause=fault.cause)
        self._unpublished()
        per_call = frozenset(number for number, names in batch.fsets.items() if self._any(names, "per_call"))
        if not self._call_files.write(batch, options, per_call):
            self._failed = self._call_files.fault or self._failed

    def _any(self, names: Iterable[str], action: str) -> bool:
        return any(getattr(self._actions.get(name, _DEFAULT), action) for name in names)

    def _unpublished(self) -> None:
        """Move packets of a file that could not be made durable from recorded to lost."""
        gone, self._recorder.unpublished = self._recorder.unpublished, Counter()
        cause = self._recorder.fault.cause if self._recorder.fault else "io_error"
        for (sensor, names), count in gone.items():
            self.books.settle(sensor, {names: -count}, "recorded")
            self.books.settle(sensor, {names: count}, "lost", cause=cause)

    def _preface(self, shard: int, call: str, path: Path) -> str:
        """Note a new file of a call; its header names the one before."""
        place = str(path.relative_to(self.out_dir))
        whole = f"{self._settings.node}:{place}" if self._two_phase else place
        before = self._track(shard).add_part(call, whole)
        return f"call={token(call)} continues={token(before)}" if before else ""

    def _raise_alerts(self, track: ShardTrack, batch: Batch, notes: FlowNotes) -> None:
        loud = {number: [n for n in names if self._any((n,), "alert")] for number, names in batch.fsets.items()}
        if any(loud.values()):
            severity = {name: self._actions[name].alert for names in loud.values() for name in names}
            self.tables["alerts"].add_rows(alert_rows(batch, loud, severity=severity, track=track, notes=notes))

    def flows(
        self,
        records: npt.NDArray[Any],
        *,
        hosts: Mapping[int, str] | None = None,
        filters: Mapping[int, Sequence[str]] | None = None,
        calls: Mapping[int, str] | None = None,
        interfaces: Sequence[str] = (),
        sensor: str = "",
        epoch: int = 0,
        shard: int = 0,
    ) -> None:
        """Take records of flows that ended (FLOW_DTYPE); by serial their host, filters and call, where the sensor
        says so, else as the batches said."""
        if not len(records):
            return
        track = self._track(shard)
        notes = track.notes_of(sensor, epoch)
        serials = records["serial"].tolist()
        named = filters if filters is not None else {serial: tuple(notes.of(serial).filters) for serial in serials}
        columns = flow_columns(records, hosts=hosts, filters=named, interfaces=interfaces)
        for at in np.flatnonzero((records["app"] == App.RTP) | (records["app"] == App.RTCP)).tolist():
            call = (calls or {}).get(serials[at]) or notes.of(serials[at]).call
            if call:
                record = records[at]
                track.calls.media(
                    call, packets=int(record["packets"].sum()), last=int(record["last"]),
                    rtcp=bool(record["app"] == App.RTCP), source=sensor,
                )  # fmt: skip
        self.tables["flows"].add(columns)
        notes.forget(serials)

    # time ----------------------------------------------------------------------------------------------------------

    def _advance(self, now: int) -> None:
        """Let packet time pass; in two phases only `tick` does."""
        self._now = max(self._now, now)
        if self._now - self._ticked >= SECOND and not self._two_phase:
            self._ticked = self._now
            self._finish_calls(None)
            if self._clock() - self._flushed >= self._settings.flush:
                self._flush_tables()

    def tick(self, *, caught_up: bool = True) -> None:
        """Let time pass without packets: publish rows that have waited, and on a live wire files that are silent.
        `caught_up`: all that was sent has been taken, so silence is silence."""
        now = self._clock()
        if now - self._flushed >= self._settings.flush:
            self._flush_tables()
        silent = self._settings.live and caught_up
        if silent or self._two_phase:
            self._finish_calls(now if silent else None)
        last = self._recorder.last
        if silent and last:
            quiet = max(0, now - self._wrote)
            if quiet >= self._settings.segment.age or layout.hour_of(last + quiet) > layout.hour_of(last):
                self._recorder.close()
                self._unpublished()

    def _flush_tables(self) -> None:
        self._flushed = self._clock()
        if self._journal is not None:
            self._journal.seal()
        for writer in self.tables.values():
            if isinstance(writer, TableWriter):
                writer.flush()

    def _finish_calls(self, wall: int | None) -> None:
        for track in self.tracks.values():
            self._finish(track, track.finished(wall))
            if not self._two_phase:
                track.unchanged()

    def _finish(self, track: ShardTrack, calls: Iterable[Any]) -> None:
        rows = []
        for call in calls:
            self._call_files.finish(call.call_id, track.shard)
            rows.append(call_row(call, track.parts(call.call_id)))
            track.end_parts(call.call_id)
        self.tables["calls"].add_rows(rows)

    # two phases ----------------------------------------------------------------------------------------------------

    def adopt(self, shard: int, saved: Mapping[bytes, bytes]) -> None:
        """Go on with a shard where it was left, by whomever."""
        track = self.tracks[shard] = ShardTrack(shard, self._settings.track)
        track.restore(saved, self._clock())

    def leave(self, shard: int) -> None:
        """End the recordings of a shard's calls: with the next `prepare`, somebody else may go on with it."""
        self._call_files.leave(shard)

    def forget(self, shard: int) -> None:
        """Drop what is known of a shard that is another's now."""
        self.tracks.pop(shard, None)
        self._comments = {key: each for key, each in self._comments.items() if key[0] != shard}

    def prepare(self) -> Work:
        """Put on the disk whatever was accepted since the last `keep`, and say what a commit must hold. Raises
        DiskFault: then only `undo` is right."""
        assert self._files is not None
        assert self._journal is not None
        if self._failed is not None:
            raise DiskFault(self._failed)
        try:
            self._journal.write()
            files = self._files.prepare()
        except OSError as error:
            where = str(error.filename or self.out_dir)
            raise DiskFault(Fault(layout.cause_of(error), error.strerror or str(error), where)) from error
        counts = Counter(self._told)
        for (_, epoch), books in self._group.items():
            counts.update(entries_of(books, epoch=epoch))
        shards = {shard: track.changes() for shard, track in self.tracks.items()}
        return Work(files, {shard: each for shard, each in shards.items() if each[0] or each[1]}, counts)

    def keep(self) -> None:
        """The commit is done: publish what is sealed, put settled rows into tables."""
        assert self._files is not None
        assert self._journal is not None
        for books in self._group.values():
            self.books.add(books)
        self._group.clear()
        self._told.clear()
        if any(path.name.endswith(".rows") for path in self._files.keep()) or self._journal.fault:
            self._journal.convert()

    def undo(self) -> None:
        """Take back whatever was accepted since the last `keep`. Every shard must be adopted anew."""
        assert self._files is not None
        assert self._journal is not None
        self._files.undo()
        self._journal.undo()
        self._group.clear()
        self._told.clear()
        self.tracks.clear()
        self._comments.clear()
        self._failed = None

    def seal(self) -> None:
        """End every file: with the next `prepare` and `keep` all is published."""
        assert self._journal is not None
        self._recorder.close()
        self._call_files.close()
        self._journal.write()
        self._journal.seal()

    # outcome -------------------------------------------------------------------------------------------------------

    def conditions(self) -> list[Condition]:
        """What is wrong now: writes that fail, rows and call recordings lost, files a crash left."""
        faults: list[Fault | None] = [self._recorder.fault, self._call_files.fault]
        found = []
        if self._journal is not None:
            faults.append(self._journal.fault)
            found += [Condition("rows_unread", f"{path} is not a journal of rows") for path in self._journal.bad]
        for name, writer in self.tables.items():
            if isinstance(writer, TableWriter):
                faults.append(writer.fault)
                if writer.lost:
                    found.append(Condition("rows_lost", f"{writer.lost.total()} rows of {name} could not be written"))
        if self._call_files.lost and not self._two_phase:
            found.append(Condition("call_files_lost", f"call recordings miss {self._call_files.lost} packets"))
        wrong = [Condition(each.cause, f"cannot write {each.path}: {each.detail}") for each in faults if each]
        return [*wrong, *found, *(Condition("recovered", str(each)) for each in self.recovered)]

    @property
    def recordings(self) -> list[Path]:
        """Recordings published by this processor so far, in order, the main stream's first (in two phases: none)."""
        return [*self._recorder.published, *self._call_files.published]

    def close(self) -> Books:
        """Publish everything; return the processor's books. Give `flows` the last records first. In two phases only
        let go: what was not kept is undone by the next recovery."""
        if not self._closed:
            self._closed = True
            if self._files is not None:
                self._files.close()
                return self.books
            for track in self.tracks.values():
                self._finish(track, track.calls.flush())
            self._recorder.close()
            self._unpublished()
            self._call_files.close()
            for writer in self.tables.values():
                if isinstance(writer, TableWriter):
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
