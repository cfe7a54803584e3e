"""Waiting for the lead, keeping it, giving it up: the shell around `lease`.

Promise: `lead` returns when this replica leads; from then on `keep` must run, and ends with Stop when the lead is lost.
A leader writes its Lease every 5 s and reads it only when somebody interfered; a standby watches it. One asyncio loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from packhound.kit import logs
from packhound.kit.errors import Stop
from packhound.operator.cluster import Cluster
from packhound.operator.errors import ClusterError, Conflict, Missing
from packhound.operator.kinds import LEASE, Ref
from packhound.operator.lease import DURATION, SECOND, Election, Seen

WATCH = 300
log = logs.logger("leading")


class LostLead(Stop):
    """Another replica leads, or nobody can tell: this process must end."""


class Leader:
    """One replica; `me` is its name. `clock` is monotonic, ns."""

    def __init__(self, cluster: Cluster, ref: Ref, *, me: str, clock: Callable[[], int]) -> None:
        self._cluster, self._ref, self._me, self._clock = cluster, ref, me, clock
        self._election = Election(me)
        self._raw: dict[str, Any] | None = None

    @property
    def leading(self) -> bool:
        """Whether this replica leads."""
        return self._election.leading

    async def lead(self) -> None:
        """Wait until we lead. Whatever the API answers meanwhile is waited out."""
        while not self._election.leading:
            try:
                await self._look()
                await self._stand()
            except ClusterError as error:
                log.warning("the Lease cannot be had", reason=error.reason)
                await asyncio.sleep(1)
        log.info("leading", identity=self._me)

    async def _look(self) -> None:
        try:
            self._saw(await self._cluster.get(self._ref))
        except Missing:
            self._raw = None
            self._election.saw(None, now=self._clock())

    def _saw(self, raw: dict[str, Any]) -> None:
        self._raw = raw
        holder = (raw.get("spec") or {}).get("holderIdentity") or ""
        self._election.saw(Seen(holder, raw["metadata"]["resourceVersion"]), now=self._clock())

    async def _stand(self) -> None:
        """Act when it is time, look when the Lease changes; until we lead or the watch ends."""
        act = self._election.act(self._clock())
        if act.write:
            await self._write()
            return
        events = self._cluster.follow(self._ref, version=act.version, seconds=WATCH)
        coming = asyncio.ensure_future(anext(events, None))
        try:
            while True:
                act = self._election.act(self._clock())
                if act.write:
                    await self._write()
                    return
                await asyncio.wait({coming}, timeout=max(0.01, (act.again - self._clock()) / SECOND))
                if not coming.done():
                    continue
                found = coming.result()
                if found is None:
                    return
                self._saw(found)
                coming = asyncio.ensure_future(anext(events, None))
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
            await events.aclose()

    async def keep(self) -> None:
        """Keep the lead. Raises LostLead."""
        while True:
            act = self._election.act(self._clock())
            if act.stop or not self._election.leading:
                raise LostLead("this replica no longer leads: another took over, or the Kubernetes API did not answer")
            if act.write:
                try:
                    async with asyncio.timeout(2.0):
                        await self._write()
                except Conflict:
                    await self._again()
                except (ClusterError, TimeoutError) as error:
                    log.warning("the Lease cannot be renewed", reason=str(error))
                    await asyncio.sleep(0.5)
                continue
            await asyncio.sleep(max(0.05, (act.again - self._clock()) / SECOND))

    async def _again(self) -> None:
        try:
            await self._look()
        except ClusterError:
            await asyncio.sleep(0.5)

    async def _write(self, *, holder: str | None = None) -> None:
        asked = self._clock()
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        old = (self._raw or {}).get("spec") or {}
        me = self._me if holder is None else holder
        mine = old.get("holderIdentity") == me
        spec = {
            "holderIdentity": me, "leaseDurationSeconds": DURATION // SECOND, "renewTime": now,
            "acquireTime": old.get("acquireTime", now) if mine else now,
            "leaseTransitions": int(old.get("leaseTransitions") or 0) + (0 if mine or self._raw is None else 1),
        }  # fmt: skip
        metadata = {"name": self._ref.name, "namespace": self._ref.namespace}
        raw = {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": metadata, "spec": spec}
        if self._raw is None:
            self._raw = await self._cluster.create(raw)
        else:
            metadata["resourceVersion"] = self._raw["metadata"]["resourceVersion"]
            self._raw = await self._cluster.replace(raw)
        if holder is None:
            self._election.wrote(self._raw["metadata"]["resourceVersion"], asked_at=asked)

    async def release(self) -> None:
        """Give the lead up, so that another replica need not wait."""
        if not self._election.leading:
            return
        self._election.released()
        try:
            async with asyncio.timeout(2.0):
                await self._write(holder="")
        except (ClusterError, TimeoutError):
            return
