"""Bounded reassembly of one direction of a TCP connection (RFC 9293 sequence space).

Promise: bytes leave in order and once; memory is bounded by `max_bytes` and `max_segments`, and what is given up leaves
as a `Gap`. Pure: `now` is packet time in ns. One object per direction, one thread at a time.

Overlap policy: the first to arrive wins, byte by byte. Where two segments give the same place of the stream different
bytes, those of the one captured first count, whether they were delivered already or still wait for a gap before them;
of the later one only what fills places still empty is taken. For bytes already delivered every receiver does so
(RFC 9293 section 3.10.7.4 trims what was accepted). For bytes that wait receivers differ (BSD and Linux let a later
segment win that starts earlier, Windows one that also ends later), so who sends overlaps on purpose can make such a
receiver read another text than we do: `retransmitted` counts all bytes seen again, the same or not.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from typing import NamedTuple

MODULUS = 1 << 32
HALF = 1 << 31
PIECE = 256
"""Bytes of memory counted for a piece that waits besides its data."""


class Gap(NamedTuple):
    """`size` bytes of the stream were never seen (lost, cut by the snap length, or given up by a cap)."""

    size: int


class _Piece(NamedTuple):
    start: int  # absolute stream offset
    data: bytes
    hole: int  # bytes on the wire after `data` that the snap length cut off
    arrived: int

    @property
    def end(self) -> int:
        return self.start + len(self.data) + self.hole


class StreamReassembler:
    """Puts the segments of one direction in order.

    `max_bytes` bounds what waits for a missing segment, `max_segments` its pieces, `timeout_ns` how long the first
    of them waits. Counters: `retransmitted` (bytes seen again), `skipped` (bytes given up as gaps), `refused`
    (segments outside any plausible window).
    """

    __slots__ = (
        "_base", "_max_bytes", "_max_segments", "_pieces", "_position", "_timeout", "_waiting",
        "refused", "retransmitted", "skipped",
    )  # fmt: skip

    def __init__(
        self, *, max_bytes: int = 256 * 1024, max_segments: int = 256, timeout_ns: int = 10_000_000_000
    ) -> None:
        self._base = -1  # sequence number of stream offset 0; unknown until start() or the first segment
        self._position = 0  # next stream offset to deliver
        self._pieces: list[_Piece] = []
        self._waiting = 0
        self._max_bytes = max_bytes
        self._max_segments = max_segments
        self._timeout = timeout_ns
        self.retransmitted = 0
        self.skipped = 0
        self.refused = 0

    def start(self, isn: int) -> None:
        """Learn the initial sequence number from a SYN: the first byte is `isn + 1`. Later calls do nothing."""
        if self._base < 0:
            self._base = (isn + 1) % MODULUS

    @property
    def waiting(self) -> int:
        """Bytes held for a missing segment."""
        return self._waiting

    @property
    def cost(self) -> int:
        """Bytes of memory that what waits takes, about."""
        return self._waiting + PIECE * len(self._pieces)

    def push(self, seq: int, data: bytes, now: int, *, size: int | None = None) -> list[bytes | Gap]:
        """Take one segment's payload at sequence number `seq` and return what is now in order.

        `size` is the payload's length on the wire where the snap length cut it; the cut part leaves as a `Gap`.
        """
        hole = max(0, (size or 0) - len(data))
        if not data and not hole:
            return self._overdue(now)
        if self._base < 0:
            self._base = seq % MODULUS
        start = self._absolute(seq)
        if start is None:
            self.refused += 1
            return []
        self._insert(_Piece(start, data, hole, now))
        return self._overdue(now)

    @property
    def oldest(self) -> int | None:
        """When the segment arrived that is first in line behind a gap (ns); None when nothing waits."""
        return self._pieces[0].arrived if self._pieces else None

    def skip(self) -> list[bytes | Gap]:
        """Give up on the first gap: return it and what is in order behind it; nothing when nothing waits."""
        out: list[bytes | Gap] = []
        if self._pieces:
            self._skip_to_first(out)
            self._deliver(out)
        return out

    def flush(self) -> list[bytes | Gap]:
        """Give up on everything missing: return all that waits, with gaps. For the end of a flow."""
        out: list[bytes | Gap] = []
        while self._pieces:
            out += self.skip()
        return out

    def abandon(self) -> int:
        """Let go of what waits without reading it, for want of memory: its bytes leave as part of the gap, once it is
        given up. Return how many."""
        given_up = self._waiting
        self._pieces.clear()
        self._waiting = 0
        return given_up

    def _absolute(self, seq: int) -> int | None:
        """Return the stream offset of `seq`: the one nearest the read position, None when none is in the window."""
        ahead = (seq - self._base - self._position) % MODULUS
        distance = ahead if ahead < HALF else ahead - MODULUS
        if abs(distance) > 1 << 30:  # no window is larger (RFC 7323)
            return None
        return self._position + distance

    def _insert(self, piece: _Piece) -> None:
        """Keep what is new of `piece`; bytes that are already delivered or waiting win."""
        start, end = max(piece.start, self._position), piece.end
        kept = 0
        index = bisect_right(self._pieces, start, key=lambda each: each.start)
        if index and self._pieces[index - 1].end > start:
            start = self._pieces[index - 1].end
        while start < end:
            limit = self._pieces[index].start if index < len(self._pieces) else end
            stop = min(end, limit)
            if stop > start:
                fresh = _cut(piece, start, stop)
                self._pieces.insert(index, fresh)
                self._waiting += len(fresh.data)
                kept += stop - start
                index += 1
            if index >= len(self._pieces):
                break
            start = max(start, self._pieces[index].end)
            index += 1
        self.retransmitted += max(0, piece.end - piece.start - kept)

    def _overdue(self, now: int) -> list[bytes | Gap]:
        out: list[bytes | Gap] = []
        self._deliver(out)
        while self._pieces and (
            self._waiting > self._max_bytes
            or len(self._pieces) > self._max_segments
            or now - self._pieces[0].arrived > self._timeout
        ):
            self._skip_to_first(out)
            self._deliver(out)
        return out

    def _skip_to_first(self, out: list[bytes | Gap]) -> None:
        missing = self._pieces[0].start - self._position
        if missing > 0:
            out.append(Gap(missing))
            self.skipped += missing
            self._position = self._pieces[0].start

    def _deliver(self, out: list[bytes | Gap]) -> None:
        ready = 0
        for piece in self._pieces:
            if piece.start > self._position:
                break
            if piece.data:
                out.append(piece.data)
            if piece.hole:
                out.append(Gap(piece.hole))
                self.skipped += piece.hole
            self._waiting -= len(piece.data)
            self._position = piece.end
            ready += 1
        del self._pieces[:ready]


class Backlog:
    """Bounds what waits behind gaps over all streams of a process: `max_bytes` of memory in `max_streams` streams.

    Beyond that the streams that were idle longest abandon what they hold. Counters: `abandoned_streams`,
    `abandoned_bytes`. A stream counts from the first `note` that finds it holding something.
    """

    __slots__ = ("_costs", "_held", "_max_bytes", "_max_streams", "abandoned_bytes", "abandoned_streams")

    def __init__(self, *, max_bytes: int = 64 << 20, max_streams: int = 16_384) -> None:
        self._costs: OrderedDict[StreamReassembler, int] = OrderedDict()  # longest idle first
        self._held = 0
        self._max_bytes = max_bytes
        self._max_streams = max_streams
        self.abandoned_streams = 0
        self.abandoned_bytes = 0

    @property
    def held(self) -> int:
        """Bytes of memory that all streams together hold, about."""
        return self._held

    def __len__(self) -> int:
        return len(self._costs)

    def note(self, stream: StreamReassembler) -> None:
        """Learn what `stream` holds now that it got a segment, and keep to the bounds."""
        self.forget(stream)
        cost = stream.cost
        if not cost:
            return
        self._costs[stream] = cost
        self._held += cost
        while self._held > self._max_bytes or len(self._costs) > self._max_streams:
            idle, freed = self._costs.popitem(last=False)
            self._held -= freed
            self.abandoned_streams += 1
            self.abandoned_bytes += idle.abandon()

    def forget(self, stream: StreamReassembler) -> None:
        """Learn that `stream` is gone or holds nothing."""
        self._held -= self._costs.pop(stream, 0)


def _cut(piece: _Piece, start: int, stop: int) -> _Piece:
    """Return the part of `piece` from stream offset `start` to `stop`."""
    data = piece.data[start - piece.start : stop - piece.start]
    return _Piece(start, data, stop - start - len(data), piece.arrived)
