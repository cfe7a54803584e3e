"""The part of a capture file that a walker sees, moving on through one reused buffer.

Promise: `data[0]` is byte `base` of the (unpacked) file. `advance` overwrites what was in view before: blocks of it
must be done with. The buffer grows only for a record that does not fit, by doubling, and shrinks again after it.
Measured (docs/adr/0002-own-file-readers.md): reading into a buffer that stays in the cache beats mapping the file.
"""

from __future__ import annotations

from enum import Enum

from packhound.sensor.tap.compressed import Stream
from packhound.sensor.tap.frames import BLOCK_BYTES


class Step(Enum):
    """What `advance` brought: more bytes, nothing for now, or the end."""

    MORE = 1
    IDLE = 2
    END = 3


class Window:
    """A view of `stream`, `size` bytes wide unless one record needs more."""

    def __init__(self, stream: Stream, *, size: int = BLOCK_BYTES) -> None:
        self.stream = stream
        self.size = size
        self.base = 0
        self._buffer = memoryview(bytearray(size))
        self._filled = 0
        self.data = self._buffer[:0]

    def advance(self, pos: int) -> Step:
        """Let go of what lies before `pos` (which becomes position 0) and read on; raises StreamFault."""
        rest = self._filled - pos
        wanted = max(self.size, 2 * rest)
        if len(self._buffer) != wanted and (rest == len(self._buffer) or 2 * rest <= self.size):
            fresh = memoryview(bytearray(wanted))
            fresh[:rest] = self._buffer[pos : self._filled]
            self._buffer = fresh
        elif pos:
            self._buffer[:rest] = self._buffer[pos : self._filled]
        self.base += pos
        self._filled = rest
        try:
            count = self.stream.readinto(self._buffer[rest:])
        finally:
            self.data = self._buffer[: self._filled]
        if count is None:
            return Step.IDLE
        self._filled += count
        self.data = self._buffer[: self._filled]
        return Step.MORE if count else Step.END

    def close(self) -> None:
        """Close the stream."""
        self.stream.close()
