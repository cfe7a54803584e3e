"""The DuckDB door: rows and columns into Parquet, SQL over what was written.

Promise: a part is visible only when whole; rows that cannot be written wait, up to `max_rows`, then the oldest are lost
and counted. Queries read the published parts of one folder and can neither write nor reach any other file. One thread.
"""

from __future__ import annotations

import json
import math
import os
import stat
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import numpy as np
import numpy.typing as npt

from packhound.net.facts import Malformed
from packhound.net.sanitise import identifier, literal, well_formed
from packhound.processor.store import layout
from packhound.processor.store.columns import TABLES, Table
from packhound.processor.store.segments import Fault

SUFFIX = ".parquet"
ROWS = 50_000
MAX_ROWS = 500_000
LIMIT = 10_000
Columns = Mapping[str, npt.NDArray[Any]]


class TableWriter:
    """One table below `root`; parts are written by `flush`, or by themselves once `rows` are waiting.

    `written` counts rows published, `lost` rows by cause. `part`: the name that all parts get, one an hour; one that
    is there already is left as it is.
    """

    def __init__(
        self, root: Path, table: Table, *, rows: int = ROWS, max_rows: int = MAX_ROWS, part: str = ""
    ) -> None:
        self._part = part
        self._root = root
        self.table = table
        self._rows = rows
        self._max_rows = max_rows
        self._waiting: dict[int, list[Columns]] = {}
        self._door: duckdb.DuckDBPyConnection | None = None
        self.pending = 0
        self.written = 0
        self.lost: Counter[str] = Counter()
        self.published: list[Path] = []
        self.fault: Fault | None = None

    def add_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add rows: values by column; what a row has not is NULL, names that are no column are ignored."""
        if rows:
            self.add(columns_of(self.table, rows))

    def add(self, columns: Columns) -> None:
        """Add columns of one length, by name; each as its type says, text of object type. A missing one is NULL."""
        nothing = np.full(len(columns[self.table.time]), None, object)
        columns = {name: columns.get(name, nothing) for name in self.table.columns}
        stamps = np.maximum(columns[self.table.time].astype(np.int64), 0)
        hours = stamps // layout.HOUR
        for hour in np.unique(hours).tolist():
            mask = hours == hour
            part = {name: column[mask] for name, column in columns.items()}
            self._waiting.setdefault(hour, []).append(part)
        self.pending += len(stamps)
        if self.pending >= self._rows and not self.fault:
            self.flush()

    def flush(self) -> None:
        """Write everything that waits, one part an hour; what cannot be written keeps waiting (see `fault`)."""
        self.fault = None
        for hour in sorted(self._waiting):
            chunks = self._waiting[hour]
            columns = {name: np.concatenate([each[name] for each in chunks]) for name in chunks[0]}
            self.fault = self._write(hour, columns)
            if self.fault:
                break
            size = len(columns[self.table.time])
            self.pending -= size
            self.written += size
            del self._waiting[hour]
        self._bound()

    def _bound(self) -> None:
        while self.fault and self.pending > self._max_rows:
            self._lose(min(self._waiting), self.fault.cause)

    def _lose(self, hour: int, cause: str) -> None:
        count = sum(len(each[self.table.time]) for each in self._waiting.pop(hour))
        self.pending -= count
        self.lost[cause] += count

    def close(self) -> None:
        """Write what waits; what still cannot be written is lost and counted."""
        self.flush()
        for hour in list(self._waiting):
            self._lose(hour, self.fault.cause if self.fault else "io_error")
        self.release()

    def release(self) -> None:
        """Let go of DuckDB until the next part."""
        if self._door:
            self._door.close()
            self._door = None

    def _write(self, hour: int, columns: Columns) -> Fault | None:
        """Publish one part; return why not."""
        try:
            pending = layout.made(lambda: self._begin(hour))
        except OSError as error:
            return Fault(layout.cause_of(error), error.strerror or str(error), str(error.filename or self._root))
        if pending is None:
            return None
        try:
            self._copy(columns, pending.hidden)
        except (duckdb.Error, OSError) as error:
            layout.discard(pending)
            full = "No space left" in str(error) or "quota" in str(error).lower()
            return Fault("disk_full" if full else "io_error", str(error).partition("\n")[0], str(pending.final))
        try:
            layout.publish(pending)
        except OSError as error:
            pending.hidden.unlink(missing_ok=True)
            return Fault(layout.cause_of(error), error.strerror or str(error), str(pending.final))
        self.published.append(pending.final)
        return None

    def _begin(self, hour: int) -> layout.Pending | None:
        """A new part of an hour; None when it is there already."""
        where = layout.folder(self._root, self.table.name, *layout.hive_path(hour))
        if self._part:
            return layout.begin_as(where / f"part-{self._part}{SUFFIX}")
        return layout.begin(where, "part", SUFFIX)

    def _copy(self, columns: Columns, path: Path) -> None:
        if self._door is None:
            self._door = duckdb.connect(":memory:")
            self._door.execute("SET threads = 1; SET temp_directory = ''; SET allow_community_extensions = false")
        self._door.register("waiting", dict(columns))
        try:
            chosen = ", ".join(_cast(name, kind) for name, kind in self.table.columns.items())
            order = identifier(self.table.time)
            self._door.execute(
                f"COPY (SELECT {chosen} FROM waiting ORDER BY {order}) TO {literal(str(path))}"  # noqa: S608 - our names, quoted
                " (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
            )
        finally:
            self._door.unregister("waiting")


def _cast(name: str, kind: str) -> str:
    quoted = identifier(name)
    source = f"{quoted}::JSON" if kind.startswith("MAP") else quoted
    return f"TRY_CAST({source} AS {kind}) AS {quoted}"


def columns_of(table: Table, rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Rows (values by column; what a row has not is NULL) as columns."""
    return {name: _column(name, kind, rows) for name, kind in table.columns.items()}


