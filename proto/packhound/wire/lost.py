"""A tombstone: stands for a parcel that its sensor had to drop, so that sequences never have holes.

Promise: pure value. It has the identity of what it stands for, and says what that held and why it is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from packhound.wire.batch import BatchId

MAX_CAUSE = 64


@dataclass(frozen=True, slots=True)
class Lost:
    """`wanted`: packets by the filters (`ns/name`) that wanted them; `cause` as in the books; `kind_lost`: `packets` or
    `flows`. `plan`: revision in force, `sensor` the name of who captured."""

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

    @property
    def identity(self) -> BatchId:
        """What the parcel it stands for had."""
        return BatchId(self.epoch, self.shard, self.sequence)

    @property
    def packets(self) -> int:
        """Packets lost, each counted once."""
        return sum(self.wanted.values())
