"""The status of a fleet: whether its sensors are there, have their plans, and lose nothing.

Promise: pure; `now` is given. The conditions mean for a fleet what they mean for a filter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from packhound.operator.rollout import SILENT_AFTER, Ack, Condition, Counts, dated, some


@dataclass(frozen=True, slots=True)
class FleetState:
    """One fleet: `revisions` that its nodes should have, their last answers, when each was heard (ns), what is wrong
    with its object, its workloads, its broker (`away`), and packets of all filters (matched, delivered, lost)."""

    generation: int
    revisions: Mapping[str, int] = field(default_factory=dict)
    acks: Mapping[str, Ack] = field(default_factory=dict)
    heard: Mapping[str, int] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    workloads: str = ""
    away: str = ""
    blocked: Mapping[str, str] = field(default_factory=dict)
    packets: Mapping[str, int] = field(default_factory=dict)
    revision: int = 0
    selector: str = ""
    replicas: int = 0


def fleet_status_of(state: FleetState, *, now: int, before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The status of a fleet, as its CRD has it; `before`: the one it has now."""
    was = (before or {}).get("packets") or {}
    counts = _counts(state, now)
    packets = {name: max(int(state.packets.get(name, 0)), int(was.get(name) or 0))
               for name in ("matched", "delivered", "lost")}  # fmt: skip
    conditions = [_accepted(state), _distributed(state, counts), _capturing(state, counts), _lossless(packets, counts)]
    return {
        "observedGeneration": state.generation, "revision": state.revision,
        "conditions": dated(conditions, state.generation, now, before), "sensors": counts._asdict(),
        "packets": packets, "replicas": state.replicas, "selector": state.selector,
    }  # fmt: skip


def _counts(state: FleetState, now: int) -> Counts:
    answers = [(state.acks.get(node), revision) for node, revision in state.revisions.items()]
    has = [ack.applied for ack, revision in answers if ack is not None and ack.revision >= revision]
    silent = sum(1 for node in state.revisions if now - state.heard.get(node, 0) > SILENT_AFTER)
    return Counts(len(state.revisions), has.count(True), has.count(False), silent)


def _accepted(state: FleetState) -> Condition:
    if state.faults:
        return Condition("Accepted", "False", "Invalid", "; ".join(state.faults)[:32768])
    if state.workloads:
        return Condition("Accepted", "False", "NotApplied", f"its objects cannot be applied: {state.workloads}"[:32768])
    return Condition("Accepted", "True", "Applied", "its objects are in the cluster")


def _distributed(state: FleetState, counts: Counts) -> Condition:
    if state.away:
        return Condition("Distributed", "Unknown", "BrokerAway", state.away)
    bad = [f"{node}: {ack.reason}" for node, revision in sorted(state.revisions.items())
           if (ack := state.acks.get(node)) and ack.revision >= revision and not ack.applied]  # fmt: skip
    bad += [f"{node}: {why}" for node, why in sorted(state.blocked.items())]
    if bad:
        return Condition("Distributed", "False", "Rejected", some(bad))
    told = f"{counts.acked} of {counts.desired} sensors have their plan"
    if counts.acked < counts.desired:
        return Condition("Distributed", "False", "Waiting", told)
    return Condition("Distributed", "True", "Acknowledged", told)


def _capturing(state: FleetState, counts: Counts) -> Condition:
    if not counts.desired:
        return Condition("Capturing", "False", "NoNodes", "no node is selected")
    alive = counts.desired - counts.silent
    if not alive:
        return Condition("Capturing", "False", "NoSensor", "no sensor is heard of")
    silent = [node for node in sorted(state.revisions) if not state.heard.get(node)]
    missing = f"; never heard of: {some(silent)}" if silent else ""
    return Condition("Capturing", "True", "Sensing", f"{alive} of {counts.desired} sensors are heard of{missing}")


def _lossless(packets: Mapping[str, int], counts: Counts) -> Condition:
    if packets["lost"]:
        return Condition("Lossless", "False", "Lost", f"{packets['lost']} matched packets were lost")
    if counts.silent:
        return Condition("Lossless", "Unknown", "Silent", f"{counts.silent} sensors have not been heard of for 15 s")
    return Condition("Lossless", "True", "NothingLost", "every matched packet is accounted for")
