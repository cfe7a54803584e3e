"""Columns, tables and texts as bytes.

Promise: pure; no Python object per value of a column. Reading checks every length and index: MalformedParcel is the
only exception.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from packhound.wire.envelope import MAX_NAME, MalformedParcel, is_name
from packhound.wire.v1 import packets_pb2 as pb

INDEX = np.dtype("<u4")


def to_bytes(column: npt.NDArray[Any], kind: str) -> bytes:
    """`column` as values of type `kind` (little-endian) without gaps."""
    return np.ascontiguousarray(column, kind).tobytes()


def from_bytes(data: bytes, kind: str, *, count: int, name: str) -> npt.NDArray[Any]:
    """`count` values of type `kind` as an array of its own."""
    dtype = np.dtype(kind)
    if len(data) != count * dtype.itemsize:
        raise MalformedParcel(f"column {name} has another length")
    return np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))


def text_out(text: str) -> bytes:
    """Text that may hold lone surrogates, as bytes."""
    return text.encode("utf-8", "surrogatepass")


def text_in(data: bytes) -> str:
    """The text of `text_out`."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise MalformedParcel("a text is not UTF-8") from None


def table_out(values: Iterable[Any]) -> tuple[list[Any], bytes]:
    """Distinct values that are not None, in order of appearance, and a column of 1 + index (0: None)."""
    table: dict[Any, int] = {}
    index = [0 if value is None else table.setdefault(value, len(table) + 1) for value in values]
    return list(table), np.array(index, INDEX).tobytes() if table else b""


def table_in(table: Sequence[Any], data: bytes, *, count: int, name: str) -> npt.NDArray[Any] | None:
    """`count` values out of `table`, None where there is none; None when the table is empty."""
    if not table and not data:
        return None
    index = from_bytes(data, "<u4", count=count, name=name)
    if count and int(index.max()) > len(table):
        raise MalformedParcel(f"column {name} names what its table has not")
    values = np.empty(len(table) + 1, object)
    for at, value in enumerate(table, 1):
        values[at] = value
    picked: npt.NDArray[Any] = values[index]
    return picked


def sets_out(sets: Mapping[int, tuple[str, ...]]) -> list[pb.FilterSet]:
    """Filter sets by number as messages."""
    return [pb.FilterSet(number=number, filters=names) for number, names in sets.items()]


def sets_in(rows: Sequence[pb.FilterSet]) -> dict[int, tuple[str, ...]]:
    """Filter sets by number, as tuples of names."""
    found = {row.number: names_in(row.filters) for row in rows}
    if len(found) != len(rows):
        raise MalformedParcel("a filter set is there twice")
    return found


def names_in(rows: Iterable[str]) -> tuple[str, ...]:
    """Names of filters or fields."""
    names = tuple(rows)
    if not all(map(is_name, names)):
        raise MalformedParcel(f"a name is empty, not printable or longer than {MAX_NAME} characters")
    return names
