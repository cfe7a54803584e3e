"""JSON from elsewhere, read with suspicion: sizes, types and lengths are checked before anything is built of it.

Promise: pure. Whatever the bytes, the only exception is BadMessage, and its reason is made of our words alone.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

MAX_UNPACKED = 16 << 20  #: of any message, bytes after decompression
MAX_TEXT = 1024  #: of a text that has no limit of its own, characters
MAX_TIME = (1 << 63) - 1

T = TypeVar("T")


class BadMessage(ValueError):
    """A message that is not what it should be; `reason` is ours and may be shown and logged."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def canonical(value: Any) -> bytes:
    """`value` as JSON in the one form that digests are made of: sorted keys, no blanks, ASCII.

    >>> canonical({"b": 1, "a": [2, None]})
    b'{"a":[2,null],"b":1}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def pack(value: Any) -> bytes:
    """`value` as canonical JSON, deflated."""
    return zlib.compress(canonical(value), 1)


def unpack(data: bytes, *, limit: int = MAX_UNPACKED) -> Mapping[str, Any]:
    """The object that `pack` made `data` of; at most `limit` bytes before it was packed."""
    engine = zlib.decompressobj()
    try:
        text = engine.decompress(data, limit + 1)
    except zlib.error:
        raise BadMessage("is not deflated") from None
    if len(text) > limit:
        raise BadMessage(f"is larger than {limit} bytes")
    if not engine.eof or engine.unused_data:
        raise BadMessage("is cut short or has a tail")
    return parse(text)


def parse(text: bytes) -> Mapping[str, Any]:
    """The object in JSON `text`. What it holds is not yet checked."""
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadMessage("is not JSON") from None
    if not isinstance(found, dict):
        raise BadMessage("is not a JSON object")
    return found


def _no_constant(_: str) -> NoReturn:
    raise ValueError


def text(row: Mapping[str, Any], key: str, *, limit: int = MAX_TEXT, default: str | None = None) -> str:
    """Text in `row`; absent: `default`, or a fault when that is None."""
    value = row.get(key, default)
    if not isinstance(value, str) or len(value) > limit:
        raise BadMessage(f"{key} is not text of at most {limit} characters")
    return value


def number(
    row: Mapping[str, Any], key: str, *, low: int = 0, high: int = MAX_TIME, default: int | None = None
) -> int:
    """Whole number in `row`, from `low` to `high`."""
    value = row.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadMessage(f"{key} is not a whole number from {low} to {high}")
    return value


def fraction(row: Mapping[str, Any], key: str, *, high: float, default: float | None = None) -> float:
    """Number from 0 to `high` in `row`."""
    value = row.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= high:
        raise BadMessage(f"{key} is not a number from 0 to {high}")
    return float(value)


def entries(
    row: Mapping[str, Any], key: str, read: Callable[[Mapping[str, Any], str], T], *, limit: int
) -> dict[str, T]:
    """Object in `row` of at most `limit` entries under printable names, each value read by `read`, as one of a row,
    under `key`; absent: empty."""
    value = row.get(key, {})
    if not isinstance(value, dict) or len(value) > limit:
        raise BadMessage(f"{key} is not an object of at most {limit} entries")
    if not all(len(name) <= MAX_TEXT and name.isprintable() for name in value):
        raise BadMessage(f"{key} has an entry whose name is too long or not printable")
    return {name: read({key: each}, key) for name, each in value.items()}


def items(row: Mapping[str, Any], key: str, read: Callable[[Any], T], *, limit: int) -> tuple[T, ...]:
    """List in `row` of at most `limit` entries, each read by `read`; absent: empty."""
    value = row.get(key, [])
    if not isinstance(value, list) or len(value) > limit:
        raise BadMessage(f"{key} is not a list of at most {limit} entries")
    return tuple(map(read, value))


def texts(row: Mapping[str, Any], key: str, *, limit: int) -> tuple[str, ...]:
    """List of texts in `row`."""
    return items(row, key, lambda value: text({key: value}, key), limit=limit)


def rows(value: Any) -> Mapping[str, Any]:
    """`value` itself when it is an object: for lists of objects."""
    if not isinstance(value, dict):
        raise BadMessage("an entry is not an object")
    return value
