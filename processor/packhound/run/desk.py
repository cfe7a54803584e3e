"""What the fleet's commands print: answers to an edit, filters, sensors, who is there."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from packhound.kit.errors import FAULT, OK, BadInput
from packhound.run import fleet, show
from packhound.run.options import Options
from packhound.wire.beats import NodeStatus

SECOND = 1_000_000_000


def apply(paths: Sequence[Path], options: Options, *, wait: float, json: bool) -> int:
    """Add or replace filters; the exit code is 1 when a sensor rejected them."""
    filters = fleet.objects_of(paths)
    found = fleet.at_desk(options, lambda desk: desk.put(filters, wait=wait))
    return _told(found, [f"{each.full_name} applied" for each in filters], json=json)


def remove(names: Sequence[str], options: Options, *, wait: float, json: bool) -> int:
    """Take filters away."""
    fleet.check_names(names)
    found = fleet.at_desk(options, lambda desk: desk.remove(names, wait=wait))
    return _told(found, [f"{name} removed" for name in names], json=json)


def _told(found: fleet.Outcome, did: Sequence[str], *, json: bool) -> int:
    rejected = {node: ack.reason for node, ack in found.acks.items() if ack.state == "rejected"}
    if json:
        show.line(show.as_json({
            "revision": found.plan.revision, "filters": len(found.plan.filters), "did": did,
            "acked": sorted(set(found.acks) - set(rejected)), "rejected": rejected,
            "silent": found.silent,
            "seconds": round(found.seconds, 4),
            "warnings": {node: ack.warnings for node, ack in found.acks.items() if ack.warnings},
        }))  # fmt: skip
        return FAULT if rejected else OK
    for each in did:
        show.line(each)
    total = len(found.acks) + len(found.silent)
    show.line(f"plan {found.plan.revision}: {len(found.acks) - len(rejected)} of {total} sensors have it "
              f"({found.seconds:.2f} s)")  # fmt: skip
    for node, reason in sorted(rejected.items()):
        show.complain(f"{node} rejected it and goes on with what it had: {reason}")
    for node in found.silent:
        show.complain(f"{node} has not answered yet: packhound sensors")
    return FAULT if rejected else OK


def filters(options: Options, *, json: bool) -> int:
    """List the filters of a fleet, and how they do."""

    async def look(desk: fleet.Desk) -> list[dict[str, Any]]:
        given, statuses, plan = await desk.given(), await desk.statuses(), await desk.current()
        revision = plan.revision if plan else 0
        heard = {node: each for node, each in statuses.items() if fleet.is_heard(each)}
        matched, lost = _by_filter(statuses)
        have = sum(_has(each, revision) for each in heard.values())
        rows = []
        for each in given:
            model = fleet.loaded(each.raw)
            spec = model.spec if model is not None else None
            rows.append({
                "name": each.name, "state": fleet.state_of(each.raw, created=each.created, now=time.time_ns()),
                "revision": revision, "sensors": f"{have}/{len(heard)}", "matched": matched[each.name],
                "lost": lost[each.name], "age_seconds": round((time.time_ns() - each.created) / SECOND),
                "purpose": spec.purpose if spec is not None else "",
            })  # fmt: skip
        return rows

    rows = fleet.at_desk(options, look)
    if json:
        show.line(show.as_json(rows))
    else:
        show.table([list(row.values()) for row in rows],
                   ("NAME", "STATE", "PLAN", "SENSORS", "MATCHED", "LOST", "AGE", "PURPOSE"))  # fmt: skip
    return OK


def _has(status: NodeStatus, revision: int) -> bool:
    return status.ack is not None and status.ack.state == "applied" and status.ack.revision >= revision


def _by_filter(statuses: Mapping[str, NodeStatus]) -> tuple[Counter[str], Counter[str]]:
    matched: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for each in statuses.values():
        accounts = (each.heartbeat.books.get("filters") or {}) if each.heartbeat else {}
        for name, account in accounts.items():
            matched[name] += int(account.get("matched", 0))
            lost[name] += sum(map(int, (account.get("lost") or {}).values()))
    return matched, lost


def filter_status(name: str, options: Options, *, json: bool) -> int:
    """Tell node by node whether a filter is in force."""

    async def look(desk: fleet.Desk) -> list[dict[str, Any]]:
        known = {each.name for each in await desk.given()}
        if name not in known:
            raise BadInput(f"no such filter: {name}", notes=(f"there are: {', '.join(sorted(known)) or 'none'}",))
        plan = await desk.current()
        revision = plan.revision if plan else 0
        return [_answer(node, each, name, revision) for node, each in sorted((await desk.statuses()).items())]

    rows = fleet.at_desk(options, look)
    if json:
        show.line(show.as_json(rows))
    else:
        show.table([list(row.values()) for row in rows], ("SENSOR", "HEARD", "PLAN", "STATE", "MATCHED", "REASON"))
    return OK


def _answer(node: str, each: NodeStatus, name: str, revision: int) -> dict[str, Any]:
    state = "no answer"
    if each.ack is not None:
        state = each.ack.state if each.ack.revision >= revision else f"behind: {each.ack.revision} of {revision}"
    account = ((each.heartbeat.books.get("filters") or {}).get(name) or {}) if each.heartbeat else {}
    return {
        "node": node, "heard": fleet.is_heard(each), "revision": each.ack.revision if each.ack else None,
        "state": state, "matched": int(account.get("matched", 0)), "reason": each.ack.reason if each.ack else "",
    }  # fmt: skip


def sensors(options: Options, *, json: bool) -> int:
    """List the sensors of a fleet."""
    found: Mapping[str, NodeStatus] = fleet.at_desk(options, lambda desk: desk.statuses())
    rows = [_sensor(node, each) for node, each in sorted(found.items())]
    if json:
        show.line(show.as_json(rows))
        return OK
    show.table(
        [[row["node"], row["state"], row["age_seconds"], row["revision"], row["link"], row["seen"], row["matched"],
          row["delivered"], row["waiting"], row["lost"], row["clock_offset_ms"]] for row in rows],
        ("SENSOR", "STATE", "HEARD", "PLAN", "LINK", "SEEN", "MATCHED", "DELIVERED", "WAITING", "LOST", "OFFSET_MS"),
    )  # fmt: skip
    for row in rows:
        for text in row["conditions"]:
            show.complain(f"{row['node']}: {text}")
    return OK


def _sensor(node: str, each: NodeStatus) -> dict[str, Any]:
    beat = each.heartbeat
    if beat is None:
        nothing = dict.fromkeys(("age_seconds", "revision", "link", "clock_offset_ms"))
        zero = dict.fromkeys(("seen", "matched", "delivered", "waiting", "lost"), 0)
        return {"node": node, "state": "never heard", **nothing, **zero, "conditions": []}
    account = (beat.books.get("sensors") or {}).get(node) or {}
    age = (time.time_ns() - beat.sent_ns - beat.clock_offset_ns) / SECOND
    return {
        "node": node, "epoch": f"{beat.epoch:x}", "state": beat.state if fleet.is_heard(each) or beat.state == "stopped"
        else "silent", "age_seconds": round(age, 1), "revision": beat.revision, "link": beat.link,
        "seen": account.get("seen", 0), "matched": account.get("matched", 0), "delivered": account.get("delivered", 0),
        "waiting": beat.spool_packets, "spool_bytes": beat.spool_bytes,
        "lost": sum((account.get("lost") or {}).values()), "kernel_dropped": account.get("kernel_dropped") or {},
        "clock_offset_ms": round(beat.clock_offset_ns / 1e6, 1), "rss": beat.rss, "modes": dict(beat.modes),
        "conditions": list(beat.conditions), "version": beat.version,
    }  # fmt: skip


def topology(options: Options, *, json: bool) -> int:
    """Tell who is there, and which processor has which shards."""
    from packhound.run import processing

    found: Mapping[str, NodeStatus] = fleet.at_desk(options, lambda desk: desk.statuses())
    roster = processing.roster(options)
    rows: list[dict[str, Any]] = [
        {"what": "sensor", "name": node, "state": _sensor(node, each)["state"],
         "has": ", ".join(i.name for i in each.heartbeat.interfaces) if each.heartbeat else ""}
        for node, each in sorted(found.items())
    ]  # fmt: skip
    if roster is not None:
        for member in roster.members:
            shards = sorted(shard for shard, lease in roster.leases.items() if lease.holder == member)
            rows.append({"what": "processor", "name": member, "state": "ok", "has": f"shards {_ranges(shards)}"})
        held = {shard for shard, lease in roster.leases.items() if lease.expires_ns > roster.now_ns}
        free = sorted(set(range(options.fleet.shards)) - held)
        if free:
            rows.append({"what": "shards", "name": _ranges(free), "state": "nobody's", "has": ""})
    if json:
        show.line(show.as_json({"fleet": options.fleet.name, "shards": options.fleet.shards, "parts": rows}))
    else:
        show.table([list(row.values()) for row in rows], ("WHAT", "NAME", "STATE", "HAS"))
        if roster is None:
            show.complain("set --shared (Redis or SQLite) to see the processors")
    return OK


def _ranges(numbers: Sequence[int]) -> str:
    """Numbers as people write them.

    >>> _ranges([0, 1, 2, 5])
    '0-2,5'
    """
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts) or "none"
