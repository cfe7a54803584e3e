"""Which filters each node must carry, and for which addresses: filters, pods and nodes in, plans out.

Promise: pure and level-based: the same objects give the same plans, whatever happened before. A node is sent a
namespaced filter only when it runs a pod that the filter selects; a pod on its node's network is never selected (its
address is the node's, and the node's traffic is no tenant's). `Targets` is `plans_of` kept up to date piece by piece.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, NamedTuple

from packhound.api.huntfilter import ClusterHuntFilter, HuntFilter, LabelRule, LabelSelector
from packhound.rules.compile import MAX_PCAP
from packhound.wire.checked import canonical
from packhound.wire.plans import MAX_FILTERS, joined
from packhound.wire.pods import Pod

Guard = tuple[str, ...]
MAX_SAME = 100_000
NOWHERE = "-"  #: a node that no cluster has: its plan keeps what no node carries, lest it be forgotten


EVERYTHING = LabelSelector()


@dataclass(frozen=True, slots=True)
class Wanted:
    """One accepted filter, with no more of it than plans need: full name, generation, the namespace whose pods it is
    for (None: any), which of them, when it came into being (ns since the epoch), its object as canonical JSON, its
    pcap expression."""

    name: str
    generation: int
    namespace: str | None
    selector: LabelSelector
    created: int
    object: bytes
    pcap: str | None = None

    @classmethod
    def of(cls, raw: Mapping[str, Any], model: HuntFilter, created: int) -> Wanted:
        """Of an object as the user wrote it, and its model."""
        space = None if isinstance(model, ClusterHuntFilter) else model.metadata.namespace or "default"
        generation = int(raw["metadata"].get("generation") or 0)
        selector = model.spec.target.pod_selector
        kept = EVERYTHING if selector == EVERYTHING else selector
        return cls(model.full_name, generation, space, kept, created, canonical(shown(raw)), model.spec.pcap_filter)

    @property
    def unguarded(self) -> bool:
        """Whether it is for any packet of any node."""
        return self.namespace is None and self.selector is EVERYTHING

    def row(self, guard: Sequence[str] | None) -> dict[str, Any]:
        """Its row in a PlanMessage."""
        shown = json.loads(self.object)
        return {"object": shown, "created": self.created, "guard": None if guard is None else list(guard)}

    def packed(self, guard: Sequence[str] | None) -> bytes:
        """Its row as canonical JSON."""
        addresses = b"null" if guard is None else canonical(guard)
        return b'{"created":%d,"guard":%s,"object":%s}' % (self.created, addresses, self.object)


def shown(raw: Mapping[str, Any]) -> dict[str, Any]:
    """An object without what a cluster adds."""
    metadata = raw["metadata"]
    kept = {key: metadata[key] for key in ("name", "namespace", "generation", "creationTimestamp") if key in metadata}
    return {"apiVersion": raw["apiVersion"], "kind": raw["kind"], "metadata": kept, "spec": raw["spec"]}


class Entry(NamedTuple):
    """One filter in the plan of one node; `guard` None: any packet."""

    name: str
    generation: int
    row: dict[str, Any]


class NodePlan(NamedTuple):
    """Everything that one node must carry, by name of the filter."""

    node: str
    entries: tuple[Entry, ...]

    @property
    def rows(self) -> tuple[dict[str, Any], ...]:
        """The rows of its PlanMessage."""
        return tuple(each.row for each in self.entries)


class Packed(NamedTuple):
    """The plan of one node as `packhound.wire.plans.joined` rows, its filters with their generations, and those that
    it has no room for, with the reason."""

    node: str
    filters: bytes
    generations: Mapping[str, int]
    left: Mapping[str, str]


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Tell whether a label selector selects labels; an empty one selects everything."""
    exact = all(labels.get(key) == value for key, value in selector.match_labels.items())
    return exact and all(_holds(rule, labels) for rule in selector.match_expressions)


def _holds(rule: LabelRule, labels: Mapping[str, str]) -> bool:
    match rule.operator:
        case "In":
            return labels.get(rule.key) in rule.values
        case "NotIn":
            return labels.get(rule.key) not in rule.values
        case "Exists":
            return rule.key in labels
    return rule.key not in labels


def plans_of(filters: Iterable[Wanted], *, pods: Iterable[Pod], nodes: Sequence[str]) -> dict[str, NodePlan]:
    """The plan of every node of a fleet (`nodes` that run its sensor), empty ones too."""
    targets = Targets()
    for pod in pods:
        targets.see(pod.uid, pod)
    for each in filters:
        targets.want(each.name, each)
    targets.settle()
    return {node: targets.plan(node) for node in nodes}


class Changes(NamedTuple):
    """Nodes whose plans are others now, whether those of all nodes are, filters that may reach others than before."""

    nodes: set[str]
    everywhere: bool
    filters: set[str]


