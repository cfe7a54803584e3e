"""A link to a processor in the same process, with faults to order: the twin that tests hold the sender against.

Promise: as `link.base`. What was accepted is in `kept`, each parcel once; `faults` says what becomes of the next
sends: an answer, an exception, or `LOST_ANSWER` (it arrives, nobody says so).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from packhound.sensor.link.base import Accepted, LinkState, Receipt, Unreachable
from packhound.sensor.parcel import Parcel

LOST_ANSWER = "lost answer"
Fault = Receipt | Unreachable | str | None


class MemoryLink:
    """Accepts everything that `fault` (asked once a send) has nothing against."""

    def __init__(self, *, window: int = 8, fault: Callable[[Parcel], Fault] = lambda _: None) -> None:
        self._window = window
        self._fault = fault
        self._state = LinkState.CLOSED
        self.kept: dict[tuple[int, int, int], Parcel] = {}
        self.arrivals: list[Parcel] = []
        self.now = self.most = self.answers = 0

    @property
    def window(self) -> int:
        """How many sends may be open."""
        return self._window

    @property
    def state(self) -> LinkState:
        """As it was set."""
        return self._state

    async def open(self) -> None:
        """Begin."""
        self._state = LinkState.OPEN

    def cut(self, *, away: bool) -> None:
        """Lose the far side, or find it again."""
        self._state = LinkState.AWAY if away else LinkState.OPEN

    async def send(self, parcel: Parcel) -> Receipt:
        """One attempt."""
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(0)
            return self._receive(parcel)
        finally:
            self.now -= 1

    def late(self) -> None:
        """Answer something that nobody waits for any more."""
        self.answers += 1

    def _receive(self, parcel: Parcel) -> Receipt:
        if self._state is not LinkState.OPEN:
            raise Unreachable("away")
        fault = self._fault(parcel)
        if isinstance(fault, Unreachable):
            raise fault
        if fault is not None and fault != LOST_ANSWER:
            assert not isinstance(fault, str)
            return fault
        duplicate = parcel.identity in self.kept
        if not duplicate:
            self.kept[parcel.identity] = parcel
            self.arrivals.append(parcel)
        if fault == LOST_ANSWER:
            raise Unreachable(LOST_ANSWER)
        return Accepted(duplicate)

    async def close(self) -> None:
        """End."""
        self._state = LinkState.CLOSED
