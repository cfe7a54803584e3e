"""`query`, `calls`, `filter check`: the commands that read what is stored or written."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from packhound.api.load import path_text
from packhound.kit.errors import OK, BadInput
from packhound.net.facts import Malformed
from packhound.net.sanitise import printable
from packhound.processor.store.tables import query as ask
from packhound.rules.bpf import check_pcap
from packhound.rules.explain import explain
from packhound.run import show
from packhound.run.filters import FilterFiles

CALLS = 'SELECT * FROM calls ORDER BY "time"'


def query(sql: str, out: Path, *, limit: int, json: bool) -> int:
    """Run one SELECT over the tables of an output folder."""
    if not out.is_dir():
        raise BadInput(f"{out}: no such folder", notes=("give the folder of a run with --out",))
    found = ask(sql, out, limit=limit)
    if isinstance(found, Malformed):
        raise BadInput(printable(found.reason))
    if json:
        for row in found.rows:
            show.line(show.as_json(dict(zip(found.columns, row, strict=True))))
    else:
        show.table(found.rows, found.columns)
    if found.truncated:
        show.line(f"packhound: cut at {limit} rows (--limit)", to=sys.stderr)
    return OK


def calls(out: Path, *, limit: int, json: bool) -> int:
    """The calls of an output folder."""
    return query(CALLS, out, limit=limit, json=json)


def check(paths: Sequence[Path], *, json: bool) -> int:
    """Explain filters: what is decided where. Bad ones are named and end with exit code 3."""
    files = FilterFiles(paths, check_pcap=check_pcap, now=time.time_ns)
    change = files.read()
    def notes(name: str) -> list[str]:
        return [f"{path_text(note.path)}: {note.text}" for note in change.notes if note.filter == name]

    for each in explain(change.plan, notes=notes):
        if json:
            show.line(show.as_json(_plain(each)))
        else:
            show_one(_plain(each))
    if change.bad:
        raise BadInput(str(change.bad[0]), notes=tuple(map(str, change.bad[1:])))
    return OK


def _plain(each: Any) -> dict[str, Any]:
    return asdict(each) if is_dataclass(each) and not isinstance(each, type) else dict(each)


def show_one(found: dict[str, Any]) -> None:
    """Print what is known of one thing: its name, and a line for each of the rest."""
    show.line(printable(str(found.pop("name", "?"))))
    for key, value in found.items():
        if value in (None, "", (), [], {}):
            continue
        items = value if isinstance(value, (list, tuple)) else [value]
        for item in items:
            show.line(f"  {key.replace('_', ' ')}: {printable(str(item), limit=200)}")
