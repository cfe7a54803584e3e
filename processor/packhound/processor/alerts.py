"""Alerts: one per filter and call, or per filter and flow, at its first packet.

Promise: pure; which were raised is part of the shard's state, so that a take-over raises none twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from packhound.net.detect import name_of
from packhound.processor.track.flows import FlowNotes
from packhound.processor.track.shard import ShardTrack
from packhound.wire.batch import Batch


def alert_rows(
    batch: Batch, loud: Mapping[int, Sequence[str]], *, severity: Mapping[str, str], track: ShardTrack, notes: FlowNotes
) -> list[dict[str, Any]]:
    """Rows of the alerts that `batch` raises. `loud`: by filter set, the filters that alert; `severity` of each."""
    calls = [None] * len(batch) if batch.calls is None else batch.calls.tolist()
    rows = []
    whose = f"{batch.sensor} {batch.epoch:x}"
    for at, (fset, serial, call) in enumerate(zip(batch.fset.tolist(), batch.flow.tolist(), calls, strict=True)):
        for name in loud[fset]:
            subject = f"call {call}" if call else f"flow {serial}"
            if not track.alert_once(name, subject, "" if call else whose):
                continue
            rows.append({
                "time_ns": int(batch.ts[at]), "filter": name, "alert.severity": severity[name],
                "alert.subject": subject, "flow.id": serial, "sip.call_id": call,
                "flow.community_id": notes.community(serial) or None, "app.protocol": name_of(int(batch.app[at])),
            })  # fmt: skip
    return rows
