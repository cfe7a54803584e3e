"""A cursor over bytes whose every read is checked against their end.

Promise: no read past `end`, no copy larger than what was asked for. `Short` never leaves this package: each parser
catches it at its door and answers `Malformed`.
"""

from __future__ import annotations


class Short(Exception):
    """The bytes ended, or a length field pointed past them, at `offset`."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


class Octets:
    """Big-endian reads from `data[at:end]`, in order."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.data = data
        self.at = at
        self.end = len(data) if end is None else min(end, len(data))

    def __len__(self) -> int:
        """Return how many bytes are left."""
        return self.end - self.at

    def number(self, size: int) -> int:
        """Read an unsigned integer of `size` bytes."""
        return int.from_bytes(self.take(size), "big")

    def take(self, size: int) -> bytes:
        """Read `size` bytes."""
        start, stop = self.at, self.at + size
        if stop > self.end:
            raise Short(start)
        self.at = stop
        return self.data[start:stop]

    def skip(self, size: int) -> None:
        """Step over `size` bytes."""
        if self.at + size > self.end:
            raise Short(self.at)
        self.at += size

    def part(self, size: int) -> Octets:
        """Step over `size` bytes and return a cursor that is bounded to them (no copy)."""
        start = self.at
        self.skip(size)
        return Octets(self.data, start, self.at)

    def vector(self, width: int) -> Octets:
        """Read a length of `width` bytes and return a cursor over that many bytes after it."""
        return self.part(self.number(width))

    def rest(self) -> bytes:
        """Read all that is left."""
        return self.take(self.end - self.at)


def numbers(cursor: Octets, width: int) -> tuple[int, ...]:
    """Read the whole cursor as unsigned integers of `width` bytes; a torn last one is dropped."""
    data = cursor.rest()
    stop = len(data) - len(data) % width
    return tuple(int.from_bytes(data[at : at + width], "big") for at in range(0, stop, width))
