"""What the operator tells of itself: probes and metrics.

Promise: only reads; any thread. Labels come from closed sets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from packhound.kit.health import Probe
from packhound.kit.metrics import Descriptor, Sample
from packhound.operator.director import Director
from packhound.operator.kinds import WATCHED
from packhound.operator.leading import Leader
from packhound.operator.webhook import WebhookServer

DESCRIPTORS = (
    Descriptor("packhound_operator_leading", "gauge", "whether this replica leads"),
    Descriptor("packhound_operator_objects", "gauge", "objects known, by kind", ("kind",)),
    Descriptor("packhound_operator_api_calls", "counter", "calls of the API, without kopf's watches", ("verb",)),
    Descriptor("packhound_operator_admissions", "counter", "objects judged by the webhook", ("verdict",)),
    Descriptor("packhound_operator_fleet_connected", "gauge", "whether the broker of a fleet is there", ("fleet",)),
    Descriptor("packhound_operator_fleet_nodes", "gauge", "nodes of a fleet", ("fleet",)),
    Descriptor("packhound_operator_fleet_revision", "gauge", "highest revision of a fleet's plans", ("fleet",)),
    Descriptor("packhound_operator_fleet_blocked", "gauge", "nodes whose plan is refused", ("fleet",)),
)  # fmt: skip


class Telling:
    """Probes and samples of one process."""

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()
        self._director: Director | None = None
        self._leader: Leader | None = None
        self.webhook: WebhookServer | None = None

    def of(self, director: Director, leader: Leader) -> None:
        """What is told of."""
        self._director, self._leader = director, leader

    def called(self, verb: str, path: str) -> None:
        """A call of the API is about to be made."""
        self._calls[verb] += 1

    @property
    def probes(self) -> Mapping[str, Probe]:
        """Ready means: serves admission, and leads or could. A standby is ready."""
        return {"livez": list, "readyz": self._ready, "startupz": list}

    def _ready(self) -> list[str]:
        if self.webhook is not None and not self.webhook.ready:
            return ["the webhook has no certificate yet"]
        leading = self._leader is not None and self._leader.leading
        if leading and self._director is not None and not self._director.synced:
            return ["the first lists are not complete"]
        return []

    def samples(self) -> Iterator[Sample]:
        """Everything, as it is now."""
        yield Sample("packhound_operator_leading", float(self._leader is not None and self._leader.leading))
        for verb, count in list(self._calls.items()):
            yield Sample("packhound_operator_api_calls", count, (verb,))
        for verdict, count in list(self.webhook.counts.items()) if self.webhook is not None else ():
            yield Sample("packhound_operator_admissions", count, (verdict,))
        if self._director is None:
            return
        for kind in WATCHED:
            yield Sample("packhound_operator_objects", len(self._director.inventory.uids[kind]), (kind.name,))
        for name, desk in list(self._director.desks.items()):
            yield Sample("packhound_operator_fleet_connected", float(desk.link.ready), (name,))
            yield Sample("packhound_operator_fleet_nodes", len(desk.courier.members), (name,))
            yield Sample("packhound_operator_fleet_revision", desk.link.revision, (name,))
            yield Sample("packhound_operator_fleet_blocked", len(desk.courier.blocked), (name,))
