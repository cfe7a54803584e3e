"""What is in the cluster, as the operator knows it: filters, fleets, nodes, pods.

Promise: pure; `now` is given (ns since the epoch). Everything is taken from whole objects, in any order, as often as
they come; nothing here was ever only said once. A filter that became bad keeps its last good version, also the one that
the broker remembers from before this process began.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from packhound.api.huntfleet import HuntFleet
from packhound.api.load import load_object
from packhound.operator import kinds
from packhound.operator.admission import fleet_faults, judge
from packhound.operator.kinds import Kind, Ref
from packhound.operator.membership import Node, node_of
from packhound.operator.pods import PodBoard, pod_of
from packhound.operator.rollout import time_of_text
from packhound.operator.targeting import Targets, Wanted, shown

Object = Mapping[str, Any]
FINALIZER = "packhound.dev/broker"


@dataclass(slots=True)
class Filter:
    """A filter: what its newest object was judged to be, what of it is in force, the status it has in the API."""

    ref: Ref
    suspended: bool
    created: int
    generation: int
    faults: tuple[str, ...]
    expires_at: int | None
    status: dict[str, Any]
    changed_at: int  # since when sensors should have this generation; 0: it was there before us, or nobody should
    good: Wanted | None = None
    written_at: int = 0
    version: int = 0  # resourceVersion that the status is of
    took: dict[str, int] | None = None  # by node, until all have this generation; None: not measured
    seen_at: int = 0  # when we saw its first generation
    inherits: bool = False  # its status spoke of packets when we first saw it: what sensors counted before is its own

    @property
    def name(self) -> str:
        """Full name."""
        return self.ref.full_name

    def learn(self, raw: Object, *, written: dict[str, Any] | None = None) -> None:
        """Take the status of an object, unless a newer one is known; `written`: the same, as it was made here."""
        version = int(raw["metadata"].get("resourceVersion") or 0)
        if version < self.version:
            return
        self.version, found = version, raw.get("status") or {}
        if found == written:
            self.status = found if written is None else written  # its texts are shared with other statuses
        elif found != self.status:
            self.status = dict(found)


@dataclass(slots=True)
class Fleet:
    """A fleet: its model (the last good one), what is wrong with the newest, the status it has in the API."""

    ref: Ref
    generation: int
    model: HuntFleet | None
    faults: tuple[str, ...]
    status: dict[str, Any]
    leaving: bool
    finalizers: tuple[str, ...]
    written_at: int = 0

    @property
    def name(self) -> str:
        """Its name."""
        return self.ref.name


class Inventory:
    """Feed it with `see` and `gone`; `uids` tells what was seen."""

    def __init__(self) -> None:
        self.filters: dict[str, Filter] = {}
        self.fleets: dict[str, Fleet] = {}
        self.nodes: dict[str, Node] = {}
        self.board = PodBoard()
        self.targets = Targets()
        self.uids: dict[Kind, dict[str, str]] = {kind: {} for kind in kinds.WATCHED}
        self.tables: set[str] = set()  # nodes whose pod tables are to be looked at
        self.news: set[str] = set()  # filters whose status is to be looked at
        self.removed: list[str] = []  # filters that went
        self.moved = False  # nodes or fleets came, went or changed
        self.turned_at = 0  # when that, or a pod, was last seen to

    def see(self, kind: Kind, raw: Object, *, now: int) -> None:
        """An object is as it is."""
        metadata = raw["metadata"]
        name = f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else metadata["name"]
        before = self.uids[kind].get(name)
        if before is not None and before != metadata["uid"]:
            self.gone(kind, name, before, now=now)
        self.uids[kind][name] = metadata["uid"]
        if kind is kinds.POD:
            self._pod(metadata["uid"], raw, now)
        elif kind is kinds.NODE:
            self._node(node_of(raw))
        elif kind is kinds.HUNT_FLEET:
            self._fleet(raw)
        else:
            self._filter(kind, name, raw, now)
        if self.moved:
            self.turned_at = now

    def gone(self, kind: Kind, name: str, uid: str, *, now: int) -> None:
        """An object is no more."""
        if self.uids[kind].get(name) != uid:
            return
        del self.uids[kind][name]
        if kind is kinds.POD:
            self._pod(uid, None, now)
        elif kind is kinds.NODE:
            self.nodes.pop(name, None)
            self.moved = True
        elif kind is kinds.HUNT_FLEET:
            self.fleets.pop(name, None)
            self.moved = True
        else:
            self.filters.pop(name, None)
            self.targets.want(name, None)
            self.removed.append(name)
        if self.moved:
            self.turned_at = now

    # each kind -------------------------------------------------------------------------------------------------------

    def _pod(self, uid: str, raw: Object | None, now: int) -> None:
        pod = None if raw is None else pod_of(raw, now=now)
        changed = self.board.see(uid, pod, now=now)
        if changed:
            self.turned_at = now
            self.tables |= changed
            for each, now_is in self.board.moved():
                self.targets.see(each, now_is)

    def _node(self, node: Node) -> None:
        before = self.nodes.get(node.name)
        if before == node:
            return
        self.nodes[node.name] = node
        self.moved = True
        if before is None or before.ips != node.ips:
            self.tables.add(node.name)

    def _fleet(self, raw: Object) -> None:
        metadata = raw["metadata"]
        name, generation = metadata["name"], int(metadata.get("generation") or 0)
        before = self.fleets.get(name)
        loaded = load_object({key: value for key, value in raw.items() if key != "status"})
        made = next((each for each in loaded.objects if isinstance(each, HuntFleet)), None)
        faults = tuple(f"{each.path}: {each.reason}" for each in loaded.bad)
        if made is not None and (wrong := fleet_faults(made)):
            made, faults = None, wrong
        self.fleets[name] = Fleet(
            Ref(kinds.HUNT_FLEET, "", name, metadata["uid"]), generation, made or (before.model if before else None),
            faults, dict(raw.get("status") or {}), bool(metadata.get("deletionTimestamp")),
            tuple(metadata.get("finalizers") or ()), before.written_at if before else 0,
        )  # fmt: skip
        self.moved = True

    def _filter(self, kind: Kind, name: str, raw: Object, now: int) -> None:
        metadata = raw["metadata"]
        generation = int(metadata.get("generation") or 0)
        held = self.filters.get(name)
        if held is not None and held.generation == generation:
            held.learn(raw)
            return
        created = time_of_text(metadata.get("creationTimestamp"), now)
        judged = judge(shown(raw), now=now, created=created)
        ref = Ref(kind, metadata.get("namespace", ""), metadata["name"], metadata["uid"])
        status = dict(raw.get("status") or {})
        known = status.get("observedGeneration") == generation
        made = Filter(
            ref, (raw.get("spec") or {}).get("suspend") is True, created, generation, judged.faults, judged.expires_at,
            status, 0 if known else now, version=int(metadata.get("resourceVersion") or 0),
        )  # fmt: skip
        if held is not None:
            made.good, made.written_at = held.good, held.written_at
            made.seen_at, made.inherits = held.seen_at, held.inherits
        else:
            made.seen_at, made.inherits = now, bool(status.get("packets"))
        if judged.model is not None:
            made.good = Wanted.of(raw, judged.model, created)
            self.targets.want(name, made.good)
        if not known:
            made.took = {}
        self.filters[name] = made
        self.news.add(name)

    def recall(self, kept: Iterable[tuple[str, Object, int, int]], *, now: int) -> None:
        """Bring back last good versions from the broker: (name, object, created, generation) of each."""
        for name, raw, created, generation in kept:
            held = self.filters.get(name)
            if held is None or not held.faults or held.created != created:
                continue
            if held.good is not None and held.good.generation >= generation:
                continue
            judged = judge(raw, now=now, created=created)
            if judged.model is not None:
                held.good = Wanted.of(raw, judged.model, created)
                self.targets.want(name, held.good)
                self.news.add(name)
