"""A parcel: one encoded message on its way from this sensor to a processor.

Promise: a plain frozen value. Within (epoch, shard) sequences run from 1 without gaps over parcels of every kind; a
parcel that had to be dropped is followed by a `lost` parcel of the same identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["packets", "flows", "lost"]

PACKETS: Final = "packets"
FLOWS: Final = "flows"
LOST: Final = "lost"
KINDS: Final[tuple[Kind, ...]] = (PACKETS, FLOWS, LOST)


@dataclass(frozen=True, slots=True)
class Parcel:
    """`number`: order in which this sensor made it, over all its epochs and shards (the spool's); `packets` in it, 0
    for flow records, for a tombstone those it stands for; `media`: all of it is RTP or RTCP, the first to go when the
    spool is full; `data`: what the codec made, complete with its own header; `traceparent`: of the batch, or empty."""

    number: int
    kind: Kind
    epoch: int
    shard: int
    sequence: int
    packets: int
    media: bool
    data: bytes
    traceparent: str = ""

    @property
    def identity(self) -> tuple[int, int, int]:
        """What a duplicate of it has too: (epoch, shard, sequence)."""
        return self.epoch, self.shard, self.sequence
