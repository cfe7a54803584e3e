"""gRPC streams as a source of parcels: what sensors deliver, for the worker's thread; its answers, for the loop.

Promise: as `worker.Source`. A parcel is answered once it is settled; one of a shard that is not ours, or that was given
back, is answered with a pause, so that the sensor keeps it. Bounded by the credits that sensors were given.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Sequence
from typing import Any

from packhound.processor.intake.delivery import Backlog, Delivery
from packhound.processor.intake.grpc import Never, Safe
from packhound.wire.codec import decode
from packhound.wire.envelope import Header, MalformedParcel

MAX_WAITING = 4096


class StreamSource:
    """Joins the loop of `GrpcIntake` (give it `deliver`) and the worker."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: queue.Queue[tuple[Delivery, asyncio.Future[Safe | Never]]] = queue.Queue(MAX_WAITING)
        self._shards: set[int] = set()
        self._lock = threading.Lock()
        self._since: dict[asyncio.Future[Safe | Never], tuple[float, int]] = {}
        self.lag = 0  # nobody keeps parcels for us but the sensors themselves
        self.malformed = 0

    async def deliver(self, header: Header, data: bytes) -> Safe | Never:
        """Hand a parcel to the worker; answers when it is settled."""
        try:
            parcel = await asyncio.to_thread(decode, data)
        except MalformedParcel as bad:
            self.malformed += 1
            return Never("malformed_batch", bad.reason)
        answer: asyncio.Future[Safe | Never] = self._loop.create_future()
        delivery = Delivery(header.shard, parcel, answer, traceparent=header.traceparent)
        self._since[answer] = time.monotonic(), len(data)
        try:
            while True:
                try:
                    self._waiting.put_nowait((delivery, answer))
                    break
                except queue.Full:
                    await asyncio.sleep(0.05)
            return await answer
        finally:
            del self._since[answer]

    def backlog(self) -> Backlog:
        """What was brought and is not settled. Any thread."""
        held = list(self._since.values())
        oldest = time.monotonic() - held[0][0] if held else 0.0
        return Backlog(len(held), sum(size for _, size in held), oldest)

    # the worker's side -----------------------------------------------------------------------------------------------

    def open(self, shard: int) -> None:
        """Take parcels of a shard."""
        with self._lock:
            self._shards.add(shard)

    def close(self, shard: int) -> None:
        """Take no more of a shard; what waits of it waits on."""
        with self._lock:
            self._shards.discard(shard)

    def take(self, count: int, timeout: float) -> Sequence[Delivery]:
        """Up to `count` parcels of shards that are open."""
        found: list[Delivery] = []
        later = []
        deadline = time.monotonic() + timeout
        while len(found) < count:
            try:
                left = 0.0 if found else max(0.0, deadline - time.monotonic())
                each = self._waiting.get(timeout=left) if left else self._waiting.get_nowait()
            except queue.Empty:
                break
            if each[0].shard in self._shards:
                found.append(each[0])
            else:
                later.append(each)
        for each in later:
            self._waiting.put(each)
        if later and not found:
            time.sleep(min(0.05, timeout))
        return found

    def settle(self, handles: Sequence[Any]) -> None:
        """Answer the sensors."""
        if handles:
            self._loop.call_soon_threadsafe(_answer, list(handles))

    def hold(self) -> None:
        """Sensors wait for their answers by themselves."""

    @property
    def caught_up(self) -> bool:
        """Nothing waits."""
        return self._waiting.empty()


def _answer(handles: Sequence[asyncio.Future[Safe | Never]]) -> None:
    for each in handles:
        if not each.done():
            each.set_result(Safe())
