"""One record of the spool: a parcel, who wanted its packets, when it was made.

Promise: pure. A record that was cut short or damaged is never taken for a whole one (CRC-32 over all of it).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from packhound.sensor.parcel import KINDS, Parcel

MAGIC = b"PHS1"
MAX_DATA = 64 << 20
_HEAD = Struct("<4sIQQIQBBIqQBII")  # magic, crc, number, epoch, shard, sequence, kind, media, packets, made, matched,
#                                     bytes of trace context, wanted, data
HEAD_BYTES = _HEAD.size
_CHECKED_FROM = 8

Wanted = Mapping[tuple[str, ...], int]


class Record(NamedTuple):
    """A parcel as it is kept. `made_ns`: wall clock; `matched`: packets that its epoch had matched with it."""

    parcel: Parcel
    wanted: Wanted
    made_ns: int
    matched: int


class Head(NamedTuple):
    """What is known of a record before its data is read; `size` of all of it in bytes."""

    number: int
    epoch: int
    shard: int
    sequence: int
    kind: int
    media: bool
    packets: int
    made_ns: int
    matched: int
    trace: int
    wanted: int
    data: int

    @property
    def size(self) -> int:
        """Bytes of the record."""
        return HEAD_BYTES + self.trace + self.wanted + self.data


def pack(record: Record) -> list[bytes]:
    """A record as pieces to be written one behind the other."""
    parcel = record.parcel
    trace = parcel.traceparent.encode()[:255]
    rows = [[list(names), count] for names, count in record.wanted.items()]
    wanted = json.dumps(rows, separators=(",", ":")).encode()
    head = _HEAD.pack(
        MAGIC, 0, parcel.number, parcel.epoch, parcel.shard, parcel.sequence, KINDS.index(parcel.kind), parcel.media,
        parcel.packets, record.made_ns, record.matched, len(trace), len(wanted), len(parcel.data),
    )  # fmt: skip
    check = crc32(parcel.data, crc32(wanted, crc32(trace, crc32(head[_CHECKED_FROM:]))))
    return [MAGIC + check.to_bytes(4, "little") + head[_CHECKED_FROM:], trace, wanted, parcel.data]


def head_at(data: memoryview, at: int) -> Head | None:
    """The head of the record at `at`; None when there is none, or its record is not whole."""
    if at + HEAD_BYTES > len(data):
        return None
    magic, check, *rest = _HEAD.unpack_from(data, at)
    head = Head(*rest)._replace(media=bool(rest[5]))
    if magic != MAGIC or head.data > MAX_DATA or head.kind >= len(KINDS) or at + head.size > len(data):
        return None
    return head if crc32(data[at + _CHECKED_FROM : at + head.size]) == check else None


def unpack(data: memoryview, head: Head) -> Record:
    """The record whose bytes these are; `head` was read from them."""
    at = HEAD_BYTES
    trace = bytes(data[at : at + head.trace]).decode("ascii", "replace")
    at += head.trace
    rows = json.loads(bytes(data[at : at + head.wanted]))
    at += head.wanted
    parcel = Parcel(
        number=head.number, kind=KINDS[head.kind], epoch=head.epoch, shard=head.shard, sequence=head.sequence,
        packets=head.packets, media=head.media, data=bytes(data[at : at + head.data]), traceparent=trace,
    )  # fmt: skip
    return Record(parcel, {tuple(names): count for names, count in rows}, head.made_ns, head.matched)
