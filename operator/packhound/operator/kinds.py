"""The kinds that the operator reads or writes, and where the API keeps them.

Promise: pure; whatever is not here is never asked of the API. `rbac` has a rule for each, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """A kind: its apiVersion, plural, and whether its objects live in namespaces."""

    name: str
    api_version: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", sub: str = "") -> str:
        """The path of an object, or of all objects of the kind (in a namespace)."""
        root = f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"
        middle = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return "/".join(part for part in (f"{root}{middle}/{self.plural}", name, sub) if part)

    @property
    def group(self) -> str:
        """The API group, empty for the core."""
        return self.api_version.rpartition("/")[0]


OURS = "packhound.dev/v1alpha1"
HUNT_FILTER = Kind("HuntFilter", OURS, "huntfilters")
CLUSTER_HUNT_FILTER = Kind("ClusterHuntFilter", OURS, "clusterhuntfilters", namespaced=False)
HUNT_FLEET = Kind("HuntFleet", OURS, "huntfleets", namespaced=False)
POD = Kind("Pod", "v1", "pods")
NODE = Kind("Node", "v1", "nodes", namespaced=False)
EVENT = Kind("Event", "v1", "events")
SECRET = Kind("Secret", "v1", "secrets")
SERVICE = Kind("Service", "v1", "services")
SERVICE_ACCOUNT = Kind("ServiceAccount", "v1", "serviceaccounts")
DAEMON_SET = Kind("DaemonSet", "apps/v1", "daemonsets")
STATEFUL_SET = Kind("StatefulSet", "apps/v1", "statefulsets")
SCALER = Kind("HorizontalPodAutoscaler", "autoscaling/v2", "horizontalpodautoscalers")
DISRUPTION = Kind("PodDisruptionBudget", "policy/v1", "poddisruptionbudgets")
NETWORK_POLICY = Kind("NetworkPolicy", "networking.k8s.io/v1", "networkpolicies")
LEASE = Kind("Lease", "coordination.k8s.io/v1", "leases")
WEBHOOKS = Kind(
    "ValidatingWebhookConfiguration", "admissionregistration.k8s.io/v1", "validatingwebhookconfigurations",
    namespaced=False,
)  # fmt: skip

WATCHED = (HUNT_FLEET, CLUSTER_HUNT_FILTER, HUNT_FILTER, NODE, POD)
APPLIED = (
    SERVICE_ACCOUNT, SERVICE, STATEFUL_SET, DISRUPTION, SCALER, DAEMON_SET, NETWORK_POLICY,
)  # fmt: skip
BY_NAME: Mapping[str, Kind] = {
    kind.name: kind for kind in (*WATCHED, *APPLIED, EVENT, SECRET, LEASE, WEBHOOKS)
}  # fmt: skip


def kind_of(raw: Mapping[str, Any]) -> Kind:
    """The kind of an object."""
    return BY_NAME[raw["kind"]]


class Ref(NamedTuple):
    """One object: kind, namespace (empty: none), name; `uid` where only that very object is meant."""

    kind: Kind
    namespace: str
    name: str
    uid: str = ""

    @property
    def path(self) -> str:
        """Where the API keeps it."""
        return self.kind.path(self.namespace, self.name)

    @property
    def full_name(self) -> str:
        """`namespace/name`, or `name`."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def ref_of(raw: Mapping[str, Any]) -> Ref:
    """Which object that is."""
    metadata = raw["metadata"]
    return Ref(kind_of(raw), metadata.get("namespace", ""), metadata["name"], metadata.get("uid", ""))
