"""Turns what is in the cluster into what every fleet's sensors are told, and what they say into statuses.

Promise: level-based: all state is rebuilt from lists, the broker and what sensors say; killed at any point, the next
run converges. Nothing is told to sensors before the first lists are complete, lest half a list take filters away.
Changes that come together are dealt with together (50 ms). One asyncio loop; kopf's thread hands events over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from packhound.api.huntfleet import HuntFleet
from packhound.fleet.streams import Limits
from packhound.kit import logs
from packhound.kit.bus import BusSettings
from packhound.kit.errors import Stop
from packhound.kit.tasks import happened
from packhound.kit.traces import OFF, Traces
from packhound.operator import kinds
from packhound.operator.cluster import Cluster
from packhound.operator.courier import Courier
from packhound.operator.departure import Departure
from packhound.operator.desired import Site
from packhound.operator.inventory import FINALIZER, Fleet, Inventory
from packhound.operator.kinds import Kind
from packhound.operator.membership import members
from packhound.operator.push import FleetLink
from packhound.operator.scribe import Desk, Scribe
from packhound.operator.targeting import Changes
from packhound.operator.works import Works

DEBOUNCE = 0.05
EVERY = 5.0
SECOND = 1_000_000_000
log = logs.logger("director")


@dataclass(frozen=True, slots=True)
class Ways:
    """How the director does its work: settings and doors, injected."""

    site: Site
    broker: Callable[[str, str | None], BusSettings]
    clock: Callable[[], int]
    name: str
    shards: int = 16
    replicas: int = 1
    limits: Limits = field(default_factory=Limits)
    repair: float = 300.0
    workloads: bool = True
    pod_labels: tuple[str, ...] = ()
    traces: Traces = field(default=OFF)


class Director:
    """Feed it with `see`; `run` it. `synced` is set by whoever knows that the first lists are complete."""

    def __init__(self, cluster: Cluster, ways: Ways) -> None:
        self.inventory = Inventory()
        self.desks: dict[str, Desk] = {}
        self.synced = False
        self.seen: dict[Kind, set[str]] = {kind: set() for kind in kinds.WATCHED}
        self._cluster, self._ways = cluster, ways
        self._wake = asyncio.Event()
        self._since = 0
        self._scribe = Scribe(cluster, self.inventory, self.desks, clock=ways.clock)
        self._departures: dict[str, Departure] = {}
        self._failed: BaseException | None = None

    # events ----------------------------------------------------------------------------------------------------------

    def see(self, kind: Kind, change: str | None, raw: Mapping[str, Any]) -> None:
        """An object came, changed (or is listed), or went (DELETED)."""
        metadata = raw["metadata"]
        now = self._ways.clock()
        self.seen[kind].add(metadata["uid"])
        if change == "DELETED":
            name = f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else metadata["name"]
            self.inventory.gone(kind, name, metadata["uid"], now=now)
        else:
            self.inventory.see(kind, raw, now=now)
        if kind in (kinds.HUNT_FILTER, kinds.CLUSTER_HUNT_FILTER):
            self._since = self._since or now
        self._wake.set()

    def listed(self, kind: Kind, uids: set[str], before: Mapping[str, str]) -> None:
        """A later list had only these `uids`: what we had `before` it and is not in it went without a word."""
        for name, uid in before.items():
            if uid not in uids:
                self.inventory.gone(kind, name, uid, now=self._ways.clock())
        self._wake.set()

    def sync(self) -> None:
        """The first lists are complete."""
        if not self.synced:
            self.synced = True
            self.inventory.moved = True
            self._wake.set()

    def _heard(self, fleet: str, node: str) -> None:
        """A link has news: of its broker, or of a node."""
        desk = self.desks.get(fleet)
        if desk is None:
            return
        if node:
            self._listen(desk, node)
        else:
            desk.turned = True
            self._wake.set()

    # the loop --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Direct until cancelled. What fails in a task of a fleet is raised here: a new process converges."""
        scribe = asyncio.create_task(self._scribe.run(), name="scribe")
        now = asyncio.get_running_loop().time
        due = now() + EVERY
        try:
            while not scribe.done():
                if await happened(self._wake, within=max(0.01, due - now())):
                    await asyncio.sleep(DEBOUNCE)
                self._wake.clear()
                if self._failed is not None:
                    raise self._failed
                if now() >= due:
                    due = now() + EVERY
                    self._age()
                if self.synced:
                    await self._turn()
            await scribe
        finally:
            scribe.cancel()
            for desk in list(self.desks.values()):
                await self._leave(desk)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failed := task.exception()) is not None:
            log.error("a task of the operator failed", task=task.get_name(), exc_info=failed)
            self._failed = failed
            self._wake.set()

    def _age(self) -> None:
        self.inventory.tables |= self.inventory.board.age(self._ways.clock())
        if any(each.model is not None and name not in self.desks for name, each in self.inventory.fleets.items()):
            self.inventory.moved = True  # its broker could not be used: a file may be there now
            self._wake.set()
        self._scribe.look_at_all()

    async def _turn(self) -> None:
        inventory = self.inventory
        if inventory.moved:
            inventory.moved = False
            await self._fleets()
        for desk in self.desks.values():
            if desk.turned:
                self._turned(desk)
        changes = inventory.targets.settle()
        tables, inventory.tables = inventory.tables, set()
        for name in inventory.removed:
            for desk in self.desks.values():
                desk.link.hearing.forget_filter(name)
        inventory.removed.clear()
        trace = self._traced(changes)
        for desk in self.desks.values():
            desk.courier.trace = trace or desk.courier.trace
            nodes = desk.courier.members if changes.everywhere else changes.nodes
            desk.courier.mark(plans=nodes, tables=tables)
        news, inventory.news = inventory.news, set()
        self._scribe.look_at(news | changes.filters)

    def _traced(self, changes: Changes) -> str:
        """The span of what people changed, under which it travels to the sensors."""
        since, self._since = self._since, 0
        if not since or not changes.filters:
            return ""
        span = self._ways.traces.begin("filters.change", start=since, packhound__filters=len(changes.filters))
        span.end()
        return span.traceparent

    def _turned(self, desk: Desk) -> None:
        """The broker of a fleet came or went."""
        desk.turned = False
        if desk.link.ready:
            now = self._ways.clock()
            kept = ((name, each.object, each.created, each.generation) for name, each in desk.link.kept.items())
            self.inventory.recall(kept, now=now)
            for table in desk.link.recall():
                self.inventory.board.recall(table, now=now)
            desk.courier.connected()
        self._scribe.look_at_all()

    def _listen(self, desk: Desk, node: str) -> None:
        """A sensor spoke: whose filters have news?"""
        carried = desk.link.carried.get(node)
        if carried is None:
            return
        if desk.link.hearing.revision(node) > carried.revision:
            desk.courier.mark(plans={node})
        self._scribe.look_at(self._scribe.acked(desk, node, carried))
        self._scribe.look_at_fleet(desk.name)

    # fleets ----------------------------------------------------------------------------------------------------------

    async def _fleets(self) -> None:
        found = self.inventory.fleets
        for name in [name for name in self.desks if name not in found]:
            await self._leave(self.desks.pop(name))
        for fleet in found.values():
            if fleet.leaving:
                await self._part(fleet)
            elif fleet.model is not None:
                await self._staff(fleet)
            self._scribe.look_at_fleet(fleet.name)
        self._scribe.look_at_all()

    async def _staff(self, fleet: Fleet) -> None:
        """Give a fleet its desk, and tell it of its nodes."""
        assert fleet.model is not None
        url = _url(fleet.model)
        desk = self.desks.get(fleet.name)
        if desk is not None and desk.url != url:
            await self._leave(self.desks.pop(fleet.name))
            desk = None
        if desk is None:
            desk = await self._open(fleet, url)
            if desk is None:
                return
        desk.model = fleet.model
        desk.courier.join(members(fleet.model, self.inventory.nodes.values()))
        if self._ways.workloads:
            desk.works.want(fleet.model, fleet.ref.uid)

    async def _open(self, fleet: Fleet, url: str | None) -> Desk | None:
        ways = self._ways
        try:
            link = FleetLink(
                fleet.name, ways.broker(fleet.name, url), shards=ways.shards, replicas=ways.replicas, name=ways.name,
                clock=ways.clock, changed=self._heard, traces=ways.traces, limits=ways.limits,
            )  # fmt: skip
            link.floor = self._floor(fleet)
            await link.open()
        except Stop as stop:
            log.error("a fleet's broker cannot be used", fleet=fleet.name, reason=stop.reason)
            fleet.faults = (f"spec.transport: {stop.reason}",)
            return None
        shown = self._shown if ways.pod_labels else _any
        courier = Courier(
            self.inventory, link, clock=ways.clock, shown=shown, delivered=lambda: self._delivered(fleet.name)
        )
        works = Works(self._cluster, ways.site, repair=ways.repair, told=lambda: self._delivered(fleet.name))
        desk = Desk(fleet.name, url, link, courier, works)
        desk.tasks = [asyncio.create_task(each.run(), name=f"{type(each).__name__} of {fleet.name}")
                      for each in (courier, works)]  # fmt: skip
        for task in desk.tasks:
            task.add_done_callback(self._ended)
        self.desks[fleet.name] = desk
        return desk

    def _floor(self, fleet: Fleet) -> int:
        """The highest revision that any status speaks of: a broker that lost its data shall not go below it."""
        statuses = [fleet.status, *(each.status for each in self.inventory.filters.values())]
        return max((int(each.get("revision") or 0) for each in statuses), default=0)

    def _shown(self, key: str) -> bool:
        return any(fnmatchcase(key, pattern) for pattern in self._ways.pod_labels)

    def _delivered(self, fleet: str) -> None:
        self._scribe.look_at_fleet(fleet)
        self._scribe.look_at_open()

    async def _leave(self, desk: Desk) -> None:
        for task in desk.tasks:
            task.cancel()
        await asyncio.gather(*desk.tasks, return_exceptions=True)
        await desk.link.close()

    async def _part(self, fleet: Fleet) -> None:
        """A fleet is being deleted: see it off."""
        if FINALIZER not in fleet.finalizers or fleet.name in self._departures:
            return
        if fleet.model is not None and fleet.name not in self.desks:
            await self._open(fleet, _url(fleet.model))
        departure = Departure(self._cluster, self.inventory, fleet, self.desks.get(fleet.name))
        self._departures[fleet.name] = departure
        task = asyncio.create_task(departure.run(), name=f"departure of {fleet.name}")
        task.add_done_callback(lambda _: self._departures.pop(fleet.name, None))
        task.add_done_callback(self._ended)


def _url(model: HuntFleet) -> str | None:
    """The fleet's own broker; None: the default."""
    nats = model.spec.transport.nats
    return nats.url if nats is not None and "url" in nats.model_fields_set else None


def _any(_: str) -> bool:
    return True

