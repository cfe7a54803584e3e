"""Every test that docs/e2e.md names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_scenario_names_a_test_that_exists() -> None:
    found = {name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", path.read_text(), re.M)}
    page = (ROOT / "docs" / "e2e.md").read_text()
    named = set(re.findall(r"::(test_\w+)", page))
    assert len(named) > 20
    assert named <= found, sorted(named - found)
    files = {path.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert set(re.findall(r"(test_\w+\.py)", page)) <= files
