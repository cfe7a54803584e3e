"""Parcels from JetStream: the consumers of the shards that are ours, as a source for the worker's thread.

Promise: as `worker.Source`. A message is acknowledged once its parcel is settled, and while it waits for that the
broker is told that somebody works on it; what was not settled when a shard goes is given back at once. What is no
parcel, or one that claims to be another node's, goes to the dead letters and is never delivered again. Bounded in
messages and bytes. Everything of the bus happens on its loop.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from typing import Any

from packhound.kit.bus import Away, Bus, BusError, Denied, Pull, Pulled, Rejected
from packhound.processor.intake.delivery import Backlog, Delivery
from packhound.wire.codec import decode
from packhound.wire.envelope import MAX_PARCEL, MalformedParcel
from packhound.wire.subjects import KIND, ORIGIN, REASON, TRACEPARENT, Subjects

FETCH, FETCH_BYTES = 64, 8 << 20
HELD_BYTES = 64 << 20  #: of messages that came and nobody took yet
WITHIN = 1.0
WORKING_EVERY = 10.0
LAG_EVERY = 5.0


class NatsSource:
    """The source of processor `node`. Make it on the loop of `bus`."""

    def __init__(self, bus: Bus, names: Subjects, *, node: str, loop: asyncio.AbstractEventLoop) -> None:
        self._bus, self._names, self._node, self._loop = bus, names, node, loop
        self._changed = threading.Condition()
        self._waiting: deque[tuple[int, Pulled]] = deque()
        self._bytes = 0
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._outstanding: dict[int, dict[int, Pulled]] = {}
        self._quiet: set[int] = set()
        self._room = asyncio.Event()
        self._room.set()
        self.lag = 0
        self.malformed = 0
        self._side = [loop.create_task(self._keep_working()), loop.create_task(self._measure())]

    def _do(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run `work` on the loop, from the worker's thread."""
        if self._loop.is_closed():
            work.close()
        else:
            asyncio.run_coroutine_threadsafe(work, self._loop)

    # the worker's side -----------------------------------------------------------------------------------------------

    def open(self, shard: int) -> None:
        """Bring the parcels of a shard."""
        self._do(self._open(shard))

    def close(self, shard: int) -> None:
        """Bring no more of a shard; give back what was not settled."""
        self._do(self._close(shard))

    def take(self, count: int, timeout: float) -> Sequence[Delivery]:
        """Up to `count` parcels, in the order in which they came."""
        found: list[Delivery] = []
        with self._changed:
            self._changed.wait_for(lambda: self._waiting, timeout)
            lot = [self._waiting.popleft() for _ in range(min(count, len(self._waiting)))]
            self._bytes -= sum(len(message.data) for _, message in lot)
            freed = self._bytes < HELD_BYTES
        if freed and lot and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._room.set)
        for shard, message in lot:
            delivery = self._read(shard, message)
            if delivery is not None:
                found.append(delivery)
        return found

    def _read(self, shard: int, message: Pulled) -> Delivery | None:
        subject = self._names.parse_packets(message.subject)
        try:
            if subject is None or subject.shard != shard:
                raise MalformedParcel("subject is not that of a parcel of this shard")
            parcel = decode(message.data, limit=MAX_PARCEL)
            if parcel.sensor != subject.node or parcel.shard != shard:
                raise MalformedParcel("parcel is not of the node and shard of its subject")
        except MalformedParcel as bad:
            self.malformed += 1
            self._do(self._bury(shard, message, bad.reason))
            return None
        return Delivery(shard, parcel, (shard, message), redelivered=message.delivered > 1,
                        traceparent=message.headers.get(TRACEPARENT, parcel.traceparent))  # fmt: skip

    def settle(self, handles: Sequence[Any]) -> None:
        """Acknowledge."""
        if handles:
            self._do(self._ack(list(handles)))

    def hold(self) -> None:
        """Nothing can be settled now: the broker hears of it every few seconds anyway."""

    @property
    def caught_up(self) -> bool:
        """Every shard was asked and had nothing, and nothing waits here."""
        with self._changed:
            return self._bus.connected and not self._waiting and self._quiet >= set(self._tasks)

    def backlog(self) -> Backlog:
        """What was brought and is not settled. Any thread."""
        held = [list(each.values()) for each in list(self._outstanding.values())]
        oldest = min((each[0].at for each in held if each), default=None)
        return Backlog(
            sum(map(len, held)), sum(len(message.data) for each in held for message in each),
            0.0 if oldest is None else time.monotonic() - oldest,
        )  # fmt: skip

    # on the loop -----------------------------------------------------------------------------------------------------

    async def _open(self, shard: int) -> None:
        if shard not in self._tasks:
            self._outstanding.setdefault(shard, {})
            self._tasks[shard] = self._loop.create_task(self._fetch(shard), name=f"shard {shard}")

    async def _close(self, shard: int) -> None:
        task = self._tasks.pop(shard, None)
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        with self._changed:
            kept = [each for each in self._waiting if each[0] != shard]
            self._waiting.clear()
            self._waiting.extend(kept)
            self._bytes = sum(len(message.data) for _, message in kept)
        self._quiet.discard(shard)
        self._room.set()
        for message in list(self._outstanding.pop(shard, {}).values()):
            await message.nak()

    async def _renew(self, shard: int) -> None:
        """Have brought to us at once, and in order, what the shard's last processor did not settle: the broker would
        wait for it first. Whatever it acknowledges late was settled. Raises BusError."""
        where = f"{self._names.packets_stream}.{self._names.consumer(shard)}"
        info = await self._bus.api(f"CONSUMER.INFO.{where}")
        if not info.get("num_ack_pending"):
            return
        config = info["config"]
        await self._bus.api(f"CONSUMER.DELETE.{where}")
        wanted = {"stream_name": self._names.packets_stream, "config": config, "action": ""}
        await self._bus.api(f"CONSUMER.CREATE.{where}.{config['filter_subject']}", wanted)

    async def _fetch(self, shard: int) -> None:
        pull = Pull(self._bus, self._names.packets_stream, self._names.consumer(shard))
        renewed = False
        try:
            while True:
                await self._bus.ready()
                await self._room.wait()
                try:
                    if not renewed:
                        with suppress(Denied, Rejected):  # not there yet, or not ours to change: then it takes longer
                            await self._renew(shard)
                        renewed = True
                    lot = await pull.fetch(FETCH, size=FETCH_BYTES, within=WITHIN)
                except Away:  # the broker, or the consumer until somebody makes it again
                    await asyncio.sleep(0.3)
                    continue
                except BusError:
                    await asyncio.sleep(1.0)
                    continue
                self._came(shard, lot)
        finally:
            await pull.close()

    def _came(self, shard: int, lot: Sequence[Pulled]) -> None:
        if not lot:
            self._quiet.add(shard)
            return
        self._quiet.discard(shard)
        self._outstanding.setdefault(shard, {}).update({each.sequence: each for each in lot})
        with self._changed:
            self._waiting.extend((shard, message) for message in lot)
            self._bytes += sum(len(message.data) for message in lot)
            if self._bytes >= HELD_BYTES:
                self._room.clear()
            self._changed.notify_all()

    async def _ack(self, handles: Sequence[tuple[int, Pulled]]) -> None:
        for shard, message in handles:
            self._outstanding.get(shard, {}).pop(message.sequence, None)
            await message.ack()

    async def _bury(self, shard: int, message: Pulled, reason: str) -> None:
        headers = {REASON: reason, ORIGIN: message.subject}
        headers |= {name: message.headers[name] for name in (KIND, TRACEPARENT) if name in message.headers}
        try:
            await self._bus.store(self._names.dead(self._node), message.data, headers)
        except BusError:
            await message.nak(1_000_000_000)
            return
        self._outstanding.get(shard, {}).pop(message.sequence, None)
        await message.term()

    async def _keep_working(self) -> None:
        """Tell the broker of every message that is not settled yet."""
        while True:
            await asyncio.sleep(WORKING_EVERY)
            for messages in list(self._outstanding.values()):
                for message in list(messages.values()):
                    await message.in_progress()

    async def _measure(self) -> None:
        """How much waits in the broker for us."""
        while True:
            await asyncio.sleep(LAG_EVERY)
            total = 0
            try:
                for shard in list(self._tasks):
                    subject = f"$JS.API.CONSUMER.INFO.{self._names.packets_stream}.{self._names.consumer(shard)}"
                    answer = await self._bus.request(subject, b"", within=2.0)
                    total += int(json.loads(answer.data).get("num_pending", 0))
            except (BusError, ValueError):
                continue
            self.lag = total

    async def end(self) -> None:
        """Give everything back."""
        for each in self._side:
            each.cancel()
        await asyncio.gather(*self._side, return_exceptions=True)
        for shard in list(self._tasks):
            await self._close(shard)
        await self._bus.flush()

