"""Verdicts that grow: what filters say of a packet, flow or call as its messages come in.

Promise: pure. A leaf is true once any value satisfied it; false when its field was seen and did not, or can never come;
unknown otherwise. Filters follow three-valued (Kleene) logic, and once wanted stay wanted. `flow.bytes` is the one
field whose latest value counts: its leaf is unknown while the flow can still grow into the range.

A Matcher is shared by all latches of its plan and, like them, belongs to one thread (it remembers outcomes).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from packhound.fields import FIELDS, HEADER
from packhound.net.facts import Value
from packhound.rules.evaluate import Selector, values_of
from packhound.rules.plan import CompiledFilter, HuntPlan, Scope, leaves
from packhound.rules.ranges import number_in
from packhound.rules.trees import ByteRanges, State, Tree, judge, tree_of

NOBODY: frozenset[int] = frozenset()
BYTES = "flow.bytes"
MAX_OUTCOMES = 4096  # remembered per group; a group with so many states is judged anew when they are full


@dataclass(frozen=True, slots=True)
class Verdict:
    """Filters (indexes into the plan) that want the packet, flow or call, and those that may still come to want it."""

    wanted: frozenset[int]
    undecided: frozenset[int]


class _Group:
    """Filters whose trees use the same fields. While none of its leaves is true, what a filter says depends on
    nothing but which of these fields are known; so it is worked out once for all flows."""

    def __init__(self, fields: frozenset[str], trees: dict[int, Tree]) -> None:
        self.fields = fields
        self.trees = trees
        self._outcomes: dict[tuple[frozenset[str], int], tuple[frozenset[int], frozenset[int]]] = {}

    def outcome(self, state: State, place: int) -> tuple[frozenset[int], frozenset[int]]:
        """Members that want, and that may come to want, something of which no leaf of theirs is true.

        `place`: between which thresholds of flow.bytes the flow is.
        """
        key = (self.fields & state.known, place if BYTES in self.fields else -1)
        found = self._outcomes.get(key)
        if found is None:
            blank = replace(state, true=frozenset())
            said = {i: judge(tree, blank) for i, tree in self.trees.items()}
            found = (
                frozenset(i for i, each in said.items() if each is True),
                frozenset(i for i, each in said.items() if each is None),
            )
            if len(self._outcomes) >= MAX_OUTCOMES:
                self._outcomes.clear()
            self._outcomes[key] = found
        return found


class _Scoped:
    """The active filters of one scope: their trees, grouped by fields, and the filters of each leaf."""

    def __init__(self, plan: HuntPlan, selector: Selector, scope: Scope) -> None:
        self.selector = selector
        self.ranges = ByteRanges(selector.specs)
        self.trees: dict[int, Tree] = {}
        self.by_leaf: dict[int, set[int]] = defaultdict(set)
        groups: dict[frozenset[str], dict[int, Tree]] = defaultdict(dict)
        for i, each in enumerate(plan.filters):
            if not each.active or each.tree is None or each.scope != scope:
                continue
            tree = self.trees[i] = tree_of(each.tree, selector.number)
            found = [leaf for leaf, _ in leaves(each.tree)]
            groups[frozenset(leaf.field for leaf in found)][i] = tree
            for leaf in found:
                self.by_leaf[selector.number[leaf]].add(i)
        self.groups = [_Group(fields, members) for fields, members in groups.items()]
        self.fields: frozenset[str] = frozenset().union(*groups) if groups else frozenset()
        self.headers = frozenset(name for name in self.fields if HEADER in FIELDS[name].filled_by)
        self._never: dict[str, frozenset[str]] = {}

    def never(self, app_protocol: str) -> frozenset[str]:
        """Fields that a flow of this protocol cannot fill."""
        found = self._never.get(app_protocol)
        if found is None:
            found = self._never[app_protocol] = frozenset(
                name for name in self.fields if FIELDS[name].protocols and app_protocol not in FIELDS[name].protocols
            )
        return found


class Matcher:
    """A plan ready to judge packets, flows and calls."""

    def __init__(self, plan: HuntPlan) -> None:
        specs = (leaf for f in plan.filters if _judged(f) and f.tree for leaf, _ in leaves(f.tree))
        self._selector = Selector(specs)
        self._scopes: dict[Scope, _Scoped] = {
            scope: _Scoped(plan, self._selector, scope) for scope in ("packet", "flow", "call")
        }

    def open(self, scope: Scope) -> Latch:
        """A latch for one flow or call."""
        return Latch(self._scopes[scope])

    def packet(self, fields: Mapping[str, Value]) -> frozenset[int]:
        """Filters of scope packet that are true of one packet's facts."""
        scoped = self._scopes["packet"]
        if not scoped.trees:
            return NOBODY
        latch = Latch(scoped)
        latch.learn(fields)
        latch.finish()
        return latch.verdict().wanted


