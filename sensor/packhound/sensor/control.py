"""Plan messages into plans: what the engine is to do next, and what is answered.

Promise: pure; `now` is given (ns since the epoch). A message is taken whole or not at all: one filter that does not
compile rejects it, and what was in force stays. Expiry and pods that come and go make new plans of the same message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from packhound.api.huntfilter import ClusterHuntFilter, HuntFilter
from packhound.api.load import path_text
from packhound.rules.compile import Identity, Note, compile_plan
from packhound.rules.plan import EMPTY, HuntPlan

MAX_REASON = 2000
_KINDS: Mapping[str, type[HuntFilter]] = {"HuntFilter": HuntFilter, "ClusterHuntFilter": ClusterHuntFilter}


@dataclass(frozen=True, slots=True)
class Rejected:
    """Why a message was not taken: sentences, joined."""

    reason: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """A plan that can be put in force, and what should be known of it."""

    plan: HuntPlan
    notes: tuple[Note, ...] = ()


class Planner:
    """Keeps the rows of the message in force and makes plans of them.

    A row is `{"object": HuntFilter as written, "created": ns, "guard": null | [addresses]}`, or the object alone.
    """

    def __init__(self, *, check_pcap: Callable[[str], str | None]) -> None:
        self._check_pcap = check_pcap
        self._rows: tuple[tuple[HuntFilter, int, tuple[str, ...] | None], ...] = ()
        self._revision = 0
        self.identity: Identity | None = None
        self.plan = EMPTY

    def take(self, rows: tuple[Mapping[str, Any], ...], *, revision: int, now: int) -> Compiled | Rejected:
        """Compile the rows of a message; when that works they are what `again` compiles from now on."""
        read = []
        for at, row in enumerate(rows):
            try:
                read.append(_row(row, now))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                return Rejected(f"filter {at + 1} of the plan is not a HuntFilter: {_why(error)}"[:MAX_REASON])
        made = self._compile(tuple(read), revision, now)
        if isinstance(made, Compiled):
            self._rows, self._revision, self.plan = tuple(read), revision, made.plan
        return made

    def again(self, *, now: int) -> HuntPlan | None:
        """The plan of the same message now, when it has become another: a ttl is over, a pod came or went."""
        if not self._rows:
            return None
        made = self._compile(self._rows, self._revision, now)
        if isinstance(made, Rejected) or made.plan.digest == self.plan.digest:
            return None
        self.plan = made.plan
        return made.plan

    def _compile(
        self, rows: tuple[tuple[HuntFilter, int, tuple[str, ...] | None], ...], revision: int, now: int
    ) -> Compiled | Rejected:
        result = compile_plan(
            [each for each, _, _ in rows], revision=revision, now=now,
            created={each.full_name: created for each, created, _ in rows}, check_pcap=self._check_pcap,
            guards={each.full_name: guard for each, _, guard in rows if guard is not None}, identity=self.identity,
        )  # fmt: skip
        if result.refused:
            told = [f"{each.filter}: {path_text(each.path)}: {each.reason}" for each in result.refused]
            return Rejected("; ".join(told)[:MAX_REASON])
        return Compiled(result.plan, tuple(result.notes))

    @property
    def next_expiry(self) -> int | None:
        """When a filter in force expires next, ns."""
        times = [f.expires_at for f in self.plan.filters if f.active and f.expires_at is not None]
        return min(times, default=None)


def _why(error: Exception) -> str:
    """The first thing that a model says is wrong, with its path; else what the exception says."""
    found = getattr(error, "errors", None)
    if found is None:
        return str(error)
    first = found()[0]
    return f"{path_text(tuple(first['loc']))}: {first['msg']}"


def _row(row: Mapping[str, Any], now: int) -> tuple[HuntFilter, int, tuple[str, ...] | None]:
    raw = row.get("object", row)
    kind = _KINDS.get(raw.get("kind", ""))
    if kind is None:
        raise ValueError("its kind is neither HuntFilter nor ClusterHuntFilter")
    model = kind.model_validate({**raw, "status": None})
    created = row.get("created") if "object" in row else now
    guard = row.get("guard") if "object" in row else None
    if not isinstance(created, int) or not (guard is None or all(isinstance(each, str) for each in guard)):
        raise TypeError("created is not a time, or guard is not a list of addresses")
    return model, created, None if guard is None else tuple(guard)
