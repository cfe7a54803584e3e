"""kopf's watches in a thread of their own, and knowing when what they saw is complete.

Promise: every event of the five kinds reaches the director in order, on the director's loop. kopf writes nothing: no
annotation, no finalizer, no Event. What went while a watch was being opened anew is found by lists of metadata, at the
start and every few minutes.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

import kopf

from packhound.kit import logs
from packhound.operator.cluster import Cluster
from packhound.operator.director import Director
from packhound.operator.errors import ClusterError
from packhound.operator.handlers import filters, fleets, nodes, pods
from packhound.operator.kinds import CLUSTER_HUNT_FILTER, HUNT_FILTER, HUNT_FLEET, WATCHED, Kind

PAGE = 100
QUIET = 150.0  # the API sends a bookmark every minute
LISTS_EVERY = 300.0
LOOK_AGAIN = 3.0
OURS = (HUNT_FILTER, CLUSTER_HUNT_FILTER, HUNT_FLEET)
log = logs.logger("watching")

_IDENTITY: Any = "packhound"  # else kopf asks the system for the name of our user, who may have none


class Hand:
    """What handlers get as `memo`: the same object for all of them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, see: Callable[[Kind, str | None, Any], None]) -> None:
        self._loop, self._see = loop, see

    def __copy__(self) -> Hand:
        return self

    def see(self, kind: Kind, change: str | None, raw: Any) -> None:
        """Hand an event over to the director's loop."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._see, kind, change, raw)


class Watches:
    """kopf at work; `ended` hears why it ended."""

    def __init__(self, cluster: Cluster, director: Director, *, ended: Callable[[str], None]) -> None:
        self._cluster, self._director, self._ended = cluster, director, ended
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch."""
        hand = Hand(asyncio.get_running_loop(), self._director.see)
        self._thread = threading.Thread(target=self._run, args=(hand,), name="kopf", daemon=True)
        self._thread.start()

    async def stop(self) -> None:
        """End the watches."""
        self._stop.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, 5.0)

    def _run(self, hand: Hand) -> None:
        kopf_log = logging.getLogger("kopf")
        kopf_log.handlers, kopf_log.propagate = [_Forward()], False
        kopf_log.setLevel(logging.WARNING)
        reason = "kopf ended"
        try:
            asyncio.run(kopf.operator(
                registry=self._registry(), settings=_settings(), memo=hand, clusterwide=True, standalone=True,
                stop_flag=self._stop, identity=_IDENTITY,
            ))  # fmt: skip
        except Exception as error:  # whatever it is, the process must not live on without its eyes
            reason = f"kopf ended: {type(error).__name__}: {error}"
        if not self._stop.is_set():
            self._ended(reason)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        for each in (fleets, filters, nodes, pods):
            each.register(registry)

        @kopf.on.login(registry=registry)
        def login(**_: Any) -> kopf.ConnectionInfo:
            access = self._cluster.access
            return kopf.ConnectionInfo(
                server=access.server, ca_path=access.ca, certificate_path=access.cert, private_key_path=access.key,
                token=access.token, insecure=access.insecure,
            )  # fmt: skip

        return registry


def _settings() -> kopf.OperatorSettings:
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    found.scanning.disabled = True
    found.watching.chunk_size = PAGE
    found.watching.inactivity_timeout = QUIET
    found.queueing.idle_timeout = 1.0
    return found


class _Forward(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        if "OS signals are ignored" not in record.getMessage():
            log.warning(record.getMessage())


async def served(cluster: Cluster) -> None:
    """Wait until the API server has our kinds."""
    told = False
    while True:
        missing = [kind.plural for kind in OURS if not await cluster.served(kind)]
        if not missing:
            return
        if not told:
            log.warning("waiting for CustomResourceDefinitions (install packhound-crds)", missing=", ".join(missing))
            told = True
        await asyncio.sleep(2)


async def follow_lists(cluster: Cluster, director: Director) -> None:
    """Tell the director when it has seen everything, and of what went unseen, until cancelled."""
    for kind in WATCHED:
        await _seen(cluster, director, kind)
    director.sync()
    log.info("everything was listed", **{kind.plural: len(director.inventory.uids[kind]) for kind in WATCHED})
    while True:
        await asyncio.sleep(LISTS_EVERY)
        for kind in WATCHED:
            before = dict(director.inventory.uids[kind])
            try:
                director.listed(kind, await _uids(cluster, kind), before)
            except ClusterError as error:
                log.warning("a list cannot be had", kind=kind.plural, reason=error.reason)


async def _seen(cluster: Cluster, director: Director, kind: Kind) -> None:
    """Wait until every object of a kind that there is was seen."""
    clock = asyncio.get_running_loop().time
    while True:
        try:
            wanted = await _uids(cluster, kind)
        except ClusterError as error:
            log.warning("a list cannot be had", kind=kind.plural, reason=error.reason)
            await asyncio.sleep(1)
            continue
        until = clock() + LOOK_AGAIN
        while clock() < until:
            if wanted <= director.seen[kind]:
                return
            await asyncio.sleep(0.02)


async def _uids(cluster: Cluster, kind: Kind) -> set[str]:
    found: set[str] = set()
    async for page in cluster.pages(kind):
        found.update(each["uid"] for each in page)
    return found
