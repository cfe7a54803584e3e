"""Rows on their way into tables, safe from the moment their group is settled: appended here, later made Parquet.

Promise: a journal is a file written in two phases; once published it holds only rows that were settled, and `convert`
puts each of them into the tables once, however often it is begun: parts have the name of their journal. A journal that
cannot be converted now (disk full) waits as a file, and costs no memory. One thread.
"""

from __future__ import annotations

import json
import secrets
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt

from packhound.processor.store import layout
from packhound.processor.store.columns import Table
from packhound.processor.store.pending import OpenFile, TwoPhase
from packhound.processor.store.segments import Fault
from packhound.processor.store.tables import Columns, TableWriter, columns_of

SUFFIX = ".rows"
FOLDER = "rows"
BAD = ".bad"
ROWS = 50_000
_HEAD = struct.Struct("<4sII")  # magic, length, crc32
_MAGIC = b"phr1"


class JournalTable:
    """One table as a journal takes its rows. `written` counts rows that are in the table."""

    def __init__(self, table: Table, fresh: list[tuple[str, Columns]]) -> None:
        self.table = table
        self._fresh = fresh
        self.written = 0

    def add_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows: values by column; what a row has not is NULL, names that are no column are ignored."""
        if rows:
            self.add(columns_of(self.table, rows))

    def add(self, columns: Columns) -> None:
        """Add columns of one length, by name."""
        self._fresh.append((self.table.name, columns))


class RowJournal:
    """Journals of one output folder. `tables` take rows; `fault`: the last write or conversion failed."""

    def __init__(self, root: Path, tables: Sequence[Table], files: TwoPhase, *, rows: int = ROWS) -> None:
        self._root = root
        self._known = {table.name: table for table in tables}
        self._files = files
        self._rows = rows
        self._fresh: list[tuple[str, Columns]] = []
        self._file: OpenFile | None = None
        self._count = 0
        self._ending = False
        self.tables = {table.name: JournalTable(table, self._fresh) for table in tables}
        self.fault: Fault | None = None
        self.bad: list[Path] = []

    @property
    def fresh(self) -> bool:
        """There are rows that no `write` has seen."""
        return bool(self._fresh)

    def write(self) -> None:
        """Append the rows added since the last time to the journal. Raises OSError: then only `undo` is right."""
        if self._file is not None and self._file.gone:
            self._file = None
        if self._fresh:
            self._append()
        if self._file is not None and (self._ending or self._count >= self._rows):
            self._file.sealed = True
            self._file = None
        self._ending = False

    def _append(self) -> None:
        if self._file is None:
            where = layout.folder(self._root, FOLDER)
            self._file, self._count = OpenFile(layout.begin(where, secrets.token_hex(8), SUFFIX)), 0
            self._files.track(self._file)
        data = b"".join(_chunk(name, columns) for name, columns in self._fresh)
        done, error = self._file.append(data)
        if error:
            raise error
        self._file.keep(done)
        self._count += sum(len(next(iter(columns.values()))) for _, columns in self._fresh)
        self._fresh.clear()

    def seal(self) -> None:
        """End the journal with the next `write`: it is published with the group that holds its last row."""
        self._ending = True

    def undo(self) -> None:
        """Forget the rows that were added since the last group; the file is undone with all others."""
        self._fresh.clear()

    # into the tables -----------------------------------------------------------------------------------------------

    def convert(self) -> None:
        """Put the rows of every published journal into the tables; what cannot be written waits (see `fault`)."""
        self.fault = None
        where = self._root / FOLDER
        if not where.is_dir():
            return
        for path in sorted(each for each in where.iterdir() if each.suffix == SUFFIX and not each.name.startswith(".")):
            try:
                self.fault = self._convert(path)
            except OSError as error:
                self.fault = Fault(layout.cause_of(error), error.strerror or str(error), str(path))
            if self.fault:
                return

    def _convert(self, path: Path) -> Fault | None:
        writers = {
            name: TableWriter(self._root, table, part=path.stem, rows=1 << 62) for name, table in self._known.items()
        }  # fmt: skip
        data = path.read_bytes()
        good = 0
        for name, columns, good in _chunks(data, self._known):  # noqa: B007 - where the last whole chunk ends
            writers[name].add(columns)
        try:
            for writer in writers.values():
                writer.flush()
                if writer.fault:
                    return writer.fault
        finally:
            for writer in writers.values():
                writer.release()
        for name, writer in writers.items():
            self.tables[name].written += writer.written
        if good == len(data):
            path.unlink()
        else:  # not ours, or spoilt after it was written: keep it for a person
            self.bad.append(path.rename(path.with_name(path.name + BAD)))
        with suppress(OSError):
            layout.sync_folder(path.parent)
        return None


def _chunk(table: str, columns: Columns) -> bytes:
    """Columns of one length as bytes; columns without any value are left out."""
    count = len(next(iter(columns.values())))
    said: dict[str, Any] = {}
    for name, column in columns.items():
        values = column.tolist()
        if column.dtype != object:
            said[name] = [column.dtype.str, values]
        elif any(value is not None for value in values):
            said[name] = ["", values]
    body = json.dumps([table, count, said], separators=(",", ":")).encode()
    return _HEAD.pack(_MAGIC, len(body), crc32(body)) + body


def _chunks(data: bytes, tables: Mapping[str, Table]) -> Iterator[tuple[str, dict[str, npt.NDArray[Any]], int]]:
    """Table, columns and end of every whole chunk; stops at the first that is none."""
    at = 0
    while at + _HEAD.size <= len(data):
        magic, size, crc = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        body = data[at : at + size]
        at += size
        if magic != _MAGIC or len(body) != size or crc32(body) != crc:
            return
        name, count, said = json.loads(body)
        table = tables.get(name)
        if table is not None:
            yield name, {column: _column(said.get(column), count) for column in table.columns}, at


def _column(said: Any, count: int) -> npt.NDArray[Any]:
    if said is not None and said[0]:
        return np.array(said[1], dtype=said[0])
    column = np.empty(count, object)
    if said is not None:
        column[:] = said[1]
    return column
