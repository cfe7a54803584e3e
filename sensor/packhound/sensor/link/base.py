"""What every link does: takes a parcel, says what the far side answered.

Promise: `send` returns once the far side has answered for this very parcel, raises Unreachable when it cannot tell
(the parcel may or may not have arrived: sending it again is right, the far side drops duplicates). A link never
queues, never retries, never drops: one call is one attempt. It finds its way back to the far side by itself, for
ever. One asyncio loop; up to `window` calls of `send` at once, in any order of answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from packhound.sensor.parcel import Parcel


class LinkState(Enum):
    """`OPEN`: parcels go out; `AWAY`: looking for the far side; `CLOSED`: not opened yet, or closed for good."""

    OPEN = "open"
    AWAY = "away"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The far side keeps the parcel. `duplicate`: it had it already."""

    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    """Not taken for now: come again `after_ns` later, or sooner when told so. `reason` is a sentence of ours."""

    after_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Never taken, however often it is sent; a `lost` parcel has to stand in for it. `cause` as in the books."""

    reason: str
    cause: str = "broker_refused"


Receipt = Accepted | Pause | Refused


class Unreachable(Exception):
    """Nobody answered: connection lost or not there, or no answer in time. The parcel has to be sent again."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Link(Protocol):
    """A way to the processors. `open` returns at once when the far side is away: `state` says when it is there."""

    @property
    def window(self) -> int:
        """How many parcels may wait for their answer at once; may change while the link is open."""

    @property
    def state(self) -> LinkState:
        """Whether parcels go out now."""

    @property
    def answers(self) -> int:
        """How many answers ever came, those that nobody waited for any more among them: a sign of life."""

    async def open(self) -> None:
        """Begin; raises `packhound.kit.errors.Stop` for what can never work (bad settings, unreadable files)."""

    async def send(self, parcel: Parcel) -> Receipt:
        """One attempt. Raises Unreachable."""

    async def close(self) -> None:
        """End; whoever waits in `send` gets Unreachable. Twice is no error."""
