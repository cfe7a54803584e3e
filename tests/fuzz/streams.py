"""Reassembly against a model that is too simple to be wrong, and too slow to be used: every byte of the sequence space
that was seen, by number."""

from __future__ import annotations

from dataclasses import dataclass, field

from packhound.net.reassembly import Gap, StreamReassembler
from tests.fuzz.target import Broken, Target
from tests.fuzz.turns import pack, unpack

MODULUS = 1 << 32
MAX_BYTES, MAX_SEGMENTS = 4096, 12
SECOND = 1_000_000_000
BASES = (1000, 0xFFFFFFF0, 0x7FFFFFF8, 0)


@dataclass(slots=True)
class Model:
    """The stream byte by byte: the first to arrive wins. `base` is the number of its first byte."""

    base: int
    read: int = 0  # bytes that left, gaps too
    seen: dict[int, int | None] = field(default_factory=dict)  # offset -> byte, None where the snap length cut it
    again: int = 0  # bytes that were there already
    missing: int = 0  # bytes that left as gaps

    def push(self, seq: int, data: bytes, size: int) -> None:
        """Take a segment."""
        start = self.offset(seq)
        for at in range(max(size, len(data))):
            if start + at >= self.read and start + at not in self.seen:
                self.seen[start + at] = data[at] if at < len(data) else None
            else:
                self.again += 1

    def offset(self, seq: int) -> int:
        """Offset in the stream: the nearest to the read position."""
        ahead = (seq - self.base - self.read) % MODULUS
        return self.read + (ahead if ahead < MODULUS // 2 else ahead - MODULUS)

    def took(self, out: list[bytes | Gap]) -> None:
        """Check what the reassembler let go: bytes in their place, gaps only where bytes are missing."""
        for each in out:
            if isinstance(each, Gap):
                there = [at for at in range(self.read, self.read + min(each.size, 70_000)) if self.seen.get(at) is not None]
                if there or each.size < 1:
                    raise Broken(f"a gap of {each.size} at {self.read} hides bytes at {there[:3]}")
                self.read += each.size
                self.missing += each.size
                continue
            wanted = [self.seen.get(self.read + at) for at in range(len(each))]
            if list(each) != wanted:
                raise Broken(f"at {self.read} came {each[:20]!r}, not {wanted[:20]}")
            self.read += len(each)
        self.seen = {at: byte for at, byte in self.seen.items() if at >= self.read}


def follow(data: bytes) -> None:
    """Turns as segments: three bytes of place, then the payload. Of the orders, bits 0-1 the base (first turn), bit 2
    time goes on, bit 3 the snap length cut it, bit 4 the place counts back, bits 5-7: 7 skips, 6 jumps far, 5 abandons."""
    turns = unpack(data)
    if not turns:
        return
    base = BASES[turns[0].order & 3]
    stream = StreamReassembler(max_bytes=MAX_BYTES, max_segments=MAX_SEGMENTS, timeout_ns=SECOND)
    midway = bool(turns[0].order & 4)  # no SYN was seen: the first segment is where it starts
    if not midway:
        stream.start(base - 1)
    model = None if midway else Model(base)
    now = 0
    for turn in turns:
        now += SECOND // 3 if turn.order & 4 else 1
        if turn.order >> 5 == 7 and model is not None:
            model.took(stream.skip())
            continue
        if turn.order >> 5 == 5 and model is not None:
            _abandon(stream, model)
            continue
        place = int.from_bytes(turn.data[:2], "big") % 3000
        place = -place // 8 if turn.order & 16 else place
        at = model.read if model is not None else 0
        far = 1 << 29 if turn.order >> 5 == 6 else 0
        payload = turn.data[2:]
        size = len(payload) + (17 if turn.order & 8 else 0)
        seq = (base + at + place + far) % MODULUS
        if model is None and (payload or size):
            model = Model(seq)
        out = stream.push(seq, payload, now, size=size)
        if model is None:
            continue
        model.push(seq, payload, size)
        model.took(out)
        _bounded(stream)
    if model is not None:
        model.took(stream.flush())
        if any(byte is not None for byte in model.seen.values()):
            raise Broken("bytes were seen and never left")
        if (stream.retransmitted, stream.skipped, stream.refused) != (model.again, model.missing, 0):
            raise Broken(f"{stream.retransmitted} again, {stream.skipped} missing, {stream.refused} refused: {model}")
    if stream.waiting or stream.flush():
        raise Broken("bytes wait behind the end")


def _abandon(stream: StreamReassembler, model: Model) -> None:
    held = sum(byte is not None for byte in model.seen.values())
    if stream.abandon() != held or stream.cost:
        raise Broken("abandoned bytes are counted wrongly")
    model.seen.clear()


def _bounded(stream: StreamReassembler) -> None:
    pieces = stream._pieces  # what is kept is what is promised
    if stream.waiting != sum(len(each.data) for each in pieces):
        raise Broken(f"{stream.waiting} bytes are said to wait")
    if stream.waiting > MAX_BYTES or len(pieces) > MAX_SEGMENTS:
        raise Broken(f"{stream.waiting} bytes wait in {len(pieces)} pieces")


def _seeds() -> list[bytes]:
    one = [(0, n.to_bytes(2, "big") + bytes(range(65, 75))) for n in (0, 0, 20, 10, 5, 40, 0)]
    two = [(1 | 8, b"\0\0abc"), (16, b"\0\x10xyzxyz"), (4, b"\0\x40abcdefgh"), (4, b"\0\x38ABCDEFGHIJKLMNOPQRSTUV"), (4, b"\0\0q")]
    three = [(2, (3 * n).to_bytes(2, "big") + b"z") for n in range(1, 30)]
    four = [(4, b"\0\x05mid"), (0, b"\0\0stream"), (192, b"\0\0far"), (224, b"")]
    return [pack(each) for each in (one, two, three, four)]


def targets() -> list[Target]:
    """One."""
    return [Target("reassembly", follow, _seeds, group="packets", size=1500)]
