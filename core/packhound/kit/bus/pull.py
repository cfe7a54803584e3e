"""Messages of a consumer, taken in lots when there is room for them.

Promise: a lot is what is there now, or the first that comes; nothing that was delivered is dropped here: it is handed
out, given back by `close`, or delivered again by the broker. Every message is answered by whoever took it. One asyncio
loop, one `fetch` at a time.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from packhound.kit.bus.client import API, Bus
from packhound.kit.bus.messages import DESCRIPTION, NO_RESPONDERS, STATUS, Away, Headers, Message
from packhound.kit.tasks import happened

SECOND = 1_000_000_000
_GRACE = 1.0  # seconds that the end of a question may take to reach us
_NONE_NOW = frozenset({"404", "408"})
_HEARTBEAT = "100"
_TOO_BIG = "message size exceeds"
_ENDED = ("batch completed", "leadership change", "server shutdown")


@dataclass(frozen=True, slots=True)
class Pulled:
    """A message that waits for its answer; each answer tells whether it went out. One that did not, or never came to
    the broker, only means that the message is delivered again. `at`: when it came, of `time.monotonic`."""

    subject: str
    data: bytes
    headers: Headers
    delivered: int
    sequence: int
    _reply: str = field(repr=False)
    _bus: Bus = field(repr=False)
    at: float = field(default_factory=time.monotonic)

    async def ack(self) -> bool:
        """It is done with."""
        return await self._answer(b"+ACK")

    async def nak(self, delay_ns: int = 0) -> bool:
        """Deliver it again, `delay_ns` from now."""
        return await self._answer(b'-NAK {"delay": %d}' % delay_ns if delay_ns > 0 else b"-NAK")

    async def in_progress(self) -> bool:
        """Somebody works on it: start the time to answer anew."""
        return await self._answer(b"+WPI")

    async def term(self) -> bool:
        """Never deliver it again."""
        return await self._answer(b"+TERM")

    async def _answer(self, word: bytes) -> bool:
        try:
            await self._bus.say(self._reply, word)
        except Away:
            return False
        return True


class Pull:
    """Takes from `consumer` of `stream`."""

    def __init__(self, bus: Bus, stream: str, consumer: str) -> None:
        self._bus = bus
        self._next = f"{API}.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._what = f"{stream}/{consumer}"
        self._held: deque[Pulled] = deque()
        self._came = asyncio.Event()
        self._asked = self._got = 0
        self._until = 0.0
        self._unbounded = False
        self._fault: Exception | None = None
        self._inbox = ""
        self._end: Callable[[], Awaitable[None]] | None = None
        self._unwatch = bus.watch(lambda _: self._forget())

    @property
    def waiting(self) -> int:
        """Messages that came and that nobody took yet."""
        return len(self._held)

    async def fetch(self, count: int, *, size: int, within: float) -> list[Pulled]:
        """Up to `count` messages of about `size` bytes together; none when none came for `within` seconds. Raises
        Away, also when there is no such consumer now."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        while not self._held:
            if (fault := self._fault) is not None:
                self._fault = None
                raise fault
            left = deadline - loop.time()
            if left <= 0:
                return []
            if self._asked <= 0 or loop.time() > self._until:
                await self._ask(count, size, left)
            self._came.clear()
            await happened(self._came, within=min(left, max(self._until - loop.time(), 0.001)))
        await asyncio.sleep(0)  # what came in the same read belongs to the lot
        return self._take(count, size)

    def _take(self, count: int, size: int) -> list[Pulled]:
        lot: list[Pulled] = []
        total = 0
        while self._held and len(lot) < count and (not lot or total + len(self._held[0].data) <= size):
            lot.append(self._held.popleft())
            total += len(lot[-1].data)
        return lot

    async def _ask(self, count: int, size: int, left: float) -> None:
        if self._end is None:
            self._inbox, self._end = await self._bus.inbox(self._deliver)
        if self._unbounded:
            count = 1
        self._asked, self._got = count, 0
        question: dict[str, Any] = {"batch": count, "expires": max(int(left * SECOND), 1_000_000)}
        if not self._unbounded:
            question["max_bytes"] = size
        self._unbounded = False
        self._until = asyncio.get_running_loop().time() + left + _GRACE
        try:
            await self._bus.say(self._next, json.dumps(question).encode(), reply=self._inbox)
        except Away:
            self._asked = 0
            raise

    def _deliver(self, message: Message) -> None:
        status = message.headers.get(STATUS)
        if status == _HEARTBEAT:
            return
        if status is not None:
            self._asked = 0
            self._noted(status, message.headers.get(DESCRIPTION, ""))
            self._came.set()
            return
        self._asked -= 1
        self._got += 1
        delivered, sequence = _counts(message.reply)
        self._held.append(
            Pulled(message.subject, message.data, message.headers, delivered, sequence, message.reply, self._bus)
        )
        self._came.set()

    def _noted(self, status: str, words: str) -> None:
        words = words.lower()
        if status in _NONE_NOW or words.startswith(_ENDED):
            return
        if status == NO_RESPONDERS:
            self._fault = Away(f"nobody answers for {self._what}")
        elif words.startswith(_TOO_BIG):
            self._unbounded = not self._got  # one message alone is larger than the lot: take it by itself
        else:
            self._fault = Away(f"{self._what}: {words or status}")

    def _forget(self) -> None:
        """The connection changed: what was asked on the old one is not answered on the new one."""
        self._asked = 0
        self._came.set()

    async def close(self) -> None:
        """Take no more and give back what nobody took, for others to have at once. Twice is no error."""
        self._unwatch()
        if self._end is not None:
            end, self._end = self._end, None
            await end()
        while self._held:
            await self._held.popleft().nak()


def _counts(reply: str) -> tuple[int, int]:
    """How often a message was delivered, and its sequence in the stream, as the subject of its answer says:
    `$JS.ACK.[domain.account.]stream.consumer.delivered.stream sequence.consumer sequence.time.pending[.random]`."""
    parts = reply.split(".")
    at = 4 if len(parts) < 11 else 6
    try:
        return int(parts[at]), int(parts[at + 1])
    except (IndexError, ValueError):
        return 1, 0
