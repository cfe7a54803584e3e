"""What sensors and processors report -> the status of a filter or a fleet.

Promise: pure; `now` is given. A condition says what holds for the generation it names, with a reason and a sentence a
person can act on; it keeps its transition time while its status stays. Nothing is True on silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

SECOND = 1_000_000_000
SILENT_AFTER = 15 * SECOND  #: three heartbeats
WRITE_EVERY = 10 * SECOND
SHOWN = 5  #: nodes named in a message


class Ack(NamedTuple):
    """What a sensor last said of its plan; times in ns of our clock."""

    node: str
    revision: int
    applied: bool
    reason: str = ""
    took_ns: int = 0


@dataclass(frozen=True, slots=True)
class Reports:
    """What is known of the sensors of a fleet: acknowledgements and last heartbeat by node (ns of our clock), packets
    by filter (the books' counters), nodes whose interfaces work."""

    acks: Mapping[str, Ack] = field(default_factory=dict)
    heard: Mapping[str, int] = field(default_factory=dict)
    packets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    first_match: Mapping[str, int] = field(default_factory=dict)
    last_match: Mapping[str, int] = field(default_factory=dict)
    lost_on_node: Mapping[str, int] = field(default_factory=dict)
    broker: bool = True


@dataclass(frozen=True, slots=True)
class FilterState:
    """One filter as the operator has it. `revisions`: by node, the revision of the plan that first carried this
    generation; `faults`: what is wrong with it, empty when it was accepted; times in ns since the epoch."""

    name: str
    generation: int
    revisions: Mapping[str, int] = field(default_factory=dict)
    faults: Sequence[str] = ()
    last_good: bool = False
    suspended: bool = False
    expires_at: int | None = None
    recordings: Sequence[str] = ()
    top_pods: Sequence[tuple[str, int]] = ()


def status_of(
    state: FilterState, reports: Reports, *, now: int, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The status of a filter, as its CRD has it; `before`: the one it has now."""
    counts = _counts(state, reports, now)
    expired = state.expires_at is not None and state.expires_at <= now
    packets = _packets(reports.packets.get(state.name, {}))
    conditions = [
        _accepted(state), _distributed(state, reports, counts), _capturing(state, counts, expired=expired),
        _lossless(state, reports, counts, packets), _throttled(reports.packets.get(state.name, {})),
        _expired(state, expired),
    ]  # fmt: skip
    status: dict[str, Any] = {
        "observedGeneration": state.generation,
        "conditions": _dated(conditions, state.generation, now, before),
        "sensors": counts._asdict(),
        "packets": packets,
        "expiresAt": None if state.expires_at is None else text_of_time(state.expires_at),
        "firstMatchTime": _time(reports.first_match.get(state.name)),
        "lastMatchTime": _time(reports.last_match.get(state.name)),
        "topPods": [{"name": name, "packets": count} for name, count in state.top_pods[:SHOWN]],
        "recordings": list(state.recordings[:64]),
    }
    if state.revisions:
        status["revision"] = max(state.revisions.values())
    latency = _latency(state, reports)
    if latency is not None:
        status["pushLatencySeconds"] = latency
    return {key: value for key, value in status.items() if value is not None}


class Counts(NamedTuple):
    """Sensors of a filter, by what they said."""

    desired: int
    acked: int
    rejected: int
    silent: int


def _counts(state: FilterState, reports: Reports, now: int) -> Counts:
    acked = rejected = silent = 0
    for node, revision in state.revisions.items():
        ack = reports.acks.get(node)
        if ack is not None and ack.revision >= revision and ack.applied:
            acked += 1
        elif ack is not None and ack.revision >= revision:
            rejected += 1
        if now - reports.heard.get(node, 0) > SILENT_AFTER:
            silent += 1
    return Counts(len(state.revisions), acked, rejected, silent)


class _Condition(NamedTuple):
    type: str
    status: str
    reason: str
    message: str = ""


def _accepted(state: FilterState) -> _Condition:
    if not state.faults:
        return _Condition("Accepted", "True", "Compiled", "the filter is well-formed and can match")
    kept = "; its last good version stays in force" if state.last_good else ""
    return _Condition("Accepted", "False", "Invalid", ("; ".join(state.faults) + kept)[:32768])


def _distributed(state: FilterState, reports: Reports, counts: Counts) -> _Condition:
    if state.faults:
        return _Condition("Distributed", "False", "NotAccepted", "this generation is not distributed: see Accepted")
    if not reports.broker:
        return _Condition(
            "Distributed", "Unknown", "BrokerAway", "the broker cannot be reached; sensors go on with what they have"
        )
    if not counts.desired:
        return _Condition("Distributed", "True", "NoTargets", "no pod on any node is selected")
    if counts.rejected:
        bad = [f"{ack.node}: {ack.reason}"
               for node in sorted(state.revisions)
               if (ack := reports.acks.get(node))
               and not ack.applied and ack.revision >= state.revisions[node]]  # fmt: skip
        return _Condition("Distributed", "False", "Rejected", _some(bad))
    if counts.acked < counts.desired:
        waiting = [node for node, revision in sorted(state.revisions.items())
                   if (ack := reports.acks.get(node)) is None or ack.revision < revision]  # fmt: skip
        return _Condition(
            "Distributed",
            "False",
            "Waiting",
            f"{counts.acked} of {counts.desired} sensors have it; waiting for {_some(waiting)}",
        )
    return _Condition("Distributed", "True", "Acknowledged", f"{counts.acked} of {counts.desired} sensors have it")


def _capturing(state: FilterState, counts: Counts, *, expired: bool) -> _Condition:
    if expired:
        return _Condition("Capturing", "False", "Expired", "its ttl is over")
    if state.suspended:
        return _Condition("Capturing", "False", "Suspended", "spec.suspend is true")
    if state.faults and not state.revisions:
        return _Condition("Capturing", "False", "NotAccepted", "see Accepted")
    if not counts.desired:
        return _Condition("Capturing", "False", "NoTargets", "no pod on any node is selected")
    working = counts.acked - counts.silent
    if working <= 0:
        return _Condition("Capturing", "False", "NoSensor", "no sensor that has it is heard of")
    reason = "LastGood" if state.faults else "Hunting"
    return _Condition("Capturing", "True", reason, f"{working} of {counts.desired} sensors hunt")


def _lossless(state: FilterState, reports: Reports, counts: Counts, packets: Mapping[str, int]) -> _Condition:
    dropped = {node: reports.lost_on_node[node] for node in state.revisions if reports.lost_on_node.get(node)}
    if packets["lost"]:
        causes = reports.packets.get(state.name, {}).get("lost", {})
        told = (
            ", ".join(f"{count} {cause}" for cause, count in sorted(causes.items()))
            if isinstance(causes, Mapping)
            else ""
        )
        return _Condition("Lossless", "False", "Lost", f"{packets['lost']} matched packets were lost: {told}")
    if dropped:
        return _Condition("Lossless", "False", "Dropped", "packets were dropped before they could be judged: "
                          + _some([f"{node}: {count}" for node, count in sorted(dropped.items())]))  # fmt: skip
    if counts.silent:
        return _Condition("Lossless", "Unknown", "Silent", f"{counts.silent} sensors have not been heard of for 15 s")
    return _Condition("Lossless", "True", "NothingLost", "every matched packet is accounted for")


def _throttled(account: Mapping[str, Any]) -> _Condition:
    shed = _total(account.get("shed"))
    if shed:
        return _Condition("Throttled", "True", "OverBudget", f"{shed} packets were over the filter's budget")
    return _Condition("Throttled", "False", "WithinBudget")


def _expired(state: FilterState, expired: bool) -> _Condition:
    if state.expires_at is None:
        return _Condition("Expired", "False", "NoTTL")
    return _Condition("Expired", "True" if expired else "False", "TTL", f"ttl ends {text_of_time(state.expires_at)}")


def _packets(account: Mapping[str, Any]) -> dict[str, int]:
    return {name: _total(account.get(name)) for name in ("matched", "delivered", "lost")}


def _total(value: Any) -> int:
    return sum(value.values()) if isinstance(value, Mapping) else int(value or 0)


def _latency(state: FilterState, reports: Reports) -> dict[str, float] | None:
    took = sorted(ack.took_ns / SECOND for node, revision in state.revisions.items()
                  if (ack := reports.acks.get(node))
                  and ack.applied and ack.revision == revision and ack.took_ns)  # fmt: skip
    if not took:
        return None
    return {"p50": round(took[len(took) // 2], 3), "p99": round(took[min(len(took) - 1, len(took) * 99 // 100)], 3)}


def _dated(
    found: Iterable[_Condition], generation: int, now: int, before: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    old = {each.get("type"): each for each in (before or {}).get("conditions") or ()}
    out = []
    for each in found:
        was = old.get(each.type, {})
        since = was.get("lastTransitionTime") if was.get("status") == each.status else None
        out.append(
            {**each._asdict(), "observedGeneration": generation, "lastTransitionTime": since or text_of_time(now)}
        )
    return out


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _time(at: int | None) -> str | None:
    return None if not at else text_of_time(at)


def text_of_time(at: int) -> str:
    """A time (ns since the epoch) as the Kubernetes API writes it: RFC 3339, whole seconds, UTC."""
    return datetime.fromtimestamp(at // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def must_write(before: Mapping[str, Any] | None, after: Mapping[str, Any], *, written_at: int, now: int) -> bool:
    """Tell whether a status is to be written now: at once when a condition changes, else at most every 10 s."""
    if not before or not before.get("conditions"):
        return True
    if _essence(before) != _essence(after):
        return True
    return now - written_at >= WRITE_EVERY and _plain(before) != _plain(after)


def _essence(status: Mapping[str, Any]) -> Any:
    conditions = {c["type"]: (c["status"], c["reason"]) for c in status.get("conditions") or ()}
    return status.get("observedGeneration"), conditions


def _plain(status: Mapping[str, Any]) -> Any:
    return {key: value for key, value in status.items() if key != "conditions"}
