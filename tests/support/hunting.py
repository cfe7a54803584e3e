"""`packhound run` from a test: filters as dicts, the outcome as JSON, recordings and tables read back."""

from __future__ import annotations

import contextlib
import io
import json
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from packhound.console.cli import command
from packhound.processor.store.tables import Answer, query
from tests.support.objects import hunt_filter, leaf

__all__ = ["hunt_filter", "leaf"]


def write_filters(path: Path, *filters: dict[str, Any]) -> Path:
    """A YAML file of filters, replaced whole as an editor does."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(yaml.safe_dump_all(filters))
    fresh.rename(path)
    return path


class Recorded(NamedTuple):
    """A packet as a recording holds it: time (ns), bytes, original length, interface name, comment."""

    ts: int
    data: bytes
    wirelen: int
    interface: str
    comment: str

    @property
    def filters(self) -> list[str]:
        """Names in the comment."""
        words = dict(word.split("=", 1) for word in self.comment.split())
        return words.get("filter", "").split(",")


def recorded(path: Path) -> Iterator[Recorded]:
    """The packets of one of our recordings (little endian pcapng, ns)."""
    data, at, names = path.read_bytes(), 0, []
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        body = data[at + 8 : at + size - 4]
        if kind == 1:
            names.append(dict(_options(body[8:])).get(2, b"").decode())
        elif kind == 6:
            who, high, low, caplen, wirelen = struct.unpack_from("<IIIII", body)
            options = dict(_options(body[20 + caplen + -caplen % 4 :]))
            comment = options.get(1, b"").decode()
            yield Recorded(high << 32 | low, body[20 : 20 + caplen], wirelen, names[who], comment)
        at += size


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 4 <= len(data):
        code, size = struct.unpack_from("<HH", data, at)
        if code == 0:
            return
        yield code, data[at + 4 : at + 4 + size]
        at += 4 + size + -size % 4


@dataclass(slots=True)
class Ran:
    """What one run left: exit code, its JSON (empty when it printed none), standard error, output folder."""

    code: int
    outcome: dict[str, Any]
    said: str
    out: Path

    @property
    def account(self) -> dict[str, Any]:
        """The books of the one sensor."""
        found: dict[str, Any] = self.outcome["books"]["sensors"]["local"]
        return found

    def matched(self, name: str) -> int:
        """Packets that a filter wanted."""
        account = self.outcome["books"]["filters"].get(name)
        return int(account["matched"]) if account else 0

    def balanced(self) -> Ran:
        """Check that it ended well and that the books balance against what the recordings hold."""
        assert self.code == 0, self.said
        assert self.outcome["books"]["residual"] == 0
        account = self.account
        assert account["seen"] == self.outcome["counters"]["captured"] + sum(account["kernel_dropped"].values())
        assert (account["lost"], account["in_flight"], account["spooled"]) == ({}, 0, 0)
        assert len(self.packets()) == account["recorded"]
        return self

    def packets(self) -> list[Recorded]:
        """Every packet recorded, in order of file and place (files per call left aside)."""
        return [each for path in self.segments() for each in recorded(path)]

    def segments(self) -> list[Path]:
        """Recordings that are not per call."""
        return sorted(p for p in (self.out / "recordings").rglob("*.pcapng") if "calls" not in p.parts)

    def call_files(self) -> list[Path]:
        """Recordings per call."""
        return sorted((self.out / "recordings" / "calls").rglob("*.pcapng"))

    def rows(self, table: str, columns: Sequence[str] = ()) -> list[dict[str, Any]]:
        """Rows of a table."""
        chosen = ", ".join(f'"{c}"' for c in columns) or "*"
        found = query(f"SELECT {chosen} FROM {table}", self.out)
        assert isinstance(found, Answer), found
        return [dict(zip(found.columns, row, strict=True)) for row in found.rows]


def call(*arguments: object) -> tuple[int, str, str]:
    """One command line in this process: exit code, standard output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = command([str(a) for a in arguments])
    return code, out.getvalue(), err.getvalue()


def hunt(
    where: Path,
    captures: Path | Sequence[Path],
    filters: Iterable[dict[str, Any]] = (),
    *arguments: object,
    out: str = "out",
) -> Ran:
    """`packhound run -r CAPTURES` with these filters."""
    files = [captures] if isinstance(captures, Path) else list(captures)
    given: list[object] = ["run", *(word for each in files for word in ("-r", each)), "--out", where / out, "--json"]
    chosen = list(filters)
    if chosen:
        given += ["-f", write_filters(where / f"{out}.yaml", *chosen)]
    code, printed, said = call(*given, *arguments)
    return Ran(code, json.loads(printed.strip().splitlines()[-1]) if printed.strip() else {}, said, where / out)
