"""Reassembly: bytes leave in order and once, memory stays bounded, losses leave as gaps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net.reassembly import Gap, StreamReassembler

SECOND = 1_000_000_000


def joined(chunks: list[bytes | Gap]) -> bytes:
    return b"".join(b"." * each.size if isinstance(each, Gap) else each for each in chunks)


def test_out_of_order_segments_leave_in_order() -> None:
    stream = StreamReassembler()
    stream.start(99)
    assert stream.push(103, b"defg", 0) == []
    assert stream.push(107, b"h", 0) == []
    assert stream.waiting == 5
    assert stream.push(100, b"abc", 0) == [b"abc", b"defg", b"h"]
    assert stream.waiting == 0


def test_sequence_numbers_wrap() -> None:
    stream = StreamReassembler()
    stream.start(0xFFFFFFFD)
    assert joined(stream.push(0xFFFFFFFE, b"abcd", 0)) == b"abcd"
    assert joined(stream.push(2, b"ef", 0)) == b"ef"


def test_what_was_delivered_is_never_revised_and_the_first_of_two_waiting_wins() -> None:
    stream = StreamReassembler()
    assert joined(stream.push(0, b"abc", 0)) == b"abc"
    assert joined(stream.push(0, b"XYZd", 0)) == b"d"
    assert stream.push(6, b"gh", 0) == []
    assert stream.push(5, b"FGHI", 0) == []
    assert joined(stream.push(4, b"e", 0)) == b"eFghI"
    assert stream.retransmitted == 5


@pytest.mark.parametrize("waits", [False, True], ids=["delivered", "waiting"])
@pytest.mark.parametrize(
    ("late", "size"), [(2, 2), (0, 6), (1, 3), (3, 3), (0, 3)], ids=["same", "around", "before", "behind", "starts earlier"]
)
def test_where_segments_overlap_the_first_to_arrive_wins(waits: bool, late: int, size: int) -> None:
    stream = StreamReassembler()
    stream.start(-1)
    base = 10 if waits else 0  # behind a gap, or at the read position
    first = b"AB"
    out = [] if waits else stream.push(0, b"..", 0)
    out += stream.push(base + 2, first, 0)
    out += stream.push(base + late, b"x" * size, 0)
    text = joined(out + stream.flush())
    assert text[base + 2 : base + 4] == first
    assert text.replace(b"x", b"").strip(b".") == first


def test_gaps_are_given_up_one_by_one_and_say_how_long_they_kept_bytes() -> None:
    stream = StreamReassembler()
    stream.push(0, b"a", 0)
    stream.push(5, b"f", 3)
    stream.push(9, b"j", 2)
    assert stream.oldest == 3
    assert stream.skip() == [Gap(4), b"f"]
    assert stream.oldest == 2
    assert stream.flush() == [Gap(3), b"j"]
    assert (stream.oldest, stream.skip()) == (None, [])


def test_a_gap_leaves_after_the_time_out_or_at_the_end() -> None:
    stream = StreamReassembler(timeout_ns=SECOND)
    stream.push(0, b"a", 0)
    assert stream.push(5, b"f", 10) == []
    assert stream.push(6, b"g", 10 + SECOND) == []
    assert stream.push(7, b"h", 11 + SECOND) == [Gap(4), b"f", b"g", b"h"]
    stream.push(10, b"k", 11 + SECOND)
    assert stream.flush() == [Gap(2), b"k"]
    assert stream.skipped == 6


def test_caps_on_bytes_and_segments_hold() -> None:
    stream = StreamReassembler(max_bytes=100, max_segments=10)
    stream.push(0, b"a", 0)
    for index in range(50):
        stream.push(10 + 20 * index, b"x" * 10, 0)
        assert stream.waiting <= 110
    assert stream.skipped


def test_bytes_that_the_snap_length_cut_are_a_gap_in_their_place() -> None:
    stream = StreamReassembler()
    assert stream.push(0, b"abc", 0, size=10) == [b"abc", Gap(7)]
    assert stream.push(10, b"next", 0, size=4) == [b"next"]


def test_a_segment_outside_any_window_is_refused() -> None:
    stream = StreamReassembler()
    stream.push(0, b"abc", 0)
    assert stream.push(0x60000000, b"evil", 0) == []
    assert stream.refused == 1


@given(st.binary(min_size=1, max_size=300), st.randoms(use_true_random=False), st.integers(0, 0xFFFFFFFF))
def test_any_cut_any_order_any_repetition_gives_the_stream(data: bytes, random: object, isn: int) -> None:
    assert isinstance(random, __import__("random").Random)
    pieces = []
    for _ in range(12):
        start = random.randrange(len(data))
        pieces.append((start, data[start : start + random.randrange(1, 60)]))
    pieces += [(start, data[start : start + 50]) for start in range(0, len(data), 50)]
    random.shuffle(pieces)
    stream = StreamReassembler()
    stream.start(isn)
    out = b"".join(joined(stream.push((isn + 1 + start) & 0xFFFFFFFF, piece, 0)) for start, piece in pieces)
    assert out == data
    assert stream.waiting == 0


@given(st.lists(st.tuples(st.integers(0, 0xFFFFFFFF), st.binary(max_size=40), st.integers(0, 80)), max_size=60))
def test_no_segments_raise_and_positions_add_up(segments: list[tuple[int, bytes, int]]) -> None:
    stream = StreamReassembler(max_bytes=200, max_segments=8)
    for now, (seq, data, size) in enumerate(segments):
        stream.push(seq, data, now * SECOND, size=size)
        assert stream.waiting <= 200 + 40
    stream.flush()
    assert stream.waiting == 0


@pytest.mark.parametrize("step", [2, 7])
def test_many_holes_stay_cheap(step: int) -> None:
    stream = StreamReassembler()
    stream.push(0, b"a", 0)
    for index in range(5000):
        stream.push(10 + step * index, b"x", 0)
    assert stream.skipped
