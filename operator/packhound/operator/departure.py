"""The end of a fleet: its workloads first, then what the broker keeps of it, then the object itself.

Promise: ends, also when pods do not (grace) or the broker is gone (10 s): then the object is let go all the same.
"""

from __future__ import annotations

import asyncio

from packhound.kit import logs
from packhound.kit.bus import BusError
from packhound.operator.cluster import Cluster
from packhound.operator.errors import ClusterError, Missing
from packhound.operator.inventory import FINALIZER, Fleet, Inventory
from packhound.operator.scribe import Desk

PODS_GRACE = 70.0
BROKER_GRACE = 10.0
log = logs.logger("departure")


class Departure:
    """Of one fleet; `desk` None: it never had a broker."""

    def __init__(self, cluster: Cluster, inventory: Inventory, fleet: Fleet, desk: Desk | None) -> None:
        self._cluster, self._inventory, self._fleet, self._desk = cluster, inventory, fleet, desk

    async def run(self) -> None:
        """See it off; gives up and is begun anew when the API cannot be reached."""
        fleet, desk = self._fleet, self._desk
        if desk is not None:
            for task in desk.tasks:
                task.cancel()
            if fleet.model is not None:
                try:
                    await desk.works.remove(fleet.model)
                except ClusterError as error:
                    log.warning("a fleet's workloads cannot be deleted", fleet=fleet.name, reason=error.reason)
            await self._pods_gone()
            await self._clear(desk)
        await self._let_go()

    async def _pods_gone(self) -> None:
        """Wait for sensors and processors to end: they would make the streams anew."""
        waited = 0.0
        while waited < PODS_GRACE and any(
            pod.labels.get("app.kubernetes.io/name") == "packhound"
            and pod.labels.get("app.kubernetes.io/instance") == self._fleet.name
            for pod in self._inventory.board.living()
        ):
            await asyncio.sleep(0.5)
            waited += 0.5

    async def _clear(self, desk: Desk) -> None:
        try:
            async with asyncio.timeout(BROKER_GRACE):
                while True:
                    try:
                        await desk.link.remove()
                    except BusError:
                        await asyncio.sleep(0.5)
                    else:
                        return
        except TimeoutError:
            log.warning("the broker is gone: what it kept of a fleet stays there", fleet=desk.name)

    async def _let_go(self) -> None:
        while True:
            fleet = self._inventory.fleets.get(self._fleet.name, self._fleet)
            left = [each for each in fleet.finalizers if each != FINALIZER]
            try:
                await self._cluster.merge(fleet.ref, {"metadata": {"finalizers": left or None}})
            except Missing:
                return
            except ClusterError as error:
                log.warning("a fleet cannot be let go", fleet=fleet.name, reason=error.reason)
                await asyncio.sleep(1)
            else:
                return