def _judged(each: CompiledFilter) -> bool:
    return each.active and each.tree is not None


class Latch:
    """What is known so far of one flow or call."""

    __slots__ = ("_app", "_bytes", "_finished", "_known", "_scoped", "_stale", "_touched", "_true", "_verdict")

    def __init__(self, scoped: _Scoped) -> None:
        self._scoped = scoped
        self._true: set[int] = set()
        self._known: set[str] = set()
        self._touched: set[int] = set()
        self._bytes: int | None = None
        self._app = ""
        self._finished = False
        self._stale = bool(scoped.trees)
        self._verdict = Verdict(NOBODY, NOBODY)

    def learn(self, fields: Mapping[str, Value]) -> None:
        """Take in the fields of one message (or header); fields that no filter uses cost nothing."""
        scoped = self._scoped
        relevant = {name: fields[name] for name in scoped.fields & fields.keys()}
        total = relevant.pop(BYTES, None)
        if total is not None:
            self._bytes = max((number_in(each, BYTES) or 0 for each in values_of(total)), default=0)
            self._stale = True
        if "ip.proto" in fields:  # a header: what it does not say (no VLAN, no ports) never comes
            self._known |= scoped.headers
            self._stale = True
        if not relevant:
            return
        for number in scoped.selector.satisfied(relevant) - self._true:
            self._true.add(number)
            self._touched |= scoped.by_leaf.get(number, set())
        self._known |= relevant.keys()
        self._stale = True

    def close(self, app_protocol: str) -> None:
        """Learn which protocol the flow speaks (`unknown`: none we know): fields of others can never come."""
        if app_protocol == self._app or not self._scoped.trees:
            return
        self._app = app_protocol
        self.learn({"app.protocol": app_protocol})
        self._known |= self._scoped.never(app_protocol)
        self._stale = True

    def finish(self) -> None:
        """Learn that nothing more comes: every field not seen is absent."""
        self._known |= self._scoped.fields
        self._finished = True
        self._stale = bool(self._scoped.trees)

    def verdict(self) -> Verdict:
        """Who wants the flow or call now, and who may still come to want it."""
        if self._stale:
            self._verdict = self._judge()
            self._stale = False
        return self._verdict

    def _judge(self) -> Verdict:
        scoped, touched = self._scoped, self._touched
        state = State(self._true, self._known, scoped.ranges, self._bytes, self._finished)
        wanted, undecided = set(self._verdict.wanted), set[int]()
        place = -2 if self._bytes is None else bisect_right(scoped.ranges.marks, self._bytes)
        for group in scoped.groups:
            want, may = group.outcome(state, place)
            wanted |= want - touched
            undecided |= may - touched
        for i in touched - wanted:
            said = judge(scoped.trees[i], state)
            if said:
                wanted.add(i)
            elif said is None:
                undecided.add(i)
        return Verdict(frozenset(wanted), frozenset(undecided - wanted))
