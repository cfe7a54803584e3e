"""One round of `make chaos` in every run of the tests: a sensor and a processor of a real fleet are killed with -9."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.__main__ import chosen
from tests.chaos.faults import FAULTS
from tests.chaos.needs import missing

ROOT = Path(__file__).resolve().parents[2]
DOCS = (ROOT / "docs" / "chaos.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_nothing_is_lost_or_doubled_when_a_sensor_and_a_processor_are_killed(tmp_path):
    if missing():
        pytest.skip(f"needs {missing()}")
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos", "--seed", "1", "--only", "kill-pair", "--folder", tmp_path / "rounds"],
        cwd=ROOT, capture_output=True, text=True, timeout=220,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "GOOD in" in done.stdout
    (last,) = (line for line in done.stdout.splitlines() if line.startswith("1 rounds, seed 1:"))
    words = last.partition(": ")[2].split()
    sums = {name: int(count) for name, count in zip(words[::2], words[1::2], strict=True)}
    assert sums["residual"] == sums["lost"] == 0
    assert sums["sent"] > sums["matched"] == sums["recorded"] > 5000  # nobody captured while the sensor was away


def test_mixed_rounds_repeat_no_fault_before_all_others_were_played():
    import random

    names = sorted(FAULTS)
    order = list(chosen(names, rounds=1, mixed=2 * len(names) + 3, seeds=random.Random(4)))
    assert len(order) == 2 * len(names) + 3
    assert sorted(order[: len(names)]) == sorted(order[len(names) : 2 * len(names)]) == names
    assert order == list(chosen(names, rounds=1, mixed=2 * len(names) + 3, seeds=random.Random(4)))


def test_every_fault_is_explained():
    assert [name for name in FAULTS if f"`{name}`" not in DOCS] == []
