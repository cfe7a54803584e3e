"""The link over NATS JetStream: a parcel is accepted when the fleet's stream has stored it.

Promise: as `base.Link`. Parcels of a shard go to the subject of that shard and this node; the identity of a parcel is
its `Nats-Msg-Id`, so a parcel sent twice within the stream's window is stored once. A full stream, and a stream that
is not there (a broker that came back empty), are pauses, never losses.
"""

from __future__ import annotations

import asyncio

from packhound.kit.bus import Bus, BusSettings, BusState, Full, Outcome, Refused, Stored, Unreachable
from packhound.sensor.link import base
from packhound.sensor.link.base import Accepted, LinkState, Pause, Receipt
from packhound.sensor.parcel import Parcel
from packhound.wire.batch import BatchId
from packhound.wire.subjects import KIND, MESSAGE_ID, TRACEPARENT, Subjects, message_id

SECOND = 1_000_000_000
FULL_NS = SECOND // 2
NO_STREAM_NS = SECOND // 2
_STATES = {BusState.CONNECTED: LinkState.OPEN, BusState.AWAY: LinkState.AWAY, BusState.CLOSED: LinkState.CLOSED}


class NatsLink:
    """A link of `node`. Either makes a bus of its own from settings, or shares one that its maker opens and closes."""

    def __init__(self, bus: Bus | BusSettings, names: Subjects, *, node: str) -> None:
        self._names, self._node = names, node
        self._shared = isinstance(bus, Bus)
        self._bus = bus if isinstance(bus, Bus) else None
        self._settings = bus.settings if isinstance(bus, Bus) else bus
        self._closed = False
        self._waiting: set[asyncio.Future[Outcome]] = set()

    @property
    def window(self) -> int:
        return self._settings.window

    @property
    def state(self) -> LinkState:
        return LinkState.CLOSED if self._bus is None or self._closed else _STATES[self._bus.state]

    @property
    def answers(self) -> int:
        return self._bus.answers if self._bus is not None else 0

    @property
    def reason(self) -> str:
        """Why the broker is away, in its or the system's words."""
        return self._bus.reason if self._bus is not None else ""

    async def open(self) -> None:
        self._closed = False
        if self._bus is None:
            self._bus = await Bus.connect(self._settings)

    async def send(self, parcel: Parcel) -> Receipt:
        if self._bus is None or self._closed:
            raise base.Unreachable("the link is closed")
        identity = BatchId(*parcel.identity)
        headers = {MESSAGE_ID: message_id(identity), KIND: parcel.kind}
        if parcel.traceparent:
            headers[TRACEPARENT] = parcel.traceparent
        answer = await self._bus.publish(self._names.packets(parcel.shard, self._node), parcel.data, headers)
        self._waiting.add(answer)
        try:
            outcome = await answer
        finally:
            self._waiting.discard(answer)
        match outcome:
            case Stored(duplicate=duplicate):
                return Accepted(duplicate)
            case Full(reason):
                return Pause(FULL_NS, f"the stream is full: {reason}")
            case Refused("no_stream", reason):
                return Pause(NO_STREAM_NS, reason)
            case Refused(_, reason):
                return base.Refused(reason)
        raise base.Unreachable(outcome.reason)

    async def close(self) -> None:
        self._closed = True
        for answer in self._waiting:
            if not answer.done():
                answer.set_result(Unreachable("the link was closed"))
        if self._bus is not None and not self._shared:
            await self._bus.close()
            self._bus = None
