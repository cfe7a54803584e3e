"""Sensors without a packet: they follow plans, acknowledge, beat, over a real bus, in a thread of their own.

What they say can be set: a reason to reject, packets matched and lost by filter, silence. `python -m
tests.support.simulated URL FLEET NODE...` runs some until it is ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

from packhound.fleet.heartbeats import Heart
from packhound.fleet.plans import PlanFollower, Verdict
from packhound.fleet.status import StatusBoard
from packhound.kit.bus import Bus, BusSettings
from packhound.wire.beats import Heartbeat
from packhound.wire.books import Books
from packhound.wire.plans import PlanMessage
from packhound.wire.subjects import Subjects

SHARE = 20  # sensors on one connection


@dataclass
class Sensor:
    """One node's sensor; what it says may be changed at any time."""

    node: str
    epoch: int
    rejects: Callable[[PlanMessage], str] = lambda plan: ""
    books: Books = field(default_factory=Books)
    pods: dict[str, dict[str, int]] = field(default_factory=dict)
    plan: PlanMessage | None = None
    at: float = 0.0
    seen: list[int] = field(default_factory=list)
    beats: int = 0

    @property
    def filters(self) -> dict[str, int]:
        """Filters of the plan in force, with their generations."""
        rows = self.plan.filters if self.plan else ()
        return {_name(row["object"]): row["object"]["metadata"].get("generation", 0) for row in rows}

    def guard(self, name: str) -> list[str] | None:
        rows = self.plan.filters if self.plan else ()
        return next(row["guard"] for row in rows if _name(row["object"]) == name)

    def apply(self, plan: PlanMessage) -> Verdict:
        self.seen.append(plan.revision)
        why = self.rejects(plan)
        if not why:
            self.plan, self.at = plan, time.time()
        return Verdict(rejected=why)

    def beat(self) -> Heartbeat:
        now = time.time_ns()
        self.beats += 1
        return Heartbeat(self.node, self.epoch, now, started_ns=self.epoch, books=self.books.as_dict(), pods=self.pods,
                         revision=self.plan.revision if self.plan else 0)  # fmt: skip


def _name(raw: dict[str, Any]) -> str:
    meta = raw["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else meta["name"]


class Sensors:
    """The sensors of a fleet; add and end them by node."""

    def __init__(self, url: str, fleet: str, *, beat: float = 1.0, share: int = SHARE, **login: str) -> None:
        self._url, self._names, self._beat, self._share, self._login = url, Subjects(fleet), beat, share, login
        self._by_node: dict[str, Sensor] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._buses: list[Bus] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name=f"sensors of {fleet}")
        self._thread.start()

    def __getitem__(self, node: str) -> Sensor:
        return self._by_node[node]

    def __iter__(self) -> Iterator[Sensor]:
        return iter(list(self._by_node.values()))

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def add(self, *nodes: str) -> Sensors:
        self._do(self._add(nodes))
        return self

    async def _add(self, nodes: tuple[str, ...]) -> None:
        for node in nodes:
            if len(self._tasks) >= len(self._buses) * self._share:
                settings = BusSettings(urls=(self._url,), name=f"sensors {len(self._buses)}", **self._login)
                self._buses.append(await Bus.connect(settings))
            sensor = self._by_node.setdefault(node, Sensor(node, time.time_ns()))
            self._tasks[node] = asyncio.create_task(self._live(sensor, self._buses[len(self._tasks) // self._share]))

    async def _live(self, sensor: Sensor, bus: Bus) -> None:
        board = StatusBoard(bus, self._names, sensor.node)
        follower = PlanFollower(bus, self._names, node=sensor.node, epoch=sensor.epoch, apply=sensor.apply,
                                clock=time.time_ns, told=board.ack)  # fmt: skip
        heart = Heart(bus, self._names, make=sensor.beat, clock=time.time_ns, board=board, every=self._beat)
        async with asyncio.TaskGroup() as group:
            for each in (follower, board, heart):
                group.create_task(each.run())

    def end(self, *nodes: str) -> None:
        """Let sensors fall silent; a later `add` goes on with the same one."""
        self._do(self._end(nodes))

    async def _end(self, nodes: tuple[str, ...]) -> None:
        tasks = [self._tasks.pop(node) for node in nodes if node in self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def restart(self, node: str) -> None:
        """As a new process: another epoch, empty books."""
        self.end(node)
        self._by_node[node] = Sensor(node, time.time_ns())
        self.add(node)

    def close(self) -> None:
        if self._loop.is_closed():
            return
        with contextlib.suppress(Exception):
            self._do(self._end(tuple(self._tasks)))
            self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _close(self) -> None:
        for bus in self._buses:
            await bus.close()


if __name__ == "__main__":
    sensors = Sensors(sys.argv[1], sys.argv[2], beat=5.0).add(*sys.argv[3:])
    print("ready", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
