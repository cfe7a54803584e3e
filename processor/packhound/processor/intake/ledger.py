"""Which batches were seen: gaps and duplicates by (epoch, shard, sequence).

Promise: pure; memory is bounded by `MAX_GAPS` per stream and `MAX_STREAMS` streams (the least recently heard is
forgotten, counted). Sequences count from 1 without gaps, so every number up to the highest was seen or is missing.
A ledger can be saved stream by stream and taken up elsewhere.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import OrderedDict
from dataclasses import dataclass, field
from enum import Enum

from packhound.wire.batch import BatchId

MAX_GAPS = 4096
MAX_STREAMS = 4096

Key = tuple[int, int]
"""Epoch and shard."""


class Verdict(Enum):
    """What a batch is: `NEW` in order or late, `DUPLICATE` of one that was taken."""

    NEW = "new"
    DUPLICATE = "duplicate"


@dataclass(slots=True)
class _Stream:
    """`starts[i]` to `ends[i]` are missing, in order; `given_up`: missing, but no longer by number."""

    highest: int = 0
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    given_up: int = 0

    def take(self, first: int, last: int) -> bool:
        """Enter the numbers from `first` to `last`; False when one of them was entered before or given up."""
        if first > self.highest:
            if first > self.highest + 1:
                self.starts.append(self.highest + 1)
                self.ends.append(first - 1)
            self.highest = last
            return True
        at = bisect_right(self.starts, first) - 1
        if at < 0 or last > self.ends[at]:
            return False
        start, end = self.starts[at], self.ends[at]
        left = [(start, first - 1)] if start < first else []
        right = [(last + 1, end)] if last < end else []
        self.starts[at : at + 1] = [each[0] for each in left + right]
        self.ends[at : at + 1] = [each[1] for each in left + right]
        return True

    def bound(self, gaps: int) -> None:
        while len(self.starts) > gaps:
            self.given_up += self.ends.pop(0) - self.starts.pop(0) + 1

    @property
    def missing(self) -> int:
        return sum(self.ends) - sum(self.starts) + len(self.starts) + self.given_up


class Ledger:
    """Sequence books of every sensor epoch and shard; `forgotten` counts streams dropped to stay bounded."""

    def __init__(self, *, max_gaps: int = MAX_GAPS, max_streams: int = MAX_STREAMS) -> None:
        self._streams: OrderedDict[Key, _Stream] = OrderedDict()
        self._max_gaps = max_gaps
        self._max_streams = max_streams
        self._changed: set[Key] = set()
        self.forgotten = 0

    def judge(self, identity: BatchId, *, last: int = 0) -> Verdict:
        """Enter a batch and tell whether it is new. A number that was given up as missing counts as a duplicate.
        `last`: it stands for all up to that sequence, and is new when all of these are."""
        key = identity.epoch, identity.shard
        stream = self._streams.setdefault(key, _Stream())
        self._streams.move_to_end(key)
        self._bound()
        if not stream.take(identity.sequence, max(last, identity.sequence)):
            return Verdict.DUPLICATE
        stream.bound(self._max_gaps)
        self._changed.add(key)
        return Verdict.NEW

    def _bound(self) -> None:
        while len(self._streams) > self._max_streams:
            gone, _ = self._streams.popitem(last=False)
            self._changed.add(gone)
            self.forgotten += 1

    def missing(self, epoch: int, shard: int) -> int:
        """Batches of a stream that were numbered and have not arrived."""
        stream = self._streams.get((epoch, shard))
        return stream.missing if stream else 0

    def gaps(self) -> dict[Key, int]:
        """Missing batches of every stream that misses any."""
        return {key: stream.missing for key, stream in self._streams.items() if stream.missing}

    def changed(self) -> dict[Key, bytes | None]:
        """What is to be saved since the last time asked: streams as `restore` takes them, None for one forgotten."""
        found = {key: _saved(self._streams[key]) if key in self._streams else None for key in self._changed}
        self.unchanged()
        return found

    def unchanged(self) -> None:
        """Forget what is to be saved."""
        self._changed.clear()

    def restore(self, key: Key, saved: bytes) -> bool:
        """Take up a saved stream; False when that is no stream."""
        stream = _restored(saved)
        if stream is None:
            return False
        self._streams[key] = stream
        self._bound()
        return True


def _saved(stream: _Stream) -> bytes:
    row = [stream.highest, stream.given_up, *zip(stream.starts, stream.ends, strict=True)]
    return json.dumps(row, separators=(",", ":")).encode()


def _restored(saved: bytes) -> _Stream | None:
    try:
        highest, given_up, *gaps = json.loads(saved)
        starts, ends = [int(start) for start, _ in gaps], [int(end) for _, end in gaps]
        bounds = [0, *(each for pair in zip(starts, ends, strict=True) for each in pair), int(highest)]
        return _Stream(int(highest), starts, ends, int(given_up)) if bounds == sorted(bounds) else None
    except (ValueError, TypeError):
        return None
