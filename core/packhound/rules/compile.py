"""HuntFilters -> HuntPlan, with a reason and a path for everything that is refused.

Promise: pure; `now` is given. A bad filter is refused alone: the others stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from packhound.api.huntfilter import MAX_DEPTH, HuntFilter, Match
from packhound.api.load import Path, depth_of
from packhound.api.units import duration_ns, quantity
from packhound.fields import FIELDS
from packhound.rules import prefilter
from packhound.rules.plan import CompiledFilter, HuntPlan, LeafSpec, Node, Scope, leaves
from packhound.rules.values import BadValue

MAX_PCAP = 64
_CALL_FIELDS = ("sip.", "sdp.", "phone.", "rtp.codec")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a filter is not in the plan: its name, the path in its object, a sentence."""

    filter: str
    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class CompileResult:
    """The plan of everything that is good, and what was refused."""

    plan: HuntPlan
    refused: list[Refusal] = field(default_factory=list)


class _Refused(Exception):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(reason)
        self.path = path
        self.reason = reason


def compile_plan(
    filters: Iterable[HuntFilter],
    *,
    revision: int,
    now: int,
    created: Mapping[str, int] | None = None,
    check_pcap: Callable[[str], str | None],
) -> CompileResult:
    """Compile `filters` at time `now` (ns). `created`: when each came into being, by full name (default: now);
    `check_pcap` says what is wrong with a pcap expression, or None."""
    good: list[CompiledFilter] = []
    refused: list[Refusal] = []
    names: set[str] = set()
    expressions: set[str] = set()
    for each in filters:
        try:
            if each.full_name in names:
                raise _Refused(("metadata", "name"), "another filter has the same name")
            made = compile_filter(each, now=now, created=(created or {}).get(each.full_name, now), check_pcap=check_pcap)
            if made.pcap_filter and len(expressions | {made.pcap_filter}) > MAX_PCAP:
                raise _Refused(("spec", "pcapFilter"), f"more than {MAX_PCAP} different pcap expressions in one plan")
        except _Refused as error:
            refused.append(Refusal(each.full_name, error.path, error.reason))
            continue
        names.add(each.full_name)
        if made.pcap_filter:
            expressions.add(made.pcap_filter)
        good.append(made)
    return CompileResult(plan_of(good, revision=revision), refused)


def plan_of(filters: Iterable[CompiledFilter], *, revision: int) -> HuntPlan:
    """The plan of compiled filters, with everything that can be known of them beforehand."""
    rows = tuple(filters)
    modes, literals = prefilter.modes_of(rows)
    return HuntPlan(
        revision=revision,
        filters=rows,
        headers=prefilter.headers_of(rows),
        byte_marks=prefilter.marks_of(rows),
        modes=modes,
        literals=literals,
        on_detect=prefilter.turns_on_detection(rows),
        holds=prefilter.holds(rows),
        client_hello_only=prefilter.client_hello_only(rows),
        voip=any(f.active and f.scope == "call" for f in rows),
    )


def compile_filter(
    each: HuntFilter, *, now: int, created: int, check_pcap: Callable[[str], str | None]
) -> CompiledFilter:
    """Compile one filter. Raises _Refused with the path of what is wrong."""
    spec = each.spec
    if spec.pcap_filter is not None:
        fault = check_pcap(spec.pcap_filter)
        if fault:
            raise _Refused(("spec", "pcapFilter"), f"pcap expression {spec.pcap_filter!r}: {fault}")
    tree = None
    if spec.match is not None:
        if depth_of(spec.match) > MAX_DEPTH:
            raise _Refused(("spec", "match"), f"nested deeper than {MAX_DEPTH} levels")
        tree = _node(spec.match, ("spec", "match"))
    expires_at = None if spec.schedule.ttl is None else created + duration_ns(spec.schedule.ttl)
    return CompiledFilter(
        name=each.full_name,
        scope=spec.scope or default_scope(tree),
        tree=tree,
        pcap_filter=spec.pcap_filter,
        interfaces=tuple(spec.target.interfaces),
        payload=spec.capture.payload,
        snaplen=spec.capture.snaplen,
        pre_trigger_ns=duration_ns(spec.capture.pre_trigger),
        sample=spec.sample.rate,
        record=spec.actions.record is not None,
        per_call=spec.actions.record is not None and spec.actions.record.per_call,
        alert_severity=spec.actions.alert.severity if spec.actions.alert else "",
        packets_per_second=spec.budget.packets_per_second,
        total_bytes=None if spec.budget.total_bytes is None else quantity(spec.budget.total_bytes),
        suspended=spec.suspend,
        expires_at=expires_at,
        purpose=spec.purpose,
        active=not spec.suspend and (expires_at is None or now < expires_at),
    )


def default_scope(tree: Node | None) -> Scope:
    """Call where a leaf speaks of signalling, else flow."""
    if tree is not None and any(leaf.field.startswith(_CALL_FIELDS) for leaf, _ in leaves(tree)):
        return "call"
    return "flow"


def _node(match: Match, path: Path) -> Node:
    if match.not_ is not None:
        return Node("not", (_node(match.not_, (*path, "not")),))
    for kind, branches in (("any", match.any_), ("all", match.all_)):
        if branches is not None:
            made = tuple(_node(branch, (*path, kind, i)) for i, branch in enumerate(branches))
            return Node("any" if kind == "any" else "all", made)
    return Node("leaf", leaf=_leaf(match, path))


def _leaf(match: Match, path: Path) -> LeafSpec:
    name, operator = match.field or "", match.operators()[0]
    row = FIELDS.get(name)
    if row is None:
        raise _Refused((*path, "field"), f"no such field: {name!r}{_nearest(name)}")
    if not row.matchable:
        raise _Refused((*path, "field"), f"{name} is an output column, not something to match")
    if not row.filled_by:
        raise _Refused((*path, "field"), f"{name} is not filled by this version")
    if operator not in row.operators:
        raise _Refused((*path, operator), f"{name} has no operator {operator}; it has {', '.join(row.operators)}")
    leaf = LeafSpec(name, operator, tuple(match.values(operator)), match.case_sensitive, match.min_digits)
    try:
        prefilter_test(leaf)
    except BadValue as error:
        raise _Refused((*path, operator, error.index), error.reason) from None
    return leaf


def prefilter_test(leaf: LeafSpec) -> None:
    """Build the leaf's test once, for its errors. Raises BadValue."""
    from packhound.rules.evaluate import test_of  # noqa: PLC0415  # evaluate needs plan, which needs no compile

    test_of(leaf)


def _nearest(name: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  # only for a message

    close = get_close_matches(name, FIELDS, n=1)
    return f"; did you mean {close[0]}?" if close else ""
