"""What the segments of a folder hold that is not done: read after the death of the process.

Promise: whole records only; a tombstone counts before what it stands for, and of two of one number the longer one.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from packhound.sensor.parcel import LOST, Parcel
from packhound.sensor.spool.refs import Ref
from packhound.sensor.spool.segments import SUFFIX, Segment
from packhound.wire.codec import MalformedParcel, decode
from packhound.wire.lost import Lost

_Stream = tuple[int, int]


@dataclass(slots=True)
class Found:
    """`number`: the highest of any record; `packets` in what is not done; `made`: the highest of any segment;
    `matched`: packets that each epoch had matched, as far as is known; `torn`: bytes that were cut off."""

    segments: list[Segment] = field(default_factory=list)
    refs: dict[int, Ref] = field(default_factory=dict)
    matched: dict[int, int] = field(default_factory=dict)
    number: int = 0
    packets: int = 0
    made: int = 0
    torn: int = 0


def scan(folder: Path, done: Collection[int]) -> Found:
    """Read every segment. Raises OSError."""
    found = Found(number=max(done, default=0))
    places: dict[int, tuple[_Stream, int]] = {}
    stones: dict[int, tuple[_Stream, int, int]] = {}
    for path in sorted(folder.glob(f"{'[0-9]' * 12}-[ms]{SUFFIX}")):
        found.made = max(found.made, int(path.name.partition("-")[0]))
        segment = Segment(path, media=path.stem.endswith("-m"), create=False)
        before = segment.size
        found.segments.append(segment)
        for at, head, record in segment.records():
            parcel, number = record.parcel, head.number
            stream = head.epoch, head.shard
            found.number = max(found.number, number)
            segment.noticed(number)
            found.matched[head.epoch] = max(found.matched.get(head.epoch, 0), head.matched)
            if parcel.kind == LOST:
                through = _through(parcel)
                if number in stones and stones[number][2] >= through:
                    continue
                stones[number] = stream, head.sequence, through
            elif number in stones:
                continue
            if number in done:
                continue
            _forget(found, number)
            places[number] = stream, head.sequence
            found.refs[number] = Ref(
                segment, at, head.size, head.epoch, head.packets, head.made_ns, parcel.kind, tried=True
            )
            segment.live.add(number)
        found.torn += before - segment.size
        segment.close()
    _bury(found, places, stones)
    found.packets = sum(ref.packets for ref in found.refs.values())
    return found


def _through(parcel: Parcel) -> int:
    with suppress(MalformedParcel):
        lost = decode(parcel.data)
        if isinstance(lost, Lost):
            return lost.through
    return parcel.sequence


def _bury(
    found: Found, places: dict[int, tuple[_Stream, int]], stones: dict[int, tuple[_Stream, int, int]]
) -> None:
    """Forget what a longer tombstone stands for: that was written, then we died. Ranges lie apart or in each other."""
    ranges: dict[_Stream, list[tuple[int, int, int]]] = {}
    for number, (stream, first, through) in sorted(stones.items(), key=lambda row: (row[1][1], -row[1][2])):
        rows = ranges.setdefault(stream, [])
        if through > first and (not rows or through > rows[-1][1]):
            rows.append((first, through, number))
    for number, (stream, sequence) in places.items():
        rows = ranges.get(stream, [])
        at = bisect_right(rows, sequence, key=lambda row: row[0]) - 1
        if at >= 0 and sequence <= rows[at][1] and rows[at][2] != number:
            _forget(found, number)


def _forget(found: Found, number: int) -> None:
    ref = found.refs.pop(number, None)
    if ref is not None and ref.segment is not None:
        ref.segment.live.discard(number)
