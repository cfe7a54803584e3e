"""One processor of a fleet at work: leases, parcels of its shards, groups, acknowledgements.

Promise: one thread does all the work and owns everything but the keeper of the leases; a source brings parcels from
any link. While the shared state or the disk is away nothing is taken, dropped or acknowledged: the source holds what
came, and waits between attempts have full jitter. `stop` ends it in order: settle, publish, give the shards back.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from packhound.kit.retry import MILLISECOND, SECOND, Backoff, RetryPolicy
from packhound.kit.traces import OFF, Traces
from packhound.processor.groups import Groups, Settled
from packhound.processor.intake.delivery import Delivery
from packhound.processor.intake.shards import decide
from packhound.processor.keeper import Keeper
from packhound.processor.service import DiskFault
from packhound.processor.shared.state import Roster, SharedState, Unavailable
from packhound.wire.batch import Batch

HELD = RetryPolicy(first_ns=200 * MILLISECOND, most_ns=5 * SECOND, floor_ns=20 * MILLISECOND)
TICK_NS = SECOND


class Source(Protocol):
    """Where parcels come from. Called by the worker's thread alone; never raises for a link that is away."""

    def open(self, shard: int) -> None:
        """Bring the parcels of a shard, those first that nobody settled."""

    def close(self, shard: int) -> None:
        """Bring no more of a shard and give back what was not settled."""

    def take(self, count: int, timeout: float) -> Sequence[Delivery]:
        """Up to `count` parcels, of each shard in order; waits up to `timeout` seconds for the first."""

    def settle(self, handles: Sequence[Any]) -> None:
        """These are settled: acknowledge them."""

    def hold(self) -> None:
        """Nothing can be settled now: keep what was brought from being brought to others."""

    @property
    def caught_up(self) -> bool:
        """Everything that was sent has been brought."""


@dataclass(slots=True)
class Progress:
    """What a worker did, for metrics: parcels, packets, groups, groups done again, times held, ns that the last group
    took. `held`: why nothing can be settled now; `moved`: shards taken and given back or lost."""

    parcels: int = 0
    packets: int = 0
    groups: int = 0
    again: int = 0
    holds: int = 0
    last_ns: int = 0
    acquired: int = 0
    released: int = 0
    lost: int = 0
    held: str = ""
    shards: tuple[int, ...] = field(default_factory=tuple)


