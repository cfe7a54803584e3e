"""What people see: tables, summaries, progress; and the same as JSON for programs.

Promise: every text that may come from the wire passes the sanitiser here; results go to standard output, everything
else to standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from packhound.net.sanitise import printable

if TYPE_CHECKING:  # it needs DuckDB, which sensors and the operator have not
    from packhound.run.hunt import Outcome


def as_json(value: Any) -> str:
    """One line of ASCII JSON; tuples are lists, bytes are hex."""
    return json.dumps(value, default=_plain, ensure_ascii=True, separators=(",", ":"))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        return value.item()
    return str(value)


def line(text: str = "", *, to: TextIO | None = None) -> None:
    """Print one line."""
    print(text, file=to or sys.stdout)


def complain(text: str) -> None:
    """Say what is wrong on standard error, whatever the text holds."""
    for part in str(text).splitlines() or [""]:
        print(f"packhound: {printable(part)}", file=sys.stderr)


def table(rows: Sequence[Sequence[Any]], head: Sequence[str]) -> None:
    """Print aligned columns; cells are sanitised and cut at 60 characters."""
    cells = [list(head), *[[printable(_cell(c), limit=60) for c in row] for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value)


class Progress:
    """A line on standard error that is written over: packets so far."""

    def __init__(self, *, on: bool | None) -> None:
        self.on = sys.stderr.isatty() if on is None else on
        self._shown = False

    def __call__(self, counters: Mapping[str, int]) -> None:
        """Show the counters of a running engine."""
        if self.on:
            self.say(f"{counters['seen']:,} packets  {counters['matched']:,} matched  {counters['active']:,} flows")

    def say(self, text: str) -> None:
        """Show any line of ours."""
        if self.on:
            end = "" if sys.stderr.isatty() else "\n"
            start = "\r\x1b[K" if sys.stderr.isatty() else ""
            print(start + text, end=end, file=sys.stderr, flush=True)
            self._shown = True

    def done(self) -> None:
        """Make room for what comes next."""
        if self._shown and sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def outcome_dict(found: Outcome, out: Path) -> dict[str, Any]:
    """An outcome for `--json`."""
    return {
        "out": out,
        "seconds": round(found.seconds, 3),
        "revision": found.revision,
        "books": found.books.as_dict(),
        "counters": found.counters,
        "recordings": found.recordings,
        "rows": found.tables,
        "messages": found.messages,
        "malformed": found.malformed,
        "conditions": found.conditions,
    }


def outcome_text(found: Outcome, out: Path, hunted: Iterable[tuple[str, str]]) -> None:
    """An outcome for a person: what was hunted, what was found, the books, where the files are."""
    books = found.books.as_dict()
    line("HUNTED")
    for name, what in hunted:
        account = books["filters"].get(name, {})
        line(f"  {printable(name)}: {printable(what, limit=100)}: {account.get('matched', 0):,} packets")
    if not books["filters"] and not found.revision:
        line("  nothing: no filter was given, so nothing was kept (flows are)")
    line("FOUND")
    c = found.counters
    rows = ", ".join(f"{found.tables.get(name, 0):,} {name}" for name in ("calls", "messages", "alerts"))
    line(f"  {c['created']:,} flows, {rows} in {found.seconds:.2f} s")
    _books_text(books)
    line("FILES")
    for path in found.recordings:
        line(f"  {printable(str(path))}")
    line(f"  tables under {printable(str(out))}: packhound query --out {printable(str(out))} 'SELECT * FROM flows'")  # noqa: S608  (shown to a person)
    if found.recordings:
        line(f"  open with: wireshark {printable(str(found.recordings[0]))}")
    for text in found.conditions:
        line(f"NOTE {printable(text)}")


def _books_text(books: Mapping[str, Any]) -> None:
    line("BOOKS")
    for name, account in books["sensors"].items():
        a = {key: sum(value.values()) if isinstance(value, dict) else value for key, value in account.items()}
        line(
            f"  {printable(name)}: seen {a['seen']:,} = dropped {a['kernel_dropped']:,} + shed {a['shed']:,} + "
            f"unmatched {a['unmatched']:,} + sampled out {a['sampled_out']:,} + matched {a['matched']:,}"
        )
        line(
            f"  matched {a['matched']:,} = recorded {a['recorded']:,} + processed only {a['processed_only']:,} + "
            f"duplicates {a['duplicates_dropped']:,} + lost {a['lost']:,}"
        )
    balanced = "balanced" if books["residual"] == 0 else "NOT BALANCED: please report"
    line(f"  residual {books['residual']} ({balanced})")
