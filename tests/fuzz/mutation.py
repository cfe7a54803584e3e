"""Damage that keeps some structure: of bytes, of the numbers and texts in them, of turns and their order.

Plain Python, deterministic by seed, without feedback: what a fuzzer with coverage (tests.fuzz.run --engine atheris) is
not there for, and what the short run of the test suite uses.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from tests.fuzz.turns import MARK, MAX_TURNS

NUMBERS = (
    b"\0", b"\1", b"\x7f", b"\x80", b"\xff", b"\0\0", b"\xff\xff", b"\x7f\xff", b"\x80\0", b"\0\1", b"\xff\xfe",
    b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\x84\xff\xff\xff\xff", b"\xc0\0", b"\xc0\x0c",
)  # fmt: skip
TEXTS = (
    b"\r\n", b"\n", b"\r\n\r\n", b" ", b"\t", b"0", b"-1", b"99999999999999999999", b"4294967296", b"\xff", b"\xc3\x28",
    b"\xed\xa0\x80", b"%00", b"\"", b"<", b">", b"(", b")", b"{", b"}", b";", b":", b",", b"=", b"\\", b"\x1b[2J",
)  # fmt: skip


class Mutator:
    """Makes inputs out of seeds."""

    def __init__(self, seeds: Sequence[bytes], *, seed: int, words: Sequence[bytes] = (), size: int, turns: bool) -> None:
        self._seeds = [each[:size] for each in seeds] or [b""]
        self._rng = random.Random(seed)
        self._words = (*words, *TEXTS)
        self._size = size
        self._turns = turns

    def next(self) -> bytes:
        """One input."""
        data = self._rng.choice(self._seeds)
        if self._turns and self._rng.random() < 0.75:  # few turns: more of them are damaged, and it is quick
            data = MARK.join(data.split(MARK, 4)[: self._rng.choice((1, 1, 2, 2, 3))])
        return self.change(data)

    def coin(self) -> bool:
        """One of two."""
        return self._rng.random() < 0.5

    def change(self, data: bytes) -> bytes:
        """An input made of another."""
        rng = self._rng
        for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5, 9))):
            data = self._shuffled(data) if self._turns and rng.random() < 0.25 else self._damaged(data)
        return data[: self._size]

    def _damaged(self, data: bytes) -> bytes:
        rng = self._rng
        random_ = rng.random
        size = len(data)
        # the heads of messages decide most
        at = min(int(rng.expovariate(1 / 24)), size) if random_() < 0.5 else int(random_() * (size + 1))
        way = int(random_() * 11)
        if way == 0:
            return data[:at] + bytes((int(random_() * 256),)) + data[at + 1 :]
        if way == 1:
            return data[:at] + bytes((data[at] ^ 1 << int(random_() * 8),)) + data[at + 1 :] if at < size else data
        if way == 2:
            new = rng.choice(NUMBERS)
            return data[:at] + new + data[at + len(new) :]
        if way == 3:
            return data[:at] + rng.choice(self._words) + data[at:]
        if way == 4:
            return data[:at] + data[at + 1 + int(rng.expovariate(1 / 8)) :]
        if way == 5:
            return data[:at]
        if way == 6:  # a number one more, one less, or a little
            width = rng.choice((1, 1, 2, 2, 4))
            number = int.from_bytes(data[at : at + width], "big") + rng.choice((-1, 1, -2, 2, 4, 16, -16))
            return data[:at] + (number % (1 << 8 * width)).to_bytes(width, "big") + data[at + width :]
        if way == 7:
            other = rng.choice(self._seeds)
            start = int(random_() * (len(other) + 1))
            return data[:at] + other[start : start + 1 + int(rng.expovariate(1 / 32))] + data[at:]
        if way == 8:
            start = int(random_() * (size + 1))
            return data[:at] + data[start : start + 1 + int(rng.expovariate(1 / 16))] + data[at:]
        if way == 9:
            part = data[at : at + 1 + int(rng.expovariate(1 / 6))]
            return data[:at] + part * int(2 + rng.expovariate(1 / 20)) + data[at:]
        return data[:at] + rng.choice(self._words) + data[at + int(rng.expovariate(1 / 4)) :]

    def _shuffled(self, data: bytes) -> bytes:
        rng = self._rng
        parts = data.split(MARK)[:MAX_TURNS]
        at = rng.randrange(len(parts))
        way = rng.randrange(7)
        if way == 0:
            parts[at] = bytes((rng.randrange(256),)) + parts[at][1:]
        elif way == 1 and len(parts) > 1:
            del parts[at]
        elif way == 2:
            parts.insert(at, parts[rng.randrange(len(parts))])
        elif way == 3:
            other = rng.randrange(len(parts))
            parts[at], parts[other] = parts[other], parts[at]
        elif way == 4:
            parts.insert(at, rng.choice(rng.choice(self._seeds).split(MARK)))
        elif way == 5:
            cut = rng.randrange(len(parts[at]) + 1)
            parts[at : at + 1] = [parts[at][:cut], parts[at][:1] + parts[at][cut:]]
        else:
            for number, part in enumerate(parts):
                if part:
                    parts[number] = bytes((part[0] & 1 | rng.randrange(128) << 1,)) + part[1:]
        return MARK.join(parts)
