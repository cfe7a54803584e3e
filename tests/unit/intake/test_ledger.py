from hypothesis import given
from hypothesis import strategies as st

from packhound.processor.intake.ledger import Ledger, Verdict
from packhound.wire.batch import BatchId


@given(st.lists(st.integers(1, 40), max_size=80))
def test_every_batch_is_new_exactly_once(sequences):
    ledger = Ledger()
    seen = set()
    for sequence in sequences:
        expected = Verdict.DUPLICATE if sequence in seen else Verdict.NEW
        assert ledger.judge(BatchId(1, 0, sequence)) is expected
        seen.add(sequence)
    assert ledger.missing(1, 0) == (max(seen) - len(seen) if seen else 0)


def test_epochs_and_shards_count_apart():
    ledger = Ledger()
    assert all(ledger.judge(BatchId(epoch, shard, 1)) is Verdict.NEW for epoch in (1, 2) for shard in (0, 1))


def test_a_huge_gap_costs_bounded_memory_and_stays_counted():
    ledger = Ledger(max_missing=10)
    ledger.judge(BatchId(1, 0, 1))
    ledger.judge(BatchId(1, 0, 10**12))
    assert ledger.gaps() == {(1, 0): 10**12 - 2}
    assert ledger.judge(BatchId(1, 0, 10**12 - 1)) is Verdict.NEW
    assert ledger.judge(BatchId(1, 0, 5)) is Verdict.DUPLICATE


def test_streams_are_bounded():
    ledger = Ledger(max_streams=2)
    for epoch in range(3):
        ledger.judge(BatchId(epoch, 0, 1))
    assert ledger.forgotten == 1
