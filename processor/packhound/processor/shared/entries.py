"""Entries of the books as text and back, and as books.

Promise: pure. A text that is no entry is None, whoever wrote it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from typing import cast

from packhound.processor.shared.state import Entry
from packhound.wire.books import Account, Books

CAUSED = frozenset({"lost", "shed", "kernel_dropped"})
PLAIN = frozenset({"recorded", "processed_only", "duplicates_dropped", "delivered"})
#: Packets that a sensor told us it lost (its tombstones), by cause: the sensor counts them as lost itself.
TOLD_LOST = "told_lost"
#: Epochs of one sensor that are told apart; with more of them those that nobody hears of are folded into one.
EPOCHS_KEPT = 32


def entry_text(entry: Entry) -> str:
    """One entry as text.

    >>> entry_text(Entry("sensor", "node-1", 255, "lost", "disk_full"))
    '["sensor","node-1","ff","lost","disk_full"]'
    """
    row = (entry.kind, entry.name, f"{entry.epoch:x}", entry.counter, entry.cause)
    return json.dumps(row, separators=(",", ":"))


def entry_of(text: str | bytes) -> Entry | None:
    """The entry of a text."""
    try:
        row = json.loads(text)
        kind, name, epoch, counter, cause = row
        if kind not in {"sensor", "filter"} or not all(isinstance(each, str) for each in row):
            return None
        return Entry(kind, name, int(epoch, 16), counter, cause)
    except (ValueError, TypeError):
        return None


def entries_of(books: Books, *, epoch: int) -> dict[Entry, int]:
    """What books of one epoch of a sensor hold, as entries; filters without the epoch."""
    found: dict[Entry, int] = {}
    for name, account in books.sensors.items():
        _account(found, "sensor", name, epoch, account)
    for name, account in books.filters.items():
        _account(found, "filter", name, 0, account)
    return found


def _account(found: dict[Entry, int], kind: str, name: str, epoch: int, account: Account) -> None:
    for counter, value in account.as_dict().items():
        causes = value if isinstance(value, Mapping) else {"": value}
        for cause, count in causes.items():
            if count:
                entry = Entry("sensor" if kind == "sensor" else "filter", name, epoch, counter, cause)
                found[entry] = found.get(entry, 0) + cast(int, count)


def epochs_over(entries: Iterable[Entry], *, live: Collection[tuple[str, int]]) -> list[tuple[str, int]]:
    """Epochs to fold, of sensors that have more than `EPOCHS_KEPT`: every one that is not `live` (name, epoch). A
    parcel of one of them that comes later all the same is counted, and folded again."""
    by_sensor: dict[str, set[int]] = {}
    for each in entries:
        if each.kind == "sensor" and each.epoch:
            by_sensor.setdefault(each.name, set()).add(each.epoch)
    return sorted(
        (name, epoch) for name, epochs in by_sensor.items() if len(epochs) > EPOCHS_KEPT
        for epoch in epochs if (name, epoch) not in live
    )  # fmt: skip


def books_of(entries: Mapping[Entry, int]) -> Books:
    """Join entries into books, epochs of a sensor together; what only the processors know of (`told_lost`) is left
    out."""
    books = Books()
    for entry, count in entries.items():
        account = books.sensor(entry.name) if entry.kind == "sensor" else books.filter(entry.name)
        if entry.counter in CAUSED:
            getattr(account, entry.counter)[entry.cause] += count
        elif entry.counter in PLAIN:
            setattr(account, entry.counter, getattr(account, entry.counter) + count)
    return books
