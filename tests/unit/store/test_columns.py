"""Columns of the tables: every field of which a message can hold several is a list, none loses all but its first value."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from packhound.fields import FIELDS
from packhound.net.session import FIELDS_FILLED
from packhound.processor.store.columns import MESSAGES, SEVERAL
from packhound.processor.store.tables import Answer, TableWriter, query
from tests.support.corpus import captures, needs_corpus

FILLED = frozenset[str]().union(*FIELDS_FILLED.values())


def test_what_is_several_is_a_field_and_a_list() -> None:
    assert set(FIELDS) >= SEVERAL
    for name in FILLED:
        assert MESSAGES.columns[name].endswith("[]") == (name in SEVERAL), name


@needs_corpus
@pytest.mark.timeout(120)
def test_no_message_of_any_capture_holds_several_values_of_a_plain_field() -> None:
    from tests.oracle.score import rows_of

    found = {
        name
        for capture in captures()
        for row in rows_of(capture)
        if row["kind"] != "flow"
        for name, value in row.items()
        if isinstance(value, (tuple, list)) and name in FILLED
    }
    assert found <= SEVERAL
    assert len(found) > 70


def test_numbers_of_a_list_are_all_kept(tmp_path: Path) -> None:
    def column(value: object) -> np.ndarray:
        out = np.empty(1, object)
        out[0] = value
        return out

    row = {"kind": "rip", "time_ns": 1_700_000_000_000_000_000, "rip.metric": (1, 2, 16), "email.to": ("a@x", "b@x")}
    writer = TableWriter(tmp_path, MESSAGES)
    writer.add({name: column(row.get(name)) for name in MESSAGES.columns})
    writer.close()
    found = query('SELECT "rip.metric", "email.to" FROM messages', tmp_path)
    assert isinstance(found, Answer)
    assert found.rows == [([1, 2, 16], ["a@x", "b@x"])]
