"""Who leads: one of several replicas, by a Lease of the Kubernetes API (coordination.k8s.io/v1).

Promise: pure; the clock is injected (ns, monotonic). A holder counts as alive for `duration` after *we* last saw its
Lease change: clocks of other machines play no part. A leader that could not renew stops before anybody else may start.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

SECOND = 1_000_000_000
DURATION = 12 * SECOND
RENEW = 5 * SECOND
MARGIN = 2 * SECOND  #: a leader gives up so long before others may take over


class Seen(NamedTuple):
    """A Lease as it was read: its holder, and what changes with every write of it."""

    holder: str
    version: str


@dataclass(frozen=True, slots=True)
class Act:
    """What to do now: `write` the Lease in our name (only if it is still at `version`; empty: it does not exist),
    `stop` being leader; look again at `again` (ns, our clock) or when the Lease changes."""

    write: bool
    version: str
    stop: bool
    again: int


class Election:
    """One replica's view."""

    def __init__(self, me: str, *, duration: int = DURATION, renew: int = RENEW, margin: int = MARGIN) -> None:
        self._me = me
        self._duration, self._renew, self._margin = duration, renew, margin
        self._seen: Seen | None = None
        self._changed_at = 0
        self._renewed_at: int | None = None
        self.leading = False

    def saw(self, seen: Seen | None, *, now: int) -> None:
        """Learn what the Lease holds now; None when there is none."""
        if seen != self._seen or seen is None:
            self._seen, self._changed_at = seen, now
        if self.leading and (seen is None or seen.holder != self._me):
            self._lose()

    def wrote(self, version: str, *, asked_at: int) -> None:
        """Our write was taken; `asked_at`: when it was sent, from when on it protects us."""
        self._seen, self._changed_at = Seen(self._me, version), asked_at
        self._renewed_at, self.leading = asked_at, True

    def _lose(self) -> None:
        self.leading, self._renewed_at = False, None

    def act(self, now: int) -> Act:
        """Decide."""
        version = self._seen.version if self._seen else ""
        if self.leading:
            assert self._renewed_at is not None
            if now >= self._renewed_at + self._duration - self._margin:
                self._lose()
                return Act(False, version, True, now + self._margin)
            due = self._renewed_at + self._renew
            if now >= due:
                return Act(True, version, False, now + self._margin // 2)
            return Act(False, version, False, due)
        if self._seen is None or not self._seen.holder or self._seen.holder == self._me:
            return Act(True, version, False, now + self._margin)
        free = self._changed_at + self._duration
        return Act(now >= free, version, False, now + self._margin if now >= free else free)

    def released(self) -> None:
        """We gave the Lease up of our own will."""
        self._lose()
        self._seen = None