class Worker:
    """`shards`: how many the fleet has; `last`: nobody goes on with its calls when it ends. `run` returns when `stop`
    was called and all is in order, or after `grace` seconds when it cannot be: then the next start recovers."""

    def __init__(
        self,
        groups: Groups,
        source: Source,
        *,
        shared: SharedState,
        keeper: Keeper,
        shards: int,
        grace: float = 10.0,
        last: bool = False,
        traces: Traces = OFF,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._groups, self._source, self._shared, self._keeper = groups, source, shared, keeper
        self._shards = shards
        self._grace = grace
        self._last = last
        self._traces = traces
        self._clock = clock
        self._stop = threading.Event()
        self._backoff = Backoff(HELD, uniform=random.random)
        self._ticked = clock()
        self.progress = Progress()

    def stop(self) -> None:
        """End in order. Any thread."""
        self._stop.set()

    def run(self) -> None:
        """Work until stopped. What raises here is a bug: then nothing more is settled."""
        try:
            while not self._stop.is_set():
                self._step()
            self._end()
        finally:
            self._keeper.close()
            self._groups.processor.close()

    def _step(self) -> None:
        roster = self._keeper.roster()
        if roster is not None and not self._groups.stuck:
            self._rebalance(roster)
        if self._groups.wait_ns() and not self._groups.stuck:
            self._take()
        if not self._groups.wait_ns():
            self._settle()
        elif self._clock() - self._ticked >= TICK_NS:
            self._tick()

    def _take(self) -> None:
        room = self._groups.limits.parcels - self._groups.size
        for each in self._source.take(room, self._groups.wait_ns() / SECOND):
            packets = len(each.parcel) if isinstance(each.parcel, Batch) else 0
            parcel = each.parcel
            with self._traces.span(
                "parcel.intake", parent=each.traceparent, kind="consumer", packhound__node=parcel.sensor,
                packhound__shard=each.shard, packhound__sequence=parcel.sequence, packhound__packets=packets,
                packhound__redelivered=each.redelivered,
            ) as span:  # fmt: skip
                if self._groups.accept(each._replace(traceparent=span.traceparent)):
                    self.progress.parcels += 1

    def _tick(self) -> None:
        self._ticked = self._clock()
        self._groups.processor.tick(caught_up=self._source.caught_up)
        self._settle()

    def _settle(self) -> bool:
        """Settle the group; False, after a wait, when that cannot be now."""
        try:
            traces = self._traces if self._groups.size else OFF
            with traces.span("group.settle", links=self._groups.traceparents) as span:
                done = self._groups.settle()
                span.set(packhound__parcels=len(done.handles), packhound__packets=done.packets)
        except (Unavailable, DiskFault) as error:
            self.progress.held = str(error)
            self.progress.holds += 1
            self._source.hold()
            self._stop.wait(self._backoff.next_ns() / SECOND)
            return False
        self._settled(done)
        return True

    def _settled(self, done: Settled) -> None:
        self._backoff.worked()
        self._source.settle(done.handles)
        progress = self.progress
        progress.held = ""
        if done.handles:
            progress.groups += 1
            progress.packets += done.packets
            progress.last_ns = done.took_ns
        for shard in done.lost:
            self._lost(shard)

    # shards --------------------------------------------------------------------------------------------------------

    def _rebalance(self, roster: Roster) -> None:
        mine = self._groups.leases
        for shard in [
            shard for shard, lease in mine.items()
            if shard not in roster.leases or roster.leases[shard].token != lease.token
        ]:  # fmt: skip
            if roster.now_ns < mine[shard].expires_ns and shard not in roster.leases:
                continue  # acquired after that beat
            if not self._settle():
                return
            if shard in mine:
                self._groups.drop(shard)
                self._lost(shard)
        holders = {shard: lease.holder for shard, lease in roster.leases.items()}
        found = decide(
            self._keeper.member, members=roster.members, holders=holders, shards=self._shards, mine=set(mine)
        )  # fmt: skip
        if found.release and not self._release(found.release):
            return
        for shard in found.acquire:
            if not self._acquire(shard):
                break
        self.progress.shards = tuple(sorted(mine))

    def _acquire(self, shard: int) -> bool:
        try:
            lease = self._shared.acquire(self._keeper.member, shard)
            if lease is not None:
                self._groups.adopt(lease)
        except Unavailable as error:
            self.progress.held = error.reason
            return False  # a lease that we got and cannot use runs out
        if lease is not None:
            self._keeper.hold(lease)
            self._source.open(shard)
            self.progress.acquired += 1
        return True

    def _release(self, shards: Sequence[int]) -> bool:
        """Give shards back in order: their calls' files end, all is settled, then others may have them."""
        for shard in shards:
            self._groups.processor.leave(shard)
        if not self._settle():
            return False
        for shard in shards:
            lease = self._groups.leases.get(shard)
            if lease is None:
                continue
            self._source.close(shard)
            self._groups.drop(shard)
            self._keeper.let_go(shard)
            self.progress.released += 1
            with suppress(Unavailable):  # then it runs out
                self._shared.release(lease)
        return True

    def _lost(self, shard: int) -> None:
        self._source.close(shard)
        self._keeper.let_go(shard)
        self.progress.lost += 1

    # the end -------------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """Settle, publish everything, give the shards back; as far as `grace` allows."""
        deadline = self._clock() + int(self._grace * SECOND)
        if self._finish(deadline):
            self._groups.processor.seal(calls=self._last)
            if self._finish(deadline):
                self._release(tuple(self._groups.leases))
        self._keeper.close()
        with suppress(Unavailable):  # then it is forgotten in time
            self._shared.leave(self._keeper.member)

    def _finish(self, deadline: int) -> bool:
        while not self._settle_quickly():
            if self._clock() >= deadline:
                return False
            time.sleep(0.05)
        return True

    def _settle_quickly(self) -> bool:
        try:
            self._settled(self._groups.settle())
        except (Unavailable, DiskFault) as error:
            self.progress.held = str(error)
            return False
        return True
