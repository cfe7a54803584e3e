"""Pods as the API shows them -> the tables that sensors and processors name traffic by.

Promise: pure; `now` is given. A pod that went, or gave up its address, stays in its node's table for
`packhound.wire.pods.KEPT_NS`, so that packets still on their way are named by who had the address when they were seen.
An address has one owner: where two pods show it (the old one is not deleted yet), it is that of the younger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from packhound.operator.rollout import time_of_text
from packhound.wire.pods import KEPT_NS, MAX_PODS, Pod, PodTable

OVER = frozenset({"Succeeded", "Failed"})
Object = Mapping[str, Any]


def pod_of(raw: Object, *, now: int) -> Pod | None:
    """The pod of an API object; None while it has no node or no address, or is over."""
    spec, status, meta = raw.get("spec") or {}, raw.get("status") or {}, raw["metadata"]
    ips = tuple(each["ip"] for each in status.get("podIPs") or () if each.get("ip"))
    ips = ips or ((status["podIP"],) if status.get("podIP") else ())
    if not spec.get("nodeName") or not ips or status.get("phase") in OVER:
        return None
    owner: Object = next((each for each in meta.get("ownerReferences") or () if each.get("controller")), {})
    kind, name = _workload(owner, meta.get("labels") or {})
    return Pod(
        namespace=meta["namespace"], name=meta["name"], uid=meta["uid"], node=spec["nodeName"], ips=ips,
        labels=dict(meta.get("labels") or {}), host_network=spec.get("hostNetwork") is True, owner_kind=kind,
        owner_name=name, containers=tuple(_container(each) for each in status.get("containerStatuses") or ()),
        since=time_of_text(status.get("startTime") or meta.get("creationTimestamp"), now), until=None,
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


class PodBoard:
    """Every pod of the cluster, living and lately gone, by uid; a living one with the addresses that are its own."""

    def __init__(self) -> None:
        self._shown: dict[str, Pod] = {}  # as the API has them
        self._pods: dict[str, Pod] = {}  # with the addresses that they own
        self._owner: dict[str, str] = {}
        self._on_node: dict[str, set[str]] = {}
        self._gone: dict[str, Pod] = {}
        self._moved: dict[str, Pod | None] = {}

    def see(self, uid: str, pod: Pod | None, *, now: int) -> set[str]:
        """Take in what a pod is now (None: gone, over, or not there yet); the nodes whose tables change."""
        before = self._shown.get(uid)
        if before == pod or (before is not None and pod is not None and replace(before, since=pod.since) == pod):
            return set()
        if pod is None:
            self._shown.pop(uid, None)
        else:
            self._shown[uid] = pod
        changed: set[str] = set()
        if before is not None and (pod is None or pod.node != before.node):
            changed |= self._put(uid, None, now)
        if pod is not None:
            changed |= self._put(uid, replace(pod, ips=tuple(self._claim(uid, pod, now, changed))), now)
        return changed

    def _claim(self, uid: str, pod: Pod, now: int, changed: set[str]) -> Iterable[str]:
        """The addresses that are its own, taken from older pods that still show them."""
        if pod.host_network:
            return pod.ips
        mine = []
        for address in pod.ips:
            other = self._owner.get(address, uid)
            held = self._pods.get(other)
            if other != uid and held is not None:
                if held.since > pod.since:
                    continue
                changed |= self._put(other, replace(held, ips=tuple(ip for ip in held.ips if ip != address)), now)
            self._owner[address] = uid
            mine.append(address)
        return mine

    def _put(self, uid: str, pod: Pod | None, now: int) -> set[str]:
        before = self._pods.pop(uid, None)
        if before is not None:
            self._on_node.get(before.node, set()).discard(uid)
            if not before.host_network:
                for address in set(before.ips) - set(pod.ips if pod is not None and pod.node == before.node else ()):
                    if self._owner.get(address) == uid:
                        del self._owner[address]
            if before.ips and (pod is None or (pod.ips, pod.node) != (before.ips, before.node)):
                self._gone[f"{uid}@{now}@{len(self._gone)}"] = replace(before, until=now)
        if pod is not None:
            self._pods[uid] = pod
            self._on_node.setdefault(pod.node, set()).add(uid)
        if before != pod:
            self._moved[uid] = pod
        return {each.node for each in (before, pod) if each is not None}

    def moved(self) -> list[tuple[str, Pod | None]]:
        """The pods that became others since this was last asked, None those that went."""
        found = list(self._moved.items())
        self._moved.clear()
        return found

    def recall(self, table: PodTable, *, now: int) -> None:
        """Take what the broker remembers of a node: pods that went before we looked."""
        for pod in table.pods:
            if pod.until is not None or pod.uid not in self._pods:
                until = now if pod.until is None else pod.until
                if until + KEPT_NS > now:
                    self._gone.setdefault(f"{pod.uid}@{pod.until}", replace(pod, until=until))

    def age(self, now: int) -> set[str]:
        """Forget pods that went long ago; the nodes whose tables change."""
        over = {key: pod for key, pod in self._gone.items() if (pod.until or 0) + KEPT_NS <= now}
        for key in over:
            del self._gone[key]
        return {pod.node for pod in over.values()}

    def living(self) -> list[Pod]:
        """Pods that are there now."""
        return list(self._pods.values())

    def table(
        self, node: str, *, node_ips: tuple[str, ...], revision: int, shown: Callable[[str], bool] = lambda _: True
    ) -> PodTable:
        """The table of a node, with the labels whose keys may be `shown`; the pods that went longest ago give way to
        its bound."""
        alive = [self._pods[uid] for uid in sorted(self._on_node.get(node, ()))]
        gone = sorted((pod for pod in self._gone.values() if pod.node == node), key=lambda pod: -(pod.until or 0))
        pods = (replace(pod, labels={key: value for key, value in pod.labels.items() if shown(key)})
                for pod in [*alive, *gone][:MAX_PODS])  # fmt: skip
        return PodTable(node, revision, node_ips, tuple(pods))
