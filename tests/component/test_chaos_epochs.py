"""A sensor that starts again and again does not make the books of its fleet grow: a real processor folds what is over."""

from __future__ import annotations

import contextlib

from packhound.processor.shared.entries import EPOCHS_KEPT, books_of
from packhound.processor.shared.sqlite import SqliteState
from packhound.processor.shared.state import Commit, Entry
from tests.support.fleet_processes import fleet, until


def test_a_processor_folds_epochs_that_are_over(tmp_path):
    with fleet(tmp_path) as made:
        counts = {Entry("sensor", "restless", epoch, "recorded"): epoch for epoch in range(1, EPOCHS_KEPT + 10)}
        counts[Entry("sensor", "calm", 5, "recorded")] = 3
        with contextlib.closing(SqliteState(made.shared)) as state:
            state.commit(Commit("f", state.claim("f").claim, 1, counts=counts))
            before = books_of(state.books())
            made.processor("p", grpc_listen="127.0.0.1:0")
            until(lambda: not any(each.name == "restless" and each.epoch for each in state.books()), what="folded")
            assert state.books() == {
                Entry("sensor", "restless", 0, "recorded"): sum(range(1, EPOCHS_KEPT + 10)),
                Entry("sensor", "calm", 5, "recorded"): 3,
            }
            assert books_of(state.books()).sensors == before.sensors
