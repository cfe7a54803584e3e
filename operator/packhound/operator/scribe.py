"""Writes statuses and Events: what is to be looked at, when it may be written, what came of it.

Promise: a status is written at once when a condition changes, else every 10 s at most; a write that failed is made
again. Reads the inventory and what links heard, changes neither but for what it wrote. One task, a few calls at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from packhound.api.huntfleet import HuntFleet
from packhound.kit import logs
from packhound.operator.carried import Carried
from packhound.operator.cluster import Cluster
from packhound.operator.courier import Courier
from packhound.operator.errors import ClusterError, Conflict, Invalid, Missing
from packhound.operator.events import Sayings
from packhound.operator.fleetstatus import FleetState, fleet_status_of
from packhound.operator.hearing import Met
from packhound.operator.inventory import FINALIZER, Filter, Fleet, Inventory
from packhound.operator.kinds import Ref
from packhound.operator.push import FleetLink
from packhound.operator.rollout import PENDING, SHOWN, Ack, FilterState, Reports, must_write, status_of
from packhound.operator.works import Works

AT_ONCE = 8
GATHER = 0.03
RETRY = 1.0
MET_NOTHING = Met()
log = logs.logger("scribe")


@dataclass(slots=True)
class Desk:
    """Everything of one fleet at work; `url`: its own broker, None: the default."""

    name: str
    url: str | None
    link: FleetLink
    courier: Courier
    works: Works
    model: HuntFleet | None = None
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    turned: bool = True


class Scribe:
    """`look_at` says which filters may have another status."""

    def __init__(
        self, cluster: Cluster, inventory: Inventory, desks: Mapping[str, Desk], *, clock: Callable[[], int]
    ) -> None:
        self._cluster, self._inventory, self._desks, self._clock = cluster, inventory, desks, clock
        self._filters: set[str] = set()
        self._fleets: set[str] = set()
        self._all = False
        self._open: set[str] = set()  # filters whose status an answer of a sensor may change
        self._wake = asyncio.Event()
        self._sayings = Sayings()

    def look_at(self, names: Iterable[str]) -> None:
        """These filters may have another status."""
        self._filters.update(names)
        self._open |= self._filters
        if self._filters:
            self._wake.set()

    def look_at_all(self) -> None:
        """Any filter or fleet may have."""
        self._all = True
        self._fleets.update(self._inventory.fleets)
        self._wake.set()

    def look_at_open(self) -> None:
        """Something was delivered, or could not be."""
        self.look_at(self._open)

    def look_at_fleet(self, name: str) -> None:
        """One fleet may have another status."""
        self._fleets.add(name)
        self._wake.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER)
            if any(desk.link.young for desk in self._desks.values()):
                continue  # nothing is said of a broker before it had time to answer
            self._wake.clear()
            names = set(self._inventory.filters) if self._all else self._filters
            fleets = self._fleets
            self._filters, self._fleets, self._all = set(), set(), False
            failed = await self._round(names, fleets)
            if failed:
                await asyncio.sleep(RETRY)

    async def _round(self, names: set[str], fleets: set[str]) -> bool:
        gate = asyncio.Semaphore(AT_ONCE)
        failed = False

        async def write(work: Any) -> None:
            nonlocal failed
            async with gate:
                if not await work:
                    failed = True

        jobs: list[Any] = []
        reports = self._reports()
        for at, name in enumerate(sorted(names)):
            held = self._inventory.filters.get(name)
            if name in self._inventory.news:
                continue  # it was seen and not yet dealt with: the director says when
            if held is None:
                self._open.discard(name)
            elif (status := self._status(held, reports)) is not None:
                jobs.append(self._write_filter(held, status))
            if at % 32 == 31:
                await asyncio.sleep(0)
        for name in sorted(fleets):
            fleet = self._inventory.fleets.get(name)
            if fleet is not None and not fleet.leaving:
                jobs.append(self._write_fleet(fleet))
        await asyncio.gather(*map(write, jobs))
        return failed

    # filters ---------------------------------------------------------------------------------------------------------

    def _place(self, desk: Desk, node: str) -> str:
        return node if len(self._desks) == 1 else f"{desk.name}/{node}"

    def _reports(self) -> Reports:
        acks: dict[str, Ack] = {}
        heard: dict[str, int] = {}
        packets: dict[str, dict[str, Any]] = {}
        first: dict[str, int] = {}
        last: dict[str, int] = {}
        away = [f"the broker of fleet {desk.name} cannot be reached ({desk.link.reason}); its sensors go on as they are"
                for desk in self._desks.values() if not desk.link.ready]  # fmt: skip
        for desk in self._desks.values():
            hearing = desk.link.hearing
            for node in desk.courier.members:
                place = self._place(desk, node)
                ack = hearing.ack_of(node)
                if ack is not None:
                    acks[place] = ack._replace(node=place)
                heard[place] = hearing.heard(node)
            for name, tally in hearing.totals.items():
                before = self._before(desk, name)
                mine = tally.minus(before.tally)
                account = packets.setdefault(name, {"matched": 0, "delivered": 0, "shed": 0, "lost": {}})
                account["matched"] += mine.matched
                account["delivered"] += mine.delivered
                account["shed"] += mine.shed
                for cause, count in hearing.causes.get(name, {}).items():
                    account["lost"][cause] = account["lost"].get(cause, 0) + count - before.lost.get(cause, 0)
                met = hearing.met_at.get(name) if mine.matched else None
                if at := hearing.first.get(name) or met:
                    first[name] = min(at, first.get(name, at))
            for name, at in hearing.last.items():
                last[name] = max(at, last.get(name, at))
        return Reports(acks, heard, packets, first, last, "; ".join(away), len(self._desks))

    def _state(self, held: Filter) -> FilterState:
        good, targets = held.good, self._inventory.targets
        revisions: dict[str, int] = {}
        blocked: dict[str, str] = {}
        drops: dict[str, int] = {}
        nodes = targets.nodes_of(held.name) if good is not None else frozenset()
        for desk in self._desks.values():
            for node in desk.courier.members if nodes is None else desk.courier.members & nodes:
                place = self._place(desk, node)
                carried = desk.link.carried.get(node)
                found = carried.filters.get(held.name) if carried else None
                known = found is not None and good is not None and found[0] == good.generation
                revisions[place] = found[1] if known and found is not None else PENDING
                why = desk.courier.left.get(node, {}).get(held.name) or desk.courier.blocked.get(node)
                if not known and why:
                    blocked[place] = why
                if known and found is not None:
                    drops[place] = desk.link.hearing.dropped(node, found[1])
        took = self._took(held, revisions)
        return FilterState(
            held.name, held.generation, revisions, held.faults, bool(held.faults) and good is not None, held.suspended,
            held.expires_at, blocked, drops, took, self._top_pods(held.name),
        )  # fmt: skip

    def _took(self, held: Filter, revisions: Mapping[str, int]) -> tuple[int, ...]:
        """How long its sensors needed, once all have it. A filter that nobody must carry waits for its first pod."""
        if held.took is None:
            return ()
        if not revisions:
            held.changed_at = 0
        elif not held.changed_at:
            held.changed_at = self._inventory.turned_at
        return tuple(held.took.values()) if held.took and held.took.keys() >= revisions.keys() else ()

    def _top_pods(self, name: str) -> tuple[tuple[str, int], ...]:
        found: Counter[str] = Counter()
        for desk in self._desks.values():
            found.update(desk.link.hearing.pods.get(name, {}))
            found.subtract(self._before(desk, name).pods)
        return tuple(each for each in found.most_common(SHOWN) if each[1] > 0)

    def _before(self, desk: Desk, name: str) -> Met:
        """What a fleet's sensors counted under a name for another filter: one that was deleted before this began."""
        held = self._inventory.filters.get(name)
        return MET_NOTHING if held is None or held.inherits else desk.link.hearing.before(name, held.seen_at)

    def _status(self, held: Filter, reports: Reports) -> dict[str, Any] | None:
        now = self._clock()
        status = status_of(self._state(held), reports, now=now, before=held.status)
        if status == held.status:
            held.status = status  # the same texts as in all others
        if held.took is not None or _unsettled(status):
            self._open.add(held.name)
        else:
            self._open.discard(held.name)
        return status if must_write(held.status, status, written_at=held.written_at, now=now) else None

    async def _write_filter(self, held: Filter, status: dict[str, Any]) -> bool:
        before, now = held.status, self._clock()
        try:
            held.learn(await self._patch(held.ref, before, status), written=status)
        except Missing:
            return True
        except ClusterError as error:
            log.warning("a status cannot be written", filter=held.name, reason=error.reason)
            self._filters.add(held.name)
            self._wake.set()
            return False
        held.written_at = now
        if "pushLatencySeconds" in status:  # answers that came while this was written are for the next one
            held.took = None
        await self._tell(held.ref, before, status, now)
        return True

    def acked(self, desk: Desk, node: str, carried: Carried) -> list[str]:
        """A node answered: note how long it took, give the filters whose status that may change."""
        ack = desk.link.hearing.ack_of(node)
        if ack is None:
            return []
        now, place = self._clock(), self._place(desk, node)
        found = []
        for name in self._open:
            held, (generation, revision) = self._inventory.filters.get(name), carried.filters.get(name, (-1, 0))
            if held is None or generation < 0:
                continue
            if revision <= ack.revision and ack.applied and generation == held.generation and held.took is not None:
                held.took.setdefault(place, now - (held.changed_at or self._inventory.turned_at))
            found.append(name)
        return found if ack.applied else list(carried.filters)

    # fleets ----------------------------------------------------------------------------------------------------------

    async def _write_fleet(self, fleet: Fleet) -> bool:
        try:
            if FINALIZER not in fleet.finalizers and fleet.model is not None:
                change = {"metadata": {"finalizers": [*fleet.finalizers, FINALIZER]}}
                await self._cluster.merge(fleet.ref, change)
                fleet.finalizers = (*fleet.finalizers, FINALIZER)
            status, now = self._fleet_status(fleet), self._clock()
            if not must_write(fleet.status, status, written_at=fleet.written_at, now=now):
                return True
            before = fleet.status
            fleet.status = dict((await self._patch(fleet.ref, before, status)).get("status") or {})
            fleet.written_at = now
        except Missing:
            return True
        except ClusterError as error:
            log.warning("the status of a fleet cannot be written", fleet=fleet.name, reason=error.reason)
            self._fleets.add(fleet.name)
            self._wake.set()
            return False
        await self._tell(fleet.ref, before, status, now)
        return True

    def _fleet_status(self, fleet: Fleet) -> dict[str, Any]:
        desk = self._desks.get(fleet.name)
        labels = {"app.kubernetes.io/name": "packhound", "app.kubernetes.io/component": "processor",
                  "app.kubernetes.io/instance": fleet.name}  # fmt: skip
        base: dict[str, Any] = {
            "generation": fleet.generation, "faults": fleet.faults,
            "selector": ",".join(f"{key}={value}" for key, value in labels.items()),
        }  # fmt: skip
        if desk is None:
            state = FleetState(**base, away="the fleet has no broker")
        else:
            link, members = desk.link, desk.courier.members
            totals = link.hearing.totals.values()
            packets = {name: sum(getattr(each, name) for each in totals) for name in ("matched", "delivered", "lost")}
            state = FleetState(
                **base,
                revisions={node: each.revision if (each := link.carried.get(node)) else PENDING for node in members},
                acks={node: ack for node in members if (ack := link.hearing.ack_of(node))},
                heard={node: link.hearing.heard(node) for node in members},
                workloads=desk.works.fault, away="" if link.ready else f"the broker cannot be reached: {link.reason}",
                blocked=desk.courier.blocked, revision=link.revision,
                packets=packets,
                replicas=sum(1 for pod in self._inventory.board.living() if labels.items() <= pod.labels.items()),
            )  # fmt: skip
        return fleet_status_of(state, now=self._clock(), before=fleet.status)

    # both ------------------------------------------------------------------------------------------------------------

    async def _patch(self, ref: Ref, before: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
        gone = {key: None for key in before if key not in status}
        return await self._cluster.merge(ref, {"status": {**gone, **status}}, sub="status")

    async def _tell(self, ref: Ref, before: Mapping[str, Any], status: Mapping[str, Any], now: int) -> None:
        for event in self._sayings.of_status(ref, before, status, now=now):
            try:
                await self._cluster.apply(event)
            except (Invalid, Conflict, Missing, ClusterError) as error:
                log.warning("an Event cannot be written", object=ref.full_name, reason=error.reason)


def _unsettled(status: Mapping[str, Any]) -> bool:
    """Whether a status speaks of something that an answer of a sensor may change."""
    conditions = {each["type"]: each["status"] for each in status.get("conditions") or ()}
    return conditions.get("Distributed") != "True" or conditions.get("Capturing") != "True"
