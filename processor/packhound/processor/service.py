"""The processor in one piece: parcels in, books, calls, flows, recordings and tables out.

Promise: synchronous, one thread. Nothing that goes wrong with the disk raises from `accept`, `flows` or `close`: it is
a condition, and what it cost is in the books with its cause. The same batches give the same files. In two phases, led
by `processor.groups`, nothing is lost to a disk either: what could not be written whole is undone and done again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import numpy.typing as npt

from packhound.kit.traces import OFF, Traces
from packhound.net.sanitise import token
from packhound.processor.alerts import alert_rows
from packhound.processor.enrich import PodNames
from packhound.processor.intake.ledger import Verdict
from packhound.processor.recording import Actions, Fate, Recording, wanted
from packhound.processor.shared.entries import entries_of
from packhound.processor.shared.state import Entry
from packhound.processor.store import journal, layout
from packhound.processor.store.columns import ALERTS, CALLS, FLOWS, MESSAGES
from packhound.processor.store.folder import is_fleets
from packhound.processor.store.journal import JournalTable, RowJournal
from packhound.processor.store.pending import Prepared, TwoPhase
from packhound.processor.store.recovery import Recovered, recover
from packhound.processor.store.segments import Fault, InterfaceDrops, Limits
from packhound.processor.store.tables import TableWriter
from packhound.processor.track.dialog import call_row
from packhound.processor.track.flows import FlowNotes
from packhound.processor.track.shard import Limits as TrackLimits
from packhound.processor.track.shard import ShardTrack
from packhound.processor.understanding import ended_flows, message_rows, rows_of, told_lost
from packhound.wire import batch as batches
from packhound.wire import flowrecords
from packhound.wire.batch import Batch
from packhound.wire.books import MALFORMED, Books
from packhound.wire.flowrecords import FlowRecords
from packhound.wire.lost import Lost
from packhound.wire.pods import PodBook

SECOND = layout.SECOND
TABLES = (FLOWS, CALLS, MESSAGES, ALERTS)
OF_A_FLEET = TrackLimits(calls=16_384, flows=65_536, alerts=16_384, recorded=16_384)  # one of many shards


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
    track: TrackLimits | None = None


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


class Listener(Protocol):
    """Who hears of everything that is taken in. Never waits."""

    def packets(self, batch: Batch) -> None:
        """Packets of a batch."""

    def rows(self, kind: Literal["flows", "calls"], rows: Sequence[Mapping[str, Any]], *, node: str = "") -> None:
        """Rows of flows that ended or calls that are over."""


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
        traces: Traces = OFF,
    ) -> None:
        self._traces = traces
        self._settings = chosen = settings or ProcessorSettings()
        self._clock = clock
        self._two_phase = bool(chosen.node)
        self._limits = chosen.track or (OF_A_FLEET if self._two_phase else TrackLimits())
        out_dir.mkdir(layout.FOLDER_MODE, parents=True, exist_ok=True)
        self.out_dir = out_dir
        recordings = layout.folder(out_dir, "recordings")
        self.recovered = list(recovered)
        if not self._two_phase and not is_fleets(out_dir):
            self.recovered = recover(out_dir)
        self.books = Books()
        self._feed: Listener | None = None
        self.pods = PodNames()
        self._renamed = False
        self.redelivered = 0
        self.tracks: dict[int, ShardTrack] = {}
        self._group: dict[tuple[str, int], Books] = {}
        self._told: Counter[Entry] = Counter()
        self._files = TwoPhase(out_dir) if self._two_phase else None
        self._recording = Recording(
            recordings, name=chosen.name, application=chosen.application, limits=chosen.segment, clock=clock,
            preface=self._preface, files=self._files, pods=self.pods,
        )  # fmt: skip
        self._journal = RowJournal(out_dir, TABLES, self._files) if self._files else None
        self.tables: Mapping[str, TableWriter | JournalTable] = (
            self._journal.tables if self._journal else {table.name: TableWriter(out_dir, table) for table in TABLES}
        )
        self._now = 0
        self._ticked = 0
        self._flushed = clock()
        self._waiting = True  # journals that an earlier run left, or that the disk had no room for
        self._closed = False

    def listen(self, feed: Listener) -> None:
        """Offer what is taken in to subscribers too, as it comes: before it is settled."""
        self._feed = feed

    def use_pods(self, book: PodBook) -> None:
        """Learn whose addresses are whose. Any thread."""
        self.pods.use(book)
        self._renamed = True

    def use(self, actions: Mapping[str, Actions]) -> None:
        """Set what each filter (`ns/name`) wants done; a filter that is not named is recorded."""
        self._recording.use(actions)

    def note_drops(self, drops: InterfaceDrops, *, sensor: str = "", index: int = 0) -> None:
        """Set the cumulative counts of an interface, for the statistics in recordings."""
        self._recording.note_drops(drops, sensor=sensor, index=index)

    # parcels in ----------------------------------------------------------------------------------------------------

    def accept(
        self, parcel: Batch | FlowRecords | Lost, *, redelivered: bool = False, traceparent: str = ""
    ) -> bool:
        """Take one parcel; False when it was a duplicate or not valid (both are in the books). `redelivered`: the link
        may have brought it before, so that a duplicate was sent once only; `traceparent`: of its intake."""
        if isinstance(parcel, Batch) and batches.check(parcel) is not None:
            self._settle(parcel.sensor, parcel.epoch, Fate({(): len(parcel.ts)}, "lost", MALFORMED))
            return False
        if isinstance(parcel, FlowRecords) and flowrecords.check(parcel) is not None:
            return False
        track = self._track(parcel.shard)
        last = parcel.last if isinstance(parcel, Lost) else 0
        if parcel.sequence > 0 and track.ledger.judge(parcel.identity, last=last) is Verdict.DUPLICATE:
            if redelivered:
                self.redelivered += 1
            elif isinstance(parcel, Batch):
                fate = Fate(wanted(parcel, slice(None)), "duplicates_dropped")
                self._settle(parcel.sensor, parcel.epoch, fate)
            return False
        if isinstance(parcel, Batch):
            self._packets(track, parcel, traceparent)
        elif isinstance(parcel, FlowRecords):
            self.flows(
                parcel.records, hosts=parcel.hosts, filters=parcel.filters, calls=parcel.calls,
                interfaces=parcel.interfaces, sensor=parcel.sensor, epoch=parcel.epoch, shard=parcel.shard,
            )  # fmt: skip
        else:
            self._told.update(told_lost(parcel))
        return True

    def _track(self, shard: int) -> ShardTrack:
        track = self.tracks.get(shard)
        if track is None:
            track = self.tracks[shard] = ShardTrack(shard, self._limits)
        return track

    def _packets(self, track: ShardTrack, batch: Batch, trace: str) -> None:
        if self._renamed:
            self._renamed = False
            self._recording.renamed()
        self._recording.learn(batch.actions)
        notes = track.notes_of(batch.sensor, batch.epoch)
        notes.see(batch)
        if self._feed is not None:
            self._feed.packets(batch)
        with self._traces.span("parcel.correlate", parent=trace, packhound__messages=len(batch.facts)):
            self.tables["messages"].add_rows(message_rows(batch, track=track, notes=notes))
        with self._traces.span("parcel.record", parent=trace, packhound__packets=len(batch)) as span:
            for fate in self._recording.write(batch, notes):
                span.set(**{f"packhound__{fate.change}": sum(fate.wanted.values())})
                self._settle(batch.sensor, batch.epoch, fate)
            self._unpublished()
        self._raise_alerts(track, batch, notes)
        if len(batch):
            now = int(batch.ts.max())
            track.hear(batch.sensor, now, self._clock())
            self._advance(now)

    def _settle(self, sensor: str, epoch: int, fate: Fate) -> None:
        books = self._group.setdefault((sensor, epoch), Books()) if self._two_phase else self.books
        books.settle(sensor, fate.wanted, fate.change, cause=fate.cause)

    def _unpublished(self) -> None:
        for sensor, fate in self._recording.unpublished():
            self.books.settle(sensor, fate.wanted, fate.change, cause=fate.cause)

    def _preface(self, shard: int, call: str, path: Path) -> str:
        """Note a new file of a call; its header names the one before."""
        place = str(path.relative_to(self.out_dir))
        whole = f"{self._settings.node}:{place}" if self._two_phase else place
        before = self._track(shard).add_part(call, whole)
        return f"call={token(call)} continues={token(before)}" if before else ""

    def _raise_alerts(self, track: ShardTrack, batch: Batch, notes: FlowNotes) -> None:
        severity = self._recording.severities({name for names in batch.fsets.values() for name in names})
        if severity:
            loud = {number: [n for n in names if n in severity] for number, names in batch.fsets.items()}
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
        columns = ended_flows(
            records, track=self._track(shard), sensor=sensor, epoch=epoch, hosts=hosts, filters=filters, calls=calls,
            interfaces=interfaces,
        )  # fmt: skip
        columns |= self.pods.columns(columns)
        self.tables["flows"].add(columns)
        if self._feed is not None:
            self._feed.rows("flows", rows_of(columns), node=sensor)

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
        if silent:
            self._recording.quiet(now)
            self._unpublished()

    def _flush_tables(self) -> None:
        self._flushed = self._clock()
        if self._journal is not None:
            self._journal.seal()
            self._waiting = self._journal.fault is not None
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
            self._recording.calls.finish(call.call_id, track.shard)
            row = call_row(call, track.parts(call.call_id))
            row["k8s.pods"] = self.pods.names((each.rpartition(":")[0].strip("[]") for each in call.peers), call.start)
            rows.append(row)
            track.end_parts(call.call_id)
        self.tables["calls"].add_rows(rows)
        if self._feed is not None:
            self._feed.rows("calls", rows)

    # two phases ----------------------------------------------------------------------------------------------------

    def adopt(self, shard: int, saved: Mapping[bytes, bytes]) -> None:
        """Go on with a shard where it was left, by whomever."""
        track = self.tracks[shard] = ShardTrack(shard, self._limits)
        track.restore(saved, self._clock())

    def leave(self, shard: int) -> None:
        """End the recordings of a shard's calls: with the next `prepare`, somebody else may go on with it."""
        self._recording.calls.leave(shard)

    def forget(self, shard: int) -> None:
        """Drop what is known of a shard that is another's now."""
        self.tracks.pop(shard, None)
        self._recording.forget(shard)

    def prepare(self) -> Work:
        """Put on the disk whatever was accepted since the last `keep`, and say what a commit must hold. Raises
        DiskFault: then only `undo` is right."""
        assert self._files is not None
        assert self._journal is not None
        if self._recording.failed is not None:
            raise DiskFault(self._recording.failed)
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
        published = self._files.keep()
        if self._waiting or any(path.suffix == journal.SUFFIX for path in published):
            self._waiting = False
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
        self._recording.undone()

    def seal(self, *, calls: bool = False) -> None:
        """End every file: with the next `prepare` and `keep` all is published. `calls`: nobody goes on with the calls
        either, they are over."""
        assert self._journal is not None
        for track in self.tracks.values() if calls else ():
            self._finish(track, track.calls.flush())
        self._recording.close()
        self._journal.seal()

    # outcome -------------------------------------------------------------------------------------------------------

    def conditions(self) -> list[Condition]:
        """What is wrong now: writes that fail, rows and call recordings lost, files a crash left."""
        faults: list[Fault | None] = [*self._recording.faults()]
        found = []
        if self._journal is not None:
            faults.append(self._journal.fault)
            found += [Condition("rows_unread", f"{path} is not a journal of rows") for path in self._journal.bad]
        for name, writer in self.tables.items():
            if isinstance(writer, TableWriter):
                faults.append(writer.fault)
                if writer.lost:
                    found.append(Condition("rows_lost", f"{writer.lost.total()} rows of {name} could not be written"))
        lost = self._recording.calls.lost
        if lost and not self._two_phase:
            found.append(Condition("call_files_lost", f"call recordings miss {lost} packets"))
        wrong = [Condition(each.cause, f"cannot write {each.path}: {each.detail}") for each in faults if each]
        return [*wrong, *found, *(Condition("recovered", str(each)) for each in self.recovered)]

    @property
    def recordings(self) -> list[Path]:
        """Recordings published by this processor so far, in order, the main stream's first (in two phases: none)."""
        return self._recording.published

    def untold(self, path: str) -> bool:
        """A file, by its path below `out_dir`, must not be removed yet: the next commit speaks of it. Any thread."""
        return self._files is not None and self._files.untold(path)

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
            self._recording.close()
            self._unpublished()
            for writer in self.tables.values():
                if isinstance(writer, TableWriter):
                    writer.close()
        return self.books
