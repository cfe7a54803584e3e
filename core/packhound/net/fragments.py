"""IP fragments to whole datagrams, for IPv4 and IPv6, with every limit counted.

Promise: memory stays below `max_bytes` and `max_datagrams`, whatever arrives; what was dropped, and why, is in
`counters`. Time comes in as `now`. RFC 791, 815 (holes), 8200, 5722.

Overlaps: for IPv4 the bytes that came first stay; for IPv6 an overlap condemns the whole datagram (RFC 5722), and
later pieces of it are dropped until its time is up. A piece that repeats bytes already there, unchanged, is a
duplicate and never an overlap. Pieces are matched across interfaces and VLANs, but not across tenants.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import Final

from packhound.net.decoded import DecodeConfig, Frame
from packhound.net.facts import Malformed
from packhound.net.frame import decode
from packhound.net.ip import AH, FRAGMENT, IPV4_HEADER, IPV6_HEADER

LINKTYPE_RAW: Final = 101
MAX_DATAGRAM: Final = 65_535
MAX_RUNS: Final = 256
"""Separate runs of bytes in one incomplete datagram; honest reordering needs few."""
OVERHEAD: Final = 512
"""Bytes of memory counted for a datagram besides its buffer."""
RUN_OVERHEAD: Final = 128

Key = tuple[int, int, bytes, bytes, int, int]

CAUSES: Final = (
    "fragments",
    "completed",
    "duplicate",
    "overlap",
    "condemned",
    "after_condemned",
    "misaligned",
    "too_long",
    "inconsistent",
    "scattered",
    "cut",
    "timeout",
    "evicted_datagrams",
    "evicted_bytes",
)


@dataclass(slots=True)
class _Datagram:
    first_seen: int
    buffer: bytearray = field(default_factory=bytearray)
    runs: list[tuple[int, int]] = field(default_factory=list)
    """Ranges already there, sorted, never touching each other."""
    total: int = -1
    """Payload length, once the last piece has been seen."""
    header: bytes = b""
    """IP header (IPv6: with the extension headers that every piece carries), from the first piece."""
    dead: bool = False

    def cost(self) -> int:
        return len(self.buffer) + OVERHEAD + RUN_OVERHEAD * len(self.runs)


class Reassembler:
    """Collect the pieces of datagrams; one object serves all interfaces of a worker."""

    def __init__(
        self, *, max_datagrams: int = 1024, max_bytes: int = 16 << 20, timeout_ns: int = 30_000_000_000
    ) -> None:
        self._max_datagrams = max_datagrams
        self._max_bytes = max_bytes
        self._timeout = timeout_ns
        self._open: OrderedDict[Key, _Datagram] = OrderedDict()
        self._held = 0
        self.counters: dict[str, int] = dict.fromkeys(CAUSES, 0)

    @property
    def held(self) -> int:
        """Bytes held for incomplete datagrams."""
        return self._held

    def __len__(self) -> int:
        return len(self._open)

    def add(self, frame: Frame, packet: bytes | memoryview, *, now: int) -> bytes | Malformed | None:
        """Take one piece (`frame.status` FRAGMENT, decoded from `packet`), `now` in ns.

        Returns the datagram as an IP packet without fragmentation (link type RAW) when this piece completes it, None
        while it is incomplete or the piece was dropped, `Malformed` when the piece condemns its datagram.
        """
        self.expire(now)
        self.counters["fragments"] += 1
        proto = frame.proto if frame.ip_version == 4 else 0
        key = (frame.tenant, frame.ip_version, frame.src, frame.dst, frame.frag_id, proto)
        datagram = self._open.get(key)
        if datagram is None:
            datagram = self._open[key] = _Datagram(first_seen=now)
            self._held += datagram.cost()
        if datagram.dead:
            self.counters["after_condemned"] += 1
            return None
        before = datagram.cost()
        fault = self._place(datagram, frame, packet)
        self._held += datagram.cost() - before
        if fault is None and datagram.header and datagram.runs == [(0, datagram.total)]:
            self._forget(key)
            self.counters["completed"] += 1
            return _whole(datagram)
        self._evict()
        return fault

    def expire(self, now: int) -> None:
        """Drop what has been incomplete for longer than the timeout."""
        while self._open:
            key, datagram = next(iter(self._open.items()))
            if now - datagram.first_seen <= self._timeout:
                return
            if not datagram.dead:
                self.counters["timeout"] += 1
            self._forget(key)

    def _forget(self, key: Key) -> None:
        self._held -= self._open.pop(key).cost()

    def _evict(self) -> None:
        """Drop the oldest datagrams until both caps hold."""
        while len(self._open) > self._max_datagrams:
            self.counters["evicted_datagrams"] += 1
            self._forget(next(iter(self._open)))
        while self._held > self._max_bytes:
            self.counters["evicted_bytes"] += 1
            self._forget(next(iter(self._open)))

    def _condemn(self, datagram: _Datagram, cause: str, reason: str) -> Malformed:
        self.counters[cause] += 1
        if cause != "condemned":
            self.counters["condemned"] += 1
        datagram.buffer = bytearray()
        datagram.runs = []
        datagram.dead = True
        return Malformed(reason)

    def _place(self, datagram: _Datagram, frame: Frame, packet: bytes | memoryview) -> Malformed | None:
        """Put one piece in its place, or say why it condemns the datagram."""
        start, size = frame.frag_offset, frame.payload_wire
        end = start + size
        if frame.payload_len < size:
            return self._condemn(datagram, "cut", "fragment cut by the snap length")
        if not size or (frame.frag_more and size % 8):
            return self._condemn(datagram, "misaligned", "fragment length is not a multiple of 8")
        if start == 0:
            datagram.header = datagram.header or _header(frame, packet)
        reach = max(end, datagram.runs[-1][1] if datagram.runs else 0)
        if reach + _header_in_length(frame, datagram) > MAX_DATAGRAM:
            return self._condemn(datagram, "too_long", "fragments add up to more than 65535 bytes")
        if not self._consistent(datagram, frame, end):
            return self._condemn(datagram, "inconsistent", "fragments disagree about the length of the datagram")
        piece = packet[frame.payload : frame.payload + size]
        return self._merge(datagram, start, piece, strict=frame.ip_version == 6)

    def _consistent(self, datagram: _Datagram, frame: Frame, end: int) -> bool:
        if frame.frag_more:
            return datagram.total < 0 or end <= datagram.total
        if datagram.total not in (-1, end) or (datagram.runs and datagram.runs[-1][1] > end):
            return False
        datagram.total = end
        return True

    def _merge(self, datagram: _Datagram, start: int, piece: bytes | memoryview, *, strict: bool) -> Malformed | None:
        end = start + len(piece)
        known = [(max(a, start), min(b, end)) for a, b in datagram.runs if a < end and b > start]
        buffer = datagram.buffer
        if known:
            same = all(bytes(buffer[a:b]) == piece[a - start : b - start] for a, b in known)
            if known == [(start, end)] and same:
                self.counters["duplicate"] += 1
                return None
            self.counters["overlap"] += 1
            if strict:
                return self._condemn(datagram, "condemned", "IPv6 fragments overlap")
        if len(buffer) < end:
            buffer.extend(bytes(end - len(buffer)))
        at = start
        for a, b in [*known, (end, end)]:
            buffer[at:a] = piece[at - start : a - start]
            at = b
        datagram.runs = _joined([*datagram.runs, (start, end)])
        if len(datagram.runs) > MAX_RUNS:
            return self._condemn(datagram, "scattered", "fragments leave too many holes")
        return None


def _joined(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in sorted(runs):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _header_in_length(frame: Frame, datagram: _Datagram) -> int:
    """Header bytes that the length field counts: all of IPv4's, IPv6's extension headers."""
    if frame.ip_version == 4:
        return len(datagram.header) or IPV4_HEADER
    return max(len(datagram.header) - IPV6_HEADER, 0)


def _header(frame: Frame, packet: bytes | memoryview) -> bytes:
    """Return the header of the whole datagram, lengths still to be set; IPv6 without its fragment header."""
    if frame.ip_version == 4:
        header = bytearray(packet[frame.l3 : frame.payload])
        header[6:8] = bytes((header[6] & 0x40, 0))
        return bytes(header)
    header = bytearray(packet[frame.l3 : frame.payload - 8])
    selector, at = 6, IPV6_HEADER
    while header[selector] != FRAGMENT and at + 8 <= len(header):
        kind, selector = header[selector], at
        at += (header[at + 1] + 2) * 4 if kind == AH else (header[at + 1] + 1) * 8
    header[selector] = frame.proto
    return bytes(header)


def _whole(datagram: _Datagram) -> bytes:
    header = bytearray(datagram.header)
    body = datagram.buffer[: datagram.total]
    if header[0] >> 4 == 6:
        header[4:6] = (len(header) - IPV6_HEADER + len(body)).to_bytes(2, "big")
        return bytes(header + body)
    header[2:4] = (len(header) + len(body)).to_bytes(2, "big")
    header[10:12] = b"\0\0"
    header[10:12] = _checksum(header).to_bytes(2, "big")
    return bytes(header + body)


def _checksum(header: bytes | bytearray) -> int:
    """Internet checksum of an even number of bytes (RFC 1071)."""
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, len(header), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def decode_datagram(datagram: bytes, *, piece: Frame, config: DecodeConfig) -> Frame:
    """Decode what `Reassembler.add` returned; link and tunnel ids and depth are those of its last `piece`.

    Offsets count from the first byte of `datagram`. The result may be a FRAGMENT again (a tunnel inside), to be added
    again: each time is one level deeper, so `config.max_depth` bounds it.
    """
    left = replace(config, max_depth=max(config.max_depth - piece.depth, 0))
    frame = decode(datagram, linktype=LINKTYPE_RAW, config=left)
    frame.depth += piece.depth
    frame.vlan = piece.vlan
    frame.tenant = frame.tenant or piece.tenant
    frame.ethertype = frame.ethertype or piece.ethertype
    return frame
