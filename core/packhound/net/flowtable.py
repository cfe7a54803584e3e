"""The flow table in plain Python: the specification of kernel/_flows.pxi.

Promise: what it says depends on the packets and their times alone. Time is a clock that never runs backwards: the
largest stamp seen. Bounded: at `capacity` the flow worth least goes: finished before idle before live before media
of live calls, the least recently used first.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from packhound.net import tcp
from packhound.net.community import is_one_way
from packhound.net.flow import DRAINING, FLOW_DTYPE, MEDIA, PAIRS, End, State
from packhound.net.frame import Frame
from packhound.net.tcp import Tracking
from packhound.net.timeouts import (
    BY_STATE,
    DEFAULT,
    IDLE_AFTER,
    SECOND,
    TCP,
    UDP,
    Class,
    Timeouts,
    as_array,
    by_app,
)

Key = tuple[int, int, int, bytes, int, bytes, int]
LATEST = (1 << 63) - 1
COUNTERS = (
    "active", "created", "ended_idle", "ended_fin", "ended_rst", "ended_port_reuse", "evicted", "ended_shutdown",
    "evicted_finished", "evicted_idle", "evicted_live", "evicted_media", "records_lost",
)  # fmt: skip
_END_COUNTER = {
    End.IDLE: "ended_idle", End.FIN: "ended_fin", End.RST: "ended_rst", End.PORT_REUSE: "ended_port_reuse",
    End.EVICTED: "evicted", End.SHUTDOWN: "ended_shutdown",
}  # fmt: skip
_TCP_APP, _UDP_APP = by_app(TCP), by_app(UDP)
_STATE = [BY_STATE.get(state) for state in State]
_FINISHED = range(Class.CLOSED, Class.OPENING)
_LIVE = range(Class.OPENING, Class.MEDIA)
_EMPTY = np.zeros((), FLOW_DTYPE)


def class_of(row: Any) -> Class:
    """Timeout class of a flow now."""
    flags = int(row["flags"])
    if flags & MEDIA:
        return Class.MEDIA
    if row["proto"] == TCP:
        by_state = _STATE[int(row["state"])]
        return _TCP_APP[int(row["app"])] if by_state is None else by_state
    if row["proto"] != UDP:
        return Class.OTHER
    if flags & DRAINING:
        return Class.DRAINING
    found = _UDP_APP[int(row["app"])]
    if found == Class.QUIC and row["payload_packets"].min() < 2:
        return Class.QUIC_OPENING
    return found


def _key(f: Frame) -> Key:
    src, dst = bytes(f.src), bytes(f.dst)
    if (src, f.sport) > (dst, f.dport) and not is_one_way(f.proto, f.sport):
        return f.ip_version, f.proto, f.tenant, dst, f.dport, src, f.sport
    return f.ip_version, f.proto, f.tenant, src, f.sport, dst, f.dport


class FlowTable:
    """Flows of one worker, by slot."""

    def __init__(self, *, capacity: int = 65536, timeouts: Timeouts = DEFAULT) -> None:
        if not 0 < capacity <= 1 << 28:
            raise ValueError("a flow table holds between 1 and 2^28 flows")
        self._rows = np.zeros(capacity, FLOW_DTYPE)
        self._timeouts = as_array(timeouts)
        self._slots: dict[Key, int] = {}
        self._keys: dict[int, Key] = {}
        self._tracking: dict[int, Tracking] = {}
        self._touched: dict[int, int] = {}
        self._class: dict[int, Class] = {}
        self._queues: list[OrderedDict[int, None]] = [OrderedDict() for _ in Class]
        self._free: list[int] = []
        self._unused = 0
        self._newest = -1
        self._ended: list[npt.NDArray[Any]] = []
        self._clock = 0
        self._next_tick = 0
        self.counters = dict.fromkeys(COUNTERS, 0)

    def row(self, slot: int) -> Any:
        """The record in `slot`, to read and write; after writing `app` or `flags` of another flow than that of the
        newest packet, call `changed`."""
        return self._rows[slot]

    def changed(self, slot: int) -> None:
        """Put a flow whose `app` or `flags` were written under its new timeout; a new timeout begins now."""
        if self._rows[slot]["serial"] and self._class[slot] != class_of(self._rows[slot]):
            self._touched[slot] = self._clock
            self._queue(slot)

    def reset_fsets(self, fset: int) -> None:
        """Write `fset` into every flow, both directions (a plan swap: old set numbers mean nothing any more)."""
        self._rows["fset"] = fset

    def update(self, f: Frame, *, wirelen: int, ts: int, iface: int) -> tuple[int, int, bool]:
        """Account for one packet; return its flow's slot, its direction (0, 1) and whether the flow is new."""
        self._settle()
        self._clock = max(self._clock, ts)
        if self._clock >= self._next_tick:
            self.expire(self._clock)
            self._next_tick = min((self._clock // SECOND + 1) * SECOND, LATEST)
        key = _key(f)
        slot = self._slots.get(key, -1)
        if slot >= 0 and self._clock - self._touched[slot] >= self._timeouts[self._class[slot]]:
            self._finish(slot, End.IDLE)
            slot = -1
        direction = self._direction(slot, f) if slot >= 0 else 0
        if slot >= 0 and f.proto == TCP:
            if tcp.is_reuse(self._rows[slot], self._tracking[slot], f, direction):
                self._finish(slot, End.PORT_REUSE)
                slot = -1
            elif tcp.is_turned(self._rows[slot], f, direction):
                self._turn(slot)
                direction = 1 - direction
        is_new = slot < 0
        if is_new:
            slot = self._create(key, f, ts, iface)
            direction = self._direction(slot, f)
        self._count(slot, f, direction, wirelen, ts)
        self._touched[slot] = self._clock
        self._queue(slot)
        self._newest = slot
        return slot, direction, is_new

    def _settle(self) -> None:
        """Apply what was written into the flow of the newest packet since: its class may be another."""
        slot, self._newest = self._newest, -1
        if slot >= 0 and self._class[slot] != class_of(self._rows[slot]):
            self._queue(slot)

    def _direction(self, slot: int, f: Frame) -> int:
        row = self._rows[slot]
        return 0 if row["sport"] == f.sport and row["src"].tobytes() == bytes(f.src) else 1

    def _create(self, key: Key, f: Frame, ts: int, iface: int) -> int:
        if not self._free and self._unused == len(self._rows):
            self._evict()
        if self._free:
            slot = self._free.pop()
        else:
            slot = self._unused
            self._unused += 1
        self.counters["created"] += 1
        self.counters["active"] += 1
        row = self._rows[slot]
        self._rows[slot] = _EMPTY
        swapped = f.proto == TCP and f.tcp_flags & (tcp.SYN | tcp.ACK) == tcp.SYN | tcp.ACK
        src, dst = ((f.dst, f.dport), (f.src, f.sport)) if swapped else ((f.src, f.sport), (f.dst, f.dport))
        row["serial"], row["slot"], row["rtt"], row["first"], row["last"] = self.counters["created"], slot, -1, ts, ts
        row["tenant"], row["vlan"], row["iface"] = f.tenant, f.vlan, iface
        row["ip_version"], row["proto"] = f.ip_version, f.proto
        row["src"], row["sport"] = np.frombuffer(src[0], np.uint8), src[1]
        row["dst"], row["dport"] = np.frombuffer(dst[0], np.uint8), dst[1]
        self._slots[key], self._keys[slot], self._tracking[slot] = slot, key, Tracking()
        self._class[slot] = Class.OTHER
        self._queues[Class.OTHER][slot] = None
        return slot

    def _turn(self, slot: int) -> None:
        row = self._rows[slot]
        for name in PAIRS:
            row[name] = row[name][::-1].copy()
        src, sport = row["src"].copy(), int(row["sport"])
        row["src"], row["sport"] = row["dst"], row["dport"]
        row["dst"], row["dport"] = src, sport
        self._tracking[slot].turn()

    def _count(self, slot: int, f: Frame, direction: int, wirelen: int, ts: int) -> None:
        row = self._rows[slot]
        row["packets"][direction] += 1
        row["bytes"][direction] += wirelen
        if f.payload_wire:
            row["payload"][direction] += f.payload_wire
            row["payload_packets"][direction] += 1
        if ts > row["last"]:
            row["last"] = ts
        elif ts < row["first"]:
            row["first"] = ts
        if f.proto == TCP:
            tcp.follow(row, self._tracking[slot], f, direction, ts)

    def _queue(self, slot: int) -> None:
        self._queues[self._class[slot]].pop(slot)
        self._class[slot] = class_of(self._rows[slot])
        self._queues[self._class[slot]][slot] = None

    def _oldest(self, classes: Iterable[int]) -> int:
        """The least recently used flow of some classes (of equal ones that of the lowest class), -1: none."""
        heads = [next(iter(self._queues[number])) for number in classes if self._queues[number]]
        return min(heads, key=self._touched.__getitem__, default=-1)

    def _evict(self) -> None:
        slot, cause = self._oldest(_FINISHED), "evicted_finished"
        if slot < 0:
            slot = self._oldest(_LIVE)
            cause = "evicted_idle" if slot >= 0 and self._clock - self._touched[slot] >= IDLE_AFTER else "evicted_live"
        if slot < 0:
            slot, cause = self._oldest((Class.MEDIA,)), "evicted_media"
        self.counters[cause] += 1
        self._finish(slot, End.EVICTED)

    def _finish(self, slot: int, why: End) -> None:
        row = self._rows[slot]
        if why == End.IDLE:
            if self._tracking[slot].closed_by_fin():
                why = End.FIN
            elif row["state"] == State.CLOSED:
                why = End.RST
        row["end"] = why
        self._ended.append(row.copy())
        self.counters[_END_COUNTER[why]] += 1
        self.counters["active"] -= 1
        del self._slots[self._keys.pop(slot)], self._tracking[slot], self._touched[slot]
        self._queues[self._class.pop(slot)].pop(slot)
        row["serial"] = 0
        self._free.append(slot)

    def expire(self, now: int) -> None:
        """End every flow that has been silent for its timeout at packet time `now` (ns)."""
        self._settle()
        self._clock = max(self._clock, now)
        for number, queue in enumerate(self._queues):
            while queue:
                slot = next(iter(queue))
                if self._clock - self._touched[slot] < self._timeouts[number]:
                    break
                self._finish(slot, End.IDLE)

    def drain(self) -> npt.NDArray[Any]:
        """Flows ended since the last call (FLOW_DTYPE), in the order they ended."""
        ended, self._ended = self._ended, []
        return np.array(ended, FLOW_DTYPE) if ended else np.zeros(0, FLOW_DTYPE)

    def flush(self) -> None:
        """End every flow, in order of serial: shutdown."""
        self._newest = -1
        for slot in sorted(self._keys, key=lambda s: int(self._rows[s]["serial"])):
            self._finish(slot, End.SHUTDOWN)
