"""A tombstone: stands for parcels that their sensor had to drop, so that sequences never have holes.

Promise: pure value. It has the identity of the first that it stands for, and says what they held and why they are gone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from packhound.wire.batch import BatchId

MAX_CAUSE = 64
MAX_SETS = 1024  #: sets of filters, and
MAX_PACKETS = 1 << 31  #: packets of tombstones that were joined


@dataclass(frozen=True, slots=True)
class Lost:
    """`wanted`: packets by the filters (`ns/name`) that wanted them; `cause` as in the books; `kind_lost`: `packets` or
    `flows`. `plan`: revision in force, `sensor` the name of who captured. `last`: the last sequence that it stands for,
    0 when that is `sequence` alone."""

    epoch: int
    shard: int
    sequence: int
    sensor: str
    wanted: Mapping[tuple[str, ...], int]
    cause: str
    kind_lost: str = "packets"
    plan: int = 0
    media: bool = False
    cluster: str = ""
    traceparent: str = ""
    last: int = 0

    @property
    def identity(self) -> BatchId:
        """What the parcel it stands for had."""
        return BatchId(self.epoch, self.shard, self.sequence)

    @property
    def through(self) -> int:
        """The last sequence that it stands for."""
        return max(self.sequence, self.last)

    @property
    def packets(self) -> int:
        """Packets lost, each counted once."""
        return sum(self.wanted.values())


def joined(first: Lost, then: Lost) -> Lost | None:
    """One tombstone for both; None when they do not adjoin, tell of different things, or it would be too large."""
    same = (first.epoch, first.shard, first.sensor, first.cluster, first.cause, first.through + 1)
    if same != (then.epoch, then.shard, then.sensor, then.cluster, then.cause, then.sequence):
        return None
    if any(each.kind_lost != "packets" and each.wanted for each in (first, then)):
        return None
    wanted = Counter(first.wanted)
    wanted.update(then.wanted)
    if len(wanted) > MAX_SETS or wanted.total() > MAX_PACKETS:
        return None
    kind = "packets" if "packets" in (first.kind_lost, then.kind_lost) else first.kind_lost
    return replace(first, wanted=dict(wanted), kind_lost=kind, media=first.media and then.media, last=then.through)
