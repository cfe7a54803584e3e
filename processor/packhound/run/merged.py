"""What all processors of a fleet stream, as one stream: each event once, streams taken up again where they broke.

Promise: a parcel or row that two processors tell of (one took over from the other) comes once, as far as `REMEMBERED`
reaches back. A processor that goes away or comes is noticed; only when none was ever reached, or all refuse us, does
it end with the reason. One event loop; what waits for a slow reader is bounded, and what it missed is counted.
"""

from __future__ import annotations

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from packhound.kit.errors import BadInput, NotPermitted, Stop
from packhound.kit.retry import SECOND, Backoff, RetryPolicy
from packhound.kit.rpc import RpcError, StatusCode, new_channel
from packhound.kit.tasks import happened
from packhound.processor.serve.api import SUBSCRIBED
from packhound.wire.batch import Batch
from packhound.wire.codec import decode
from packhound.wire.envelope import MalformedParcel
from packhound.wire.v1 import events_pb2 as pb
from packhound.wire.v1 import events_pb2_grpc as stubs

Kind = Literal["packets", "flows", "calls"]
KINDS: tuple[Kind, ...] = ("packets", "flows", "calls")
REMEMBERED = 65_536
WAITING = 256
LOOK_EVERY = 15.0
ANSWER_WITHIN = 10.0
_CALLS = {"packets": "StreamPackets", "flows": "StreamFlows", "calls": "StreamCalls"}
_REFUSED = {StatusCode.UNAUTHENTICATED, StatusCode.PERMISSION_DENIED}


class Place(NamedTuple):
    """A processor: its name, what changes when its process does, and how to get a port of this host to it."""

    name: str
    process: str
    open: Callable[[], AbstractAsyncContextManager[int]]


class Came(NamedTuple):
    """An event: packets as a Batch, or rows under registry names; who told."""

    kind: Kind
    place: str
    batch: Batch | None
    rows: Sequence[dict[str, Any]]


@dataclass(slots=True)
class Wanted:
    """What is asked for: names of filters (empty: all), their namespace (empty: any)."""

    filters: Sequence[str] = ()
    namespace: str = ""
    kinds: Sequence[Kind] = ("packets",)

    @property
    def selection(self) -> pb.Selection:
        """As the processors take it."""
        return pb.Selection(filters=list(self.filters), namespace=self.namespace)


@dataclass(slots=True)
class _Known:
    """One place: what reads it, and whether it was ever heard."""

    place: Place
    task: asyncio.Task[None]
    listening: bool = False
    tried: bool = False
    fault: Stop | None = None
    positions: dict[Kind, str] = field(default_factory=dict)


