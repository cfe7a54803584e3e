"""The bus of a process: publish into streams with acknowledgements, ask, listen, pull, keep keys and values.

Promise: `Bus` finds its way back to the broker for ever; subscriptions survive. A publish ends in exactly one outcome
value; questions raise BusError. Nothing is kept for later while the broker is away. One asyncio loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple

from packhound.kit.bus.connection import Connection, Inbound
from packhound.kit.bus.messages import (
    Away,
    Headers,
    Message,
    Outcome,
    Refused,
    Unreachable,
    raise_for,
)
from packhound.kit.bus.replies import Replies
from packhound.kit.bus.settings import BusSettings, check_files
from packhound.kit.bus.subscription import Handler, Subscription
from packhound.kit.tasks import happened

API = "$JS.API"
HEADER_ROOM = 512  # bytes that headers of ours can take


class BusState(Enum):
    """`CONNECTED`: traffic flows; `AWAY`: looking for the broker; `CLOSED`: for good."""

    CONNECTED = "connected"
    AWAY = "away"
    CLOSED = "closed"


class Happening(NamedTuple):
    """A change of state. `again`: connected, not for the first time; `reason` why it is away."""

    state: BusState
    again: bool = False
    reason: str = ""


class Bus:
    """Make one with `Bus.connect`. `counters`: what went and came, what was dropped, by name."""

    def __init__(self, settings: BusSettings) -> None:
        self.settings = settings
        self.state = BusState.AWAY
        self.counters: dict[str, int] = dict.fromkeys(("denied", "disconnects", "slow"), 0)
        self._connection = Connection(settings, up=self._up, down=self._down, refused=self._refused)
        self._replies = Replies(
            window=settings.window, window_bytes=settings.window_bytes, timeout=settings.ack_timeout
        )
        self._inbox = f"{settings.inbox}.{secrets.token_hex(11)}"
        self._numbers = 0
        self._listeners: list[Callable[[Happening], None]] = []
        self._subscriptions: set[Subscription] = set()
        self._listen(Inbound(f"{self._inbox}.*", "", self._replies.came))

    @classmethod
    async def connect(cls, settings: BusSettings) -> Bus:
        """Begin to connect and return at once. Raises Stop for files that are missing or cannot be used."""
        check_files(settings)
        bus = cls(settings)
        bus._connection.start()
        return bus

    async def close(self) -> None:
        """Send what was written and end; whoever waits is told. Twice is no error."""
        if self.state is BusState.CLOSED:
            return
        await self._connection.close()
        self.state = BusState.CLOSED
        for subscription in list(self._subscriptions):
            await subscription.close()
        self._replies.lost("closed")
        self._tell(Happening(BusState.CLOSED, reason="closed"))

    async def __aenter__(self) -> Bus:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # how it stands -------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether traffic flows now."""
        return self.state is BusState.CONNECTED

    @property
    def reason(self) -> str:
        """Why it is not connected, in the broker's or the system's words; they are not for a terminal as they are."""
        return "" if self.connected else self._connection.reason

    @property
    def max_payload(self) -> int:
        """Bytes that a message may have, as the broker last said."""
        return self._connection.max_payload - HEADER_ROOM

    @property
    def in_flight(self) -> int:
        """Publishes that wait for their acknowledgement."""
        return self._replies.in_flight

    @property
    def answers(self) -> int:
        """Acknowledgements of publishes that ever came, also those that came too late."""
        return self._replies.acknowledgements

    async def ready(self, within: float | None = None) -> None:
        """Wait until it is connected. Raises Away with the reason when that takes more than `within` seconds."""
        if not await happened(self._connection.connected, within=within):
            raise Away(self._connection.reason)

    def watch(self, listener: Callable[[Happening], None]) -> Callable[[], None]:
        """Call `listener` at every change of state; gives what ends that."""
        self._listeners.append(listener)

        def unwatch() -> None:
            with contextlib.suppress(ValueError):
                self._listeners.remove(listener)

        return unwatch

    def _tell(self, happening: Happening) -> None:
        for listener in list(self._listeners):
            listener(happening)

    def _up(self) -> None:
        self.state = BusState.CONNECTED
        self._tell(Happening(self.state, again=self._connection.connects > 1))

    def _down(self, reason: str) -> None:
        self.state = BusState.AWAY
        self.counters["disconnects"] += 1
        self._replies.lost(reason)
        self._tell(Happening(self.state, reason=reason))

    def _refused(self, words: str) -> None:
        self.counters["denied"] += 1
        self._replies.denied(words)

    # publish -------------------------------------------------------------------------------------------------------

    async def publish(self, subject: str, data: bytes, headers: Headers | None = None) -> asyncio.Future[Outcome]:
        """Send into a stream once the window has room; what it gives is the outcome to come."""
        size = len(data)
        if size > self.max_payload:
            return _known(Refused("too_large", f"{size} bytes, the broker takes {self.max_payload}"))
        if not self.connected:
            await asyncio.sleep(0)  # who tries again and again must not keep the loop from connecting
            return _known(Unreachable(self._connection.reason))
        token, future = await self._replies.publish(subject, size)
        try:
            await self._connection.send(subject, data, reply=f"{self._inbox}.{token}", headers=headers)
        except Away as error:
            self._replies.settle(token, Unreachable(error.reason))
        return future

    async def store(self, subject: str, data: bytes, headers: Headers | None = None) -> Outcome:
        """Publish and wait for the outcome."""
        return await (await self.publish(subject, data, headers))

    async def say(self, subject: str, data: bytes = b"", headers: Headers | None = None, *, reply: str = "") -> None:
        """Send to whoever listens now; nobody acknowledges. Raises Away."""
        await self._connection.send(subject, data, headers=headers, reply=reply)

    async def flush(self) -> None:
        """Wait until the broker has seen everything sent so far. Raises Away."""
        await self._connection.flush()

    # ask -----------------------------------------------------------------------------------------------------------

    async def request(
        self, subject: str, data: bytes = b"", *, within: float | None = None, headers: Headers | None = None
    ) -> Message:
        """Ask and wait for the first answer, at most `within` seconds. Raises Away, Denied."""
        token, future = self._replies.ask(subject)
        seconds = self.settings.request_timeout if within is None else within
        try:
            async with asyncio.timeout(seconds):
                await self._connection.send(subject, data, reply=f"{self._inbox}.{token}", headers=headers)
                return await future
        except TimeoutError:
            raise Away(f"no answer on {subject} within {seconds:g} s") from None
        finally:
            self._replies.forget(token)

    async def api(self, what: str, question: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask the JetStream API. Raises Away, Denied, Rejected."""
        data = json.dumps(question).encode() if question is not None else b""
        answer = await self.request(f"{API}.{what}", data)
        try:
            found = json.loads(answer.data)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Away(f"{what}: an answer that cannot be read")
        if isinstance(found.get("error"), dict):
            raise_for(found["error"], what=what)
        return found

    # listen --------------------------------------------------------------------------------------------------------

    async def subscribe(
        self, subject: str, handler: Handler, *, queue: str = "", messages: int = 1024, size: int = 8 << 20
    ) -> Subscription:
        """Hand what comes on `subject` to `handler`, one at a time and in order; at most `messages` and `size` bytes
        wait, more are dropped and counted. Returns when the broker knows, or at once while it is away."""

        def gone() -> Awaitable[None]:
            self._subscriptions.discard(made)
            return self._connection.unlisten(number)

        made = Subscription(subject, handler, messages=messages, size=size, gone=gone, slow=self._slow)
        inbound = Inbound(subject, queue, made.deliver)
        made.inbound = inbound
        self._subscriptions.add(made)
        number = self._listen(inbound)
        await self._connection.subscribed(number)
        return made

    async def inbox(self, deliver: Callable[[Message], None]) -> tuple[str, Callable[[], Awaitable[None]]]:
        """A subject of our own whose messages go straight to `deliver`, and what ends that once all that was sent to
        it has come."""
        subject = f"{self._inbox.rpartition('.')[0]}.{secrets.token_hex(11)}.d"
        number = self._listen(Inbound(subject, "", deliver))
        await self._connection.subscribed(number)
        return subject, lambda: self._connection.unlisten(number, drain=True)

    def _listen(self, inbound: Inbound) -> int:
        self._numbers += 1
        self._connection.listen(self._numbers, inbound)
        return self._numbers

    def _slow(self) -> None:
        self.counters["slow"] += 1


def _known(outcome: Outcome) -> asyncio.Future[Outcome]:
    future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    future.set_result(outcome)
    return future
