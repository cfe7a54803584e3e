"""The outer form of a parcel: header, body, blob. The header is read without looking at the rest.

Promise: pure. Whatever the bytes, the only exception is MalformedParcel. An envelope is a protobuf message whose
fields stand in order and at most once; the blob is copied once each way, which is most of what encoding costs.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, Literal, TypeVar

from google.protobuf.message import DecodeError, Message

from packhound.wire.batch import BatchId
from packhound.wire.checked import BadMessage
from packhound.wire.subjects import MAX_NODE, MAX_SHARDS, is_traceparent
from packhound.wire.v1 import packets_pb2 as pb

MAX_PARCEL = 16 << 20  #: bytes of a parcel, and of its blob unpacked
MAX_EPOCH = (1 << 63) - 1
MAX_NAME = 512  #: characters of a filter's or field's name

Kind = Literal["packets", "flows", "lost"]
NUMBERS: Final[dict[Kind, pb.Kind]] = {"packets": pb.KIND_PACKETS, "flows": pb.KIND_FLOWS, "lost": pb.KIND_LOST}
_KINDS: Final[dict[int, Kind]] = {number: kind for kind, number in NUMBERS.items()}
_BODIES: Final[dict[Kind, int]] = {"packets": 2, "flows": 3, "lost": 4}
_HEADER, _BLOB = 1, 15
_MAX_FIELDS = 16
_LENGTH_DELIMITED = 2
_WORTH = 512  # bytes of a blob below which compression is not tried

M = TypeVar("M", bound=Message)


class MalformedParcel(BadMessage):
    """Bytes that are no parcel, or one that contradicts itself."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a parcel says of itself before anything is unpacked; meanings as in Batch. `packets`: in it, of a
    tombstone those it stands for; `compression` of the blob (a number of the wire), `blob_bytes` of it unpacked."""

    kind: Kind
    sensor: str
    epoch: int
    shard: int
    sequence: int
    plan: int = 0
    packets: int = 0
    media: bool = False
    traceparent: str = ""
    cluster: str = ""
    clock_offset_ns: int = 0
    compression: int = 0
    blob_bytes: int = 0

    @property
    def identity(self) -> BatchId:
        """What a duplicate of it has too."""
        return BatchId(self.epoch, self.shard, self.sequence)


@dataclass(frozen=True, slots=True)
class Opened:
    """A parcel whose header was read."""

    header: Header
    body: memoryview
    blob: memoryview

    def parse(self, kind: type[M]) -> M:
        """Its body as a message."""
        return parse(kind, self.body)

    def unpack(self) -> bytes:
        """Its blob."""
        size = self.header.blob_bytes
        if self.header.compression == pb.COMPRESSION_NONE:
            found = bytes(self.blob)
        elif self.header.compression == pb.COMPRESSION_ZLIB:
            found = _inflate(self.blob, size)
        elif self.header.compression == pb.COMPRESSION_ZSTD:
            found = _unzstd(self.blob, size)
        else:
            raise MalformedParcel("blob is compressed in an unknown way")
        if len(found) != size:
            raise MalformedParcel("blob has another size than its header says")
        return found


def parse(kind: type[M], data: memoryview) -> M:
    """Read a message. Raises MalformedParcel."""
    try:
        return kind.FromString(bytes(data))
    except (DecodeError, UnicodeDecodeError):
        raise MalformedParcel(f"{kind.DESCRIPTOR.name} cannot be read") from None


def is_name(text: str, *, limit: int = MAX_NAME) -> bool:
    """Tell whether `text` may name a filter, field, sensor or cluster on the wire."""
    return 0 < len(text) <= limit and text.isprintable()


# reading -------------------------------------------------------------------------------------------------------------


def open_parcel(data: bytes, *, limit: int) -> Opened:
    """Read the header of a parcel of at most `limit` bytes, and find its body and blob."""
    if len(data) > limit:
        raise MalformedParcel(f"parcel is larger than {limit} bytes")
    view = memoryview(data)
    parts: dict[int, memoryview] = {}
    at, last = 0, 0
    while at < len(data):
        number, start, at = _field(data, at)
        if number <= last or len(parts) == _MAX_FIELDS:
            raise MalformedParcel("fields are out of order, twice or too many")
        last = number
        parts[number] = view[start:at]
    header = _header(parts.get(_HEADER, view[:0]))
    bodies = [number for number in _BODIES.values() if number in parts]
    if bodies != [_BODIES[header.kind]]:
        raise MalformedParcel("body is of another kind than the header says")
    if header.blob_bytes > limit:
        raise MalformedParcel(f"blob is larger than {limit} bytes")
    return Opened(header, parts[bodies[0]], parts.get(_BLOB, view[:0]))


def header(data: bytes) -> Header:
    """Read the header of a parcel alone. Raises MalformedParcel."""
    number, start, stop = _field(data, 0)
    if number != _HEADER:
        raise MalformedParcel("header is missing")
    return _header(memoryview(data)[start:stop])


def _field(data: bytes, at: int) -> tuple[int, int, int]:
    """Number of the field at `at`, where its content starts and stops."""
    tag, at = _varint(data, at)
    if tag & 7 != _LENGTH_DELIMITED:
        raise MalformedParcel("a field has another wire type")
    size, at = _varint(data, at)
    if size > len(data) - at:
        raise MalformedParcel("parcel is cut short")
    return tag >> 3, at, at + size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise MalformedParcel("parcel is cut short")


def _header(data: memoryview) -> Header:
    row = parse(pb.Header, data)
    kind = _KINDS.get(row.kind)
    if kind is None:
        raise MalformedParcel("kind is unknown")
    if row.epoch > MAX_EPOCH or row.shard >= MAX_SHARDS or not 0 < row.sequence <= MAX_EPOCH or row.plan > MAX_EPOCH:
        raise MalformedParcel("identity is out of range")
    if not all(not name or is_name(name, limit=MAX_NODE) for name in (row.sensor, row.cluster)):
        raise MalformedParcel("sensor or cluster has a bad name")
    if not is_traceparent(row.traceparent):
        raise MalformedParcel("traceparent is not W3C trace context")
    return Header(
        kind, row.sensor, row.epoch, row.shard, row.sequence, row.plan, row.packets, row.media, row.traceparent,
        row.cluster, row.clock_offset_ns, row.compression, row.blob_bytes,
    )  # fmt: skip


# writing -------------------------------------------------------------------------------------------------------------


def seal(head: dict[str, Any], kind: Kind, body: Message, blob: bytes = b"", *, compress: bool = False) -> bytes:
    """Make a parcel of fields of the header, a body and a blob; `compress`: when that makes the blob smaller."""
    way, packed = _compress(blob) if compress and len(blob) >= _WORTH else (pb.COMPRESSION_NONE, blob)
    front = pb.Header(**head, kind=NUMBERS[kind], compression=way, blob_bytes=len(blob)).SerializeToString()
    held = body.SerializeToString()
    parts = [_tag(_HEADER, len(front)), front, _tag(_BODIES[kind], len(held)), held]
    if packed:
        parts += [_tag(_BLOB, len(packed)), packed]
    return b"".join(parts)


def _tag(number: int, size: int) -> bytes:
    out = bytearray((number << 3 | _LENGTH_DELIMITED,))
    while size >= 0x80:
        out.append(size & 0x7F | 0x80)
        size >>= 7
    out.append(size)
    return bytes(out)


def _compress(blob: bytes) -> tuple[pb.Compression, bytes]:
    zstd = _zstandard()
    if zstd is None:
        way, packed = pb.COMPRESSION_ZLIB, zlib.compress(blob, 1)
    else:
        way, packed = pb.COMPRESSION_ZSTD, bytes(zstd.ZstdCompressor(level=1).compress(blob))
    return (way, packed) if len(packed) < len(blob) * 7 // 8 else (pb.COMPRESSION_NONE, blob)


@cache
def _zstandard() -> Any:
    try:
        import zstandard  # comes with every role that has a link
    except ImportError:
        return None
    return zstandard


def _inflate(blob: memoryview, size: int) -> bytes:
    engine = zlib.decompressobj()
    try:
        found = engine.decompress(blob, size + 1)
    except zlib.error:
        raise MalformedParcel("blob is not deflated") from None
    if not engine.eof or engine.unused_data:
        raise MalformedParcel("blob is cut short or has a tail")
    return found


def _unzstd(blob: memoryview, size: int) -> bytes:
    zstd = _zstandard()
    if zstd is None:
        raise MalformedParcel("blob is zstd-compressed, and the package 'zstandard' is not installed")
    try:
        engine = zstd.ZstdDecompressor(max_window_size=MAX_PARCEL)
        return bytes(engine.stream_reader(blob).read(size + 1))
    except (zstd.ZstdError, MemoryError):
        raise MalformedParcel("blob is not zstd") from None
