"""What parcels say, as rows of tables and as the state of their shard: messages, calls, flows, tombstones.

Promise: pure but for the state handed in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from packhound.net.detect import App
from packhound.net.flowrow import flow_columns
from packhound.processor.shared.entries import TOLD_LOST
from packhound.processor.shared.state import Entry
from packhound.processor.track.flows import FlowNotes
from packhound.processor.track.shard import ShardTrack
from packhound.wire.batch import Batch
from packhound.wire.lost import Lost


def message_rows(batch: Batch, *, track: ShardTrack, notes: FlowNotes) -> list[dict[str, Any]]:
    """Facts of a batch as rows of `messages`; those of calls move the calls on."""
    rows = []
    for packet, serial, ts, fact in batch.facts:
        note = notes.of(serial)
        filters = tuple(note.filters) if packet < 0 else batch.fsets[int(batch.fset[packet])]
        row = {"kind": fact.kind, "time_ns": ts, "filter": filters} | dict(fact.fields)
        if serial:
            row |= {"flow.id": serial, "flow.community_id": note.community or None}
        if packet >= 0:
            row["interface"] = batch.interfaces[int(batch.iface[packet])].name
        rows.append(row)
        if fact.kind == "sip":
            src, dst = note.ends or (None, None)
            track.calls.message(fact.fields, now=ts, src=src, dst=dst, filters=filters, source=batch.sensor)
    if batch.calls is not None:
        last: dict[str, int] = {}
        for call, ts in zip(batch.calls.tolist(), batch.ts.tolist(), strict=True):
            if call:
                last[call] = max(ts, last.get(call, 0))
        for call, ts in last.items():
            track.calls.alive(call, now=ts, source=batch.sensor)
    return rows


def ended_flows(
    records: npt.NDArray[Any],
    *,
    track: ShardTrack,
    sensor: str,
    epoch: int,
    hosts: Mapping[int, str] | None,
    filters: Mapping[int, Sequence[str]] | None,
    calls: Mapping[int, str] | None,
    interfaces: Sequence[str],
) -> dict[str, npt.NDArray[Any]]:
    """Records of flows that ended as columns of `flows`; media counts for its call. By serial host, filters and call,
    where the sensor says so, else as the batches said."""
    notes = track.notes_of(sensor, epoch)
    serials = records["serial"].tolist()
    named = filters if filters is not None else {serial: tuple(notes.of(serial).filters) for serial in serials}
    for at in np.flatnonzero((records["app"] == App.RTP) | (records["app"] == App.RTCP)).tolist():
        call = (calls or {}).get(serials[at]) or notes.of(serials[at]).call
        if call:
            record = records[at]
            track.calls.media(
                call, packets=int(record["packets"].sum()), last=int(record["last"]),
                rtcp=bool(record["app"] == App.RTCP), source=sensor,
            )  # fmt: skip
    columns = flow_columns(records, hosts=hosts, filters=named, interfaces=interfaces)
    notes.forget(serials)
    return columns


def told_lost(lost: Lost) -> Counter[Entry]:
    """A tombstone as counters: what its sensor lost, by cause; that of flow records has a cause of its own."""
    found: Counter[Entry] = Counter()
    cause = lost.cause if lost.kind_lost == "packets" else f"{lost.kind_lost}:{lost.cause}"
    for names, count in lost.wanted.items():
        found[Entry("sensor", lost.sensor, lost.epoch, TOLD_LOST, cause)] += count
        for name in names:
            found[Entry("filter", name, 0, TOLD_LOST, cause)] += count
    return found


def rows_of(columns: Mapping[str, npt.NDArray[Any]]) -> list[dict[str, Any]]:
    """Columns of one length as rows, without what is not known."""
    names = list(columns)
    return [
        {name: value for name, value in zip(names, row, strict=True) if value is not None}
        for row in zip(*(each.tolist() for each in columns.values()), strict=True)
    ]
