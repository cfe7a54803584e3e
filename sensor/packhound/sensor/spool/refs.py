"""What a spool knows of a parcel without reading it; packed while nobody asks for it.

Promise: pure. A parcel that waits in a closed segment costs 38 bytes of memory, so that a long outage costs little.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from struct import Struct

from packhound.sensor.parcel import KINDS, Kind
from packhound.sensor.spool.records import Wanted
from packhound.sensor.spool.segments import Segment

_ROW = Struct("<QQQIIIBB")  # number, epoch, made, at, size, packets, kind, tried
_NONE: Mapping[tuple[str, ...], int] = {}


@dataclass(slots=True)
class Ref:
    """Where a parcel is that is not done; `segment` None: in memory only. `out`: it is on its way; `tried`: it was or
    may have been, so that the far side may have it. `wanted` is known from then on."""

    segment: Segment | None
    at: int
    size: int
    epoch: int
    packets: int
    made_ns: int
    kind: Kind
    tried: bool = False
    out: bool = False
    wanted: Wanted = field(default_factory=lambda: _NONE)


def pack(refs: Iterable[tuple[int, Ref]]) -> bytes:
    """Parcels that wait in one segment, by number, as rows."""
    return b"".join(
        _ROW.pack(number, ref.epoch, ref.made_ns, ref.at, ref.size, ref.packets, KINDS.index(ref.kind), ref.tried)
        for number, ref in refs
    )


def unpack(segment: Segment) -> Iterator[tuple[int, Ref]]:
    """The parcels that are packed in a segment's rows."""
    for number, epoch, made, at, size, packets, kind, tried in _ROW.iter_unpack(segment.rows):
        yield number, Ref(segment, at, size, epoch, packets, made, KINDS[kind], bool(tried))


def count(segment: Segment) -> int:
    """How many these are."""
    return len(segment.rows) // _ROW.size


def first(segment: Segment) -> tuple[int, int]:
    """Number of the first, and when it was made."""
    number, _, made, *_ = _ROW.unpack_from(segment.rows)
    return number, made
