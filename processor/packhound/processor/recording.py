"""Packets into recordings: what each filter wants done with them, the main stream, files per call, comments.

Promise: nothing raises for the disk's sake; what was not written is in the answer, with its cause. One thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from packhound.processor.enrich import PodNames
from packhound.processor.store import layout
from packhound.processor.store.callfiles import CallFiles
from packhound.processor.store.comments import Comments, Ends
from packhound.processor.store.pending import TwoPhase
from packhound.processor.store.segments import Fault, InterfaceDrops, Limits, Recorder
from packhound.processor.track.flows import FlowNotes
from packhound.wire.batch import Action, Batch

Wanted = Mapping[tuple[str, ...], int]


@dataclass(frozen=True, slots=True)
class Actions:
    """What a filter wants done with its packets. `alert`: severity, empty for none; `rate`: its sample, stamped on
    what it took."""

    record: bool = True
    per_call: bool = False
    alert: str = ""
    rate: float = 1.0


_DEFAULT = Actions()


class Fate(NamedTuple):
    """What became of packets: counter of the books, and its cause."""

    wanted: Wanted
    change: str
    cause: str = ""


class Recording:
    """Recordings below `root`. `files`: those written in two phases; `preface` is told of every new file of a call
    (shard, Call-ID, path) and gives the comment of its header."""

    def __init__(
        self,
        root: Path,
        *,
        name: str,
        application: str,
        limits: Limits,
        clock: Callable[[], int],
        preface: Callable[[int, str, Path], str],
        files: TwoPhase | None,
        pods: PodNames | None = None,
    ) -> None:
        self._pods = pods
        self._clock = clock
        self._limits = limits
        self._root = root
        self._actions: Mapping[str, Actions] = {}
        self._drops: dict[tuple[str, int], InterfaceDrops] = {}
        self._comments: dict[tuple[int, str, int], tuple[FlowNotes, Comments]] = {}
        self._main = Recorder(
            root, name=name, application=application, limits=limits, files=files, sensors=files is not None,
            drops=lambda sensor, index: self._drops.get((sensor, index), InterfaceDrops()),
        )  # fmt: skip
        self.calls = CallFiles(
            layout.folder(root, "calls"), limits=limits, application=application, preface=preface, files=files,
            sensors=files is not None,
        )  # fmt: skip
        self._wrote = clock()
        self.failed: Fault | None = None

    def use(self, actions: Mapping[str, Actions]) -> None:
        """Set what each filter (`ns/name`) wants done; a filter that is not named is recorded."""
        self._actions = dict(actions)
        for _, comments in self._comments.values():
            comments.use(self._rates())

    def learn(self, actions: Mapping[str, Action]) -> None:
        """Take what a batch says of its filters: what was in force when its packets were taken."""
        fresh = {name: Actions(*each) for name, each in actions.items()}
        if any(self._actions.get(name) != each for name, each in fresh.items()):
            self.use({**self._actions, **fresh})

    def _rates(self) -> dict[str, float]:
        return {name: each.rate for name, each in self._actions.items() if each.rate < 1}

    def note_drops(self, drops: InterfaceDrops, *, sensor: str, index: int) -> None:
        """Set the cumulative counts of an interface, for the statistics in recordings."""
        self._drops[sensor, index] = drops

    def severities(self, names: Iterable[str]) -> dict[str, str]:
        """The filters among `names` that alert, and how severely."""
        found = ((name, self._actions.get(name, _DEFAULT).alert) for name in names)
        return {name: severity for name, severity in found if severity}

    def write(self, batch: Batch, notes: FlowNotes) -> Iterator[Fate]:
        """Record the packets of filters that record, into the main stream and into files per call; the rest is
        processed only. Says what became of all; `failed` tells of any that could not be written."""
        if not len(batch):
            return
        options = self._options(batch, notes)
        record = [number for number, names in batch.fsets.items() if self._any(names, "record")]
        if len(record) == len(batch.fsets):
            rows = np.arange(len(batch), dtype=np.int64)
            chosen = options
        else:
            mask = np.isin(batch.fset, np.array(record, np.uint32))
            rows = np.flatnonzero(mask)
            chosen = [options[at] for at in rows.tolist()]
            yield Fate(wanted(batch, ~mask), "processed_only")
        kept = self._main.write(batch, chosen, rows=rows)
        self._wrote = self._clock()
        yield Fate(wanted(batch, rows[kept]), "recorded")
        if not kept.all():
            self.failed = self._main.fault or Fault("io_error", "short write", str(self._root))
            yield Fate(wanted(batch, rows[~kept]), "lost", self.failed.cause)
        per_call = frozenset(number for number, names in batch.fsets.items() if self._any(names, "per_call"))
        if not self.calls.write(batch, options, per_call):
            self.failed = self.calls.fault or self.failed

    def _options(self, batch: Batch, notes: FlowNotes) -> list[bytes]:
        """Comments of the packets."""
        key = batch.shard, batch.sensor, batch.epoch
        known, comments = self._comments.get(key, (None, None))
        if comments is None or known is not notes:
            comments = Comments(notes.community, rates=self._rates(), ends=self._ends_of(notes))
            self._comments[key] = notes, comments
        return comments.options(batch)

    def _ends_of(self, notes: FlowNotes) -> Ends | None:
        """Pods of the ends of flows, once any are known."""
        pods = self._pods
        if pods is None or not pods.known:
            return None

        def ends(serial: int, now: int) -> tuple[str, str]:
            known = notes.of(serial).ends
            return (pods.of(known[0].address, now), pods.of(known[1].address, now)) if len(known) == 2 else ("", "")

        return ends

    def renamed(self) -> None:
        """Pods came or went: comments are made anew."""
        self._comments.clear()

    def _any(self, names: Iterable[str], action: str) -> bool:
        return any(getattr(self._actions.get(name, _DEFAULT), action) for name in names)

    def unpublished(self) -> Iterator[tuple[str, Fate]]:
        """Packets of a file that could not be made durable: by sensor, from recorded to lost."""
        gone, self._main.unpublished = self._main.unpublished, Counter()
        cause = self._main.fault.cause if self._main.fault else "io_error"
        for (sensor, names), count in gone.items():
            yield sensor, Fate({names: -count}, "recorded")
            yield sensor, Fate({names: count}, "lost", cause)

    def quiet(self, now: int) -> None:
        """Close the main file when its packets stopped coming too long ago, or in an hour that is over."""
        last = self._main.last
        silent = max(0, now - self._wrote)
        if last and (silent >= self._limits.age or layout.hour_of(last + silent) > layout.hour_of(last)):
            self._main.close()

    def close(self) -> None:
        """Close every file."""
        self._main.close()
        self.calls.close()

    def forget(self, shard: int) -> None:
        """Drop what is known of a shard that is another's now."""
        self._comments = {key: each for key, each in self._comments.items() if key[0] != shard}

    def undone(self) -> None:
        """What was written since the last group was taken back, and all shards are taken up anew."""
        self._comments.clear()
        self.failed = None

    def faults(self) -> list[Fault]:
        """What is wrong with writing now."""
        return [each for each in (self._main.fault, self.calls.fault) if each]

    @property
    def published(self) -> list[Path]:
        """Files that were published at once when closed, the main stream's first."""
        return [*self._main.published, *self.calls.published]


def wanted(batch: Batch, rows: Any) -> dict[tuple[str, ...], int]:
    """How many of `rows` (indexes, mask or slice) are wanted by which filters."""
    numbers, counts = np.unique(batch.fset[rows], return_counts=True)
    found: Counter[tuple[str, ...]] = Counter()
    for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
        found[batch.fsets[number]] += count
    return dict(found)
