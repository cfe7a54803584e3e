"""docs/fields.md is what the registry says, and the captures that it names prove what it says they do."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from packhound.fields import FIELDS, Field
from tests.support.corpus import needs_corpus

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fields_page", ROOT / "docs" / "fields.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(maker: ModuleType) -> None:
    assert maker.PAGE.read_text() == maker.page(maker.written()), "run `make fields`"
    assert set(maker.written()) <= set(FIELDS)


@needs_corpus
@pytest.mark.timeout(60)
def test_every_proof_holds(maker: ModuleType) -> None:
    from tests.oracle.score import rows_of

    named: dict[str, set[str]] = {}
    for field, capture in maker.written().items():
        named.setdefault(capture, set()).add(field)
    for capture, fields in named.items():
        assert fields <= {name for row in rows_of(f"captures/{capture}") for name in row}, capture
    assert len(maker.written()) > 350


@pytest.mark.parametrize("row", [row for row in FIELDS.values() if row.filled_by], ids=lambda row: row.name)
def test_every_field_is_proved_by_a_capture_or_filled_by_a_test(maker: ModuleType, row: Field) -> None:
    if row.name in maker.written():
        return
    test = ROOT / maker.test_of(row.name)
    assert test.is_file(), "no capture shows it and no test of docs/fields.py fills it"
    last = row.name.rpartition(".")[2]
    assert re.search(rf"\b{last}\b", test.read_text()), f"{test} does not speak of it"