class Merged:
    """The streams. `places` lists the processors of now; `told` hears in a sentence of what changed."""

    def __init__(
        self, places: Callable[[], Awaitable[Sequence[Place]]], wanted: Wanted, *, told: Callable[[str], None]
    ) -> None:
        self._places, self._wanted, self._told = places, wanted, told
        self._queue: asyncio.Queue[Came | Exception] = asyncio.Queue(WAITING)
        self._known: dict[str, _Known] = {}
        self._seen: OrderedDict[Any, None] = OrderedDict()
        self._count = -1
        self._ever = False
        self._broke = asyncio.Event()
        self.skipped = 0
        self.malformed = 0

    async def events(self) -> AsyncGenerator[Came, None]:
        """Everything that comes, until whoever reads ends it. Raises Stop when nothing can come."""
        looking = asyncio.ensure_future(self._look())
        try:
            while True:
                event = await self._queue.get()
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            tasks = [looking, *(each.task for each in self._known.values())]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self) -> None:
        """Keep a reader for every processor that is there."""
        now: dict[str, Place] | None
        while True:
            try:
                now = {f"{each.name} {each.process}": each for each in await self._places()}
            except Stop as stop:
                if not self._known:
                    await self._queue.put(stop)
                    return
                now = None  # the API is away: streams that run go on
            if now is not None:
                for key in [key for key in self._known if key not in now]:
                    self._known.pop(key).task.cancel()
                for key, place in now.items():
                    if key not in self._known:
                        self._known[key] = _Known(place, asyncio.ensure_future(self._read(key, place)))
            self._broke.clear()
            await happened(self._broke, within=LOOK_EVERY)

    async def _read(self, key: str, place: Place) -> None:
        """Read one processor for ever."""
        await asyncio.sleep(0)
        known = self._known[key]
        backoff = Backoff(RetryPolicy(SECOND // 2, 10 * SECOND), uniform=random.random)
        while True:
            try:
                async with place.open() as port, new_channel(f"127.0.0.1:{port}", tls=None) as channel:
                    stub = stubs.SubscriberStub(channel)
                    async with asyncio.TaskGroup() as group:
                        for kind in self._wanted.kinds:
                            group.create_task(self._stream(known, stub, kind, backoff))
            except* Stop as found:
                known.fault = _first(found)
            except* RpcError as found:
                known.fault = refusal(_first(found), place.name)
            except* Exception as found:  # a bug: whoever reads shall know
                await self._queue.put(_first(found))
            was, known.listening, known.tried = known.listening, False, True
            if was:
                self._told(f"{place.name}: the connection broke; trying again")
                self._broke.set()
            self._tell()
            await self._give_up()
            await asyncio.sleep(backoff.next_ns() / SECOND)

    async def _stream(self, known: _Known, stub: Any, kind: Kind, backoff: Backoff) -> None:
        request = pb.StreamRequest(selection=self._wanted.selection, resume=known.positions.get(kind, ""))
        call = getattr(stub, _CALLS[kind])(request)
        try:
            async with asyncio.timeout(ANSWER_WITHIN):
                headers = await call.initial_metadata()
        except TimeoutError:
            raise BadInput(f"{known.place.name} does not answer") from None
        if SUBSCRIBED not in headers and (early := await _refused(call)):
            raise early
        known.listening = known.tried = self._ever = True
        known.fault = None
        backoff.worked()
        self._tell()
        async for event in call:
            known.positions[kind] = event.position
            self.skipped += event.skipped
            if (came := self._came(kind, known.place.name, event)) is not None:
                await self._queue.put(came)
        raise BadInput(f"{known.place.name} ended the stream")

    def _came(self, kind: Kind, place: str, event: Any) -> Came | None:
        if kind == "packets":
            try:
                batch = decode(event.parcel.SerializeToString())
            except MalformedParcel:
                self.malformed += 1
                return None
            if not isinstance(batch, Batch) or not self._fresh((kind, batch.sensor, batch.identity)):
                return None
            return Came(kind, place, batch, ())
        rows = [
            row_of(each) for each in event.records if self._fresh((kind, each.SerializeToString(deterministic=True)))
        ]
        return Came(kind, place, None, rows) if rows else None

    def _fresh(self, key: Any) -> bool:
        if key in self._seen:
            return False
        self._seen[key] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return True

    def _tell(self) -> None:
        """Say how many we hear, once all were tried and whenever that changes."""
        count = sum(each.listening for each in self._known.values())
        if all(each.tried for each in self._known.values()) and count != self._count:
            self._count = count
            if count:
                self._told(f"listening to {count} of {len(self._known)} processors")

    async def _give_up(self) -> None:
        """End when nobody was ever heard and all failed, or somebody says that we may not."""
        everybody = list(self._known.values())
        refused = next((each.fault for each in everybody if isinstance(each.fault, NotPermitted)), None)
        never = not self._ever and all(each.tried and each.fault for each in everybody)
        if refused is not None or never:
            why = refused or next(each.fault for each in everybody if each.fault)
            await self._queue.put(why)


async def _refused(call: Any) -> Stop | None:
    """Why a call whose headers are empty has ended: that is told after them, on a slow machine noticeably."""
    try:
        async with asyncio.timeout(ANSWER_WITHIN):
            code = await call.code()
    except TimeoutError:
        return None
    return None if code is StatusCode.OK else refusal_of(code, await call.details(), "the processor")


def refusal(error: Any, name: str) -> Stop:
    """What a processor answered, as a Stop."""
    return refusal_of(error.code(), error.details(), name)


def refusal_of(code: Any, details: str, name: str) -> Stop:
    """The same of its parts."""
    if code in _REFUSED:
        return NotPermitted(f"{name} refuses you: {details}", notes=("ask for rights in that namespace",))
    advice = "is it ready? kubectl get pods -A -l app.kubernetes.io/name=packhound"
    return BadInput(f"{name} cannot be reached: {details}", notes=(advice,))


def _first(group: BaseExceptionGroup[Any]) -> Any:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found


async def ask(places: Sequence[Place], call: str, request: Any) -> tuple[dict[str, Any], dict[str, Stop]]:
    """One question to every processor: answers by its name, and why there is none."""
    answers: dict[str, Any] = {}
    faults: dict[str, Stop] = {}

    async def one(place: Place) -> None:
        try:
            async with place.open() as port, new_channel(f"127.0.0.1:{port}", tls=None) as channel:
                answers[place.name] = await getattr(stubs.SubscriberStub(channel), call)(request, timeout=ANSWER_WITHIN)
        except RpcError as error:
            faults[place.name] = refusal(error, place.name)
        except Stop as stop:
            faults[place.name] = stop

    async with asyncio.TaskGroup() as group:
        for each in places:
            group.create_task(one(each))
    return answers, faults


def row_of(record: Any) -> dict[str, Any]:
    """A record as a row under registry names."""
    return {name: _value(datum) for name, datum in sorted(record.fields.items())}


def _value(datum: Any) -> Any:
    kind = datum.WhichOneof("is")
    if kind is None:
        return None
    value = getattr(datum, kind)
    return [_value(each) for each in value.values] if kind == "list" else value
