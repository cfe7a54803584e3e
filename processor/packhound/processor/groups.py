"""Groups of parcels, settled as one: every packet is kept exactly once, whoever dies when.

Promise: a parcel's packets are on the disk before it is settled, and it is settled in one step together with all that
follows from it: the ledger, calls and flows of its shard, good bytes of files, the books. Only then is it acknowledged.
What was not settled is taken back, here or by the next recovery of the folder, and is done by whoever gets the parcel
again. A shard that another processor took over is fenced: what we did for it since is taken back. One thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from packhound.kit.errors import NotPermitted
from packhound.processor.intake.delivery import Delivery
from packhound.processor.service import Processor, Work
from packhound.processor.shared.state import Claimed, Commit, Committed, Fenced, Lease, ShardChange, SharedState
from packhound.processor.store.folder import Folder
from packhound.processor.store.recovery import Recovered, recover
from packhound.wire.batch import Batch

MILLISECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """When a group is settled: parcels, ns since its first."""

    parcels: int = 64
    age_ns: int = 200 * MILLISECOND


@dataclass(frozen=True, slots=True)
class Settled:
    """What a group was: handles to acknowledge, shards that turned out to be others', ns from its first parcel to the
    end, and how many packets it held."""

    handles: Sequence[Any]
    lost: frozenset[int] = frozenset()
    took_ns: int = 0
    packets: int = 0


def take_up(folder: Folder, shared: SharedState) -> tuple[Claimed, list[Recovered]]:
    """Make a folder ours and recover what its last processor left. Raises Unavailable, OSError: try again."""
    claimed = shared.claim(folder.id)
    newer = folder.note if folder.note.group > claimed.group else claimed
    found = recover(folder.root, newer.files)
    left = {each.name: newer.files[each.name] for each in found if each.hidden}
    if not shared.recovered(folder.id, claimed.claim, group=newer.group, files=left):
        raise NotPermitted(f"{folder.root}: another processor has taken a copy of this folder")
    folder.reset(newer.group, left)
    return Claimed(claimed.claim, newer.group, left, claimed.known), found


class Groups:
    """Leads `processor`, which writes into `folder` in two phases. `leases`: the shards that are ours."""

    def __init__(
        self,
        processor: Processor,
        *,
        folder: Folder,
        shared: SharedState,
        claimed: Claimed,
        limits: GroupLimits | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.processor = processor
        self._folder = folder
        self._shared = shared
        self._claim, self._group = claimed.claim, claimed.group
        self.limits = limits or GroupLimits()
        self._clock = clock
        self.leases: dict[int, Lease] = {}
        self._deliveries: list[Delivery] = []
        self._began: int | None = None
        self._work: Work | None = None
        self._again = False
        self._lost: set[int] = set()

    # shards --------------------------------------------------------------------------------------------------------

    def adopt(self, lease: Lease) -> None:
        """Go on with a shard where it was left. Raises Unavailable."""
        self.processor.adopt(lease.shard, self._shared.load(lease.shard))
        self.leases[lease.shard] = lease

    def drop(self, shard: int) -> None:
        """Let a shard go of which nothing is unsettled."""
        self.leases.pop(shard, None)
        self.processor.forget(shard)

    # parcels -------------------------------------------------------------------------------------------------------

    def accept(self, delivery: Delivery) -> bool:
        """Take a parcel into the group; False when its shard is not ours: whoever has it gets it again."""
        assert self._work is None, "a group waits to be settled"
        assert not self._again, "a group waits to be done again"
        if delivery.shard not in self.leases:
            return False
        if self._began is None:
            self._began = self._clock()
        self._deliveries.append(delivery)
        self.processor.accept(
            delivery.parcel, redelivered=delivery.redelivered, traceparent=delivery.traceparent
        )
        return True

    @property
    def size(self) -> int:
        """Parcels in the group."""
        return len(self._deliveries)

    @property
    def traceparents(self) -> list[str]:
        """Trace contexts of the parcels in the group."""
        return [each.traceparent for each in self._deliveries if each.traceparent]

    @property
    def stuck(self) -> bool:
        """The group could not be settled yet: nothing can be accepted before it is."""
        return self._work is not None or self._again

    def wait_ns(self) -> int:
        """How long the group may still wait; 0: settle it now."""
        if self.stuck or len(self._deliveries) >= self.limits.parcels:
            return 0
        if self._began is None:
            return self.limits.age_ns
        return max(0, self._began + self.limits.age_ns - self._clock())

    def settle(self) -> Settled:
        """Settle all that was accepted, and all that the passing of time did. Raises Unavailable or DiskFault: call it
        again later, accept nothing before."""
        while True:
            if self._again:
                self._do_again()
            if self._work is None:
                self._work = self._prepared()
            commit = self._commit(self._work)
            if commit is None:
                return self._done(None)
            found = self._shared.commit(commit)
            if isinstance(found, Committed):
                return self._done(commit)
            self._take_back()
            if isinstance(found, Fenced):
                self._lose(found.shards)
            else:
                self._rejoin()

    def _prepared(self) -> Work:
        try:
            return self.processor.prepare()
        except BaseException:
            self._take_back()
            raise

    def _commit(self, work: Work) -> Commit | None:
        """What to settle; None when nothing has changed."""
        files = work.files
        if not (work.shards or files.files or files.published or work.counts):
            return None
        shards = {
            shard: ShardChange(self.leases[shard].token, put, drop) for shard, (put, drop) in work.shards.items()
        }  # fmt: skip
        return Commit(
            self._folder.id, self._claim, self._group + 1, shards=shards, files=files.files,
            published=files.published, counts=work.counts,
        )  # fmt: skip

    def _done(self, commit: Commit | None) -> Settled:
        self._work = None
        if commit is not None:
            self._group = commit.group
            self._folder.settle(commit.group, commit.files, commit.published)
        self.processor.keep()
        done, self._deliveries = self._deliveries, []
        began, self._began = self._began, None
        lost, self._lost = frozenset(self._lost), set()
        return Settled(
            [each.handle for each in done], lost, self._clock() - began if began is not None else 0,
            sum(len(each.parcel) for each in done if isinstance(each.parcel, Batch)),
        )  # fmt: skip

    # back and again ------------------------------------------------------------------------------------------------

    def _take_back(self) -> None:
        self._work = None
        self._again = True
        self.processor.undo()

    def _do_again(self) -> None:
        """Take up every shard anew and accept the parcels of the group once more."""
        for lease in self.leases.values():
            self.processor.adopt(lease.shard, self._shared.load(lease.shard))
        self._again = False
        for each in self._deliveries:
            self.processor.accept(each.parcel, redelivered=each.redelivered)

    def _lose(self, shards: frozenset[int]) -> None:
        for shard in shards:
            self.leases.pop(shard, None)
        self._lost |= shards
        self._deliveries = [each for each in self._deliveries if each.shard not in shards]

    def _rejoin(self) -> None:
        """The shared state knows our claim no more: it was emptied, or somebody works with a copy of our folder."""
        claimed = self._shared.claim(self._folder.id)
        if claimed.known:
            raise NotPermitted(f"{self._folder.root}: another processor has taken a copy of this folder")
        self._claim = claimed.claim
        self._shared.recovered(self._folder.id, claimed.claim, group=self._group, files=self._folder.settled)
        self._lose(frozenset(self.leases))
