"""Keeps the leases of a processor alive while it works, and knows who else is there.

Promise: a beat every `beat` seconds from a thread of its own, so that a slow disk costs no lease. It decides nothing:
which shards to take or give back is `intake.shards`', done by the worker. Safe from any thread.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from packhound.processor.shared.state import Lease, Roster, SharedState, Unavailable

BEAT_SECONDS = 1.0


class Keeper:
    """`member` is the name of this process in the roster, which nobody else has. Start it, close it."""

    def __init__(self, shared: SharedState, *, member: str, beat: float = BEAT_SECONDS) -> None:
        self._shared = shared
        self.member = member
        self._beat = beat
        self._held: dict[int, int] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._roster: Roster | None = None
        self.fault = ""
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        """Begin to beat."""
        self._thread.start()

    def hold(self, lease: Lease) -> None:
        """Keep this lease alive from now on."""
        with self._lock:
            self._held[lease.shard] = lease.token

    def let_go(self, shard: int) -> None:
        """Keep the lease of a shard alive no more."""
        with self._lock:
            self._held.pop(shard, None)

    def roster(self) -> Roster | None:
        """What the last beat found, once; None when there was none since."""
        with self._lock:
            found, self._roster = self._roster, None
        return found

    def _run(self) -> None:
        while True:
            self._once()
            if self._stop.wait(self._beat):
                return

    def _once(self) -> None:
        with self._lock:
            held: Mapping[int, int] = dict(self._held)
        try:
            found = self._shared.beat(self.member, held)
        except Unavailable as error:
            self.fault = error.reason
            return
        with self._lock:
            self._roster = found
            self.fault = ""

    def close(self) -> None:
        """Stop beating; what is held runs out. Twice is no error."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
