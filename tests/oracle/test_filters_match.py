"""Every kind of message can be hunted: a filter on a value that a real capture holds matches there, and one on a value
that it does not hold does not."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from packhound.fields import FIELDS, Type
from packhound.net.session import FIELDS_FILLED
from tests.oracle.score import rows_of
from tests.support.corpus import CORPUS, captures, needs_corpus
from tests.support.hunting import hunt
from tests.support.objects import hunt_filter, leaf

pytestmark = [needs_corpus, pytest.mark.timeout(120)]
#: Kinds that no capture of the corpus has (docs/truth.md, docs/fields.md say what proves them), or that are of no flow.
WITHOUT = frozenset({"grpc", "diameter", "nbss", "arp"})
KINDS = tuple(sorted(FIELDS_FILLED.keys() - WITHOUT))
_PLAIN = (Type.STRING, Type.NAME, Type.NUMBER)


class Hunted(NamedTuple):
    """One filter: what kind of message it is for, its field and a value that the capture holds."""

    kind: str
    field: str
    value: Any


@cache
def wanted() -> dict[str, tuple[str, Hunted]]:
    """Kind -> the smallest capture that has it, and what is hunted there."""
    found: dict[str, tuple[str, Hunted]] = {}
    for capture in sorted(captures(), key=lambda name: (CORPUS / name).stat().st_size):
        if len(found) == len(KINDS):
            break
        for row in rows_of(capture):
            if row["kind"] in KINDS and row["kind"] not in found and (chosen := _choice(row)):
                found[row["kind"]] = capture, chosen
    return found


def _choice(row: dict[str, Any]) -> Hunted | None:
    """The most telling value of a message: the longest text, else a number."""
    values = []
    for name, value in row.items():
        one = value[0] if isinstance(value, tuple) and value else value
        known = FIELDS.get(name)
        if known and "sip" in known.protocols and row["kind"] != "sip":
            continue  # of calls, unless a filter says otherwise
        if known and row["kind"] in known.filled_by and known.matchable and known.type in _PLAIN and _is_plain(one):
            values.append((len(one) if isinstance(one, str) else 0, name, one))
    if not values:
        return None
    _, name, value = max(values, key=lambda each: (each[0], each[1]))
    return Hunted(row["kind"], name, value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return value.isascii() and value.isprintable() and 0 < len(value) < 200
    return isinstance(value, int) and not isinstance(value, bool)


@pytest.mark.parametrize("kind", KINDS)
def test_a_filter_on_a_value_of_a_capture_matches_in_it(kind: str, tmp_path: Path) -> None:
    capture, hunted = wanted()[kind]
    other = f"{hunted.value}-no" if isinstance(hunted.value, str) else hunted.value + 77777
    filters = [hunt_filter(name, leaf(hunted.field, "equals", value)) for name, value in (("yes", hunted.value), ("no", other))]
    ran = hunt(tmp_path, CORPUS / capture, filters).balanced()
    assert ran.matched("t/yes") > 0, (capture, hunted)
    assert ran.matched("t/no") == 0, (capture, hunted)
