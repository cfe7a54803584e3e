"""What the operator may do in a cluster: exactly what `cluster` and kopf's watches ask, and nothing more.

Promise: data, rendered by the chart as it is and compared with a snapshot. LEASE, SECRET and WEBHOOKS stand for the
names of its Lease, of the Secret of its webhook and of its ValidatingWebhookConfiguration; whoever installs it makes
all three. Sensors and processors have no rights at all.
"""

from __future__ import annotations

from typing import Any

from packhound.operator import kinds
from packhound.operator.kinds import Kind

Rule = dict[str, Any]
WATCH = ["get", "list", "watch"]
APPLY = ["create", "patch"]


def _rule(verbs: list[str], *which: Kind, sub: str = "", names: tuple[str, ...] = ()) -> Rule:
    resources = [f"{kind.plural}/{sub}" if sub else kind.plural for kind in which]
    made: Rule = {"apiGroups": sorted({kind.group for kind in which}), "resources": resources, "verbs": verbs}
    return made | ({"resourceNames": list(names)} if names else {})


_OURS = (kinds.HUNT_FILTER, kinds.CLUSTER_HUNT_FILTER, kinds.HUNT_FLEET)

CLUSTER: list[Rule] = [
    _rule(WATCH, *_OURS),
    _rule(["patch"], *_OURS, sub="status"),
    _rule(["patch"], kinds.HUNT_FLEET),  # its finalizer
    _rule(["update"], kinds.HUNT_FLEET, sub="finalizers"),  # owner references that block deletion
    _rule(["list", "watch"], kinds.POD, kinds.NODE),
    _rule(APPLY, kinds.EVENT),
    _rule(["get", "patch"], kinds.WEBHOOKS, names=("WEBHOOKS",)),  # caBundle
]
"""Of a ClusterRole."""

OWN: list[Rule] = [
    _rule(["get", "list", "watch", "update"], kinds.LEASE, names=("LEASE",)),
    _rule(["get", "update"], kinds.SECRET, names=("SECRET",)),
    _rule(APPLY, kinds.SERVICE_ACCOUNT),
    _rule([*APPLY, "delete"], kinds.SERVICE),
    _rule([*APPLY, "delete"], kinds.STATEFUL_SET),
    _rule(APPLY, kinds.DISRUPTION),
    _rule([*APPLY, "delete"], kinds.SCALER),
    _rule([*APPLY, "delete"], kinds.NETWORK_POLICY),
]
"""Of a Role in the operator's namespace, where processors run too."""

SENSORS: list[Rule] = [
    _rule(APPLY, kinds.SERVICE_ACCOUNT),
    _rule([*APPLY, "delete"], kinds.DAEMON_SET),
]
"""Of a Role in the sensors' namespace."""


def as_data() -> dict[str, list[Rule]]:
    """Everything, for the chart: `cluster`, `own`, `sensors`."""
    return {"cluster": CLUSTER, "own": OWN, "sensors": SENSORS}
