"""A bounded memory of what was used lately, cheap for many keys at once.

Two generations: what is used moves to the young one; when that is full, the old one goes and the young one ages. So of
`limit` keys the half that was used last is always there, and a lookup costs no list that is kept in order.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """At most `limit` keys with values that are not None. One thread."""

    def __init__(self, limit: int) -> None:
        self._half = max(1, limit // 2)
        self._young: dict[Key, Value] = {}
        self._old: dict[Key, Value] = {}

    def __len__(self) -> int:
        return len(self._young) + sum(key not in self._young for key in self._old)

    def __setitem__(self, key: Key, value: Value) -> None:
        if len(self._young) >= self._half and key not in self._young:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def get(self, key: Key) -> Value | None:
        """The value of a key, used herewith; None when it is not known (any more)."""
        value = self._young.get(key)
        if value is None:
            value = self._old.get(key)
            if value is not None:
                self[key] = value
        return value

    def of(self, keys: Sequence[Key]) -> list[Value | None]:
        """`get` of each key."""
        found: list[Value | None] = list(map(self._young.get, keys))
        if None in found:
            missed = [key for key, value in zip(keys, found, strict=True) if value is None]
            older = {key: value for key in missed if (value := self._old.get(key)) is not None}
            if older:
                found = [older.get(key) if value is None else value for key, value in zip(keys, found, strict=True)]
                self._put(older)
        return found

    def _put(self, values: dict[Key, Value]) -> None:
        if len(self._young) + len(values) > self._half:
            for key, value in values.items():
                self[key] = value
        else:
            self._young.update(values)
