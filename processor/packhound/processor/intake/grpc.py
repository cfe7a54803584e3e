"""Parcels straight from sensors, without a broker: the server side of `packhound.wire.v1.Intake`.

Promise: a sensor gets an answer for each parcel once `deliver` says that it is safe, or never will be; it never has
more on the way than the credits it was given. A node has one stream: a newer one of the same process ends the older,
and that of another process is refused while the first is alive. One asyncio loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from packhound.kit.rpc import StatusCode, peer_name
from packhound.wire.batch import BatchId
from packhound.wire.checked import BadMessage
from packhound.wire.envelope import MAX_PARCEL, Header, MalformedParcel
from packhound.wire.envelope import header as header_of
from packhound.wire.v1 import control_pb2 as control
from packhound.wire.v1 import packets_pb2 as pb
from packhound.wire.v1 import packets_pb2_grpc as stubs

HELLO_WITHIN = 5.0
OUTGOING = 4096


@dataclass(frozen=True, slots=True)
class Safe:
    """The parcel is kept, or was before."""

    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Never:
    """The parcel will never be taken: cause as in the books, and a sentence."""

    cause: str
    reason: str


Deliver = Callable[[Header, bytes], Awaitable[Safe | Never]]
"""Given a parcel: its header, with the trace context of its sending, and all of it."""


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """Who we are; credits of one sensor: parcels and bytes on the way; `by_certificate`: a node must be the name in
    its certificate."""

    fleet: str
    processor: str
    shards: int
    credits_parcels: int = 256
    credits_bytes: int = 32 << 20
    by_certificate: bool = True


@dataclass(slots=True)
class _Stream:
    node: str
    epoch: int
    out: asyncio.Queue[pb.ToSensor | None] = field(default_factory=lambda: asyncio.Queue(OUTGOING))
    parcels: int = 0
    bytes: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    context: Any = None

    def offer(self, message: pb.ToSensor) -> bool:
        """Say `message` when there is room; tell whether."""
        try:
            self.out.put_nowait(message)
        except asyncio.QueueFull:
            return False
        return True

    def hang_up(self) -> None:
        """End the stream, whatever is still to be said."""
        while not self.out.empty():
            self.out.get_nowait()
        self.out.put_nowait(None)


class GrpcIntake(stubs.IntakeServicer):
    """The service. `on_message(node, kind, data)` hears of heartbeats, answers to plans and media watches, and gives
    what is to be said back, if anything, as (kind, data). `welcome(node)` gives the plan that a new stream gets."""

    def __init__(
        self,
        settings: IntakeSettings,
        *,
        deliver: Deliver,
        on_message: Callable[[str, str, bytes], tuple[str, bytes] | None] | None = None,
        welcome: Callable[[str], bytes] | None = None,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._settings, self._deliver, self._clock = settings, deliver, clock
        self._on_message, self._plan = on_message, welcome
        self._streams: dict[str, _Stream] = {}
        self.refused: dict[str, int] = defaultdict(int)
        self.paused = False

    @property
    def nodes(self) -> Mapping[str, int]:
        """Sensors that are connected, with their epochs."""
        return {node: each.epoch for node, each in self._streams.items()}

    def tell(self, kind: str, data: bytes, *, node: str | None = None) -> None:
        """Say `plan_changed` to one node or to all. Who takes nothing any more is hung up on, so that it keeps nobody
        waiting: when it comes again it is told anyway."""
        for each in list(self._streams.values()):
            if (node is None or each.node == node) and not each.offer(_message(kind, data)):
                self.refused["stalled"] += 1
                each.hang_up()

    def pass_on(self, node: str, watch: bytes) -> None:
        """Say a media watch of `node` to all others; who has no room for it hears it when it is said again."""
        for each in list(self._streams.values()):
            if each.node != node:
                each.offer(_message("media_watch", watch))

    async def pace(self, *, pause: bool, after_ns: int = 1_000_000_000, reason: str = "") -> None:
        """Ask every sensor to pause, or to go on."""
        self.paused = pause
        rate = control.Pace.RATE_PAUSE if pause else control.Pace.RATE_RESUME
        for each in list(self._streams.values()):
            await each.out.put(pb.ToSensor(pace=control.Pace(rate=rate, after_ns=after_ns, reason=reason)))

    async def Deliver(  # noqa: N802 - the name of the call in the .proto
        self, requests: AsyncIterator[pb.ToProcessor], context: Any
    ) -> AsyncIterator[pb.ToSensor]:
        """The stream of one sensor."""
        stream = await self._greet(requests, context)
        reader = asyncio.create_task(self._read(stream, requests), name=f"intake {stream.node}")
        try:
            while (message := await stream.out.get()) is not None:
                yield message
        finally:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader
            for task in list(stream.tasks):
                task.cancel()
            if self._streams.get(stream.node) is stream:
                del self._streams[stream.node]

    async def _greet(self, requests: AsyncIterator[pb.ToProcessor], context: Any) -> _Stream:
        """Read Hello, refuse whom we must, say Welcome."""
        try:
            first = await asyncio.wait_for(anext(aiter(requests)), HELLO_WITHIN)
        except (TimeoutError, StopAsyncIteration):
            await context.abort(StatusCode.DEADLINE_EXCEEDED, "say hello first")
        chosen, hello = self._settings, first.hello
        fault, code = "", StatusCode.FAILED_PRECONDITION
        named = peer_name(context)
        old = self._streams.get(hello.node)
        if first.WhichOneof("message") != "hello" or not hello.node:
            fault = "say hello first, with the name of the node"
        elif hello.fleet != chosen.fleet:
            fault = f"this is fleet {chosen.fleet}"
        elif hello.shards != chosen.shards:
            fault = f"this fleet has {chosen.shards} shards"
        elif chosen.by_certificate and named and named != hello.node:
            fault, code = f"the certificate is for {named}", StatusCode.PERMISSION_DENIED
        elif old is not None and old.epoch != hello.epoch:
            code = StatusCode.ALREADY_EXISTS
            fault = f"another sensor is connected as {hello.node}: give each its own name"
        if fault:
            self.refused[code.name.lower()] += 1
            await context.abort(code, fault)
        if old is not None:
            await old.out.put(None)
        stream = self._streams[hello.node] = _Stream(hello.node, hello.epoch, context=context)
        stream.parcels, stream.bytes = chosen.credits_parcels, chosen.credits_bytes
        await stream.out.put(pb.ToSensor(welcome=control.Welcome(
            credits_bytes=chosen.credits_bytes, credits_parcels=chosen.credits_parcels, processor=chosen.processor,
            clock_ns=self._clock(), max_parcel_bytes=min(MAX_PARCEL, chosen.credits_bytes),
        )))  # fmt: skip
        if self._plan is not None and (plan := self._plan(hello.node)):
            await stream.out.put(_message("plan_changed", plan))
        return stream

    async def _read(self, stream: _Stream, requests: AsyncIterator[pb.ToProcessor]) -> None:
        async for message in requests:
            kind = message.WhichOneof("message")
            if kind == "parcel":
                data = message.parcel.data
                stream.parcels -= 1
                stream.bytes -= len(data)
                if stream.parcels < 0 or stream.bytes < 0:
                    self.refused["over_credit"] += 1
                    break
                task = asyncio.create_task(self._one(stream, data, message.parcel.traceparent))
                stream.tasks.add(task)
                task.add_done_callback(stream.tasks.discard)
            elif kind is not None and kind != "hello" and self._on_message is not None:
                try:
                    answer = self._on_message(stream.node, kind, getattr(message, kind).data)
                except BadMessage:
                    self.refused[f"malformed_{kind}"] += 1
                    continue
                if answer is not None:
                    await stream.out.put(_message(*answer))
        await stream.out.put(None)

    async def _one(self, stream: _Stream, data: bytes, traceparent: str) -> None:
        """Deliver one parcel, answer, and give its credit back."""
        try:
            header = header_of(data)
        except MalformedParcel:
            self.refused["malformed_parcel"] += 1  # its identity cannot be read, so nothing can be answered for it
            await stream.out.put(None)
            return
        if header.sensor != stream.node:
            found: Safe | Never = Never("broker_refused", "a parcel of another sensor")
        else:
            found = await self._deliver(replace(header, traceparent=traceparent or header.traceparent), data)
        identity: BatchId = header.identity
        if isinstance(found, Never):
            refusal = control.Refusal(
                epoch=identity.epoch, shard=identity.shard, sequence=identity.sequence, cause=found.cause,
                reason=found.reason,
            )  # fmt: skip
            acks = control.Acks(refused=[refusal])
        else:
            one = control.ShardAcks(
                epoch=identity.epoch, shard=identity.shard, also=[identity.sequence],
                duplicates=[identity.sequence] if found.duplicate else [],
            )  # fmt: skip
            acks = control.Acks(shards=[one])
        stream.parcels += 1
        stream.bytes += len(data)
        await stream.out.put(pb.ToSensor(acks=acks))
        await stream.out.put(pb.ToSensor(credit=control.Credit(bytes=len(data), parcels=1)))


def _message(kind: str, data: bytes) -> pb.ToSensor:
    message = pb.ToSensor()
    getattr(message, kind).data = data
    return message
