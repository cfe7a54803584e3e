"""How long to wait before trying again: exponential backoff with full jitter.

Promise: pure; randomness comes in as a function. A thousand clients that lose a server together come back spread over
the whole interval, and none of them in less than `floor_ns`. One thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

SECOND = 1_000_000_000
MILLISECOND = 1_000_000

Uniform = Callable[[], float]
"""A number from 0 up to 1, all alike: `random.random`."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The nth wait is between `floor_ns` and `first_ns` doubled n times, never above `most_ns`."""

    first_ns: int = SECOND
    most_ns: int = 60 * SECOND
    floor_ns: int = 50 * MILLISECOND

    def __post_init__(self) -> None:
        if not 0 <= self.floor_ns <= self.first_ns <= self.most_ns or self.first_ns < 1:
            raise ValueError("waits must grow: floor <= first <= most")

    def ceiling_ns(self, attempt: int) -> int:
        """The longest wait after `attempt` failures in a row (from 1)."""
        return min(self.most_ns, self.first_ns << min(max(attempt - 1, 0), 62))


class Backoff:
    """Waits of one thing that is tried again and again. `attempts`: failures since it last worked."""

    def __init__(self, policy: RetryPolicy | None = None, *, uniform: Uniform) -> None:
        self.policy = policy or RetryPolicy()
        self._uniform = uniform
        self.attempts = 0

    def next_ns(self) -> int:
        """The wait after one more failure."""
        self.attempts += 1
        room = self.policy.ceiling_ns(self.attempts) - self.policy.floor_ns
        return self.policy.floor_ns + int(room * self._uniform())

    def worked(self, lasted_ns: int | None = None) -> None:
        """Begin from the shortest waits. `lasted_ns`: it worked for so long and broke again; only when that is longer
        than the wait before it does the count begin anew, so that what breaks at once is not tried without end."""
        if lasted_ns is None or lasted_ns >= self.policy.ceiling_ns(self.attempts):
            self.attempts = 0
