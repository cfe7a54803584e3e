"""The sender, driven at random over a link that fails in every way, in time that is made up: once the far side is well
again everything is delivered within a bounded time, and at once when it shows that it lives."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.kit.tasks import happened
from packhound.sensor.flowcontrol import LONGEST_PAUSE, SECOND, FlowControl
from packhound.sensor.link.base import Accepted, LinkState, Pause, Receipt, Unreachable
from packhound.sensor.parcel import PACKETS, Parcel
from packhound.sensor.sender import LOOK_AGAIN, Sender

PARCELS = 30
TIMEOUT = 30.0
BREAKER, BACKOFF = 30.0, 60.0
LONGEST = TIMEOUT + BREAKER + BACKOFF + LONGEST_PAUSE / SECOND + 10 * LOOK_AGAIN
FAULTS = ("fine", "silent", "late", "broken", "pause", "long pause", "cut")


class MadeUpTime(asyncio.SelectorEventLoop):
    """Time passes only when there is nothing else to do, and then at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # type: ignore[attr-defined]
            self.now = max(self.now, self._scheduled[0].when())  # type: ignore[attr-defined]
        super()._run_once()  # type: ignore[misc]


class Backlog:
    """A spool in memory."""

    def __init__(self) -> None:
        self.waiting = [Parcel(n, PACKETS, 1, 0, n, 1, False, b"") for n in range(1, PARCELS + 1)]
        self.out: dict[int, Parcel] = {}
        self.empty = asyncio.Event()

    def __len__(self) -> int:
        return len(self.waiting) + len(self.out)

    @property
    def ready(self) -> bool:
        return bool(self.waiting)

    def next(self, count: int) -> list[Parcel]:
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        self.out.update({each.number: each for each in taken})
        return taken

    def done(self, number: int) -> None:
        del self.out[number]
        if not len(self):
            self.empty.set()

    def again(self, number: int) -> None:
        self.waiting = sorted([*self.waiting, self.out.pop(number)], key=lambda each: each.number)


class BadLink:
    """Does to each send what `script` says, then nothing bad any more."""

    def __init__(self, loop: MadeUpTime, script: list[str], *, window: int) -> None:
        self._loop, self._script, self.window = loop, script, window
        self.state, self.answers = LinkState.OPEN, 0
        self.well_since = 0.0

    async def send(self, parcel: Parcel) -> Receipt:
        if self.state is not LinkState.OPEN:
            raise Unreachable("away")
        what = self._script.pop(0) if self._script else "fine"
        try:
            return await self._do(what)
        finally:
            if what != "fine":
                self.well_since = max(self.well_since, self._loop.now)

    async def _do(self, what: str) -> Receipt:
        if what in ("silent", "late"):
            if what == "late":
                self._loop.call_later(TIMEOUT + 3, self._answer)
            await asyncio.sleep(TIMEOUT)
            raise Unreachable("no answer in time")
        if what == "broken":
            raise Unreachable("broken")
        if what == "cut":
            self.state = LinkState.AWAY
            self._loop.call_later(7, self._back)
            raise Unreachable("cut")
        await asyncio.sleep(0.01)
        self._answer()
        if what == "fine":
            return Accepted()
        return Pause(LONGEST_PAUSE * 3 if what == "long pause" else SECOND, what)

    def _answer(self) -> None:
        self.answers += 1

    def _back(self) -> None:
        self.state = LinkState.OPEN
        self.well_since = max(self.well_since, self._loop.now)


def in_made_up_time(work: Callable[[MadeUpTime], Coroutine[Any, Any, Any]]) -> Any:
    loop = MadeUpTime()
    try:
        return loop.run_until_complete(work(loop))
    finally:
        loop.close()


async def delivered(loop: MadeUpTime, script: list[str], *, window: int = 8, seed: int = 0) -> float:
    """Deliver everything; how long it took since all was well."""
    backlog, link = Backlog(), BadLink(loop, list(script), window=window)
    control = FlowControl(uniform=random.Random(seed).random)
    sender = Sender(backlog, link, control=control, clock=lambda: round(loop.now * SECOND))  # type: ignore[arg-type]
    task = loop.create_task(sender.run())
    deadline = (len(script) + 1) * (LONGEST + TIMEOUT)
    await happened(backlog.empty, within=deadline)
    took = loop.now - link.well_since
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert not len(backlog), f"stalled with {len(backlog)} left"
    return took


@settings(max_examples=150, deadline=None)
@given(script=st.lists(st.sampled_from(FAULTS), max_size=40), window=st.integers(1, 16), seed=st.integers(0, 1000))
def test_a_pair_that_is_well_again_exchanges_everything(script: list[str], window: int, seed: int) -> None:
    assert in_made_up_time(lambda loop: delivered(loop, script, window=window, seed=seed)) < LONGEST


def test_five_time_outs_cost_nothing_once_the_far_side_answers_late() -> None:
    took = in_made_up_time(lambda loop: delivered(loop, ["late"] * 8))
    assert took < 3 + 5 * LOOK_AGAIN, "from the late answers on, not from the end of the breaker"


def test_five_time_outs_of_a_far_side_that_is_dead_are_waited_out() -> None:
    assert in_made_up_time(lambda loop: delivered(loop, ["silent"] * 8)) >= BREAKER
