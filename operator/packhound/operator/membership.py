"""Which nodes are of a fleet: those on which its DaemonSet puts a sensor.

Promise: pure; the rules are those of the DaemonSet controller (node selector, taints, tolerations), so that a plan is
there before its sensor is, and a sensor that does not come up is missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from packhound.api.huntfleet import HuntFleet, Toleration

# What every pod of a DaemonSet on the node's network tolerates (kubernetes.io docs, DaemonSet, taints and tolerations)
_TOLERATED = frozenset(
    f"node.kubernetes.io/{name}"
    for name in ("not-ready", "unreachable", "disk-pressure", "memory-pressure", "pid-pressure", "unschedulable",
                 "network-unavailable")
)  # fmt: skip
_BARRED = frozenset({"NoSchedule", "NoExecute"})


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the cluster: its labels, its taints as (key, value, effect), its own addresses."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[tuple[str, str, str], ...] = ()
    ips: tuple[str, ...] = ()


def node_of(raw: Mapping[str, Any]) -> Node:
    """The node of an API object."""
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    return Node(
        metadata["name"],
        dict(metadata.get("labels") or {}),
        tuple((row.get("key", ""), row.get("value", ""), row.get("effect", "")) for row in spec.get("taints") or ()),
        tuple(sorted({each["address"] for each in status.get("addresses") or ()
                      if each.get("type") in {"InternalIP", "ExternalIP"}})),
    )  # fmt: skip


def members(fleet: HuntFleet, nodes: Iterable[Node]) -> set[str]:
    """Names of the nodes that run a sensor of the fleet."""
    spec = fleet.spec.sensor
    wanted = {"kubernetes.io/os": "linux", **spec.node_selector}
    return {
        node.name for node in nodes
        if all(node.labels.get(key) == value for key, value in wanted.items())
        and all(_passes(taint, spec.tolerations) for taint in node.taints)
    }  # fmt: skip


def _passes(taint: tuple[str, str, str], tolerations: Iterable[Toleration]) -> bool:
    key, value, effect = taint
    if effect not in _BARRED or key in _TOLERATED:
        return True
    return any(
        (each.effect in ("", effect)) and (each.key in ("", key))
        and (each.operator == "Exists" or each.value == value)
        for each in tolerations
    )  # fmt: skip