class Targets:
    """The plans of all nodes, kept as filters and pods come and go. Ask for plans after `settle`."""

    def __init__(self) -> None:
        self._wanted: dict[str, Wanted] = {}
        self._in_space: defaultdict[str | None, set[str]] = defaultdict(set)
        self._pods: dict[str, Pod] = {}
        self._space: defaultdict[str, dict[str, Pod]] = defaultdict(dict)
        self._everywhere: set[str] = set()
        self._on_node: defaultdict[str, dict[str, Guard]] = defaultdict(dict)
        self._reach: dict[str, dict[str, Guard]] = {}
        self._same: dict[Guard, Guard] = {}  # many filters select the same pods: one tuple for all
        self._stale: set[str] = set()
        self._touched: set[str] = set()
        self._all_touched = False

    def want(self, name: str, wanted: Wanted | None) -> None:
        """A filter is to be carried as it is now, or (None) no longer."""
        before = self._wanted.pop(name, None)
        if before is not None:
            self._in_space[before.namespace].discard(name)
            self._touched.update(self._reach.get(name, ()))
            if name in self._everywhere:
                self._everywhere.discard(name)
                self._all_touched = True
        if wanted is not None:
            self._wanted[name] = wanted
            self._in_space[wanted.namespace].add(name)
        self._stale.add(name)

    def see(self, uid: str, pod: Pod | None) -> None:
        """A pod is what it is now, or (None) gone."""
        if pod is not None and (pod.until is not None or pod.host_network or not pod.ips):
            pod = None
        before = self._pods.pop(uid, None)
        if before == pod:
            if pod is not None:
                self._pods[uid] = pod
            return
        for each in (before, pod):
            if each is not None:
                self._space[each.namespace].pop(uid, None)
                self._stale |= self._in_space[each.namespace]
                self._stale.update(name for name in self._in_space[None] if name not in self._everywhere)
        if pod is not None:
            self._pods[uid] = self._space[pod.namespace][uid] = pod

    def settle(self) -> Changes:
        """Work out what changed since the last time."""
        for name in self._stale:
            self._place(name)
        found = Changes(self._touched, self._all_touched, self._stale)
        self._touched, self._all_touched, self._stale = set(), False, set()
        return found

    def _place(self, name: str) -> None:
        wanted, before = self._wanted.get(name), self._reach.get(name, {})
        if wanted is not None and wanted.unguarded:
            if name not in self._everywhere:
                self._everywhere.add(name)
                self._all_touched = True
            found: dict[str, Guard] = {}
        else:
            found = {} if wanted is None else self._guards(wanted)
        for node in before.keys() - found.keys():
            self._on_node[node].pop(name, None)
        self._touched |= {node for node in before.keys() | found.keys() if before.get(node) != found.get(node)}
        for node, guard in found.items():
            self._on_node[node][name] = guard
        if wanted is None:
            self._reach.pop(name, None)
        else:
            self._reach[name] = found

    def _guards(self, wanted: Wanted) -> dict[str, Guard]:
        """Nodes that must carry a filter, and the addresses it is for there."""
        selector, space = wanted.selector, wanted.namespace
        pods = self._pods if space is None else self._space.get(space, {})
        found: defaultdict[str, set[str]] = defaultdict(set)
        for pod in pods.values():
            if selects(selector, pod.labels):
                found[pod.node].update(pod.ips)
        if len(self._same) > MAX_SAME:
            self._same.clear()
        guards = ((node, tuple(sorted(addresses))) for node, addresses in found.items())
        return {node: self._same.setdefault(guard, guard) for node, guard in guards}

    # what there is ---------------------------------------------------------------------------------------------------

    @property
    def names(self) -> Iterable[str]:
        """Names of all filters."""
        return self._wanted.keys()

    def wanted(self, name: str) -> Wanted | None:
        """A filter."""
        return self._wanted.get(name)

    def nodes_of(self, name: str) -> Set[str] | None:
        """The nodes that must carry a filter; None: all."""
        return None if name in self._everywhere else self._reach.get(name, {}).keys()

    def carries(self, node: str) -> dict[str, Guard | None]:
        """The filters that a node must carry, by name in order, with their guards."""
        found: dict[str, Guard | None] = dict.fromkeys(self._everywhere)
        found.update(self._on_node.get(node, {}))
        return {name: found[name] for name in sorted(found) if name in self._wanted}  # one may have gone since `settle`

    def unplaced(self, nodes: Iterable[str]) -> dict[str, Guard | None]:
        """The filters that none of these nodes must carry."""
        here = set(nodes)
        names = (name for name in self._wanted
                 if not (here and name in self._everywhere) and here.isdisjoint(self._reach.get(name, ())))  # fmt: skip
        return dict.fromkeys(sorted(names), ())

    def plan(self, node: str) -> NodePlan:
        """The plan of a node."""
        entries = ((self._wanted[name], guard) for name, guard in self.carries(node).items())
        return NodePlan(node, tuple(Entry(each.name, each.generation, each.row(guard)) for each, guard in entries))

    def packed(self, node: str, carried: Mapping[str, Guard | None]) -> Packed:
        """The plan of a node that carries these, ready to be published; what is too much for one sensor is left out,
        the youngest first, for a sensor takes a plan whole or not at all."""
        left = self._too_many(carried) if node != NOWHERE else {}
        kept = {name: guard for name, guard in carried.items() if name not in left} if left else carried
        rows = [self._wanted[name].packed(guard) for name, guard in kept.items()]
        return Packed(node, joined(rows), {name: self._wanted[name].generation for name in kept}, left)

    def _too_many(self, carried: Iterable[str]) -> dict[str, str]:
        there = [self._wanted[name] for name in carried]
        if len(there) <= MAX_FILTERS and len({each.pcap for each in there} - {None}) <= MAX_PCAP:
            return {}
        seen: set[str] = set()
        left = {}
        for at, each in enumerate(sorted(there, key=lambda each: (each.created, each.name))):
            if each.pcap is not None and each.pcap not in seen and len(seen) >= MAX_PCAP:
                left[each.name] = f"older filters have {MAX_PCAP} different pcapFilters there already"
            elif at - len(left) >= MAX_FILTERS:
                left[each.name] = f"{MAX_FILTERS} older filters are there already"
            elif each.pcap is not None:
                seen.add(each.pcap)
        return left
