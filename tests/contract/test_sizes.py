"""No product file is longer than 450 lines: split by what owns the state, not by line count. The field registry alone
may be, for it is one table."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOTS = ("crds", "proto", "core", "operator", "sensor", "processor")
LIMIT = 450
FILES = sorted(
    path
    for folder in ROOTS
    for kind in ("py", "pyx", "pxi")
    for path in (ROOT / folder / "packhound").rglob(f"*.{kind}")
    if not path.name.endswith(("_pb2.py", "_pb2_grpc.py")) and path != ROOT / "core/packhound/fields.py"
)


def test_there_are_files_to_measure() -> None:
    assert len(FILES) > 50


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_size(path: Path) -> None:
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= LIMIT, f"{path.relative_to(ROOT)} has {lines} lines, at most {LIMIT} are allowed"
