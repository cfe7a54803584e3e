"""From the spool over the link: oldest first, a window on the way, every parcel until it is answered.

Promise: a parcel is done only when the far side said so; whatever else happens it is handed out again. What is written
while an older backlog drains goes behind it. One asyncio loop; the spool may be filled from any thread.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from packhound.kit.tasks import happened
from packhound.kit.traces import OFF, Traces
from packhound.sensor.flowcontrol import SECOND, FlowControl, Pace
from packhound.sensor.link.base import Accepted, Link, LinkState, Pause, Receipt, Unreachable
from packhound.sensor.parcel import Parcel
from packhound.sensor.spool import Spool

LOOK_AGAIN = 1.0


@dataclass(slots=True)
class Sent:
    """Counted since the start: parcels accepted, duplicates among them; those without an answer, told to come later,
    refused; packets accepted."""

    parcels: int = 0
    packets: int = 0
    duplicates: int = 0
    again: int = 0
    paused: int = 0
    refused: int = 0


class Sender:
    """Run `run` beside the rest; `wake` it when the spool has something new (through the loop, from other threads)."""

    def __init__(
        self,
        spool: Spool,
        link: Link,
        *,
        control: FlowControl | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
        traces: Traces = OFF,
    ) -> None:
        self._spool, self._link, self._clock, self._traces = spool, link, clock, traces
        self.control = control or FlowControl(uniform=random.random)
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._was = LinkState.CLOSED
        self._answers = 0
        self.sent = Sent()
        self.last_refusal = ""

    def wake(self) -> None:
        """Something changed: look again."""
        self._changed.set()

    @property
    def pace(self) -> Pace:
        """Whether parcels go out, slowly or not at all."""
        return self.control.pace(self._clock())

    async def run(self) -> None:
        """Send until cancelled; what is on its way then is handed out again."""
        try:
            while True:
                self._changed.clear()
                wait = self._step()
                await happened(self._changed, within=wait)
        finally:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _step(self) -> float:
        """Send what there is room for; seconds until it is worth looking again without being woken."""
        now, state = self._clock(), self._link.state
        if state is LinkState.OPEN and self._was is not LinkState.OPEN:
            self.control.connected()
        self._was = state
        answers, self._answers = self._answers, self._link.answers
        if self._answers != answers and self.control.broken(now):
            self.control.alive()
        if state is not LinkState.OPEN:
            return 0.1
        if not self._spool.ready:
            return LOOK_AGAIN  # asking for room would use up the one try that a breaker gives
        room = self.control.room(now, window=self._link.window, out=len(self._tasks))
        parcels = self._spool.next(room) if room else []
        if room and not parcels:
            self.control.unused()
        for parcel in parcels:
            task = asyncio.create_task(self._one(parcel))
            self._tasks.add(task)
            task.add_done_callback(self._over)
        wait = self.control.wait_ns(now)
        return min(LOOK_AGAIN, wait / SECOND + 0.001) if wait else LOOK_AGAIN

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()

    async def _one(self, parcel: Parcel) -> None:
        settled, began = False, self._clock()
        try:
            if self._traces.enabled:
                receipt = await self._traced(parcel)
            else:
                receipt = await self._link.send(parcel)
            settled = True
            self._answered(parcel, receipt)
        except Unreachable:
            self.control.failed(self._clock(), began)
        except Exception as error:  # a bug in a link must neither stop delivery nor spin
            self.control.failed(self._clock(), began)
            self.last_refusal = f"send failed: {type(error).__name__}"
        finally:
            if not settled:
                self.sent.again += 1
                self._spool.again(parcel.number)

    async def _traced(self, parcel: Parcel) -> Receipt:
        """Send under a span, which goes with the parcel as its context."""
        with self._traces.span(
            "parcel.publish", parent=parcel.traceparent, kind="producer", packhound__shard=parcel.shard,
            packhound__sequence=parcel.sequence, packhound__packets=parcel.packets, packhound__kind=parcel.kind,
            packhound__bytes=len(parcel.data),
        ) as span:  # fmt: skip
            receipt = await self._link.send(replace(parcel, traceparent=span.traceparent))
            duplicate = isinstance(receipt, Accepted) and receipt.duplicate
            span.set(packhound__outcome="duplicate" if duplicate else type(receipt).__name__.lower())
            return receipt

    def _answered(self, parcel: Parcel, receipt: Receipt) -> None:
        if isinstance(receipt, Accepted):
            self.control.accepted()
            self.sent.parcels += 1
            self.sent.packets += parcel.packets
            self.sent.duplicates += receipt.duplicate
            self._spool.done(parcel.number)
        elif isinstance(receipt, Pause):
            self.sent.paused += 1
            self.control.paused(self._clock(), receipt.after_ns)
            self._spool.again(parcel.number)
        else:
            self.sent.refused += 1
            self.last_refusal = receipt.reason
            self._spool.lose(parcel.number, receipt.cause)

    async def drain(self, seconds: float) -> bool:
        """Go on (while `run` runs) until nothing waits, for at most `seconds`; tell whether that came about."""
        deadline = time.monotonic() + seconds
        while len(self._spool) and time.monotonic() < deadline:
            self.wake()
            await asyncio.sleep(0.02)
        return not len(self._spool)
