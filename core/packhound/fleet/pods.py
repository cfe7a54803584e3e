"""Whose address is whose, as the operator publishes it: a sensor follows its own node, a processor all of them.

Promise: the bucket holds the truth, an announcement only says that it changed; it is read at start, when announced, on
every new connection and every half minute. What cannot be read changes nothing. One asyncio loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from packhound.kit.bus import Bucket, Bus, BusError, Message
from packhound.kit.tasks import happened
from packhound.wire import pods
from packhound.wire.pods import BadTable, PodBook
from packhound.wire.subjects import Subjects

EVERY = 30.0


class PodFollower:
    """Keeps `book` up to date. `node` empty: all nodes. `changed` is called in the loop after each change."""

    def __init__(
        self,
        bus: Bus,
        names: Subjects,
        *,
        node: str = "",
        changed: Callable[[PodBook], None] | None = None,
        every: float = EVERY,
    ) -> None:
        self._bus, self._names, self._node, self._changed, self._every = bus, names, node, changed, every
        self._bucket = Bucket(bus, names.pods_bucket)
        self._wake = asyncio.Event()
        self._due: set[str] = set()
        self.book = PodBook()
        self.malformed = 0

    async def run(self) -> None:
        """Follow until cancelled."""
        unwatch = self._bus.watch(lambda _: self._all())
        heard = self._names.pods(self._node) if self._node else self._names.every_pods
        subscription = await self._bus.subscribe(heard, self._heard)
        self._all()
        try:
            while True:
                if not await happened(self._wake, within=self._every * random.uniform(0.8, 1.2)):  # noqa: S311
                    self._all()
                await self._bus.ready()
                self._wake.clear()
                due, self._due = self._due, set()
                try:
                    await self._read(due)
                except BusError:  # not there (yet): no cluster, or a broker that came back empty
                    self._due |= due
                    await asyncio.sleep(random.uniform(0.5, 2.0))  # noqa: S311
                    self._wake.set()
        finally:
            unwatch()
            await subscription.close()

    def _all(self) -> None:
        self._due.add(self._node)
        self._wake.set()

    async def _heard(self, message: Message) -> None:
        node = self._names.node_of(message.subject)
        if node:
            self._due.add(node)
            self._wake.set()

    async def _read(self, due: set[str]) -> None:
        if "" in due:
            values = [entry.value for entry in await self._bucket.entries("node.*")]
        else:
            found = [await self._bucket.get(self._names.pods_key(node)) for node in sorted(due)]
            values = [entry.value for entry in found if entry is not None]
        fresh = False
        for value in values:
            try:
                fresh |= self.book.take(pods.decode(value))
            except BadTable:
                self.malformed += 1
        if fresh and self._changed is not None:
            self._changed(self.book)
