"""The score: what `packhound inspect` says against what other tools say of the same captures.

    python tests/oracle/score.py [--json] [--show CHECK] [--write] [CAPTURE-SUBSTRING]

Prints per check: captures, rows compared, agreed, differed, per cent; the same without captures that were broken on
purpose; each class of difference with who is right, from docs/truth/*.md; and what nobody has explained. `--write` puts
the table into docs/truth.md. Peers are peers, not truth.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from packhound.run.look import Inspection
from packhound.sensor.agent import AgentSettings
from packhound.sensor.tap.errors import TapError
from packhound.sensor.tap.merge import open_captures
from tests.oracle import checks
from tests.oracle.explained import explain
from tests.oracle.uncompared import UNCOMPARED
from tests.support.corpus import CORPUS, captures, expected

PAGE = Path(__file__).resolve().parents[2] / "docs" / "truth.md"
Row = dict[str, Any]
Compare = Callable[["Check", str, Row, list[Row]], None]
#: Captures whose names say that they were broken on purpose.
BROKEN = re.compile("fuzz|oobr|malformed|asan|overflow|seg-?fault|sigsegv|crash")
HEAD = ("check", "captures", "compared", "agreed", "differed", "agree", "sound captures", "unexplained")


class Difference(NamedTuple):
    """One row that differs."""

    capture: str
    kind: str
    detail: str


@dataclass
class Check:
    """One check's account."""

    captures: int = 0
    equal: int = 0
    equal_in_broken: int = 0
    differences: list[Difference] = field(default_factory=list)

    def note(self, capture: str, kind: str, detail: object) -> None:
        self.differences.append(Difference(capture, kind, str(detail)))

    @property
    def compared(self) -> int:
        """Rows that both sides could have."""
        return self.equal + len(self.differences)

    @property
    def agreement(self) -> float:
        """Share of rows that agree."""
        return self.equal / max(self.compared, 1)

    @property
    def sound(self) -> float:
        """The same of captures that nobody broke on purpose."""
        equal = self.equal - self.equal_in_broken
        return equal / max(equal + sum(not BROKEN.search(each.capture) for each in self.differences), 1)

    def unexplained(self, name: str) -> list[Difference]:
        """Differences that no page of docs/truth speaks of."""
        return [each for each in self.differences if explain(name, each.capture, each.kind) is None]


def rows_of(capture: str) -> list[Row]:
    """Everything that inspect says of a capture."""
    try:
        tap = open_captures([str(CORPUS / capture)])
    except TapError:
        return []
    rows = list(Inspection(tap, settings=AgentSettings(capacity=65536)).rows())
    tap.close()
    return rows


def compare(check: Check, capture: str, theirs: Counter[Any], ours: Counter[Any]) -> None:
    """Multisets of messages: equal, missing, extra."""
    both = theirs & ours
    check.equal += both.total()
    for row, count in (theirs - both).items():
        for _ in range(count):
            check.note(capture, "only the peer", row)
    for row, count in (ours - both).items():
        for _ in range(count):
            check.note(capture, "only ours", row)


def _from_modules() -> dict[str, tuple[str, Compare]]:
    """The checks of every module of tests/oracle/checks: its CHECKS, name to (check in the expected rows, comparison)."""
    found: dict[str, tuple[str, Compare]] = {}
    for module in pkgutil.iter_modules(checks.__path__):
        found |= importlib.import_module(f"tests.oracle.checks.{module.name}").CHECKS
    return found


CHECKS = _from_modules()


def file_of(name: str) -> str:
    """File of expected rows of a check: one for all of Zeek's logs, one for all of ipfixprobe's plugins."""
    return next((file for start, file in (("zeek_", "zeek_logs"), ("ipfixprobe_", "ipfixprobe")) if name.startswith(start)), name)


def score(only: str = "") -> dict[str, Check]:
    """Every check over every capture that it speaks of."""
    wanted: dict[str, list[tuple[str, Row]]] = defaultdict(list)
    for name, (kind, _) in CHECKS.items():
        for row in expected(file_of(name)):
            if row["check"] == kind and only in row["capture"]:
                wanted[row["capture"]].append((name, row))
    found = {name: Check() for name in CHECKS}
    for capture in captures():
        if capture not in wanted:
            continue
        try:
            rows = rows_of(capture)
        except Exception as crash:  # whatever it is, it is what the check counts
            found["no_crash"].captures += 1
            found["no_crash"].note(capture, "crash", repr(crash))
            continue
        for name, row in wanted[capture]:
            check = found[name]
            before = check.equal
            check.captures += 1
            CHECKS[name][1](check, capture, row, rows)
            if BROKEN.search(capture):
                check.equal_in_broken += check.equal - before
    return found


def table(found: dict[str, Check]) -> Iterator[tuple[str, ...]]:
    """Cells of the overview."""
    for name, check in found.items():
        yield (
            name, str(check.captures), str(check.compared), str(check.equal), str(len(check.differences)),
            f"{check.agreement:.2%}", f"{check.sound:.2%}", str(len(check.unexplained(name))),
        )  # fmt: skip


def classes(name: str, check: Check) -> Iterator[tuple[int, str, str, str]]:
    """Classes of difference: how many, what and where, who is right, why."""
    by: dict[tuple[str, str, str], list[Difference]] = defaultdict(list)
    for each in check.differences:
        reason = explain(name, each.capture, each.kind)
        by[each.kind, reason.who if reason else "?", reason.why if reason else "NOT EXPLAINED"].append(each)
    for (kind, who, why), each in sorted(by.items(), key=lambda item: -len(item[1])):
        where = ", ".join(sorted({Path(one.capture).name for one in each})[:3])
        yield len(each), f"{kind} ({where})", who, why


def page(found: dict[str, Check]) -> str:
    """docs/truth.md with this table and the list of what is not compared."""
    text = _put(PAGE.read_text(), "score", (HEAD, *table(found)))
    return _put(text, "uncompared", (("rows", "why"), *((f"`{name}`", why) for name, why in UNCOMPARED.items())))


def _put(text: str, name: str, rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(cells) + " |" for cells in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    return text[: text.index(start) + len(start)] + "\n".join(lines) + "\n" + text[text.index(end) :]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="?", default="", help="captures whose name contains this")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--show", default="", help="a check whose differences are listed")
    parser.add_argument("--write", action="store_true", help="put the table into docs/truth.md")
    args = parser.parse_args()
    if not CORPUS.is_dir():
        sys.exit(f"no corpus at {CORPUS}: set PACKHOUND_CORPUS")
    found = score(args.only)
    if args.write:
        PAGE.write_text(page(found))
    if args.json:
        print(json.dumps({
            name: {"captures": c.captures, "equal": c.equal, "different": len(c.differences), "sound": c.sound}
            for name, c in found.items()
        }))  # fmt: skip
        return
    print("{:<25}{:>9}{:>9}{:>8}{:>9}{:>9}{:>15}{:>13}".format(*HEAD))
    for cells, (name, check) in zip(table(found), found.items(), strict=True):
        print("{:<25}{:>9}{:>9}{:>8}{:>9}{:>9}{:>15}{:>13}".format(*cells))
        for count, what, who, why in classes(name, check):
            print(f"    {count:>5}  {what}: {who}: {why[:160]}")
        if args.show == name:
            for each in check.differences:
                print(f"           {each.capture}: {each.kind}: {each.detail[:260]}")


if __name__ == "__main__":
    main()
