"""How fast to send: go on, slow down, pause, and when to try again.

Promise: pure; the clock is injected (ns, monotonic), randomness too. Whatever happened, `wait_ns` is finite: a healthy
pair that has something to exchange always comes to exchange it. One thread at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from packhound.kit.breaker import Breaker, BreakerSettings, State
from packhound.kit.retry import Backoff, RetryPolicy, Uniform

SECOND = 1_000_000_000
MILLISECOND = 1_000_000
LONGEST_PAUSE = 30 * SECOND
SLOW_FOR = 2 * SECOND


class Pace(Enum):
    """`CONTINUE`: the whole window; `SLOW`: a part of it; `PAUSE`: nothing for now."""

    CONTINUE = "continue"
    SLOW = "slow"
    PAUSE = "pause"


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """Breaker and backoff as in `packhound.kit`; `slow_window`: parcels on their way while slow."""

    breaker: BreakerSettings = field(default_factory=BreakerSettings)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    slow_window: int = 4


class FlowControl:
    """Ask `room` before sending; tell of every answer."""

    def __init__(self, settings: FlowSettings | None = None, *, uniform: Uniform) -> None:
        self._settings = settings or FlowSettings()
        self._breaker = Breaker(self._settings.breaker)
        self._backoff = Backoff(self._settings.retry, uniform=uniform)
        self._not_before = 0
        self._slow_until = 0
        self.pauses = self.failures = 0

    def pace(self, now: int) -> Pace:
        """How it stands."""
        if self.wait_ns(now):
            return Pace.PAUSE
        return Pace.SLOW if now < self._slow_until else Pace.CONTINUE

    def wait_ns(self, now: int) -> int:
        """How long nothing may be sent; 0: now it may."""
        return max(0, self._not_before - now, self._breaker.wait_ns(now))

    def broken(self, now: int) -> bool:
        """Whether so many failed in a row that hardly anything is tried."""
        return self._breaker.state(now) is not State.CLOSED

    def room(self, now: int, *, window: int, out: int) -> int:
        """How many parcels may be sent now, with `out` on their way and a link that takes `window` at once."""
        pace = self.pace(now)
        if pace is Pace.PAUSE:
            return 0
        if self.broken(now):
            return 0 if out or not self._breaker.allow(now) else 1
        return max(0, (min(window, self._settings.slow_window) if pace is Pace.SLOW else window) - out)

    def accepted(self) -> None:
        """A parcel was taken."""
        self._breaker.succeeded()
        self._backoff.worked()

    def paused(self, now: int, after_ns: int) -> None:
        """The far side asked to come again later."""
        self.pauses += 1
        self._breaker.succeeded()  # it speaks with us
        self._not_before = max(self._not_before, now + min(max(after_ns, MILLISECOND), LONGEST_PAUSE))
        self._slow_until = self._not_before + SLOW_FOR

    def resumed(self) -> None:
        """The far side says: go on; or a new connection is there."""
        self._not_before = 0

    def failed(self, now: int, began: int | None = None) -> None:
        """Nobody answered what was sent at `began`."""
        self.failures += 1
        self._breaker.failed(now, began)
        if now >= self._not_before:  # many parcels that fail together are one failure to wait for
            self._not_before = now + self._backoff.next_ns()
        self._slow_until = self._not_before + SLOW_FOR

    def unused(self) -> None:
        """There was room and nothing to send."""
        self._breaker.abandoned()

    def alive(self) -> None:
        """The far side answered something that was given up already: it was slow, it is not gone."""
        self.connected()

    def connected(self) -> None:
        """The link is open again: what was known of the old connection says nothing of the new one."""
        self._breaker.succeeded()
        self._backoff.worked()
        self._not_before = self._slow_until = 0
