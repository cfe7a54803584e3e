"""Verdicts that grow: what filters say of a flow or call as its messages come in.

Promise: pure. A leaf is true once any value satisfied it; false when its field was seen and did not, or can never come;
unknown otherwise. Filters follow three-valued (Kleene) logic, and once wanted stay wanted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from packhound.fields import FIELDS
from packhound.net.facts import Value
from packhound.rules.evaluate import Selector
from packhound.rules.plan import HuntPlan, Node, Scope, leaves


@dataclass(frozen=True, slots=True)
class Verdict:
    """Filters (indexes into the plan) that want the flow or call, and whether more may come to want it."""

    wanted: frozenset[int]
    undecided: bool


class _Scoped:
    """Filters of one scope: their trees over leaf numbers, grouped by the fields they wait for."""

    def __init__(self, plan: HuntPlan, selector: Selector, scope: Scope) -> None:
        self.trees: dict[int, Node] = {}
        self.by_leaf: dict[int, set[int]] = defaultdict(set)
        self.negative: set[int] = set()
        self.groups: dict[frozenset[str], list[int]] = defaultdict(list)
        self.selector = selector
        for i, each in enumerate(plan.filters):
            if not each.active or each.tree is None or each.scope != scope:
                continue
            self.trees[i] = each.tree
            found = leaves(each.tree)
            self.groups[frozenset(leaf.field for leaf, _ in found)].append(i)
            for leaf, negated in found:
                self.by_leaf[selector.number[leaf]].add(i)
                if negated:
                    self.negative.add(i)


class Matcher:
    """A plan ready to judge packets, flows and calls."""

    def __init__(self, plan: HuntPlan) -> None:
        specs = (leaf for f in plan.filters if f.active and f.tree is not None for leaf, _ in leaves(f.tree))
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
            return frozenset()
        true = self._selector.satisfied(fields)
        maybe = set(scoped.negative)
        for number in true:
            maybe |= scoped.by_leaf.get(number, set())
        number_of = self._selector.number
        return frozenset(i for i in maybe if _plain(scoped.trees[i], true, number_of))


def _plain(node: Node, true: set[int], number_of: Mapping[object, int]) -> bool:
    if node.leaf is not None:
        return number_of[node.leaf] in true
    branches = (_plain(branch, true, number_of) for branch in node.branches)
    if node.kind == "any":
        return any(branches)
    if node.kind == "all":
        return all(branches)
    return not next(branches)


class Latch:
    """What is known so far of one flow or call."""

    __slots__ = ("_known", "_scoped", "_true", "_wanted", "_fresh")

    def __init__(self, scoped: _Scoped) -> None:
        self._scoped = scoped
        self._true: set[int] = set()
        self._known: set[str] = set()
        self._wanted: set[int] = set()
        self._fresh = bool(scoped.negative)

    def learn(self, fields: Mapping[str, Value]) -> None:
        """Take in the fields of one message (or header)."""
        if not self._scoped.trees:
            return
        relevant = {name: fields[name] for name in self._scoped.selector.fields & fields.keys()}
        if not relevant:
            return
        self._true |= self._scoped.selector.satisfied(relevant)
        self._known |= relevant.keys()
        self._fresh = True

    def close(self, app_protocol: str) -> None:
        """Learn which protocol the flow speaks (`unknown`: none we know): fields of others can never come."""
        if not self._scoped.trees:
            return
        self.learn({"app.protocol": app_protocol})
        for name in self._scoped.selector.fields:
            protocols = FIELDS[name].protocols
            if protocols and app_protocol not in protocols:
                self._known.add(name)
        self._fresh = True

    def finish(self) -> None:
        """Learn that no more messages come: every field not seen is absent."""
        self._known |= self._scoped.selector.fields
        self._fresh = True

    def verdict(self) -> Verdict:
        """Who wants the flow or call now, and whether that may still grow."""
        scoped = self._scoped
        if self._fresh:
            maybe = set(scoped.negative)
            for number in self._true:
                maybe |= scoped.by_leaf.get(number, set())
            self._wanted |= {i for i in maybe - self._wanted if self._kleene(scoped.trees[i]) is True}
            self._fresh = False
        return Verdict(frozenset(self._wanted), self._undecided())

    def _undecided(self) -> bool:
        for fields, members in self._scoped.groups.items():
            if fields <= self._known:
                continue
            if any(i not in self._wanted and self._kleene(self._scoped.trees[i]) is None for i in members):
                return True
        return False

    def _kleene(self, node: Node) -> bool | None:
        if node.leaf is not None:
            if self._scoped.selector.number[node.leaf] in self._true:
                return True
            return False if node.leaf.field in self._known else None
        found = [self._kleene(branch) for branch in node.branches]
        if node.kind == "not":
            return None if found[0] is None else not found[0]
        decisive = node.kind == "any"
        if decisive in found:
            return decisive
        return None if None in found else not decisive
