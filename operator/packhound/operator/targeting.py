"""Which filters each node must carry, and for which addresses: filters, pods and nodes in, plans out.

Promise: pure and level-based: the same objects give the same plans, whatever happened before. A node is sent a
namespaced filter only when it runs a pod that the filter selects; a pod on its node's network is never selected (its
address is the node's, and the node's traffic is no tenant's).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from packhound.api.huntfilter import ClusterHuntFilter, HuntFilter, LabelRule, LabelSelector
from packhound.wire.pods import Pod


@dataclass(frozen=True, slots=True)
class Wanted:
    """One accepted filter: the object as the user wrote it, its model, when it came into being (ns since the epoch)."""

    raw: Mapping[str, Any]
    model: HuntFilter
    created: int

    @property
    def name(self) -> str:
        """Full name, `namespace/name` or `name`."""
        return self.model.full_name


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
    by_space: dict[str, list[Pod]] = defaultdict(list)
    everywhere: list[Pod] = []
    for pod in pods:
        if pod.until is None and not pod.host_network and pod.ips:
            by_space[pod.namespace].append(pod)
            everywhere.append(pod)
    entries: dict[str, list[Entry]] = {node: [] for node in nodes}
    for each in sorted(filters, key=lambda wanted: wanted.name):
        for node, guard in _reach(each, by_space, everywhere, nodes):
            if node in entries:
                entries[node].append(_entry(each, guard))
    return {node: NodePlan(node, tuple(found)) for node, found in entries.items()}


def _reach(
    each: Wanted, by_space: Mapping[str, list[Pod]], everywhere: list[Pod], nodes: Sequence[str]
) -> Iterable[tuple[str, list[str] | None]]:
    """Nodes that must carry a filter, and the addresses it is for there."""
    selector = each.model.spec.target.pod_selector
    cluster_wide = isinstance(each.model, ClusterHuntFilter)
    if cluster_wide and not selector.match_labels and not selector.match_expressions:
        return [(node, None) for node in nodes]
    pods = everywhere if cluster_wide else by_space.get(each.model.metadata.namespace or "default", [])
    found: dict[str, set[str]] = defaultdict(set)
    for pod in pods:
        if selects(selector, pod.labels):
            found[pod.node].update(pod.ips)
    return [(node, sorted(addresses)) for node, addresses in found.items()]


def _entry(each: Wanted, guard: list[str] | None) -> Entry:
    raw, metadata = each.raw, each.raw["metadata"]
    kept = {key: metadata[key] for key in ("name", "namespace", "generation", "creationTimestamp") if key in metadata}
    shown = {"apiVersion": raw["apiVersion"], "kind": raw["kind"], "metadata": kept, "spec": raw["spec"]}
    row = {"object": shown, "created": each.created, "guard": guard}
    return Entry(each.name, int(metadata.get("generation") or 0), row)