def _column(name: str, kind: str, rows: Sequence[Mapping[str, Any]]) -> npt.NDArray[Any]:
    """One column of rows, each value as `kind` wants it."""
    plain = _PLAIN[kind]
    column = np.empty(len(rows), object)
    for at, row in enumerate(rows):
        value = row.get(name)
        if value is not None:
            column[at] = plain(value)
    return column


def _text(value: Any) -> str:
    if isinstance(value, str):
        return well_formed(value)
    return ",".join(map(_text, value)) if isinstance(value, (tuple, list)) else str(value)


def _number(value: Any) -> int | None:
    if isinstance(value, (tuple, list)):
        value = value[0] if value else None
    if not isinstance(value, (int, float)) or not -(2**63) <= value < 2**64:
        return None
    return int(value)


def _many(one: Callable[[Any], Any]) -> Callable[[Any], list[Any]]:
    return lambda value: [one(each) for each in (value if isinstance(value, (tuple, list)) else (value,))]


_PLAIN: Mapping[str, Callable[[Any], Any]] = {
    "VARCHAR": _text,
    "VARCHAR[]": _many(_text),
    "BIGINT[]": _many(_number),
    "BOOLEAN": bool,
    "MAP(VARCHAR, UINTEGER)": lambda value: json.dumps({well_formed(k): v for k, v in value.items()}),
    **dict.fromkeys(("BIGINT", "UBIGINT", "UINTEGER", "USMALLINT", "UTINYINT"), _number),
}


class Answer(NamedTuple):
    """What a query found: column names, rows of JSON values (text is raw from the wire), whether `limit` cut it."""

    columns: list[str]
    rows: list[tuple[Any, ...]]
    truncated: bool


def query(sql: str, root: Path, *, limit: int = LIMIT, memory: str = "1GB") -> Answer | Malformed:
    """Run one SELECT over the views `flows`, `calls`, `messages` and `alerts` of the output folder `root`.

    Every view has the table's columns, `time` (its deciding time) and `date`, `hour`; without files it is empty.
    Returns `Malformed` with DuckDB's reason for what it cannot run, and for anything but one SELECT.
    """
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        return Malformed(str(error))
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        return Malformed("only one SELECT statement is allowed")
    door = duckdb.connect(":memory:")
    try:
        _confine(door, root.absolute(), memory)
        return _ask(door, sql, limit)
    except (duckdb.Error, OSError) as error:
        return Malformed(str(error))
    finally:
        door.close()


def _ask(door: duckdb.DuckDBPyConnection, sql: str, limit: int) -> Answer:
    found = door.sql(sql)
    readable = ", ".join(
        f"CAST(#{at} AS VARCHAR)" if str(kind) == "TIMESTAMP_NS" else f"#{at}" for at, kind in enumerate(found.types, 1)
    )
    rows = found.limit(limit + 1).project(readable).fetchall()
    return Answer(list(found.columns), [tuple(map(_json_value, row)) for row in rows[:limit]], len(rows) > limit)


def _confine(door: duckdb.DuckDBPyConnection, root: Path, memory: str) -> None:
    """Make the views, then lock everything else out."""
    files = {table.name: _parts(root / table.name) for table in TABLES}
    allowed = ", ".join(literal(path) for each in files.values() for path in each)
    door.execute(f"SET memory_limit = {literal(memory)}; SET temp_directory = ''")
    door.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
    for table in TABLES:
        door.execute(_view(table, files[table.name]))
    door.execute(f"SET allowed_paths = [{allowed}]")
    door.execute("SET enable_external_access = false; SET lock_configuration = true")


def _parts(folder: Path) -> list[str]:
    """Published parts below `folder`: plain files reached without following a link."""
    found = []
    for where, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(where, name)
            if name.endswith(SUFFIX) and not name.startswith(".") and stat.S_ISREG(path.lstat().st_mode):
                found.append(str(path))
    return found


def _view(table: Table, files: Sequence[str]) -> str:
    types = {**table.columns, "date": "DATE", "hour": "UTINYINT"}
    empty = ", ".join(f"NULL::{kind} AS {identifier(name)}" for name, kind in types.items())
    source = f"SELECT {empty} WHERE false"
    if files:
        listed = ", ".join(map(literal, files))
        source += (
            f" UNION ALL BY NAME SELECT * FROM read_parquet([{listed}], union_by_name = true,"  # noqa: S608 - our names, quoted
            " hive_partitioning = true, hive_types = {'date': DATE, 'hour': UTINYINT})"
        )
    time_column = f"make_timestamp_ns({identifier(table.time)}) AS time"
    return f"CREATE VIEW {identifier(table.name)} AS SELECT {time_column}, * FROM ({source})"  # noqa: S608 - our names, quoted


def _json_value(value: Any) -> Any:
    """A DuckDB value as JSON can hold it."""
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, (list, tuple)):
        return [_json_value(each) for each in value]
    if isinstance(value, dict):
        return {str(k): _json_value(v) for k, v in value.items()}
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
