"""A circuit breaker: after so many failures in a row nobody tries for a while, then one does.

Promise: pure; `now` is any clock in ns that does not go back. It never locks for good: whoever was let through as a
probe and never came back is forgotten after `open_ns`, and then another one may try. One thread at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

SECOND = 1_000_000_000


class State(Enum):
    """`CLOSED`: all may try; `OPEN`: nobody; `HALF_OPEN`: as many as there are probes."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerSettings:
    """`failures` in a row that open it, `open_ns` that it stays open, `probes` that may try after that."""

    failures: int = 5
    open_ns: int = 30 * SECOND
    probes: int = 1

    def __post_init__(self) -> None:
        if self.failures < 1 or self.open_ns < 1 or self.probes < 1:
            raise ValueError("a breaker needs at least one failure, one probe and one nanosecond")


class Breaker:
    """Ask `allow` before every attempt; answer each one that was allowed with `succeeded`, `failed` or, when it ended
    without telling anything, `abandoned`."""

    def __init__(self, settings: BreakerSettings | None = None) -> None:
        self._settings = settings or BreakerSettings()
        self._failures = 0
        self._opened: int | None = None
        self._probes: list[int] = []
        self.opened = 0

    def state(self, now: int) -> State:
        """Where it stands at `now`."""
        if self._opened is None:
            return State.CLOSED
        return State.HALF_OPEN if now - self._opened >= self._settings.open_ns else State.OPEN

    def allow(self, now: int) -> bool:
        """Tell whether somebody may try; in the half-open state this takes a probe."""
        if self._opened is None:
            return True
        if self.wait_ns(now):
            return False
        self._forget(now)
        self._probes.append(now)
        return True

    def wait_ns(self, now: int) -> int:
        """How long until `allow` says yes again, as far as is known now; 0: it would now."""
        if self._opened is None:
            return 0
        closed = self._opened + self._settings.open_ns - now
        if closed > 0:
            return closed
        self._forget(now)
        if len(self._probes) < self._settings.probes:
            return 0
        return self._probes[0] + self._settings.open_ns - now

    def succeeded(self) -> None:
        """Note that an attempt worked: it closes, whatever it was."""
        self._failures = 0
        self._opened = None
        self._probes.clear()

    def failed(self, now: int, began: int | None = None) -> None:
        """Note that an attempt failed, which `began` at that time (None: it is the last that was allowed). Attempts
        from before it opened do not keep it open for longer."""
        if self._opened is None:
            self._failures += 1
            if self._failures >= self._settings.failures:
                self._open(now)
        elif self.state(now) is State.HALF_OPEN and (began is None or began > self._opened):
            self._open(now)

    def abandoned(self) -> None:
        """Note that an attempt ended without telling anything: its probe is free again."""
        if self._probes:
            self._probes.pop(0)

    def _open(self, now: int) -> None:
        self._opened = now
        self._probes.clear()
        self.opened += 1

    def _forget(self, now: int) -> None:
        while self._probes and now - self._probes[0] >= self._settings.open_ns:
            self._probes.pop(0)
