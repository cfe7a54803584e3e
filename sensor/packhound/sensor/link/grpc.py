"""Parcels straight to a processor, without a broker: one stream, credits given by the processor, answers by sequence.

Promise: as `link.base`. What else travels on the stream (plans, answers to heartbeats, media watches) is handed to
whoever listens. Certificates that were renewed are in force within seconds. One asyncio loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from packhound.kit.errors import Stop
from packhound.kit.retry import Backoff
from packhound.kit.rpc import Certificates, RpcError, new_channel
from packhound.sensor.link.base import Accepted, LinkState, Pause, Receipt, Refused, Unreachable
from packhound.sensor.parcel import Parcel
from packhound.wire.v1 import control_pb2 as control
from packhound.wire.v1 import packets_pb2 as pb
from packhound.wire.v1 import packets_pb2_grpc as stubs

SECOND = 1_000_000_000
WELCOME_WITHIN = 5.0
RENEWED_EVERY = 2.0
EMPTY_WITHIN = 5.0
ANSWER_WITHIN = 30.0
NO_CREDIT_NS = SECOND // 2
MAX_WINDOW = 1024
MAX_LATE = 4096
Said = Literal["heartbeat", "plan_ack", "media_watch"]


@dataclass(frozen=True, slots=True)
class GrpcSettings:
    """`target` host:port; `name`: what its certificate is for when not that host; who we are."""

    target: str
    fleet: str
    node: str
    epoch: int
    shards: int
    tls: Certificates | None = None
    name: str = ""
    version: str = ""
    cluster: str = ""


@dataclass(slots=True)
class _Credits:
    parcels: int = 0
    bytes: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)


class GrpcLink:
    """A link to the processor at `settings.target`. `on_message(kind, data)` hears of `plan_changed`, `beat_reply` and
    `media_watch`; `on_open` is called for each new stream."""

    def __init__(
        self,
        settings: GrpcSettings,
        *,
        on_message: Callable[[str, bytes], None] | None = None,
        on_open: Callable[[], None] | None = None,
    ) -> None:
        self._settings = settings
        self.listen(on_message, on_open)
        self._state = LinkState.CLOSED
        self.reason = ""
        self.processor = ""
        self._waiting: dict[tuple[int, int, int], asyncio.Future[Receipt]] = {}
        self._credits = _Credits()
        self._max_parcel = 0
        self._paused_until = 0
        self._out: asyncio.Queue[pb.ToProcessor | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._opened = asyncio.Event()
        self._renewing = False
        self.answers = 0
        self._late: OrderedDict[tuple[int, int, int], None] = OrderedDict()

    @property
    def window(self) -> int:
        """As many as the processor gives credits for."""
        return max(1, min(MAX_WINDOW, self._credits.parcels + len(self._waiting)))

    @property
    def state(self) -> LinkState:
        """Whether parcels go out now."""
        return self._state

    def listen(self, on_message: Callable[[str, bytes], None] | None, on_open: Callable[[], None] | None) -> None:
        """Set who hears of messages and of new streams."""
        self._on_message, self._on_open = on_message, on_open

    async def open(self) -> None:
        """Begin. Raises Stop for certificates that cannot be read."""
        if self._settings.tls is not None:
            self._settings.tls.read()
        self._state = LinkState.AWAY
        self._task = asyncio.create_task(self._run(), name="grpc link")

    async def ready(self) -> None:
        """Wait until a stream is open."""
        await self._opened.wait()

    async def close(self) -> None:
        """End; whoever waits is told."""
        self._state = LinkState.CLOSED
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        self._lost("closed")

    async def say(self, kind: Said, data: bytes) -> None:
        """Send what is no parcel. Raises Unreachable."""
        if self._state is not LinkState.OPEN:
            raise Unreachable(self.reason or "not connected")
        message = pb.ToProcessor()
        getattr(message, kind).data = data
        if self._out.qsize() >= 2 * MAX_WINDOW:
            raise Unreachable("the processor takes nothing")
        self._out.put_nowait(message)

    # one parcel ----------------------------------------------------------------------------------------------------

    async def send(self, parcel: Parcel) -> Receipt:
        """One attempt: waits for credit, then for the answer."""
        if self._state is not LinkState.OPEN:
            raise Unreachable(self.reason or "not connected")
        if len(parcel.data) > self._max_parcel:
            return Refused(f"parcel of {len(parcel.data)} bytes; the processor takes {self._max_parcel}", "oversize")
        if parcel.identity in self._late:
            del self._late[parcel.identity]
            return Accepted(duplicate=True)
        left = self._paused_until - time.monotonic_ns()
        if left > 0:
            return Pause(left, "the processor asked for a pause")
        answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        sent = False
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                await self._put(parcel, answer)
                sent = True
                return await answer
        except TimeoutError:
            if not sent and self._state is LinkState.OPEN:
                return Pause(NO_CREDIT_NS, "the processor gives no credit")
            raise Unreachable("no answer in time") from None
        finally:
            if self._waiting.get(parcel.identity) is answer:
                del self._waiting[parcel.identity]

    async def _put(self, parcel: Parcel, answer: asyncio.Future[Receipt]) -> None:
        size, credit = len(parcel.data), self._credits
        async with credit.changed:
            await credit.changed.wait_for(
                lambda: self._state is not LinkState.OPEN
                or (credit.parcels > 0 and credit.bytes >= size and not self._renewing)
            )
            if self._state is not LinkState.OPEN:
                raise Unreachable(self.reason or "not connected")
            credit.parcels -= 1
            credit.bytes -= size
            self._waiting[parcel.identity] = answer
        # never waits, for a credit that was taken must be used: credits bound what can be in the queue
        self._out.put_nowait(pb.ToProcessor(parcel=control.Parcel(data=parcel.data, traceparent=parcel.traceparent)))

    # the stream ----------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        backoff = Backoff(uniform=random.random)
        while True:
            began = time.monotonic_ns()
            try:
                await self._stream()
                self.reason = "the processor ended the stream"
            except RpcError as error:
                self.reason = f"{error.code().name.lower()}: {error.details() or ''}"[:300]
            except Stop as stop:
                self.reason = stop.reason
            except (TimeoutError, StopAsyncIteration):
                self.reason = "no welcome in time"
            opened = self._state is LinkState.OPEN
            self._state = LinkState.AWAY
            self._opened.clear()
            async with self._credits.changed:
                self._credits.parcels = self._credits.bytes = 0
                self._credits.changed.notify_all()
            self._lost(self.reason)
            if opened:
                backoff.worked(time.monotonic_ns() - began)
            if self._renewing:
                self._renewing = False
                continue
            await asyncio.sleep(backoff.next_ns() / SECOND)

    def _lost(self, reason: str) -> None:
        for answer in list(self._waiting.values()):
            if not answer.done():
                answer.set_exception(Unreachable(reason))
        self._waiting.clear()

    async def _stream(self) -> None:
        """One stream from Hello to its end."""
        chosen = self._settings
        self._out = asyncio.Queue()
        channel = new_channel(chosen.target, tls=chosen.tls, name=chosen.name)
        renewal = asyncio.create_task(self._renewed(chosen.tls)) if chosen.tls is not None else None
        try:
            call = stubs.IntakeStub(channel).Deliver(self._outgoing())
            answers = aiter(call)
            welcome = await asyncio.wait_for(anext(answers), WELCOME_WITHIN)
            if welcome.WhichOneof("message") != "welcome":
                raise TimeoutError
            await self._welcome(welcome.welcome)
            async for message in answers:
                await self._heard(message)
        finally:
            if renewal is not None:
                renewal.cancel()
            await channel.close()

    async def _renewed(self, tls: Certificates) -> None:
        """Wait for other certificates; then let what is on its way be answered and end the stream: the next one uses
        them."""
        used = before = tls.stamp()
        while True:
            await asyncio.sleep(RENEWED_EVERY)
            try:
                now = tls.stamp()
                if now == used or now != before:  # nothing new, or somebody is still writing
                    before = now
                    continue
                tls.read()
            except (OSError, Stop):
                continue
            break
        if self._state is LinkState.OPEN:
            self._renewing = True
            if self._waiting:
                await asyncio.wait(set(self._waiting.values()), timeout=EMPTY_WITHIN)
            self._out.put_nowait(None)

    async def _outgoing(self) -> AsyncIterator[pb.ToProcessor]:
        chosen = self._settings
        yield pb.ToProcessor(hello=control.Hello(
            fleet=chosen.fleet, node=chosen.node, epoch=chosen.epoch, shards=chosen.shards, version=chosen.version,
            cluster=chosen.cluster,
        ))  # fmt: skip
        queue = self._out
        while (message := await queue.get()) is not None:
            yield message

    async def _welcome(self, welcome: control.Welcome) -> None:
        self.processor = welcome.processor
        self._max_parcel = welcome.max_parcel_bytes
        self._paused_until = 0
        self._state = LinkState.OPEN
        self.reason = ""
        await self._more(welcome.credits_parcels, welcome.credits_bytes)
        self._opened.set()
        if self._on_open is not None:
            self._on_open()

    async def _more(self, parcels: int, size: int) -> None:
        async with self._credits.changed:
            self._credits.parcels += parcels
            self._credits.bytes += size
            self._credits.changed.notify_all()

    async def _heard(self, message: pb.ToSensor) -> None:
        kind = message.WhichOneof("message")
        if kind == "acks":
            self.answers += 1
            self._acknowledged(message.acks)
        elif kind == "credit":
            await self._more(message.credit.parcels, message.credit.bytes)
        elif kind == "pace":
            paused = message.pace.rate == control.Pace.RATE_PAUSE
            self._paused_until = time.monotonic_ns() + message.pace.after_ns if paused else 0
        elif kind is not None and self._on_message is not None:
            part: Any = getattr(message, kind)
            self._on_message(kind, part.data)

    def _acknowledged(self, acks: control.Acks) -> None:
        for shard in acks.shards:
            also, duplicates = set(shard.also), set(shard.duplicates)
            for sequence in also:
                self._note_late((shard.epoch, shard.shard, sequence))
            for identity in [key for key in self._waiting if key[:2] == (shard.epoch, shard.shard)]:
                if identity[2] <= shard.through or identity[2] in also:
                    self._answer(identity, Accepted(duplicate=identity[2] in duplicates))
        for each in acks.refused:
            self._answer((each.epoch, each.shard, each.sequence), Refused(each.reason, each.cause or "broker_refused"))

    def _note_late(self, identity: tuple[int, int, int]) -> None:
        """Remember an answer that nobody waits for any more: its parcel need not be sent again."""
        if identity not in self._waiting:
            self._late[identity] = None
            if len(self._late) > MAX_LATE:
                self._late.popitem(last=False)

    def _answer(self, identity: tuple[int, int, int], receipt: Receipt) -> None:
        answer = self._waiting.pop(identity, None)
        if answer is not None and not answer.done():
            answer.set_result(receipt)
