"""Damage for parser tests: bytes that are almost right, and the clock that says a parser stayed linear."""

from __future__ import annotations

import time
from collections.abc import Callable

from hypothesis import strategies as st


def damaged(samples: list[bytes]) -> st.SearchStrategy[bytes]:
    """Samples cut, spliced, repeated and with bytes overwritten."""
    edit = st.tuples(st.integers(0, 1 << 16), st.binary(min_size=0, max_size=4), st.integers(0, 8))

    def apply(sample: bytes, edits: list[tuple[int, bytes, int]]) -> bytes:
        data = bytearray(sample)
        for at, new, dropped in edits:
            place = at % (len(data) + 1)
            data[place : place + dropped] = new
        return bytes(data)

    return st.one_of(
        st.binary(max_size=200),
        st.builds(apply, st.sampled_from(samples), st.lists(edit, max_size=6)),
        st.builds(
            lambda sample, size: sample[: size % (len(sample) + 1)], st.sampled_from(samples), st.integers(0, 9999)
        ),
    )


def chunks(data: bytes, sizes: list[int]) -> list[bytes]:
    """The data cut into pieces of the given sizes, over and over (at least one byte each)."""
    out, at, turn = [], 0, 0
    while at < len(data):
        size = max(1, sizes[turn % len(sizes)] if sizes else len(data))
        out.append(data[at : at + size])
        at += size
        turn += 1
    return out


def is_linear(work: Callable[[bytes], object], make: Callable[[int], bytes], *, size: int) -> bool:
    """Tell whether four times the input takes clearly less than sixteen times the processor time (or next to none).

    A busy machine can stretch one measurement, never shorten it: quadratic work fails every attempt.
    """
    small, large = make(size), make(4 * size)

    def taken(data: bytes) -> float:
        start = time.process_time()
        work(data)
        return time.process_time() - start

    best_small = best_large = float("inf")
    for _ in range(8):
        best_small, best_large = min(best_small, taken(small)), min(best_large, taken(large))
        if best_large < max(0.005, 9 * best_small):
            return True
    return False
