"""Which batches were seen: gaps and duplicates by (epoch, shard, sequence).

Promise: pure; memory is bounded by `MAX_MISSING` per stream and `MAX_STREAMS` streams (the least recently heard is
forgotten, counted). Sequences count from 1 without gaps, so every number up to the highest was seen or is missing.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum

from packhound.wire.batch import BatchId

MAX_MISSING = 65_536
MAX_STREAMS = 4096


class Verdict(Enum):
    """What a batch is: `NEW` in order or late, `DUPLICATE` of one that was taken."""

    NEW = "new"
    DUPLICATE = "duplicate"


@dataclass(slots=True)
class _Stream:
    highest: int = 0
    missing: OrderedDict[int, None] = field(default_factory=OrderedDict)
    given_up: int = 0


class Ledger:
    """Sequence books of every sensor epoch and shard; `forgotten` counts streams dropped to stay bounded."""

    def __init__(self, *, max_missing: int = MAX_MISSING, max_streams: int = MAX_STREAMS) -> None:
        self._streams: OrderedDict[tuple[int, int], _Stream] = OrderedDict()
        self._max_missing = max_missing
        self._max_streams = max_streams
        self.forgotten = 0

    def judge(self, identity: BatchId) -> Verdict:
        """Enter a batch and tell whether it is new. A number that was given up as missing counts as a duplicate."""
        key = identity.epoch, identity.shard
        stream = self._streams.setdefault(key, _Stream())
        self._streams.move_to_end(key)
        if len(self._streams) > self._max_streams:
            self._streams.popitem(last=False)
            self.forgotten += 1
        if identity.sequence in stream.missing:
            del stream.missing[identity.sequence]
            return Verdict.NEW
        if identity.sequence <= stream.highest:
            return Verdict.DUPLICATE
        self._skip(stream, identity.sequence)
        stream.highest = identity.sequence
        return Verdict.NEW

    def _skip(self, stream: _Stream, sequence: int) -> None:
        """Enter every number between the highest and `sequence` as missing, the newest `max_missing` by name."""
        gap = sequence - stream.highest - 1
        named = min(gap, self._max_missing)
        stream.given_up += gap - named
        for number in range(sequence - named, sequence):
            stream.missing[number] = None
        while len(stream.missing) > self._max_missing:
            stream.missing.popitem(last=False)
            stream.given_up += 1

    def missing(self, epoch: int, shard: int) -> int:
        """Batches of a stream that were numbered and have not arrived."""
        stream = self._streams.get((epoch, shard))
        return len(stream.missing) + stream.given_up if stream else 0

    def gaps(self) -> dict[tuple[int, int], int]:
        """Missing batches of every stream that misses any."""
        found = {key: len(stream.missing) + stream.given_up for key, stream in self._streams.items()}
        return {key: count for key, count in found.items() if count}
