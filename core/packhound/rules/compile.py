"""HuntFilters -> HuntPlan, with a reason and a path for everything that is refused.

Promise: pure; `now` is given. A bad filter is refused alone, with everything that is wrong in it: the others stand, and
so does its own last good version where a `previous` plan holds one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from packhound.api.huntfilter import MAX_DEPTH, HuntFilter, Match
from packhound.api.load import depth_of
from packhound.api.units import duration_ns, quantity
from packhound.api.yamltext import Path
from packhound.fields import FLOW, HEADER, POD
from packhound.rules import prefilter
from packhound.rules.evaluate import leaf_test
from packhound.rules.leaf import Refuse, compile_leaf
from packhound.rules.plan import CompiledFilter, HuntPlan, LeafSpec, Node, Scope, leaves

MAX_PCAP = 64  # different pcap expressions of one plan: each is a bit of the kernel's mask
MAX_LEAVES = 1024  # of one filter
CheckPcap = Callable[[str], str | None]


class Identity(Protocol):
    """Whose addresses are whose."""

    def addresses(self, field: str, test: Callable[[str], bool]) -> tuple[str, ...]:
        """Addresses of everything one of whose values of `field` passes `test`."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a filter is not in the plan: its name, the path in its object, a sentence."""

    filter: str
    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something of an accepted filter that does not do what it may seem to: where, and a sentence."""

    filter: str
    path: Path
    text: str


@dataclass(frozen=True, slots=True)
class CompileResult:
    """The plan of everything that is good, what was refused, what should be known."""

    plan: HuntPlan
    refused: list[Refusal] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


def compile_plan(
    filters: Iterable[HuntFilter],
    *,
    revision: int,
    now: int,
    created: Mapping[str, int] | None = None,
    check_pcap: CheckPcap,
    previous: HuntPlan | None = None,
    guards: Mapping[str, Sequence[str]] | None = None,
    identity: Identity | None = None,
) -> CompileResult:
    """Compile `filters` at time `now` (ns). `created`: when each came into being, by full name (default: now);
    `check_pcap` says what is wrong with a pcap expression, or None; `previous`: where last good versions are;
    `guards`: by full name, the addresses one of which must be an end of every packet that the filter gets;
    `identity`: whose addresses are whose, without which no `k8s.*` leaf can be compiled."""
    good: dict[str, CompiledFilter] = {}
    refused: list[Refusal] = []
    notes: list[Note] = []
    seen: set[str] = set()
    for each in filters:
        name = each.full_name
        faults: list[Refusal] = []
        made = None
        if name in seen:
            faults.append(Refusal(name, ("metadata", "name"), "another filter has the same name"))
        else:
            made = compile_filter(each, now=now, created=(created or {}).get(name, now), check_pcap=check_pcap,
                                  faults=faults, guard=(guards or {}).get(name), identity=identity)  # fmt: skip
        if made is not None and _too_many_expressions(made, good.values()):
            reason = f"more than {MAX_PCAP} different pcap expressions in one plan"
            faults.append(Refusal(name, ("spec", "pcapFilter"), reason))
        refused += faults
        if made is not None and not faults:
            good[name] = made
            notes += _notes(each, made)
        elif name not in seen and previous is not None:
            good |= {f.name: _at(f, now) for f in previous.filters if f.name == name}
        seen.add(name)
    return CompileResult(plan_of(good.values(), revision=revision), refused, notes)


def _too_many_expressions(made: CompiledFilter, others: Iterable[CompiledFilter]) -> bool:
    texts = {f.pcap_filter for f in others if f.pcap_filter}
    return made.pcap_filter is not None and len(texts | {made.pcap_filter}) > MAX_PCAP


def at_time(plan: HuntPlan, *, now: int, revision: int) -> HuntPlan:
    """The same filters at another time: those whose ttl is over are inactive."""
    return plan_of((_at(each, now) for each in plan.filters), revision=revision)


def _at(each: CompiledFilter, now: int) -> CompiledFilter:
    alive = not each.suspended and (each.expires_at is None or now < each.expires_at)
    return replace(each, active=alive and each.guard != ())


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
    each: HuntFilter,
    *,
    now: int,
    created: int,
    check_pcap: CheckPcap,
    faults: list[Refusal],
    guard: Sequence[str] | None = None,
    identity: Identity | None = None,
) -> CompiledFilter | None:
    """Compile one filter; None when something is wrong with it, which is then added to `faults`."""
    spec, before = each.spec, len(faults)

    def refuse(path: Path, reason: str) -> None:
        faults.append(Refusal(each.full_name, path, reason))

    if spec.pcap_filter is not None:
        fault = check_pcap(spec.pcap_filter)
        if fault:
            refuse(("spec", "pcapFilter"), f"pcap expression {spec.pcap_filter!r}: {fault}")
    tree = None if spec.match is None else _tree(spec.match, refuse, identity)
    if len(faults) > before:
        return None
    scope = spec.scope or default_scope(tree)
    _check_scope(spec.match, scope, refuse)
    if len(faults) > before:
        return None
    record = spec.actions.record
    expires_at = None if spec.schedule.ttl is None else created + duration_ns(spec.schedule.ttl)
    made = CompiledFilter(
        name=each.full_name,
        scope=scope,
        tree=tree if guard is None else guarded(tree, guard),
        guard=None if guard is None else tuple(sorted(guard)),
        pcap_filter=spec.pcap_filter,
        interfaces=tuple(spec.target.interfaces),
        payload=spec.capture.payload,
        snaplen=spec.capture.snaplen,
        pre_trigger_ns=duration_ns(spec.capture.pre_trigger),
        sample=spec.sample.rate,
        record=record is not None,
        per_call=record is not None and record.per_call,
        alert_severity=spec.actions.alert.severity if spec.actions.alert else "",
        packets_per_second=spec.budget.packets_per_second,
        total_bytes=None if spec.budget.total_bytes is None else quantity(spec.budget.total_bytes),
        suspended=spec.suspend,
        expires_at=expires_at,
        purpose=spec.purpose,
    )
    return _at(made, now)


def guarded(tree: Node | None, guard: Sequence[str]) -> Node:
    """The tree with its guard: cheaply decided by the addresses, before anything else is looked at."""
    leaf = Node("leaf", leaf=LeafSpec("ip.addr", "in", tuple(sorted(guard))))
    return leaf if tree is None else Node("all", (leaf, tree))


def default_scope(tree: Node | None) -> Scope:
    """Call where a leaf speaks of signalling, else flow."""
    if tree is not None and any("sip" in leaf.row.filled_by for leaf, _ in leaves(tree)):
        return "call"
    return "flow"


def _tree(match: Match, refuse: Refuse, identity: Identity | None) -> Node | None:
    path: Path = ("spec", "match")
    if depth_of(match) > MAX_DEPTH:
        refuse(path, f"nested deeper than {MAX_DEPTH} levels")
        return None
    if sum(1 for _ in _leaves_of(match, path)) > MAX_LEAVES:
        refuse(path, f"more than {MAX_LEAVES} leaves: put values of one field into one leaf")
        return None
    return _node(match, path, refuse, identity)


def _node(match: Match, path: Path, refuse: Refuse, identity: Identity | None) -> Node | None:
    """Compile a node and all below it, so that everything wrong is said at once."""
    if match.field is not None:
        leaf = compile_leaf(match, path, refuse)
        if leaf is not None and leaf.row.filled_by == (POD,):
            leaf = _by_address(leaf, path, refuse, identity)
        return Node("leaf", leaf=leaf) if leaf is not None else None
    made = [_node(branch, place, refuse, identity) for branch, place in _branches(match, path)]
    whole = tuple(each for each in made if each is not None)
    if len(whole) != len(made):
        return None
    return Node("not" if match.not_ else "any" if match.any_ else "all", whole)


def _by_address(leaf: LeafSpec, path: Path, refuse: Refuse, identity: Identity | None) -> LeafSpec | None:
    """A leaf on whose traffic it is, as a leaf on addresses."""
    if identity is None:
        refuse((*path, "field"), f"{leaf.field} is known in a cluster only: there are no pods here")
        return None
    return LeafSpec("ip.addr", "in", identity.addresses(leaf.field, leaf_test(leaf)))


def _branches(match: Match, path: Path) -> list[tuple[Match, Path]]:
    if match.not_ is not None:
        return [(match.not_, (*path, "not"))]
    kind, branches = ("any", match.any_) if match.any_ is not None else ("all", match.all_ or [])
    return [(branch, (*path, kind, index)) for index, branch in enumerate(branches)]


def _leaves_of(match: Match, path: Path) -> Iterable[tuple[Match, Path]]:
    if match.field is not None:
        yield match, path
        return
    for branch, place in _branches(match, path):
        yield from _leaves_of(branch, place)


def _check_scope(match: Match | None, scope: Scope, refuse: Refuse) -> None:
    """Refuse leaves that nothing could evaluate in this scope."""
    if match is None:
        if scope == "call":
            refuse(("spec", "scope"), "which packets are a call is told by match: pcapFilter alone cannot")
        return
    for leaf, path in _leaves_of(match, ("spec", "match")):
        spec = LeafSpec(leaf.field or "", "", ())
        sources = spec.row.filled_by
        if scope == "call" and not {"sip", HEADER, FLOW, POD} & set(sources):
            reason = f"{leaf.field} is in no message that belongs to a call: use scope flow, or a filter of its own"
            refuse((*path, "field"), reason)
        elif scope != "flow" and leaf.field == "flow.bytes":
            refuse((*path, "field"), f"{leaf.field} is said of a flow: use scope flow")


def _notes(each: HuntFilter, made: CompiledFilter) -> list[Note]:
    """What should be known of an accepted filter."""
    found: list[tuple[Path, str]] = []
    selector = each.spec.target.pod_selector
    if made.guard is None and (selector.match_labels or selector.match_expressions):
        found.append((("spec", "target", "podSelector"), "no pod identity outside a cluster: it selects nothing there"))
    if each.spec.match is None and each.spec.scope == "flow":
        found.append((("spec", "scope"), "pcapFilter alone decides packet by packet, whatever the scope"))
    if each.spec.match is not None and made.pcap_filter and made.scope != "packet":
        text = f"within a {made.scope} that matches, only packets that pass pcapFilter are taken"
        found.append((("spec", "pcapFilter"), text))
    if made.pre_trigger_ns == 0 and made.tree is not None and prefilter.holds([made]):
        found.append((("spec", "capture", "preTrigger"), "nothing is kept back: packets before the match are lost"))
    return [Note(made.name, path, text) for path, text in found]
