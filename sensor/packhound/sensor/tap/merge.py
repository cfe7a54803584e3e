"""Several capture files as one tap, in order of time.

Promise: the order is that of a merge by head packet (the earliest head goes next, the first file wins a tie, each file
keeps its own order), whatever the sizes of the blocks; interfaces of equal name, link type and snap length are one.
Memory: one block per file. Packets are copied only where files overlap in time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from packhound.sensor.tap.errors import CaptureError
from packhound.sensor.tap.files import STDIN, CaptureFile
from packhound.sensor.tap.frames import (
    BLOCK_BYTES,
    MAX_PACKETS,
    Block,
    Condition,
    Drops,
    Int64s,
    Interface,
    Tap,
    UInt16s,
)
from packhound.sensor.tap.section import LIMIT

#: Least bytes of each file in memory, however many there are.
LEAST = 1 << 16


@dataclass(slots=True)
class _Source:
    """One tap on its way: the block it is in, the row that is next, the sort key of each row.

    A row's key is the latest time seen in its file so far: what a merge by head packet sorts by, in effect.
    """

    tap: Tap
    feed: Iterator[Block | None]
    block: Block | None = None
    row: int = 0
    keys: Int64s = field(default_factory=lambda: np.empty(0, np.int64))
    over: bool = False
    places: list[int] = field(default_factory=list)

    @property
    def waiting(self) -> bool:
        """Whether its next block is needed before anything can go out."""
        return not self.over and self.block is None

    def pull(self) -> bool:
        """Take the next block; False when the source has nothing for now."""
        try:
            block = next(self.feed)
        except StopIteration:
            self.over = True
            return True
        if block is None or len(block) == 0:
            return block is not None
        last = self.keys[-1] if len(self.keys) else block.ts[0]
        self.keys = np.maximum(np.maximum.accumulate(block.ts), last)
        self.block, self.row = block, 0
        return True

    def take(self, end: int) -> Block:
        """Rows up to `end` of the current block, as a block."""
        block, start = self.block, self.row
        assert block is not None
        self.row = end
        if end == len(block):
            self.block = None
        return _rows(block, start, end)


@dataclass(slots=True)
class _Piece:
    """Rows of one source that go out now."""

    source: _Source
    block: Block
    keys: Int64s


class MergedTap:
    """Taps on files, merged by time."""

    def __init__(self, taps: Sequence[Tap]) -> None:
        self.taps = list(taps)
        self.interfaces: list[Interface] = []
        self.faults: list[CaptureError] = []
        self._known: dict[tuple[str, int, int], int] = {}
        self._packets = 0
        self._stopped = False

    @property
    def fault(self) -> CaptureError | None:
        """The first fault that any of the files had."""
        found = [tap.fault for tap in self.taps if tap.fault is not None]
        return (found + self.faults)[0] if found or self.faults else None

    def blocks(self) -> Iterator[Block | None]:
        """Packets of all files by time; None while a pipe among them is silent."""
        sources = [_Source(tap, tap.blocks()) for tap in self.taps]
        try:
            while sources and not self._stopped:
                pulled = [source.pull() for source in sources if source.waiting]
                if not all(pulled):
                    yield None
                sources = [source for source in sources if not source.over]
                if any(source.waiting for source in sources):
                    continue
                if sources:
                    yield from self._merge(_due(sources))
        except CaptureError as error:
            self.faults.append(error)

    def _merge(self, pieces: list[_Piece]) -> Iterator[Block]:
        for piece in pieces:
            piece.block.iface = self._places(piece.source)[piece.block.iface]
        merged = _interleave(pieces) if len(pieces) > 1 else pieces[0].block
        for start in range(0, len(merged), MAX_PACKETS):
            block = _rows(merged, start, min(start + MAX_PACKETS, len(merged)))
            block.first_number = self._packets + 1
            self._packets += len(block)
            yield block

    def _places(self, source: _Source) -> UInt16s:
        for entry in source.tap.interfaces[len(source.places) :]:
            key = (entry.name, entry.linktype, entry.snaplen)
            if key not in self._known:
                if len(self.interfaces) >= LIMIT:
                    raise CaptureError(entry.name, 0, f"the files describe more than {LIMIT} interfaces")
                index = self._known[key] = len(self.interfaces)
                self.interfaces.append(Interface(*key, index, entry.description))
            source.places.append(self._known[key])
        return np.array(source.places, np.uint16)

    def drops(self) -> Drops:
        """Sum over the files."""
        return sum((tap.drops() for tap in self.taps), Drops())

    def conditions(self) -> list[Condition]:
        """Those of all files."""
        return [condition for tap in self.taps for condition in tap.conditions()]

    def stop(self) -> None:
        """End after the block that is out."""
        self._stopped = True
        for tap in self.taps:
            tap.stop()

    def close(self) -> None:
        """Let go of every file."""
        for tap in self.taps:
            tap.close()


def open_captures(paths: Iterable[str | os.PathLike[str]]) -> CaptureFile | MergedTap:
    """One file, or several merged by time (`-`: standard input). Raises CaptureError when one cannot be opened."""
    names = [os.fspath(path) for path in paths]
    if names.count(STDIN) > 1:
        raise CaptureError(STDIN, 0, "standard input can be read only once")
    if len(names) == 1:
        return CaptureFile(names[0])
    taps: list[CaptureFile] = []
    try:
        for name in names:
            taps.append(CaptureFile(name, budget=max(LEAST, BLOCK_BYTES // len(names))))
    except CaptureError:
        for tap in taps:
            tap.close()
        raise
    return MergedTap(taps)


def _due(sources: list[_Source]) -> list[_Piece]:
    """What may go now: everything earlier than anything that a source could still bring.

    Of rows at that very time, those of the source that brings it and of the ones before it: the first file wins a tie.
    """
    horizon = min(source.keys[-1] for source in sources)
    due: list[_Piece] = []
    side: Literal["left", "right"] = "right"
    for source in sources:
        start, end = source.row, int(np.searchsorted(source.keys, horizon, side=side))
        if source.keys[-1] == horizon:
            side = "left"
        if end > start:
            due.append(_Piece(source, source.take(end), source.keys[start:end]))
    return due


def _rows(block: Block, start: int, end: int) -> Block:
    return Block(
        block.data,
        block.offset[start:end],
        block.caplen[start:end],
        block.wirelen[start:end],
        block.ts[start:end],
        block.iface[start:end],
        block.first_number + start,
    )


def _interleave(pieces: list[_Piece]) -> Block:
    """Pieces of several files as one block: packets copied, in order of their keys."""
    order = np.argsort(np.concatenate([piece.keys for piece in pieces]), kind="stable")
    spans: list[memoryview] = []
    offsets = []
    size = 0
    for piece in pieces:
        block = piece.block
        first, last = int(block.offset[0]), int(block.offset[-1]) + int(block.caplen[-1])
        spans.append(memoryview(block.data)[first:last])
        offsets.append(block.offset - np.uint64(first) + np.uint64(size))
        size += last - first
    blocks = [piece.block for piece in pieces]
    return Block(
        b"".join(spans),
        np.concatenate(offsets)[order],
        np.concatenate([block.caplen for block in blocks])[order],
        np.concatenate([block.wirelen for block in blocks])[order],
        np.concatenate([block.ts for block in blocks])[order],
        np.concatenate([block.iface for block in blocks])[order],
        1,
    )
