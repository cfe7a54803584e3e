"""The one key in which a node says how it is: its last heartbeat and its last answer to a plan.

Promise: one writer for both, so that neither overwrites the other; only the newest state is written, one write at a
time, again on every new connection. A key that somebody else writes too betrays another process of the same name; of
two the one that started later is to give way, in its first minute: one that has been at work is never stopped by what
is written there. One asyncio loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from packhound.kit.bus import Bucket, Bus, BusError, Conflict
from packhound.wire.beats import Heartbeat, NodeStatus
from packhound.wire.checked import BadMessage
from packhound.wire.plans import PlanAck
from packhound.wire.subjects import Subjects, untoken

TWIN_SECONDS = 30.0
ENDING = ("draining", "stopped")
NEW_SECONDS = 60.0  #: for so long after its first words a process gives way to an elder one


class StatusBoard:
    """Writes the status of `node`; set what is new with `beat` and `ack`, `run` writes it."""

    def __init__(self, bus: Bus, names: Subjects, node: str) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, names.status_bucket)
        self._key = names.status_key(node)
        self._status = NodeStatus()
        self._new = asyncio.Event()
        self._last: int | None = None
        self._others: list[float] = []
        self._other: Heartbeat | None = None
        self._began: float | None = None
        self.written = self.missed = 0

    @property
    def twin(self) -> bool:
        """Somebody else writes the same key: twice lately, for once is a broker that lost the bucket."""
        since = asyncio.get_running_loop().time() - TWIN_SECONDS
        self._others = [each for each in self._others if each > since]
        return len(self._others) > 1

    @property
    def elder(self) -> Heartbeat | None:
        """Who had our name before us, while we are new; None when nobody did."""
        ours, other = self._status.heartbeat, self._other
        if ours is None or other is None or self._began is None or not self.twin:
            return None
        if asyncio.get_running_loop().time() - self._began > NEW_SECONDS:
            return None
        return other if _since(other) < _since(ours) else None

    def beat(self, heartbeat: Heartbeat) -> None:
        """There is a newer heartbeat."""
        self._status = replace(self._status, heartbeat=heartbeat)
        self._new.set()

    def ack(self, ack: PlanAck) -> None:
        """There is a newer answer to a plan."""
        self._status = replace(self._status, ack=ack)
        self._new.set()

    async def run(self) -> None:
        """Write what is new, until cancelled."""
        unwatch = self._bus.watch(lambda happening: self._new.set() if self._status != NodeStatus() else None)
        try:
            while True:
                await self._new.wait()
                await self._bus.ready()
                self._new.clear()
                await self._write()
        finally:
            unwatch()

    async def _write(self) -> None:
        data = self._status.encode()
        try:
            if self._last is None:
                self._last = await self._bucket.put(self._key, data)
            else:
                self._last = await self._bucket.update(self._key, data, last=self._last)
        except Conflict:  # it is ours all the same
            self._others.append(asyncio.get_running_loop().time())
            self._last = None
            self._new.set()
            await self._who()
        except BusError:  # the next heartbeat writes it, or the next connection
            self._last = None
            self.missed += 1
        else:
            self.written += 1
            if self._began is None:
                self._began = asyncio.get_running_loop().time()

    async def _who(self) -> None:
        """Read what the other one says of itself."""
        try:
            entry = await self._bucket.get(self._key)
            other = NodeStatus.decode(entry.value).heartbeat if entry is not None else None
        except (BusError, BadMessage):  # not there, or not ours to read: then it is told, and nobody gives way
            return
        ours = self._status.heartbeat
        if other is None or ours is None or other.node != ours.node:
            return
        if other.epoch != ours.epoch and other.state not in ENDING:
            self._other = other


def _since(beat: Heartbeat) -> tuple[int, int]:
    """What both of two compare alike: when it started, on the processors' clock."""
    return beat.started_ns + beat.clock_offset_ns, beat.epoch


async def read_status(bus: Bus, names: Subjects) -> Mapping[str, NodeStatus]:
    """The status of every node that ever wrote one, by name; what cannot be read or names another node is left out.
    Raises BusError."""
    found: dict[str, NodeStatus] = {}
    for entry in await Bucket(bus, names.status_bucket).entries():
        node = untoken(entry.key)
        try:
            status = NodeStatus.decode(entry.value)
        except BadMessage:
            continue
        said = {each.node for each in (status.heartbeat, status.ack) if each is not None}
        if node and said <= {node}:
            found[node] = status
    return found
