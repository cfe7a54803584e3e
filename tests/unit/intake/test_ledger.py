import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.processor.intake.ledger import Ledger, Verdict
from packhound.wire.batch import BatchId


@given(st.lists(st.integers(1, 40), max_size=80), st.integers(0, 80))
def test_every_batch_is_new_exactly_once_also_when_taken_up_elsewhere(sequences, moved):
    ledger = Ledger()
    seen = set()
    for at, sequence in enumerate(sequences):
        if at == moved:
            other = Ledger()
            assert all(other.restore(key, saved) for key, saved in ledger.changed().items())
            ledger = other
        expected = Verdict.DUPLICATE if sequence in seen else Verdict.NEW
        assert ledger.judge(BatchId(1, 0, sequence)) is expected
        seen.add(sequence)
    assert ledger.missing(1, 0) == (max(seen) - len(seen) if seen else 0)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(0, 6)), max_size=40))
def test_a_range_is_new_when_all_of_it_is(ranges):
    ledger, seen = Ledger(), set()
    for first, more in ranges:
        wanted = set(range(first, first + more + 1))
        fresh = not wanted & seen
        assert ledger.judge(BatchId(1, 0, first), last=first + more if more else 0) is (Verdict.NEW if fresh else Verdict.DUPLICATE)
        seen |= wanted if fresh else set()
        assert ledger.missing(1, 0) == (max(seen) - len(seen) if seen else 0)


def test_epochs_and_shards_count_apart():
    ledger = Ledger()
    assert all(ledger.judge(BatchId(epoch, shard, 1)) is Verdict.NEW for epoch in (1, 2) for shard in (0, 1))


def test_a_huge_gap_costs_nothing_and_stays_counted():
    ledger = Ledger()
    ledger.judge(BatchId(1, 0, 1))
    ledger.judge(BatchId(1, 0, 10**12))
    assert ledger.gaps() == {(1, 0): 10**12 - 2}
    assert ledger.judge(BatchId(1, 0, 10**12 - 1)) is Verdict.NEW
    assert ledger.judge(BatchId(1, 0, 5)) is Verdict.NEW
    assert ledger.judge(BatchId(1, 0, 5)) is Verdict.DUPLICATE
    assert ledger.gaps() == {(1, 0): 10**12 - 4}


def test_many_gaps_are_bounded_and_the_oldest_are_given_up():
    ledger = Ledger(max_gaps=10)
    for sequence in range(2, 100, 2):
        assert ledger.judge(BatchId(1, 0, sequence)) is Verdict.NEW
    assert ledger.missing(1, 0) == 49
    assert ledger.judge(BatchId(1, 0, 1)) is Verdict.DUPLICATE
    assert ledger.judge(BatchId(1, 0, 97)) is Verdict.NEW


def test_streams_are_bounded_and_the_forgotten_one_is_told():
    ledger = Ledger(max_streams=2)
    for epoch in range(3):
        ledger.judge(BatchId(epoch, 0, 1))
    assert ledger.forgotten == 1
    changed = ledger.changed()
    assert changed[0, 0] is None
    assert set(changed) == {(0, 0), (1, 0), (2, 0)}
    ledger.judge(BatchId(2, 0, 1))
    assert ledger.changed() == {}


@pytest.mark.parametrize("saved", [b"", b"[]", b"{}", b"[5]", b"[5,0,[3,2]]", b"[5,0,[4,9]]", b"[5,0,7]", b"\xff", b"[[],0]"])
def test_what_is_no_stream_is_not_taken_up(saved):
    assert not Ledger().restore((1, 0), saved)
