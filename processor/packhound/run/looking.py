"""What processors answer of their fleet, as rows and cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from packhound.wire.v1 import events_pb2 as pb

SECOND = 1_000_000_000
SENSOR_HEAD = ("SENSOR", "STATE", "HEARD", "PLAN", "LINK", "SEEN", "MATCHED", "DELIVERED", "WAITING", "LOST",
               "OFFSET_MS")  # fmt: skip
_PLAIN = (
    "cluster", "state", "seen_ns", "started_ns", "revision", "plan_state", "plan_reason", "link", "spool_bytes",
    "spool_packets", "clock_offset_ns", "rss", "cpu", "version",
)  # fmt: skip


def question(node: str) -> tuple[str, pb.ListSensorsRequest]:
    """What to ask for sensors (of one node): the call and its request."""
    return "ListSensors", pb.ListSensorsRequest(selection=pb.Selection(node=node))


def sensors(answers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every sensor once, as the processor that heard it last tells."""
    best: dict[str, Any] = {}
    for reply in answers.values():
        for each in reply.sensors:
            if each.node not in best or each.seen_ns > best[each.node].seen_ns:
                best[each.node] = each
    return [_row(each) for _, each in sorted(best.items())]


def _row(each: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"node": each.node, "epoch": f"{each.epoch:x}"}
    row |= {key: getattr(each, key) for key in _PLAIN}
    return row | {
        "modes": dict(each.modes), "books": dict(each.books), "interfaces": list(each.interfaces),
        "conditions": list(each.conditions),
    }  # fmt: skip


def sensor_cells(rows: Sequence[Mapping[str, Any]], *, now: int) -> list[list[Any]]:
    """Rows as a table has them."""
    found = []
    for row in rows:
        books = row["books"]
        lost = sum(count for fate, count in books.items() if fate == "lost" or fate.startswith("lost."))
        age = max(0.0, (now - row["seen_ns"]) / SECOND)
        found.append([
            row["node"], row["state"], f"{age:.0f}s", row["revision"], row["link"], books.get("seen", 0),
            books.get("matched", 0), books.get("delivered", 0), row["spool_packets"], lost,
            round(row["clock_offset_ns"] / 1e6, 1),
        ])  # fmt: skip
    return found
