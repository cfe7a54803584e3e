"""What sensors report -> the status of a filter.

Promise: pure; `now` is given. A condition says what holds for the generation it names, with a reason and a sentence a
person can act on; it keeps its transition time while its status stays. Nothing is True on silence. What the status
said before an operator was restarted is not unsaid: counts never fall, a loss stays a loss.
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
PENDING = 1 << 62  #: revision of a plan that is not out yet
Account = Mapping[str, Any]


class Ack(NamedTuple):
    """What a sensor last said of its plan."""

    node: str
    revision: int
    applied: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reports:
    """What is known of the sensors of all fleets: acknowledgements and last heartbeat by node (ns of our clock),
    packets by filter (the books' counters). `away`: why the broker cannot be reached, empty when it can be."""

    acks: Mapping[str, Ack] = field(default_factory=dict)
    heard: Mapping[str, int] = field(default_factory=dict)
    packets: Mapping[str, Account] = field(default_factory=dict)
    first_match: Mapping[str, int] = field(default_factory=dict)
    last_match: Mapping[str, int] = field(default_factory=dict)
    away: str = ""
    fleets: int = 1


@dataclass(frozen=True, slots=True)
class FilterState:
    """One filter as the operator has it. `revisions`: by node, the revision of the plan that first carried this
    generation, PENDING before it is out; `faults`: what is wrong with it, empty when it was accepted; `blocked`: nodes
    that cannot carry it, and why; `drops`: packets that a node dropped unjudged while it had it; `took`: how long after
    the change each node had it, once all have; times in ns."""

    name: str
    generation: int
    revisions: Mapping[str, int] = field(default_factory=dict)
    faults: Sequence[str] = ()
    last_good: bool = False
    suspended: bool = False
    expires_at: int | None = None
    blocked: Mapping[str, str] = field(default_factory=dict)
    drops: Mapping[str, int] = field(default_factory=dict)
    took: Sequence[int] = ()
    top_pods: Sequence[tuple[str, int]] = ()


def status_of(
    state: FilterState, reports: Reports, *, now: int, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The status of a filter, as its CRD has it; `before`: the one it has now."""
    was = before or {}
    counts = _counts(state, reports, now)
    expired = state.expires_at is not None and state.expires_at <= now
    account = reports.packets.get(state.name, {})
    packets = _packets(account, was.get("packets") or {})
    conditions = [
        _accepted(state), _distributed(state, reports, counts), _capturing(state, reports, counts, expired=expired),
        _lossless(state, counts, packets, account, was), _throttled(account), _expired(state, expired),
    ]  # fmt: skip
    status: dict[str, Any] = {
        "observedGeneration": state.generation,
        "conditions": dated(conditions, state.generation, now, before),
        "sensors": counts._asdict(),
        "packets": packets,
        "expiresAt": None if state.expires_at is None else text_of_time(state.expires_at),
        "firstMatchTime": was.get("firstMatchTime") or _time(reports.first_match.get(state.name)),
        "lastMatchTime": _time(reports.last_match.get(state.name)) or was.get("lastMatchTime")
        or _time(reports.first_match.get(state.name)),
        "topPods": _top_pods(state.top_pods, was.get("topPods") or ()),
        "revision": max((each for each in state.revisions.values() if each != PENDING), default=None),
        "pushLatencySeconds": _latency(state, was),
    }
    return {key: value for key, value in status.items() if value is not None}


class Counts(NamedTuple):
    """Sensors of a filter or fleet, by what they said."""

    desired: int
    acked: int
    rejected: int
    silent: int


def _counts(state: FilterState, reports: Reports, now: int) -> Counts:
    acked = rejected = silent = 0
    for node, revision in state.revisions.items():
        ack = reports.acks.get(node)
        if node in state.blocked:
            rejected += 1
        elif ack is not None and ack.revision >= revision and ack.applied:
            acked += 1
        elif ack is not None and ack.revision >= revision:
            rejected += 1
        if now - reports.heard.get(node, 0) > SILENT_AFTER:
            silent += 1
    return Counts(len(state.revisions), acked, rejected, silent)


class Condition(NamedTuple):
    """A condition without its times."""

    type: str
    status: str
    reason: str
    message: str = ""


def _accepted(state: FilterState) -> Condition:
    if not state.faults:
        return Condition("Accepted", "True", "Compiled", "the filter is well-formed and can match")
    kept = "; its last good version stays in force" if state.last_good else ""
    return Condition("Accepted", "False", "Invalid", ("; ".join(state.faults) + kept)[:32768])


def _distributed(state: FilterState, reports: Reports, counts: Counts) -> Condition:
    if state.faults:
        return Condition("Distributed", "False", "NotAccepted", "this generation is not distributed: see Accepted")
    if not reports.fleets:
        return Condition("Distributed", "False", "NoFleet", "there is no HuntFleet whose sensors could carry it")
    if reports.away:
        return Condition("Distributed", "Unknown", "BrokerAway", reports.away)
    if not counts.desired:
        return Condition("Distributed", "True", "NoTargets", "no pod on any node is selected")
    if counts.rejected:
        bad = [f"{ack.node}: {ack.reason}"
               for node in sorted(state.revisions)
               if node not in state.blocked and (ack := reports.acks.get(node))
               and not ack.applied and ack.revision >= state.revisions[node]]  # fmt: skip
        bad += [f"{node}: {why}" for node, why in sorted(state.blocked.items())]
        return Condition("Distributed", "False", "Rejected", some(bad))
    if counts.acked < counts.desired:
        waiting = [node for node, revision in sorted(state.revisions.items())
                   if (ack := reports.acks.get(node)) is None or ack.revision < revision]  # fmt: skip
        told = f"{counts.acked} of {counts.desired} sensors have it; waiting for {some(waiting)}"
        return Condition("Distributed", "False", "Waiting", told)
    return Condition("Distributed", "True", "Acknowledged", f"{counts.acked} of {counts.desired} sensors have it")


def _capturing(state: FilterState, reports: Reports, counts: Counts, *, expired: bool) -> Condition:
    if expired:
        return Condition("Capturing", "False", "Expired", "its ttl is over")
    if state.suspended:
        return Condition("Capturing", "False", "Suspended", "spec.suspend is true")
    if state.faults and not state.last_good:
        return Condition("Capturing", "False", "NotAccepted", "see Accepted")
    if not reports.fleets:
        return Condition("Capturing", "False", "NoFleet", "there is no HuntFleet")
    if not counts.desired:
        return Condition("Capturing", "False", "NoTargets", "no pod on any node is selected")
    working = sum(1 for node in state.revisions if _works(state, reports, node))
    if counts.silent:
        working = min(working, counts.desired - counts.silent)
    if working <= 0:
        return Condition("Capturing", "False", "NoSensor", "no sensor that has it is heard of")
    reason = "LastGood" if state.faults else "Hunting"
    return Condition("Capturing", "True", reason, f"{working} of {counts.desired} sensors hunt")


def _works(state: FilterState, reports: Reports, node: str) -> bool:
    ack = reports.acks.get(node)
    return ack is not None and ack.applied and ack.revision >= state.revisions[node] and node not in state.blocked


def _lossless(
    state: FilterState, counts: Counts, packets: Mapping[str, int], account: Account, was: Mapping[str, Any]
) -> Condition:
    old: Mapping[str, Any] = next((each for each in was.get("conditions") or () if each["type"] == "Lossless"), {})
    if packets["lost"]:
        causes = account.get("lost") if isinstance(account.get("lost"), Mapping) else None
        told = ": " + ", ".join(f"{count} {cause}" for cause, count in sorted((causes or {}).items())) if causes else ""
        return Condition("Lossless", "False", "Lost", f"{packets['lost']} matched packets were lost{told}")
    dropped = {node: count for node, count in state.drops.items() if count > 0}
    if dropped:
        nodes = some([f"{node}: {count}" for node, count in sorted(dropped.items())])
        return Condition("Lossless", "False", "Dropped", f"packets were dropped before they could be judged: {nodes}")
    if old.get("reason") == "Dropped" and old.get("observedGeneration") == state.generation:
        return Condition("Lossless", "False", "Dropped", str(old.get("message", "")))
    if counts.silent:
        return Condition("Lossless", "Unknown", "Silent", f"{counts.silent} sensors have not been heard of for 15 s")
    return Condition("Lossless", "True", "NothingLost", "every matched packet is accounted for")


def _throttled(account: Account) -> Condition:
    shed = _total(account.get("shed"))
    if shed:
        return Condition("Throttled", "True", "OverBudget", f"{shed} packets were over the filter's budget")
    return Condition("Throttled", "False", "WithinBudget")


def _expired(state: FilterState, expired: bool) -> Condition:
    if state.expires_at is None:
        return Condition("Expired", "False", "NoTTL")
    return Condition("Expired", "True" if expired else "False", "TTL", f"ttl ends {text_of_time(state.expires_at)}")


def _packets(account: Account, was: Mapping[str, Any]) -> dict[str, int]:
    return {name: max(_total(account.get(name)), int(was.get(name) or 0)) for name in ("matched", "delivered", "lost")}


def _top_pods(found: Sequence[tuple[str, int]], was: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The busiest pods; what was once counted stays counted."""
    counts = {str(each["name"]): int(each["packets"]) for each in was}
    for name, count in found:
        counts[name] = max(count, counts.get(name, 0))
    busiest = sorted(counts.items(), key=lambda row: (-row[1], row[0]))[:SHOWN]
    return [{"name": name, "packets": count} for name, count in busiest]


def _total(value: Any) -> int:
    return sum(value.values()) if isinstance(value, Mapping) else int(value or 0)


def _latency(state: FilterState, was: Mapping[str, Any]) -> Mapping[str, float] | None:
    """From a change to its acknowledgements; what was once measured of a generation stays."""
    took = [each / SECOND for each in sorted(state.took)]
    if took:
        return {"p50": round(took[len(took) // 2], 3), "p99": round(took[min(len(took) - 1, len(took) * 99 // 100)], 3)}
    old: Mapping[str, float] | None = was.get("pushLatencySeconds")
    return old if was.get("observedGeneration") == state.generation else None


def dated(
    found: Iterable[Condition], generation: int, now: int, before: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    """Conditions as an API object has them; `before`: the status that has them now."""
    old = {each.get("type"): each for each in (before or {}).get("conditions") or ()}
    out = []
    for each in found:
        was = old.get(each.type, {})
        since = was.get("lastTransitionTime") if was.get("status") == each.status else None
        out.append(
            {**each._asdict(), "observedGeneration": generation, "lastTransitionTime": since or text_of_time(now)}
        )
    return out


def some(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _time(at: int | None) -> str | None:
    return None if not at else text_of_time(at)


def text_of_time(at: int) -> str:
    """A time (ns since the epoch) as the Kubernetes API writes it: RFC 3339, whole seconds, UTC."""
    return datetime.fromtimestamp(at // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def time_of_text(text: str | None, otherwise: int = 0) -> int:
    """The other way round; `otherwise` where there is none."""
    if not text:
        return otherwise
    return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()) * SECOND


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
