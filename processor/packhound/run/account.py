"""The books of a fleet: what sensors say of their packets, joined with what processors settled of them.

Promise: pure. Of each sensor the epoch counts of which it spoke last; accounts of filters are joined only when there is
no other, because processors keep them for all epochs together.
"""

from __future__ import annotations

from collections.abc import Mapping

from packhound.processor.shared.entries import books_of
from packhound.processor.shared.state import Entry
from packhound.wire.beats import NodeStatus
from packhound.wire.books import Books


def joined(statuses: Mapping[str, NodeStatus], entries: Mapping[Entry, int]) -> Books:
    """Both sides in one: at rest it balances. What came twice was sent twice."""
    found = Books()
    epochs: dict[str, int] = {}
    filters = Books()
    for node, status in statuses.items():
        if status.heartbeat is None:
            continue
        epochs[node] = status.heartbeat.epoch
        said = Books.of_dict(status.heartbeat.books)
        mine = said.sensor(node)
        mine.delivered = 0  # counted by the processors
        found.sensor(node).add(mine)
        for name, account in said.filters.items():
            account.delivered = 0
            filters.filter(name).add(account)
    others = any(entry.kind == "sensor" and entry.epoch != epochs.get(entry.name) for entry in entries)
    if not others:
        found.add(filters)
    found.add(books_of({
        entry: count for entry, count in entries.items()
        if (entry.epoch == epochs.get(entry.name) if entry.kind == "sensor" else not others)
    }))  # fmt: skip
    for account in (*found.sensors.values(), *found.filters.values()):
        account.resent = account.duplicates_dropped
    return found
