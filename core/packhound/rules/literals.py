"""A set of literals as flat tables: is any of them in this payload, whatever its case?

Promise: pure; `hit` is the specification, the tables are what kernel/_prefilter.pxi walks. A window of `window` bytes
(the shortest literal) is sampled every `stride` bytes by its `gram` first bytes; a bitmap says whether any literal has
that gram at that place, a hash of entries verifies.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

GRAM = 4
BITMAP_BITS = 17
HEAD_BITS = 13
MULTIPLIER = 0x9E3779B1
ENTRY_DTYPE = np.dtype([("word", "u4"), ("start", "u4"), ("size", "u4"), ("offset", "u4"), ("next", "i4")])


def word_of(gram: bytes) -> int:
    """A gram as a number, bit 0x20 set in every byte so that letter case is gone (and little else)."""
    return int.from_bytes(bytes(octet | 0x20 for octet in gram), "little")


def hash_of(word: int, bits: int) -> int:
    """The top `bits` bits of a multiplicative hash of a 32-bit number."""
    return (word * MULTIPLIER & 0xFFFFFFFF) >> (32 - bits)


class LiteralSet:
    """Literals (bytes, at least one each), ASCII case folded, and their tables.

    `blob`: the literals back to back; `bitmap`: uint8[2^17 / 8]; `heads`: int32[2^13] index of the first entry or -1;
    `entries`: ENTRY_DTYPE. Raises ValueError for an empty literal.
    """

    def __init__(self, literals: Iterable[bytes]) -> None:
        self.literals: tuple[bytes, ...] = tuple(sorted({each.lower() for each in literals}))
        if any(not each for each in self.literals):
            raise ValueError("an empty literal is in every payload")
        self.window = min(map(len, self.literals), default=0)
        self.gram = min(GRAM, self.window)
        self.stride = self.window - self.gram + 1
        self.blob = b"".join(self.literals)
        self.bitmap = np.zeros((1 << BITMAP_BITS) // 8, np.uint8)
        self.heads = np.full(1 << HEAD_BITS, -1, np.int32)
        self.entries = self._entries()

    def _entries(self) -> np.ndarray:
        rows: list[tuple[int, int, int, int, int]] = []
        start = 0
        for literal in self.literals:
            for offset in range(self.stride):
                word = word_of(literal[offset : offset + self.gram])
                bit, head = hash_of(word, BITMAP_BITS), hash_of(word, HEAD_BITS)
                self.bitmap[bit >> 3] |= 1 << (bit & 7)
                rows.append((word, start, len(literal), offset, int(self.heads[head])))
                self.heads[head] = len(rows) - 1
            start += len(literal)
        return np.array(rows, ENTRY_DTYPE)

    def hit(self, payload: bytes) -> bool:
        """Tell whether any literal is in `payload`, ASCII letters without case."""
        folded = payload.lower()
        return any(literal in folded for literal in self.literals)
