"""What docs/truth/*.md say of differences with peers, read back: the pages are the list that the score goes by.

A row of a table `| check | class | rows | who is right | why |` explains differences of its checks in the captures that
it names in backticks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

PAGES = Path(__file__).resolve().parents[2] / "docs" / "truth"
_CELLS = 5
_QUOTED = re.compile(r"`([^`]+)`")


class Reason(NamedTuple):
    """One row: its page, checks, class, captures (parts of their names), who is right, why."""

    page: str
    checks: tuple[str, ...]
    kind: str
    captures: tuple[str, ...]
    who: str
    why: str

    def explains(self, check: str, capture: str) -> bool:
        """Tell whether the row speaks of differences of this check in this capture."""
        name = capture.rsplit("/", 1)[-1]
        known = check in self.checks or check.removeprefix("tshark_") in self.checks
        return known and any(each in name for each in self.captures)


@cache
def reasons() -> Sequence[Reason]:
    """Every row of every page."""
    return tuple(each for page in sorted(PAGES.glob("*.md")) for each in _rows(page.name, page.read_text()))


def _rows(page: str, text: str) -> list[Reason]:
    found, wanted = [], False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if not line.startswith("|"):
            wanted = False
        elif cells[:2] == ["check", "class"]:
            wanted = True
        elif wanted and len(cells) == _CELLS and not line.startswith("|---"):
            checks = tuple(each.strip() for each in cells[0].replace("(fuzzed)", "").split(","))
            found.append(Reason(page, checks, cells[1], tuple(_QUOTED.findall(cells[1] + cells[4])), cells[3], cells[4]))
    return found


def explain(check: str, capture: str, kind: str) -> Reason | None:
    """The row for a difference: of several the one whose class shares most words with `kind`."""
    rows = [each for each in reasons() if each.explains(check, capture)]
    words = set(re.findall(r"\w+", kind.lower()))
    return max(rows, key=lambda row: len(words & set(re.findall(r"\w+", row.kind.lower()))), default=None)
