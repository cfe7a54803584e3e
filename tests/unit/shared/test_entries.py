import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.processor.shared.entries import EPOCHS_KEPT, books_of, entries_of, entry_of, entry_text, epochs_over
from packhound.processor.shared.state import Entry
from packhound.wire.books import Books

ENTRIES = st.builds(
    Entry, st.sampled_from(["sensor", "filter"]), st.text(max_size=20), st.integers(0, 2**63 - 1),
    st.sampled_from(["recorded", "lost", "told_lost"]), st.text(max_size=5),
)  # fmt: skip


@given(ENTRIES)
def test_an_entry_comes_back_from_its_text(entry):
    assert entry_of(entry_text(entry)) == entry
    assert entry_of(entry_text(entry).encode()) == entry


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1,2,3,4,5]", '["x","n","0","c",""]', '["sensor","n","zz","c",""]', b"\xff"])
def test_what_is_no_entry_is_none(text):
    assert entry_of(text) is None


def test_books_go_through_entries_and_epochs_are_joined():
    books = Books()
    books.settle("n", {("a", "b"): 3}, "recorded")
    books.settle("n", {("a",): 2}, "lost", cause="disk_full")
    entries = entries_of(books, epoch=7)
    assert entries[Entry("sensor", "n", 7, "recorded")] == 3
    assert entries[Entry("filter", "a", 0, "lost", "disk_full")] == 2
    again = {entry._replace(epoch=8) if entry.kind == "sensor" else entry: count for entry, count in entries.items()}
    joined = books_of(entries | again | {Entry("sensor", "n", 7, "told_lost", "x"): 9})
    assert joined.sensor("n").recorded == 6
    assert joined.sensor("n").lost == {"disk_full": 4}
    assert joined.filter("a").as_dict() == books.filter("a").as_dict()


def test_epochs_are_folded_when_they_are_many_and_over():
    few = [Entry("sensor", "few", n, "recorded") for n in range(1, EPOCHS_KEPT + 1)]
    many = [Entry("sensor", "many", n, counter) for n in range(EPOCHS_KEPT + 2) for counter in ("recorded", "lost")]
    other = [Entry("filter", "many", 0, "recorded")]
    over = epochs_over([*few, *many, *other], live={("many", 7), ("few", 3)})
    assert over == [("many", n) for n in range(1, EPOCHS_KEPT + 2) if n != 7]
