"""Pods as the API shows them -> the tables that sensors and processors name traffic by.

Promise: pure; `now` is given. A pod that went, or gave up its address, stays in its node's table for
`packhound.wire.pods.KEPT_NS`, so that packets still on their way are named by who had the address when they were seen.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from packhound.wire.pods import KEPT_NS, MAX_PODS, Pod, PodTable

OVER = frozenset({"Succeeded", "Failed"})
Object = Mapping[str, Any]


def pod_of(raw: Object, *, labels: Collection[str] | None, now: int) -> Pod | None:
    """The pod of an API object; None while it has no node or no address, or is over. `labels`: keys that may be
    shown, None for all of them."""
    spec, status, meta = raw.get("spec") or {}, raw.get("status") or {}, raw["metadata"]
    ips = tuple(each["ip"] for each in status.get("podIPs") or () if each.get("ip"))
    ips = ips or ((status["podIP"],) if status.get("podIP") else ())
    if not spec.get("nodeName") or not ips or status.get("phase") in OVER:
        return None
    owner: Object = next((each for each in meta.get("ownerReferences") or () if each.get("controller")), {})
    kind, name = _workload(owner, meta.get("labels") or {})
    shown = {key: value for key, value in (meta.get("labels") or {}).items() if labels is None or key in labels}
    return Pod(
        namespace=meta["namespace"], name=meta["name"], uid=meta["uid"], node=spec["nodeName"], ips=ips, labels=shown,
        host_network=spec.get("hostNetwork") is True, owner_kind=kind, owner_name=name,
        containers=tuple(_container(each) for each in status.get("containerStatuses") or ()),
        since=_time_ns(status.get("startTime") or meta.get("creationTimestamp"), now), until=None,
    )  # fmt: skip


def _workload(owner: Object, labels: Object) -> tuple[str, str]:
    """What a person calls the owner: the Deployment behind a ReplicaSet, by the hash that it appends."""
    kind, name = owner.get("kind", ""), owner.get("name", "")
    suffix = f"-{labels.get('pod-template-hash')}"
    if kind == "ReplicaSet" and name.endswith(suffix):
        return "Deployment", name[: -len(suffix)]
    return kind, name


def _container(status: Object) -> tuple[str, str]:
    return status.get("name", ""), str(status.get("containerID") or "").rpartition("//")[2]


def _time_ns(text: str | None, otherwise: int) -> int:
    if not text:
        return otherwise
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()) * 1_000_000_000


class PodBoard:
    """Every pod of the cluster, living and lately gone, by uid."""

    def __init__(self) -> None:
        self._pods: dict[str, Pod] = {}
        self._gone: dict[str, Pod] = {}

    def see(self, uid: str, pod: Pod | None, *, now: int) -> set[str]:
        """Take in what a pod is now (None: gone, over, or not there yet); the nodes whose tables change."""
        before = self._pods.get(uid)
        if before == pod or (before is not None and pod is not None and replace(before, since=pod.since) == pod):
            return set()
        changed = {each.node for each in (before, pod) if each is not None}
        if before is not None and (pod is None or (pod.ips, pod.node) != (before.ips, before.node)):
            self._gone[f"{uid}@{now}"] = replace(before, until=now)
        if pod is None:
            self._pods.pop(uid, None)
        else:
            self._pods[uid] = pod
        return changed

    def age(self, now: int) -> set[str]:
        """Forget pods that went long ago; the nodes whose tables change."""
        over = {key: pod for key, pod in self._gone.items() if (pod.until or 0) + KEPT_NS <= now}
        for key in over:
            del self._gone[key]
        return {pod.node for pod in over.values()}

    def living(self) -> list[Pod]:
        """Pods that are there now."""
        return list(self._pods.values())

    def table(self, node: str, *, node_ips: tuple[str, ...], revision: int) -> PodTable:
        """The table of a node; the pods that went longest ago give way to its bound."""
        alive = sorted((pod for pod in self._pods.values() if pod.node == node), key=lambda pod: pod.uid)
        gone = sorted((pod for pod in self._gone.values() if pod.node == node), key=lambda pod: -(pod.until or 0))
        return PodTable(node, revision, node_ips, tuple([*alive, *gone][:MAX_PODS]))
