"""Between capture, which knows calls, and the links, which bring what other sensors know of them.

Promise: capture never waits: what it says of its calls goes to the event loop, what others say comes to it between two
blocks. What capture has no room for is told to it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from packhound.fleet.watches import Clock, MediaWatches, News, Say
from packhound.kit.metrics import Sample
from packhound.sensor.farcalls import OwnMedia
from packhound.wire.beats import MediaWatch

Hear = Callable[[MediaWatch, News], bool]
MAX_WAITING = 16_384


class Watching:
    """The media watches of one sensor. `hear` hands on to capture and says whether it could."""

    def __init__(self, *, node: str, hear: Hear, clock: Clock) -> None:
        self._hear = hear
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: asyncio.Queue[OwnMedia] = asyncio.Queue(MAX_WAITING)
        self._node, self._clock = node, clock
        self._missed: list[tuple[MediaWatch, News]] = []
        self.watches = MediaWatches(node=node, say=_nobody, use=self._use, clock=clock)
        self.unsaid = 0

    def start(self, say: Say) -> None:
        """Begin, in the loop that `say` works in."""
        self._loop = asyncio.get_running_loop()
        self.watches = MediaWatches(node=self._node, say=say, use=self._use, clock=self._clock)

    def told(self, own: OwnMedia) -> None:
        """Something is new of a call of ours. Capture thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._take, own)

    def _take(self, own: OwnMedia) -> None:
        try:
            self._waiting.put_nowait(own)
        except asyncio.QueueFull:
            self.unsaid += 1

    async def run(self) -> None:
        """Say what is new, until cancelled."""
        while True:
            own = await self._waiting.get()
            if own.filters:
                await self.watches.tell(own.call_id, own.filters, own.endpoints)
            elif own.over:
                await self.watches.over(own.call_id)
            else:
                self.watches.drop(own.call_id)

    def heard(self, data: bytes, *, node: str | None = None) -> None:
        """Take in what was said; `node`: who said it, where the link knows."""
        self.watches.heard(data, node=node)

    async def again(self) -> None:
        """Say everything once more."""
        missed, self._missed = self._missed, []
        for watch, news in missed:
            self._use(watch, news)
        await self.watches.again()

    def _use(self, watch: MediaWatch, news: News) -> None:
        if not self._hear(watch, news) and len(self._missed) < MAX_WAITING:
            self._missed.append((watch, news))

    def samples(self, refused: int) -> list[Sample]:
        """Metrics of now; `refused`: calls of others that capture had no room for."""
        found = self.watches
        return [
            Sample("packhound_media_watches", found.own, ("ours",)),
            Sample("packhound_media_watches", found.known, ("theirs",)),
            Sample("packhound_media_watches_dropped", found.dropped + refused + self.unsaid),
            Sample("packhound_media_watches_malformed", found.malformed),
        ]


async def _nobody(_: bytes) -> None:
    return
