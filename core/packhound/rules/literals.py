"""A set of literals as flat tables: is any of them in this payload, whatever its case?

Promise: pure; `LiteralSet.hit` is the specification, the tables are what kernel/_prefilter.pxi walks. Literals of alike
length share a tier. A tier looks at every `stride`-th place of the payload only: from each literal one window of
`gram + stride - 1` bytes is taken, so that wherever the literal stands exactly one gram of its window falls on such a
place. A blocked Bloom filter says whether any window has that gram, a hash of entries verifies the whole literal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

GRAM = 4
MULTIPLIER = 0x9E3779B1
ENTRY_DTYPE = np.dtype([("word", "u4"), ("start", "u4"), ("size", "u4"), ("offset", "u4"), ("next", "i4")])
MIN_BITS, MAX_BITS = 12, 21  # of the Bloom filter: 512 bytes to 256 KiB
BITS_PER_ENTRY = 40
_SHARED_BITS = (15, 9)  # where in the hash the two bits inside a block are taken from

# What most HTTP messages and TLS hellos hold: a window of these grams would be verified in every packet.
_COMMON = (
    b"get / http/1.1\r\nhost: www.\r\nuser-agent: mozilla/5.0 (windows nt 10.0; win64; x64) applewebkit/537.36 (khtm"
    b"l, like gecko) chrome/ safari/\r\naccept: text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*"
    b";q=0.8\r\naccept-encoding: gzip, deflate\r\naccept-language: en-us,en;q=0.5\r\ncookie: referer: http://www. ht"
    b"tps://www. .com/ .net/ .org/ .html .jpg .png .js .css\r\nconnection: keep-alive\r\ncontent-type: text/plain; c"
    b"harset=utf-8\r\ncontent-length: 0\r\ncache-control: no-cache, max-age=0\r\nserver: apache date: gmt last-modif"
    b"ied: etag: expires: http/1.1 200 ok\r\nx-requested-with: xmlhttprequest location: set-cookie: path=/ domain="
)
_COMMON_WEIGHT = 50
# Distinct grams of text that occur often enough to count, by gram size: how likely a place looks like some literal.
_UNIVERSE = {1: 48, 2: 1000, 3: 20_000, 4: 300_000}
_PROBE, _VERIFY = 0.5, 15.0  # ns, measured on HTTP and TLS payload


def word_of(gram: bytes) -> int:
    """A gram as a number, bit 0x20 set in every byte so that letter case is gone (and little else)."""
    return int.from_bytes(bytes(octet | 0x20 for octet in gram), "little")


def hash_of(word: int) -> int:
    """A multiplicative hash of a 32-bit number; its top bits are the good ones."""
    return word * MULTIPLIER & 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Tier:
    """Tables of one tier: `bloom` uint64[2^(bits - 6)], `heads` int32[2^head_bits] index of the first entry or -1,
    `entries` of ENTRY_DTYPE (`start`, `size`: the literal in the blob; `offset`: of the gram in the literal)."""

    gram: int
    stride: int
    bits: int
    head_bits: int
    bloom: npt.NDArray[np.uint64]
    heads: npt.NDArray[np.int32]
    entries: npt.NDArray[np.void]


class LiteralSet:
    """Literals (bytes, at least one each), ASCII case folded, and their tables: `blob`, the literals back to back, and
    at most two `tiers`. Raises ValueError for an empty literal."""

    def __init__(self, literals: Iterable[bytes]) -> None:
        folded = {each.lower() for each in literals}
        if b"" in folded:
            raise ValueError("an empty literal is in every payload")
        self.literals: tuple[bytes, ...] = _shortest(folded)
        self.blob = b"".join(self.literals)
        self.tiers = tuple(_tier(group, self.literals) for group in _groups(self.literals))

    def hit(self, payload: bytes) -> bool:
        """Tell whether any literal is in `payload`, ASCII letters without case."""
        folded = payload.lower()
        return any(literal in folded for literal in self.literals)


def _shortest(literals: set[bytes]) -> tuple[bytes, ...]:
    """Leave out what starts with another literal: that one hits wherever it would."""
    kept: list[bytes] = []
    for literal in sorted(literals):  # a prefix sorts right before what it is a prefix of
        if not kept or not literal.startswith(kept[-1]):
            kept.append(literal)
    return tuple(kept)


def _shape(window: int) -> tuple[int, int]:
    """Gram and stride of a tier whose shortest literal has `window` bytes."""
    gram = min(GRAM, window)
    return gram, window - gram + 1


def _cost(window: int, count: int) -> float:
    """Nanoseconds per payload byte that a tier costs, about."""
    gram, stride = _shape(window)
    return (_PROBE + _VERIFY * min(1.0, count * stride / _UNIVERSE[gram])) / stride


def _groups(literals: Sequence[bytes]) -> list[list[int]]:
    """Indexes of the literals by tier: all in one, or the short ones apart where that is cheaper."""
    if not literals:
        return []
    order = sorted(range(len(literals)), key=lambda i: len(literals[i]))
    lengths = [len(literals[i]) for i in order]
    best, cut = _cost(lengths[0], len(order)), 0
    for at in range(1, len(order)):
        if lengths[at] != lengths[at - 1] and lengths[at - 1] < 16:
            cost = _cost(lengths[0], at) + _cost(lengths[at], len(order) - at)
            if cost < best:
                best, cut = cost, at
    return [order[:cut], order[cut:]] if cut else [order]


def _tier(group: Sequence[int], literals: Sequence[bytes]) -> Tier:
    gram, stride = _shape(min(len(literals[i]) for i in group))
    starts = np.concatenate(([0], np.cumsum([len(each) for each in literals])))
    seen = _frequencies([literals[i] for i in group], gram)
    rows: list[tuple[int, int, int, int]] = []
    for i in group:
        literal = literals[i]
        anchor = _anchor(literal, gram, stride, seen)
        rows += [
            (word_of(literal[offset : offset + gram]), int(starts[i]), len(literal), offset)
            for offset in range(anchor, anchor + stride)
        ]
    return _tables(rows, gram, stride)


def _frequencies(literals: Iterable[bytes], gram: int) -> Mapping[bytes, int]:
    """How common each gram is: in the literals themselves, and in ordinary traffic."""
    seen: Counter[bytes] = Counter()
    for literal in literals:
        seen.update(literal[at : at + gram] for at in range(len(literal) - gram + 1))
    for at in range(len(_COMMON) - gram + 1):
        seen[_COMMON[at : at + gram]] += _COMMON_WEIGHT
    return seen


def _anchor(literal: bytes, gram: int, stride: int, seen: Mapping[bytes, int]) -> int:
    """Offset of the literal's window whose grams are the least common, the first of equals."""
    counts = [seen[literal[at : at + gram]] for at in range(len(literal) - gram + 1)]
    return min(range(len(counts) - stride + 1), key=lambda at: sum(counts[at : at + stride]))


def _tables(rows: Sequence[tuple[int, int, int, int]], gram: int, stride: int) -> Tier:
    bits = min(max((len(rows) * BITS_PER_ENTRY).bit_length(), MIN_BITS), MAX_BITS)
    head_bits = min(max((len(rows) * 2).bit_length(), 4), 20)
    bloom = np.zeros(1 << (bits - 6), np.uint64)
    heads = np.full(1 << head_bits, -1, np.int32)
    entries = np.zeros(len(rows), ENTRY_DTYPE)
    for number, (word, start, size, offset) in enumerate(rows):
        hashed = hash_of(word)
        mask = 0
        for shift in _SHARED_BITS:
            mask |= 1 << (hashed >> shift & 63)
        bloom[hashed >> (38 - bits)] |= np.uint64(mask)
        head = hashed >> (32 - head_bits)
        entries[number] = (word, start, size, offset, heads[head])
        heads[head] = number
    return Tier(gram, stride, bits, head_bits, bloom, heads, entries)
