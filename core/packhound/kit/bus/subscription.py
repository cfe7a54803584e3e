"""A subscription that outlives connections: its own bounded queue, one handler at a time.

Promise: a handler is never interrupted because a connection was lost; one that raises is counted and told of, and the
next message comes. What has no room is dropped and counted. One asyncio loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from packhound.kit.bus.messages import Message

Handler = Callable[[Message], Awaitable[None]]


class Subscription:
    """Made by `Bus.subscribe`. `dropped`: messages without room; `failed`: handlers that raised; `fault`: the last of
    these. `denied`: why the broker does not allow it, empty when it does."""

    def __init__(
        self,
        subject: str,
        handler: Handler,
        *,
        messages: int,
        size: int,
        gone: Callable[[], Awaitable[None]],
        slow: Callable[[], None],
    ) -> None:
        self.subject = subject
        self.dropped = self.failed = 0
        self.fault: Exception | None = None
        self.inbound: Any = None
        self._handler = handler
        self._limits = messages, size
        self._held: deque[Message] = deque()
        self._bytes = 0
        self._came = asyncio.Event()
        self._gone, self._slow = gone, slow
        self._task = asyncio.get_running_loop().create_task(self._work(), name=f"on {subject}")

    @property
    def denied(self) -> str:
        """Why the broker does not allow it."""
        return getattr(self.inbound, "denied", "")

    def deliver(self, message: Message) -> None:
        """Take a message from the connection."""
        messages, size = self._limits
        if len(self._held) >= messages or (self._held and self._bytes + len(message.data) > size):
            self.dropped += 1
            self._slow()
            return
        self._held.append(message)
        self._bytes += len(message.data)
        self._came.set()

    async def close(self) -> None:
        """Take no more and end, the handler at work included; what waits is dropped."""
        await self._gone()
        self._task.cancel()
        if self._task is not asyncio.current_task():
            await asyncio.gather(self._task, return_exceptions=True)

    async def _work(self) -> None:
        while True:
            await self._came.wait()
            if not self._held:
                self._came.clear()
                continue
            message = self._held.popleft()
            self._bytes -= len(message.data)
            try:
                await self._handler(message)
            except Exception as error:  # one bad message must not end a subscription; whoever made it can look
                self.failed += 1
                self.fault = error
