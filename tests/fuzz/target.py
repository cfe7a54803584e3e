"""What a fuzz target is, and the checks that all of them share.

A target takes bytes, does what production would do with them, and raises for whatever must not happen: `Broken` for a
promise that does not hold, and any exception that production does not declare.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from packhound.fields import FIELDS
from packhound.net.facts import Fact, Malformed
from packhound.net.session import FIELDS_FILLED

ROOT = Path(__file__).resolve().parents[2]
SPREAD = 48  #: bytes held or said per byte of input, at most
GROUND = 24 * 1024  #: and this on top
HELD = 512 * 1024  #: bytes that one session holds whatever it was fed: both directions, what is put together, tables


class Broken(AssertionError):
    """A promise that does not hold."""


@dataclass(frozen=True, slots=True)
class Target:
    """`run` takes one input; `seeds` are where mutation starts; `words` are put in now and then; `size`: of the longest
    input; `turns`: inputs are turns (tests.fuzz.turns); `group` in the table of docs/fuzzing.md."""

    name: str
    run: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]
    group: str = ""
    words: tuple[bytes, ...] = ()
    size: int = 4096
    turns: bool = True


@cache
def _own_reasons() -> tuple[re.Pattern[str], ...]:
    """Every text of `packhound.net` that a reason can be, placeholders as short plain text."""
    found = set()
    for path in (ROOT / "core/packhound/net").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) > 7:
                found.add(re.escape(node.value))
            elif isinstance(node, ast.JoinedStr):
                fixed = [part.value for part in node.values if isinstance(part, ast.Constant)]
                if sum(map(len, map(str, fixed))) > 7:
                    found.add("".join(
                        re.escape(str(part.value)) if isinstance(part, ast.Constant) else r"[A-Za-z0-9 /.-]{0,24}"
                        for part in node.values
                    ))  # fmt: skip
    return tuple(map(re.compile, sorted(found)))


@cache
def is_own(reason: str) -> bool:
    """Tell whether a reason is made of our words."""
    return any(pattern.fullmatch(reason) for pattern in _own_reasons())


_SCALARS = (str, int, float, bool)
_NUMBERS = frozenset(name for name, row in FIELDS.items() if row.type == "number")


def sound(found: Iterable[Fact | Malformed]) -> int:
    """Check what a dissector said; return about how many bytes it takes."""
    total = 0
    for each in found:
        if isinstance(each, Malformed):
            if not is_own(each.reason):
                raise Broken(f"reason is not ours: {each.reason[:80]!r}")
            total += 64
            continue
        if each.kind not in FIELDS_FILLED or not FIELDS_FILLED[each.kind].issuperset(each.fields):
            raise Broken(f"fact {each.kind!r} has fields that it may not have: {sorted(each.fields)}")
        for name, value in each.fields.items():
            total += 64
            for one in value if isinstance(value, tuple) else (value,):
                if not isinstance(one, _SCALARS):
                    raise Broken(f"{name} holds a {type(one).__name__}")
                if isinstance(one, str):
                    total += len(one)
                    if name in _NUMBERS:
                        raise Broken(f"{name} is a number and holds text")
                elif name in _NUMBERS and isinstance(one, float):
                    raise Broken(f"{name} holds a float")
                else:
                    total += 8
    return total


def held(value: Any, seen: set[int] | None = None) -> int:
    """About how many bytes an object keeps alive: texts, bytes, and 16 for everything else that belongs to it."""
    seen = set() if seen is None else seen
    if value is None or isinstance(value, int | float | type) or callable(value) or id(value) in seen:
        return 0 if not hasattr(value, "__self__") else held(value.__self__, seen)
    seen.add(id(value))
    if isinstance(value, bytes | bytearray | str | memoryview):
        return 16 + len(value)
    total = 16
    if isinstance(value, Mapping):
        return total + sum(held(key, seen) + held(each, seen) + 16 for key, each in value.items())
    if isinstance(value, list | tuple | set | frozenset) or type(value).__name__ in ("deque", "odict_keys"):
        return total + sum(held(each, seen) + 8 for each in value)
    for kind in type(value).__mro__:
        for name in getattr(kind, "__slots__", ()):
            total += held(getattr(value, name, None), seen)
    return total + held(getattr(value, "__dict__", None), seen)
