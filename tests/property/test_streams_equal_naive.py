"""Reassembly does what a model does that keeps every byte by its number: order, overlaps, repetition, wrap, a start in
the middle, losses, bounds; and over all streams of a process memory has one bound."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.net.reassembly import PIECE, Backlog, Gap, StreamReassembler
from tests.fuzz.streams import follow
from tests.fuzz.turns import MARK, pack

PLACES = st.one_of(st.integers(0, 40), st.integers(0, 2999))
SEGMENTS = st.lists(
    st.tuples(st.integers(0, 255), PLACES, st.binary(max_size=60).filter(lambda data: MARK not in data)), max_size=40
)
SECOND = 1_000_000_000


@settings(max_examples=600, deadline=None)
@given(SEGMENTS)
def test_any_segments_leave_as_the_model_says(segments: list[tuple[int, int, bytes]]) -> None:
    follow(pack((order, place.to_bytes(2, "big") + data) for order, place, data in segments))


@settings(max_examples=200, deadline=None)
@given(
    streams=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 60), st.binary(min_size=1, max_size=90)), max_size=120),
    most=st.sampled_from((600, 2000, 1 << 20)),
    count=st.sampled_from((1, 3, 100)),
)
def test_all_streams_together_keep_to_their_bounds(
    streams: list[tuple[int, int, bytes]], most: int, count: int
) -> None:
    backlog = Backlog(max_bytes=most, max_streams=count)
    each = {number: StreamReassembler() for number in range(10)}
    for one in each.values():
        one.start(-1)
    last: dict[int, int] = {}
    for turn, (number, place, data) in enumerate(streams):
        before = backlog.abandoned_streams
        each[number].push(1 + place * 10, data, 0)  # the first byte never comes
        backlog.note(each[number])
        last[number] = turn
        assert backlog.held == sum(one.cost for one in each.values()) <= most
        assert len(backlog) == sum(one.cost > 0 for one in each.values()) <= count
        if backlog.abandoned_streams > before:  # those that hold something were fed later than those that do not
            kept = [last[n] for n, one in each.items() if one.cost]
            gone = [last[n] for n, one in each.items() if not one.cost and n in last]
            assert not kept or not gone or max(gone) < max(kept) or max(gone) == turn
    for one in each.values():
        backlog.forget(one)
    assert (backlog.held, len(backlog)) == (0, 0)


def test_the_longest_idle_goes_first_and_is_counted() -> None:
    backlog = Backlog(max_bytes=3 * (PIECE + 10))
    streams = [StreamReassembler() for _ in range(4)]
    for one in streams:
        one.start(-1)
    for one in streams[:3]:
        one.push(5, b"x" * 10, 0)
        backlog.note(one)
    streams[0].push(15, b"", 0)
    backlog.note(streams[0])  # it spoke again: the second is idle longest now
    streams[3].push(5, b"y" * 10, 0)
    backlog.note(streams[3])
    assert [one.waiting for one in streams] == [10, 0, 10, 10]
    assert (backlog.abandoned_streams, backlog.abandoned_bytes) == (1, 10)


def test_what_was_abandoned_leaves_as_a_gap() -> None:
    stream = StreamReassembler(timeout_ns=SECOND)
    stream.start(-1)
    assert stream.push(0, b"ab", 0) == [b"ab"]
    assert stream.push(5, b"lost", 0) == []
    assert stream.abandon() == 4
    assert (stream.waiting, stream.cost) == (0, 0)
    assert stream.push(2, b"cde", 1) == [b"cde"]  # what was missing may still come
    assert stream.push(9, b"on", 2) == []
    assert stream.push(11, b"!", 3 + SECOND) == [Gap(4), b"on", b"!"]


def test_a_stream_larger_than_everything_gives_up_itself() -> None:
    backlog = Backlog(max_bytes=1000)
    stream = StreamReassembler()
    stream.start(-1)
    stream.push(5, b"x" * 2000, 0)
    backlog.note(stream)
    assert (backlog.held, stream.cost, backlog.abandoned_bytes) == (0, 0, 2000)


@pytest.mark.parametrize("isn", [0, 0xFFFFFFF0, 0x7FFFFFF0])
def test_work_per_segment_does_not_grow_with_what_waits(isn: int) -> None:
    """Counted, not timed: pieces that a push looks at, at worst."""
    stream = StreamReassembler()
    stream.start(isn - 1)
    rng = random.Random(isn)
    for _ in range(4000):
        at = 1 + 2 * rng.randrange(3000)
        stream.push((isn + at) % (1 << 32), b"x" * rng.choice((1, 1, 1, 5000)), 0)
        assert len(stream._pieces) <= 256
        assert stream.waiting <= 256 * 1024
