"""All that a processor knows of one shard, and as key-value pairs for the one that takes it over.

Promise: pure; bounded. `changes` and `restore` are inverse: whoever restores what was saved goes on as this one would
have. What is saved but cannot be read costs only itself, counted in `unread`.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from packhound.processor.intake.ledger import Ledger
from packhound.processor.track.calls import CAPACITY as CALLS
from packhound.processor.track.calls import CallTracker
from packhound.processor.track.dialog import Call
from packhound.processor.track.flows import CAPACITY as FLOWS
from packhound.processor.track.flows import FlowNotes

Sensor = tuple[str, int]
"""Name and epoch."""

MAX_ALERTED = 65_536
MAX_PARTS = 1024
MAX_SENSORS = 4096
_CALL, _HEARD, _NOTE, _STREAM, _ALERT, _PARTS = b"c|", b"h|", b"n|", b"s|", b"a|", b"p|"


class Limits(NamedTuple):
    """Bounds of one shard: calls, flows of one sensor epoch (of all, when a new one comes), alerts remembered, calls
    with recordings."""

    calls: int = CALLS
    flows: int = FLOWS
    alerts: int = MAX_ALERTED
    recorded: int = CALLS


class ShardTrack:
    """State of `shard`: `calls`, `ledger`, notes by sensor, files per call, which alerts were raised, what time it is
    for each sensor."""

    def __init__(self, shard: int, limits: Limits | None = None) -> None:
        self.shard = shard
        self._limits = limits or Limits()
        self.calls = CallTracker(capacity=self._limits.calls)
        self.ledger = Ledger()
        self._times: dict[str, tuple[int, int]] = {}
        self.unread = 0
        self._notes: OrderedDict[Sensor, FlowNotes] = OrderedDict()
        self._cleared: dict[Sensor, FlowNotes] = {}
        self._alerted: OrderedDict[bytes, None] = OrderedDict()
        self._parts: OrderedDict[str, list[str]] = OrderedDict()
        self._alerts_changed: set[bytes] = set()
        self._parts_changed: set[str] = set()

    def notes_of(self, sensor: str, epoch: int) -> FlowNotes:
        """The notes of a sensor epoch; the one longest silent is forgotten when there are too many."""
        key = sensor, epoch
        notes = self._notes.get(key)
        if notes is None:
            notes = self._notes[key] = FlowNotes(capacity=self._limits.flows)
            self._bound_notes()
        self._notes.move_to_end(key)
        return notes

    def _bound_notes(self) -> None:
        total = sum(map(len, self._notes.values()))
        for oldest in list(self._notes)[:-1]:
            if len(self._notes) <= MAX_SENSORS and total <= self._limits.flows:
                break
            total -= len(self._notes[oldest])
            self._cleared[oldest] = self._notes.pop(oldest)
            self._cleared[oldest].clear()

    def hear(self, sensor: str, now: int, wall: int = 0) -> None:
        """Learn at `wall` of our own clock that for `sensor` it is `now` at least."""
        known = self._times.get(sensor)
        self._times[sensor] = (max(known[0], now) if known else now), wall

    def times(self, wall: int | None = None) -> dict[str, int]:
        """What time it is for each sensor: that of its newest packet, and where `wall` is given what passed since."""
        return {
            sensor: now + (max(0, wall - heard) if wall is not None else 0)
            for sensor, (now, heard) in self._times.items()
        }

    def finished(self, wall: int | None = None) -> list[Call]:
        """Hand out the calls that are over, each by the time of who saw it last."""
        return self.calls.finished(0, self.times(wall))

    def alert_once(self, *what: str) -> bool:
        """Tell whether `what` is alerted of for the first time."""
        key = "\0".join(what).encode("utf-8", "surrogatepass")
        if key in self._alerted:
            return False
        self._alerted[key] = None
        self._alerts_changed.add(key)
        while len(self._alerted) > self._limits.alerts:
            gone, _ = self._alerted.popitem(last=False)
            self._alerts_changed.add(gone)
        return True

    # recordings of calls -------------------------------------------------------------------------------------------

    def parts(self, call_id: str) -> tuple[str, ...]:
        """The files of a call's own recording so far, in order, whoever wrote them."""
        return tuple(self._parts.get(call_id, ()))

    def add_part(self, call_id: str, path: str) -> str:
        """Note one more file of a call; return the one before, empty for none."""
        found = self._parts.setdefault(call_id, [])
        self._parts.move_to_end(call_id)
        if found and found[-1] == path:  # asked again: its header could not be written at first
            return found[-2] if len(found) > 1 else ""
        before = found[-1] if found else ""
        if len(found) < MAX_PARTS:
            found.append(path)
        self._parts_changed.add(call_id)
        while len(self._parts) > self._limits.recorded:
            gone, _ = self._parts.popitem(last=False)
            self._parts_changed.add(gone)
        return before

    def end_parts(self, call_id: str) -> None:
        """Forget the files of a call that is over."""
        if self._parts.pop(call_id, None) is not None:
            self._parts_changed.add(call_id)

    # for another processor -----------------------------------------------------------------------------------------

    def changes(self) -> tuple[dict[bytes, bytes], frozenset[bytes]]:
        """What changed since the last time asked: pairs to save and keys to drop."""
        found: dict[bytes, bytes | None] = {}
        known, heard = self.calls.changed()
        for call_id, saved in known.items():
            found[_CALL + _text(call_id)] = saved
            found[_HEARD + _text(call_id)] = None
        for call_id, when in heard.items():
            found[_HEARD + _text(call_id)] = when
        for (sensor, epoch), notes in (*self._cleared.items(), *self._notes.items()):
            for serial, note in notes.changed().items():
                found[b"%s%x|%d|%s" % (_NOTE, epoch, serial, _text(sensor))] = note
        for (epoch, _), stream in self.ledger.changed().items():
            found[b"%s%x" % (_STREAM, epoch)] = stream
        for key in self._alerts_changed:
            found[_ALERT + key] = b"" if key in self._alerted else None
        for call_id in self._parts_changed:
            files = self._parts.get(call_id)
            found[_PARTS + _text(call_id)] = json.dumps(files).encode() if files else None
        self.unchanged()
        put = {key: value for key, value in found.items() if value is not None}
        return put, frozenset(found.keys() - put.keys())

    def unchanged(self) -> None:
        """Forget what is to be saved: for who saves nothing."""
        self.calls.unchanged()
        self.ledger.unchanged()
        for notes in self._notes.values():
            notes.unchanged()
        self._cleared.clear()
        self._alerts_changed.clear()
        self._parts_changed.clear()

    def restore(self, saved: Mapping[bytes, bytes], wall: int = 0) -> None:
        """Take up what was saved of the shard, at `wall` of our own clock."""
        heard: dict[str, bytes] = {}
        known: list[bytes] = []
        for key, value in saved.items():
            kind, rest = key[:2], key[2:]
            if kind == _CALL:
                known.append(value)
            elif kind == _HEARD:
                heard[_untext(rest)] = value
            elif kind == _ALERT:
                self._alerted[rest] = None
            elif not self._restore_one(kind, rest, value):
                self.unread += 1
        self.unread += self.calls.restore(known, heard)
        for call in self.calls.calls():
            self.hear(call.source, call.heard, wall)
        self.unchanged()

    def _restore_one(self, kind: bytes, rest: bytes, value: bytes) -> bool:
        try:
            if kind == _NOTE:
                epoch, serial, sensor = rest.split(b"|", 2)
                return self.notes_of(_untext(sensor), int(epoch, 16)).restore(int(serial), value)
            if kind == _STREAM:
                return self.ledger.restore((int(rest, 16), self.shard), value)
            if kind == _PARTS:
                self._parts[_untext(rest)] = [str(each) for each in json.loads(value)]
                return True
        except (ValueError, TypeError):
            pass
        return False


def _text(value: str) -> bytes:
    return value.encode("utf-8", "surrogatepass")


def _untext(value: bytes) -> str:
    return value.decode("utf-8", "surrogatepass")
