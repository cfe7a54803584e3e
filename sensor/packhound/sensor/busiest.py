"""Which pods of this node the packets of each filter were of: the busiest, for the filter's status.

Promise: one thread counts, any may ask; what a batch costs depends on its flows, not on its packets. Addresses are
looked up at the time of the packets, so that an address which another pod had before is nobody else's. A namespaced
filter counts pods of its own namespace alone. Bounded: `KEPT` pods a filter, the quietest are forgotten first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any

import numpy as np

from packhound.sensor.recent import Recent
from packhound.wire.batch import Batch
from packhound.wire.beats import MAX_TOP_FILTERS, MAX_TOP_PODS
from packhound.wire.pods import PodBook

KEPT = 64
KNOWN_FLOWS = 65_536
Ends = tuple[str, ...]


class Busiest:
    """`decode` gives the frame of a packet of a link type."""

    def __init__(self, decode: Callable[[bytes, int], Any]) -> None:
        self._decode = decode
        self._book: PodBook | None = None
        self._ends: Recent[int, Ends] = Recent(KNOWN_FLOWS)
        self._counts: dict[str, dict[str, int]] = {}

    def use(self, book: PodBook) -> None:
        """Learn whose addresses are whose; `book` is ours from now on. Any thread."""
        self._book = book

    def count(self, batch: Batch) -> None:
        """Count the packets of a batch that belong to flows."""
        book = self._book
        if book is None or not len(batch):
            return
        keys = np.stack((batch.flow, batch.fset.astype(np.uint64)))
        pairs, first, counts = np.unique(keys, axis=1, return_index=True, return_counts=True)
        for serial, number, at, many in zip(*pairs.tolist(), first.tolist(), counts.tolist(), strict=True):
            if not serial:
                continue
            ends = self._ends_of(batch, serial, at)
            ts = int(batch.ts[at])
            pods = {(pod.namespace, f"{pod.namespace}/{pod.name}") for each in ends if (pod := book.find(each, ts))}
            for name in batch.fsets[number] if pods else ():
                space = name.rpartition("/")[0]
                for owner, busy in pods:
                    if space in ("", owner):
                        self._add(name, busy, many)

    def _ends_of(self, batch: Batch, serial: int, at: int) -> Ends:
        ends = self._ends.get(serial)
        if ends is None:
            frame = self._decode(batch.packet(at), batch.interfaces[int(batch.iface[at])].linktype)
            size = 4 if frame.ip_version == 4 else 16
            found = (frame.src, frame.dst) if frame.ip_version else ()
            ends = self._ends[serial] = tuple({str(ip_address(each[:size])) for each in found})
        return ends

    def _add(self, name: str, pod: str, many: int) -> None:
        counts = self._counts.get(name)
        if counts is None:
            counts = self._counts[name] = {}
        counts[pod] = counts.get(pod, 0) + many
        if len(counts) > KEPT:
            self._counts[name] = dict(_most(counts, KEPT // 2))

    def top(self) -> dict[str, dict[str, int]]:
        """The busiest pods (`namespace/name`) by filter, cumulative. Any thread."""
        found = {name: dict(_most(dict(counts), MAX_TOP_PODS)) for name, counts in list(self._counts.items())}
        if len(found) > MAX_TOP_FILTERS:
            busiest = sorted(found, key=lambda name: -max(found[name].values()))[:MAX_TOP_FILTERS]
            found = {name: found[name] for name in busiest}
        return found


def _most(counts: Mapping[str, int], many: int) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda row: (-row[1], row[0]))[:many]
