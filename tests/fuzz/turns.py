"""How an input of several steps is one string of bytes: turns, parted by a mark that changes inside a turn do not move.

A turn is one byte of orders and its data. Of the orders, for streams: bit 0 the direction, bits 1-2 how the data is
cut, bits 3-4 whether bytes are lost before it, bits 5-7 a size. Other targets read the byte in their own way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

MARK = b"\xab\xcd\xfe"
MAX_TURNS = 64
BYTEWISE = 192  # bytes of a turn that are handed over one by one at most


class Turn(NamedTuple):
    """One step: its orders (a byte) and its data."""

    order: int
    data: bytes

    @property
    def direction(self) -> int:
        """0 or 1."""
        return self.order & 1

    @property
    def lost(self) -> int:
        """Bytes lost before it."""
        way, size = self.order >> 3 & 3, self.order >> 5
        return 0 if way < 2 else 1 + 37 * size if way == 2 else 1 << (10 + 3 * size)

    def pieces(self) -> Iterator[bytes]:
        """The data as it is cut."""
        way, size = self.order >> 1 & 3, self.order >> 5
        data = self.data
        if way == 0 or not data:
            yield data
        elif way == 1:
            yield from (data[at : at + 1] for at in range(min(len(data), BYTEWISE)))
            if len(data) > BYTEWISE:
                yield data[BYTEWISE:]
        elif way == 2:
            step = max(2 + 3 * size, len(data) // 64)
            yield from (data[at : at + step] for at in range(0, len(data), step))
        else:
            at = len(data) * (1 + size) // 9
            yield from (part for part in (data[:at], data[at:]) if part)


def pack(turns: Iterable[tuple[int, bytes]]) -> bytes:
    """Turns as one string."""
    return MARK.join(bytes((order & 0xFF,)) + data for order, data in turns)


def unpack(data: bytes) -> list[Turn]:
    """The turns of a string; any string has some."""
    return [Turn(part[0], part[1:]) for part in data.split(MARK)[:MAX_TURNS] if part]
