"""What the broker says that nodes were told: which generation of which filter, since which revision.

Promise: pure. A filter that stays the same in a newer plan keeps the revision that first carried it; the newest object
of each filter in any plan is the one that was accepted last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from packhound.wire.plans import PlanMessage


class Carried(NamedTuple):
    """What a node was last told: of each filter the generation, and the revision that first carried it. `sequence` of
    the bucket's key; `created` ns."""

    revision: int
    digest: str
    filters: Mapping[str, tuple[int, int]]
    sequence: int
    created: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A filter as it was last accepted, found in the broker."""

    object: Mapping[str, Any]
    created: int
    generation: int


def first_carried(
    generations: Mapping[str, int], revision: int, before: Carried | None
) -> dict[str, tuple[int, int]]:
    """Of each filter the generation, and the revision that first carried it: an older one where it did."""
    had = before.filters if before is not None else {}
    fresh: dict[int, tuple[int, int]] = {}
    found = {}
    for name, generation in generations.items():
        old = had.get(name)
        same = old is not None and old[0] == generation
        found[name] = old if same and old else fresh.setdefault(generation, (generation, revision))
    return found


def name_of_row(row: Mapping[str, Any]) -> tuple[str, int]:
    """Full name and generation of the filter in a row."""
    shown = row.get("object", row)
    metadata = shown.get("metadata") or {}
    name = str(metadata.get("name", ""))
    space = metadata.get("namespace")
    full = f"{space or 'default'}/{name}" if shown.get("kind") == "HuntFilter" else name
    generation = metadata.get("generation")
    return full, generation if isinstance(generation, int) else 0


def keep(plan: PlanMessage, kept: dict[str, Kept]) -> None:
    """Put the filters of a plan where newer ones of the same name are not."""
    for row in plan.filters:
        name, generation = name_of_row(row)
        known, created = kept.get(name), row.get("created")
        if isinstance(row.get("object"), dict) and isinstance(created, int) and (
            known is None or known.generation < generation
        ):  # fmt: skip
            kept[name] = Kept(row["object"], created, generation)
