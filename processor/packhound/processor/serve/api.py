"""The subscribers' API over gRPC: `packhound.wire.v1.Subscriber`.

Promise: nobody is served who is not known by certificate or token; each caller sees what filters of its namespaces
took, nothing else. Text from the wire is sanitised, other than in packets themselves. One asyncio loop.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from packhound.kit.rpc import StatusCode, bearer, peer_name
from packhound.net.sanitise import printable
from packhound.processor.serve.feed import Feed, Kind, Missed, View
from packhound.wire.codec import encode
from packhound.wire.v1 import events_pb2 as pb
from packhound.wire.v1 import events_pb2_grpc as stubs
from packhound.wire.v1 import packets_pb2

MAX_SUBSCRIBERS = 256
SUBSCRIBED = "packhound-subscribed"  #: header of a stream that was begun; a call that was refused has none


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: `namespaces` whose filters may be seen, None for all of them."""

    name: str
    namespaces: frozenset[str] | None = None


class Answers(Protocol):
    """What the processor knows of its fleet."""

    def filters(self, view: View) -> pb.ListFiltersReply:
        """Filters in force."""

    def sensors(self, node: str) -> list[pb.SensorStatus]:
        """Sensors that were heard; of one node when it is named."""

    def topology(self) -> pb.TopologyReply:
        """Who is there and owns what."""

    def status(self) -> pb.StatusReply:
        """How this processor is."""


Authorise = Callable[[Any], Awaitable[Caller | None]]


def authorised_by(
    *, tls: bool, token: Callable[[str], bool], review: Callable[[str], Awaitable[Caller | None]] | None = None
) -> Authorise:
    """Who may call: whoever shows a certificate (it was verified), a token that `token` knows, or one that `review`
    (of the cluster) knows. Without TLS, which is loopback, everybody on this host may, unless a token is shown that
    nobody knows."""

    async def authorise(context: Any) -> Caller | None:
        name, shown = peer_name(context), bearer(context)
        if shown:
            if token(shown):
                return Caller("token")
            return await review(shown) if review is not None else None
        if name:
            return Caller(name)
        return None if tls else Caller("local")

    return authorise


class SubscriberApi(stubs.SubscriberServicer):
    """The service."""

    def __init__(self, feed: Feed, *, answers: Answers, authorise: Authorise) -> None:
        self._feed, self._answers, self._authorise = feed, answers, authorise
        self.refused = 0

    async def _caller(self, context: Any) -> Caller:
        caller = await self._authorise(context)
        if caller is None:
            self.refused += 1
            await context.abort(StatusCode.UNAUTHENTICATED, "show a client certificate or a token")
        assert caller is not None
        return caller

    async def _view(self, selection: pb.Selection, context: Any) -> View:
        caller = await self._caller(context)
        if caller.namespaces is not None and selection.namespace and selection.namespace not in caller.namespaces:
            await context.abort(StatusCode.PERMISSION_DENIED, f"namespace {selection.namespace} is not yours")
        return View(frozenset(selection.filters), selection.namespace, selection.node, caller.namespaces)

    async def _events(self, kind: Kind, request: pb.StreamRequest, context: Any) -> AsyncIterator[Missed]:
        view = await self._view(request.selection, context)
        if request.resume and not request.resume.isdecimal():
            await context.abort(StatusCode.INVALID_ARGUMENT, "resume: the position of an event of this processor")
        if len(self._feed) >= MAX_SUBSCRIBERS:
            await context.abort(StatusCode.RESOURCE_EXHAUSTED, f"there are {MAX_SUBSCRIBERS} subscribers already")
        await context.send_initial_metadata(((SUBSCRIBED, kind),))
        subscription = self._feed.subscribe(kind, view, after=int(request.resume) if request.resume else None)
        try:
            while True:
                yield await subscription.next()
        finally:
            self._feed.end(subscription)

    async def StreamPackets(  # noqa: N802 - the names of the calls in the .proto
        self, request: pb.StreamRequest, context: Any
    ) -> AsyncIterator[pb.PacketsEvent]:
        """Packets as they come."""
        async for event, skipped in self._events("packets", request, context):
            assert event.batch is not None
            parcel = packets_pb2.Envelope.FromString(encode(event.batch))
            yield pb.PacketsEvent(position=str(event.number), parcel=parcel, skipped=skipped)

    async def StreamFlows(  # noqa: N802
        self, request: pb.StreamRequest, context: Any
    ) -> AsyncIterator[pb.RecordsEvent]:
        """Flows as they end."""
        async for found in self._events("flows", request, context):
            yield _records(found)

    async def StreamCalls(  # noqa: N802
        self, request: pb.StreamRequest, context: Any
    ) -> AsyncIterator[pb.RecordsEvent]:
        """Calls as they end."""
        async for found in self._events("calls", request, context):
            yield _records(found)

    async def ListFilters(self, request: pb.ListFiltersRequest, context: Any) -> pb.ListFiltersReply:  # noqa: N802
        """Filters in force, and how they do."""
        return self._answers.filters(await self._view(request.selection, context))

    async def ListSensors(self, request: pb.ListSensorsRequest, context: Any) -> pb.ListSensorsReply:  # noqa: N802
        """Sensors that were heard."""
        view = await self._view(request.selection, context)
        return pb.ListSensorsReply(sensors=self._answers.sensors(view.node))

    async def Topology(self, request: pb.TopologyRequest, context: Any) -> pb.TopologyReply:  # noqa: N802
        """Who is there and owns what."""
        await self._caller(context)
        return self._answers.topology()

    async def Status(self, request: pb.StatusRequest, context: Any) -> pb.StatusReply:  # noqa: N802
        """How this processor is."""
        await self._caller(context)
        return self._answers.status()


def _records(found: Missed) -> pb.RecordsEvent:
    records = [pb.Record(fields={name: datum for name, value in row.items() if (datum := _datum(value)) is not None})
               for row in found.event.rows]  # fmt: skip
    return pb.RecordsEvent(position=str(found.event.number), records=records, skipped=found.skipped)


def _datum(value: Any) -> pb.Datum | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return pb.Datum(truth=value)
    if isinstance(value, int):
        return pb.Datum(integer=value) if -(1 << 63) <= value < 1 << 63 else pb.Datum(natural=value % (1 << 64))
    if isinstance(value, float):
        return pb.Datum(real=value)
    if isinstance(value, str):
        return pb.Datum(text=printable(value))
    if isinstance(value, Mapping):
        value = [f"{key}={each}" for key, each in value.items()]
    return pb.Datum(list=pb.Data(values=[each for each in map(_datum, value) if each is not None]))
