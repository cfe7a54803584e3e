"""The prefilter never misses a literal and never makes one up, portable tables and kernel alike."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.rules.literals import LiteralSet

try:
    from packhound.sensor.kernel import _scan as kernel
except ImportError:
    kernel: Any = None  # type: ignore[no-redef]

ALPHABETS = (b"ab", b"abAB", b"abcdefXYZ.-@`[{ \x00\xff", bytes(range(256)))


def texts(sizes: tuple[int, int]) -> st.SearchStrategy[bytes]:
    low, high = sizes
    return st.sampled_from(ALPHABETS).flatmap(
        lambda letters: st.lists(st.sampled_from(letters), min_size=low, max_size=high).map(bytes)
    )


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Literals of 1 to 64 bytes, and a payload that often holds one of them, whole or nearly."""
    literals = draw(st.lists(texts((1, 64)), max_size=12))
    parts = [draw(texts((0, 40)))]
    for _ in range(draw(st.integers(0, 3))):
        if literals:
            piece = draw(st.sampled_from(literals))
            cut = draw(st.integers(0, 1))
            parts += [draw(st.sampled_from([piece, piece.upper(), piece.swapcase()]))[cut:], draw(texts((0, 9)))]
    return literals, b"".join(parts)


def expected(literals: list[bytes], payload: bytes) -> bool:
    return any(literal.lower() in payload.lower() for literal in literals)


@settings(max_examples=400, deadline=None)
@given(cases())
def test_a_hit_is_a_literal_in_the_payload(case: tuple[list[bytes], bytes]) -> None:
    literals, payload = case
    assert LiteralSet(literals).hit(payload) == expected(literals, payload)


@pytest.mark.skipif(kernel is None, reason="the native kernel is not built")
@settings(max_examples=1500, deadline=None)
@given(cases())
def test_the_kernel_hits_what_the_specification_hits(case: tuple[list[bytes], bytes]) -> None:
    literals, payload = case
    assert kernel.prefilter_one(LiteralSet(literals), payload) == expected(literals, payload)
