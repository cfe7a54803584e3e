"""Carries what one fleet must know to its broker, whenever it must know something else: plans, pod tables.

Promise: what was marked is delivered or stays marked; a broker that is away delays it, nothing loses it. One task per
fleet, so that one broker never waits for another.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping

from packhound.kit import logs
from packhound.kit.bus import Away, BusError
from packhound.kit.retry import Backoff, RetryPolicy
from packhound.operator.inventory import Inventory
from packhound.operator.push import FleetLink, table_digest
from packhound.operator.targeting import NOWHERE, Packed

SECOND = 1_000_000_000
log = logs.logger("courier")


class Courier:
    """`members`: the nodes of the fleet; `blocked`: nodes whose plan the broker refuses, and why; `left`: filters that
    a node has no room for, and why."""

    def __init__(
        self, inventory: Inventory, link: FleetLink, *, clock: Callable[[], int], shown: Callable[[str], bool],
        delivered: Callable[[], None],
    ) -> None:  # fmt: skip
        self.members: set[str] = set()
        self.blocked: dict[str, str] = {}
        self.left: dict[str, Mapping[str, str]] = {}
        self.link = link
        self._inventory, self._clock, self._shown, self._delivered = inventory, clock, shown, delivered
        self._plans: set[str] = set()
        self._tables: set[str] = set()
        self._gone: set[str] = set()
        self._wake = asyncio.Event()
        self._backoff = Backoff(RetryPolicy(first_ns=SECOND // 4, most_ns=5 * SECOND), uniform=random.random)
        self.trace = ""

    def mark(self, *, plans: Iterable[str] = (), tables: Iterable[str] = ()) -> None:
        """These nodes are to be told anew; those that are not of the fleet are passed over."""
        before = len(self._plans), len(self._tables)
        self._plans.update(self.members.intersection(plans))
        self._tables.update(self.members.intersection(tables))
        if plans:
            self._plans.add(NOWHERE)
        if before != (len(self._plans), len(self._tables)):
            self._wake.set()

    def join(self, nodes: set[str]) -> None:
        """The fleet has these nodes now."""
        came, went = nodes - self.members, self.members - nodes
        self.members = set(nodes)
        self._gone = (self._gone | went) - came
        self._plans -= went
        self._tables -= went
        if came or went:
            self.mark(plans=came or {NOWHERE}, tables=came)
            self._wake.set()

    def connected(self) -> None:
        """The broker is there, and what it holds was read: compare everything."""
        held = set(self.link.carried) | set(self.link.tables)
        self._gone |= held - self.members - {NOWHERE}
        self.mark(plans=self.members or {NOWHERE}, tables=self.members)
        self._wake.set()

    @property
    def idle(self) -> bool:
        """Whether everything was delivered."""
        return not (self._plans or self._tables or self._gone)

    async def run(self) -> None:
        """Deliver until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self.link.ready or self.idle:
                continue
            plans, tables, gone = self._plans, self._tables, self._gone
            self._plans, self._tables, self._gone = set(), set(), set()
            try:
                await self._deliver(plans, tables, gone)
            except BusError as error:
                self._plans |= plans & (self.members | {NOWHERE})
                self._tables |= tables & self.members
                self._gone |= gone - self.members
                self._wake.set()
                if not isinstance(error, Away):
                    log.warning("the broker refused", fleet=self.link.fleet, reason=error.reason)
                await asyncio.sleep(self._backoff.next_ns() / SECOND)
            else:
                self._backoff.worked()
            self._delivered()

    async def _deliver(self, plans: set[str], tables: set[str], gone: set[str]) -> None:
        trace, self.trace = self.trace, ""
        for node, why in (await self.link.publish(sorted(plans), self._plan, traceparent=trace)).items():
            self.blocked.pop(node, None)
            if why:
                self.blocked[node] = why
        for node in sorted(tables):
            await self._tell_pods(node)
        for node in gone:
            self.blocked.pop(node, None)
            self.left.pop(node, None)
            await self.link.drop(node)

    def _plan(self, node: str) -> Packed:
        targets = self._inventory.targets
        carried = targets.unplaced(self.members) if node == NOWHERE else targets.carries(node)
        made = targets.packed(node, carried)
        if made.left:
            self.left[node] = made.left
        else:
            self.left.pop(node, None)
        return made

    async def _tell_pods(self, node: str) -> None:
        known = self.link.tables.get(node, (0, ""))
        found = self._inventory.nodes.get(node)
        revision = max(known[0] + 1, self._clock())
        table = self._inventory.board.table(
            node, node_ips=found.ips if found else (), revision=revision, shown=self._shown
        )
        if table_digest(table) != known[1]:
            await self.link.tell_pods(table)
