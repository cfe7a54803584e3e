"""Records of flows that ended, with what the sensor knows of each: host, filters, call.

Promise: plain value; records are one structured array, no Python object per flow. The layout is that of the sensor's
flow table (`packhound.net.flow.FLOW_DTYPE`, byte for byte; a test holds them together), less what only the table uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from packhound.wire.batch import BatchId

# Name, type, values per record, whether it travels.
_FIELDS: tuple[tuple[str, str, int, bool], ...] = (
    ("serial", "<u8", 1, True), ("src", "u1", 16, True), ("dst", "u1", 16, True), ("sport", "<u2", 1, True),
    ("dport", "<u2", 1, True), ("tenant", "<u4", 1, True), ("ip_version", "u1", 1, True), ("proto", "u1", 1, True),
    ("state", "u1", 1, True), ("app", "u1", 1, True), ("flags", "<u2", 1, True), ("vlan", "<u2", 1, True),
    ("iface", "<u2", 1, True), ("tcp_flags", "u1", 2, True), ("has_isn", "u1", 2, False), ("end", "u1", 1, True),
    ("confidence", "u1", 1, True), ("packets", "<u8", 2, True), ("bytes", "<u8", 2, True), ("payload", "<u8", 2, True),
    ("payload_packets", "<u4", 2, True), ("last", "<i8", 1, True), ("first", "<i8", 1, True), ("rtt", "<i8", 1, True),
    ("isn", "<u4", 2, False), ("retransmissions", "<u4", 2, True), ("out_of_order", "<u4", 2, True),
    ("zero_window", "<u4", 2, True), ("syn", "<u4", 1, True), ("fin", "<u4", 1, True), ("rst", "<u4", 1, True),
    ("slot", "<i4", 1, False), ("fset", "<u4", 2, False), ("scratch", "<u4", 4, False), ("method", "u1", 1, True),
    ("spare", "u1", 7, False),
)  # fmt: skip

RECORD_DTYPE = np.dtype([(name, kind) if many == 1 else (name, kind, many) for name, kind, many, _ in _FIELDS])
"""A record; fields that do not travel are zero in one that did."""

COLUMNS: Mapping[str, int] = {name: np.dtype(kind).itemsize * many for name, kind, many, travels in _FIELDS if travels}
"""What travels: bytes per record of each column."""


@dataclass(slots=True)
class FlowRecords:
    """`records`: RECORD_DTYPE[n]. By serial: `hosts` the host name, `filters` the names (`ns/name`) of those that
    matched, `calls` the Call-ID; where nothing is known there is no entry. `interfaces`: names by index."""

    records: npt.NDArray[Any]
    hosts: Mapping[int, str] = field(default_factory=dict)
    filters: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    calls: Mapping[int, str] = field(default_factory=dict)
    interfaces: Sequence[str] = ()
    sensor: str = ""
    epoch: int = 0
    shard: int = 0
    sequence: int = 0
    plan: int = 0
    cluster: str = ""
    clock_offset_ns: int = 0
    traceparent: str = ""

    def __len__(self) -> int:
        return len(self.records)

    @property
    def identity(self) -> BatchId:
        """What a duplicate of it has too."""
        return BatchId(self.epoch, self.shard, self.sequence)


def check(flows: FlowRecords) -> str | None:
    """Tell what is wrong with `flows`: records of another layout, a flow named that is not there; None when
    nothing is."""
    records = flows.records
    if records.dtype != RECORD_DTYPE or records.ndim != 1:
        return "records have another layout"
    serials = set(records["serial"].tolist())
    for named in (flows.hosts, flows.filters, flows.calls):
        if not serials.issuperset(named):
            return "a flow is named that has no record"
    return None
