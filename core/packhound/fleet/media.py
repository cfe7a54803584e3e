"""Media watches: who reads where the media of a matched call will flow tells all others.

Promise: a watch is told at once and again until it expires, so that who was away learns of it too; each is handed on
once. What claims to be somebody else's, or to last for longer than a watch may, is dropped and counted. Bounded; one
asyncio loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from packhound.kit.bus import Away, Bus, Message
from packhound.kit.tasks import happened
from packhound.wire.beats import MediaWatch
from packhound.wire.checked import BadMessage
from packhound.wire.subjects import Subjects

AGAIN = 10.0
LONGEST_NS = 4 * 3600 * 1_000_000_000
MAX_OWN = 20_000
MAX_KNOWN = 200_000
Clock = Callable[[], int]
Use = Callable[[MediaWatch], None]
_Key = tuple[str, str]


class MediaWatches:
    """Tells ours and hears all others' while `run` runs. `use` gets every watch that is new or changed, in the loop.
    `clock` in ns since the epoch, which the nodes of a fleet share to within a watch's length."""

    def __init__(self, bus: Bus, names: Subjects, *, node: str, use: Use, clock: Clock, every: float = AGAIN) -> None:
        self._bus, self._names, self._node, self._use, self._clock = bus, names, node, use, clock
        self._every = every
        self._own: dict[str, MediaWatch] = {}
        self._known: dict[_Key, MediaWatch] = {}
        self._wake = asyncio.Event()
        self.malformed = self.dropped = 0

    async def tell(self, watch: MediaWatch) -> None:
        """Tell all others; with `over` set they forget it. Told again later when the broker is away."""
        if watch.over:
            self._own.pop(watch.call, None)
        elif watch.call in self._own or len(self._own) < MAX_OWN:
            self._own[watch.call] = watch
        else:
            self.dropped += 1
        await self._say(watch)

    async def run(self) -> None:
        """Hear and repeat until cancelled."""
        unwatch = self._bus.watch(lambda _: self._wake.set())
        subscription = await self._bus.subscribe(self._names.every_media, self._heard, messages=1 << 14)
        try:
            while True:
                await happened(self._wake, within=self._every)
                await self._bus.ready()
                self._wake.clear()
                self._forget()
                for watch in list(self._own.values()):
                    await self._say(watch)
        finally:
            unwatch()
            await subscription.close()

    async def _say(self, watch: MediaWatch) -> None:
        try:
            await self._bus.say(self._names.media(self._node), watch.encode())
        except Away:  # said again on the next connection
            return

    def _forget(self) -> None:
        now = self._clock()
        self._own = {call: watch for call, watch in self._own.items() if watch.expires_ns > now}
        self._known = {key: watch for key, watch in self._known.items() if watch.expires_ns > now}

    async def _heard(self, message: Message) -> None:
        try:
            watch = MediaWatch.decode(message.data)
        except BadMessage:
            self.malformed += 1
            return
        if self._names.node_of(message.subject) != watch.node:
            self.malformed += 1
            return
        now, key = self._clock(), (watch.node, watch.call)
        if watch.node == self._node or self._known.get(key) == watch:
            return
        if watch.over:
            if self._known.pop(key, None) is not None:
                self._use(watch)
        elif not now < watch.expires_ns <= now + LONGEST_NS or (key not in self._known and self._full()):
            self.dropped += 1
        else:
            self._known[key] = watch
            self._use(watch)

    def _full(self) -> bool:
        if len(self._known) >= MAX_KNOWN:
            self._forget()
        return len(self._known) >= MAX_KNOWN
