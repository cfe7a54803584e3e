"""Media watches: who reads where the media of a matched call will flow tells all others.

Promise: pure but for `say`. A watch is told at once and again for as long as its call is known, so that who was away
learns of it too; each is handed on once, and once more when its teller has fallen silent or says that the call ended.
What claims to be somebody else's, or to last for longer than a watch may, is dropped and counted. Bounded; one loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from enum import Enum

from packhound.wire.beats import MediaWatch
from packhound.wire.checked import BadMessage

SECOND = 1_000_000_000
LEASE_NS = 60 * SECOND
LONGEST_NS = 4 * 3600 * SECOND
MAX_OWN = 20_000
MAX_KNOWN = 200_000
Clock = Callable[[], int]
Endpoints = Iterable[tuple[str, int]]
Say = Callable[[bytes], Awaitable[None]]
_Key = tuple[str, str]


class News(Enum):
    """What is new of a watch: `HELD`: it is new, or its filters or endpoints are; `SILENT`: its teller has not told it
    again in time; `OVER`: the call ended."""

    HELD = "held"
    SILENT = "silent"
    OVER = "over"


Use = Callable[[MediaWatch, News], None]


class MediaWatches:
    """What `node` tells and what it hears. `say` brings a watch to all others, or loses it: it will be said again.
    `use` gets the news. `clock` in ns since the epoch, which the nodes of a fleet share to within a lease."""

    def __init__(self, *, node: str, say: Say, use: Use, clock: Clock) -> None:
        self._node, self._say, self._use, self._clock = node, say, use, clock
        self._own: dict[str, MediaWatch] = {}
        self._known: dict[_Key, MediaWatch] = {}
        self.malformed = self.dropped = 0

    @property
    def own(self) -> int:
        """Watches that we tell."""
        return len(self._own)

    @property
    def known(self) -> int:
        """Watches of others."""
        return len(self._known)

    async def tell(self, call: str, filters: Iterable[str], endpoints: Endpoints) -> None:
        """Tell all others that media of `call` is expected at `endpoints`, now and again until `drop` or `over`."""
        if call not in self._own and len(self._own) >= MAX_OWN:
            self.dropped += 1
            return
        watch = MediaWatch(call, tuple(filters), tuple(endpoints), self._clock() + LEASE_NS, self._node)
        self._own[call] = watch
        await self._say(watch.encode())

    def drop(self, call: str) -> None:
        """Tell no more of `call`: we lost sight of it, it need not be over."""
        self._own.pop(call, None)

    async def over(self, call: str) -> None:
        """Tell all others that `call` ended."""
        self._own.pop(call, None)
        await self._say(MediaWatch(call, (), (), self._clock() + LEASE_NS, self._node, over=True).encode())

    async def again(self) -> None:
        """Tell everything once more; look who fell silent."""
        self._look()
        for call in list(self._own):
            if call in self._own:
                watch = self._own[call] = replace(self._own[call], expires_ns=self._clock() + LEASE_NS)
                await self._say(watch.encode())

    def _look(self) -> None:
        now = self._clock()
        for key, watch in list(self._known.items()):
            if watch.expires_ns <= now:
                del self._known[key]
                self._use(watch, News.SILENT)

    def heard(self, data: bytes, *, node: str | None = None) -> None:
        """Take in what was said; `node`: who said it, where the link knows."""
        try:
            watch = MediaWatch.decode(data)
        except BadMessage:
            self.malformed += 1
            return
        if node is not None and node != watch.node:
            self.malformed += 1
        elif watch.node != self._node:
            self._take(watch)

    def _take(self, watch: MediaWatch) -> None:
        now, key = self._clock(), (watch.node, watch.call)
        known = self._known.get(key)
        if watch.over:
            self._known.pop(key, None)
            self._use(watch, News.OVER)  # also of one that fell silent: its media may be flowing still
        elif not now < watch.expires_ns <= now + LONGEST_NS or (known is None and self._full()):
            self.dropped += 1
        else:
            self._known[key] = watch
            if known is None or (known.filters, known.endpoints) != (watch.filters, watch.endpoints):
                self._use(watch, News.HELD)

    def _full(self) -> bool:
        if len(self._known) >= MAX_KNOWN:
            self._look()
        return len(self._known) >= MAX_KNOWN
