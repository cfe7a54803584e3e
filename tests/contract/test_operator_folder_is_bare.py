"""`operator/` must never be importable, or it shadows the standard library's `operator`; nor may any `packhound/`."""

from __future__ import annotations

import operator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOTS = ("crds", "proto", "core", "operator", "sensor", "processor")


def test_no_python_file_at_the_first_level_of_operator() -> None:
    assert sorted(path.name for path in (ROOT / "operator").glob("*.py*")) == []


@pytest.mark.parametrize("folder", ROOTS)
def test_packhound_is_a_namespace(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()
    assert not list((ROOT / folder / "packhound").glob("__init__.*"))


def test_the_standard_library_is_the_one_that_is_imported() -> None:
    assert ROOT / "operator" not in Path(str(operator.__file__)).resolve().parents
