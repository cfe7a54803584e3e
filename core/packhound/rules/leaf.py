"""One leaf as written -> one leaf as evaluated, or why it could never be.

Promise: pure. Whatever passes here can be true of some packet that this version dissects.
"""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from packhound.api.huntfilter import Match
from packhound.api.yamltext import Path
from packhound.fields import FIELDS, Field, Type
from packhound.net.detect import BY_NAME
from packhound.net.facts import Scalar
from packhound.rules.evaluate import leaf_test
from packhound.rules.plan import LeafSpec
from packhound.rules.text import fold
from packhound.rules.values import BadValue, text_of

Refuse = Callable[[Path, str], None]
_TEXTS = (Type.STRING, Type.NAME, Type.PHONE)


def compile_leaf(match: Match, path: Path, refuse: Refuse) -> LeafSpec | None:
    """Compile the leaf at `path`; None when it was refused."""
    name, operator = match.field or "", match.operators()[0]
    row = FIELDS.get(name)
    if row is None:
        refuse((*path, "field"), f"no such field: {name!r}{_nearest(name)}")
        return None
    reason = _unusable(row)
    if reason:
        refuse((*path, "field"), reason)
        return None
    if operator not in row.operators:
        refuse((*path, operator), f"{name} has no operator {operator}; it has {', '.join(row.operators)}")
        return None
    values = tuple(_plain(value, row) for value in match.values(operator))
    leaf = LeafSpec(name, operator, values, match.case_sensitive, match.min_digits)
    return leaf if _sound(leaf, (*path, operator), refuse) else None


def _unusable(row: Field) -> str:
    if not row.matchable:
        return f"{row.name} is an output column, not something to match"
    return "" if row.filled_by else f"{row.name} is not filled by this version"


def _plain(value: Scalar, row: Field) -> Scalar:
    return text_of(value) if row.type in _TEXTS else value


def _sound(leaf: LeafSpec, path: Path, refuse: Refuse) -> bool:
    """Tell whether every value of a leaf can be used; each that cannot is refused by its own path."""
    sound = True
    for index, value in enumerate(leaf.values):
        one = LeafSpec(leaf.field, leaf.operator, (value,), leaf.case, leaf.min_digits)
        try:
            leaf_test(one)
        except BadValue as error:
            refuse((*path, index), error.reason)
            sound = False
            continue
        if leaf.field == "app.protocol" and leaf.operator in ("equals", "in") and fold(str(value)) not in BY_NAME:
            refuse((*path, index), f"no such protocol: {value!r}; known are {', '.join(sorted(BY_NAME))}")
            sound = False
    return sound


def _nearest(name: str) -> str:
    usable = [row.name for row in FIELDS.values() if row.matchable and row.filled_by]
    close = get_close_matches(name, usable, n=1)
    return f"; did you mean {close[0]}?" if close else ""
