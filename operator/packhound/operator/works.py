"""The objects that make a fleet, kept as they should be in the cluster.

Promise: applied whole when the fleet changed and every few minutes (drift is repaired: server-side apply under our
name); what a fleet no longer wants is deleted. Whatever fails is tried again and told; one task per fleet.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable

from packhound.api.huntfleet import HuntFleet
from packhound.kit import logs
from packhound.kit.retry import Backoff, RetryPolicy
from packhound.kit.tasks import happened
from packhound.operator import kinds
from packhound.operator.cluster import Cluster
from packhound.operator.desired import Site, name_of, objects_of
from packhound.operator.errors import ClusterError, Missing
from packhound.operator.kinds import Ref, ref_of

SECOND = 1_000_000_000
OPTIONAL = ((kinds.SCALER, ""), (kinds.NETWORK_POLICY, ""), (kinds.SERVICE, "-api"))
log = logs.logger("works")


class Works:
    """`fault`: why the objects could not be applied, empty when they are."""

    def __init__(self, cluster: Cluster, site: Site, *, repair: float, told: Callable[[], None]) -> None:
        self._cluster, self._site, self._repair, self._told = cluster, site, repair, told
        self._fleet: HuntFleet | None = None
        self._uid = self._done = ""
        self._wake = asyncio.Event()
        self._backoff = Backoff(RetryPolicy(first_ns=SECOND, most_ns=60 * SECOND), uniform=random.random)
        self.fault = ""

    def want(self, fleet: HuntFleet, uid: str) -> None:
        """The fleet is to be like this."""
        wanted = json.dumps([uid, fleet.spec.model_dump(mode="json")], sort_keys=True)
        self._fleet, self._uid = fleet, uid
        if wanted != self._done:
            self._done = wanted
            self._wake.set()

    async def run(self) -> None:
        """Apply until cancelled."""
        wait: float | None = None
        while True:
            await happened(self._wake, within=wait)
            self._wake.clear()
            wait = self._repair * random.uniform(0.9, 1.1)  # noqa: S311
            if self._fleet is None:
                continue
            fault = await self._apply(self._fleet, self._uid)
            if fault:
                log.warning("a fleet's objects cannot be applied", fleet=self._fleet.metadata.name, reason=fault)
                wait = self._backoff.next_ns() / SECOND
            else:
                self._backoff.worked()
            if fault != self.fault:
                self.fault = fault
                self._told()

    async def _apply(self, fleet: HuntFleet, uid: str) -> str:
        wanted = objects_of(fleet, self._site, uid=uid)
        faults = []
        for each in wanted:
            try:
                await self._cluster.apply(each)
            except ClusterError as error:
                faults.append(error.reason)
        kept = {ref_of(each)[:3] for each in wanted}
        for kind, suffix in OPTIONAL:
            ref = Ref(kind, self._site.namespace, name_of(fleet, "processor") + suffix)
            if ref[:3] not in kept:
                try:
                    await self._cluster.delete(ref)
                except Missing:
                    continue
                except ClusterError as error:
                    faults.append(error.reason)
        return "; ".join(faults)[:2000]

    async def remove(self, fleet: HuntFleet) -> None:
        """Take the workloads away, so that nobody makes the fleet's streams anew."""
        for kind, role, space in (
            (kinds.DAEMON_SET, "sensor", self._site.sensor_namespace),
            (kinds.STATEFUL_SET, "processor", self._site.namespace),
        ):
            try:
                await self._cluster.delete(Ref(kind, space, name_of(fleet, role)))
            except Missing:
                continue
