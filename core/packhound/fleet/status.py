"""The one key in which a node says how it is: its last heartbeat and its last answer to a plan.

Promise: one writer for both, so that neither overwrites the other; only the newest state is written, one write at a
time, again on every new connection. One asyncio loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from packhound.kit.bus import Bucket, Bus, BusError
from packhound.wire.beats import Heartbeat, NodeStatus
from packhound.wire.checked import BadMessage
from packhound.wire.plans import PlanAck
from packhound.wire.subjects import Subjects, untoken


class StatusBoard:
    """Writes the status of `node`; set what is new with `beat` and `ack`, `run` writes it."""

    def __init__(self, bus: Bus, names: Subjects, node: str) -> None:
        self._bus = bus
        self._bucket = Bucket(bus, names.status_bucket)
        self._key = names.status_key(node)
        self._status = NodeStatus()
        self._new = asyncio.Event()
        self.written = self.missed = 0

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
        try:
            await self._bucket.put(self._key, self._status.encode())
        except BusError:  # the next heartbeat writes it, or the next connection
            self.missed += 1
        else:
            self.written += 1


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
