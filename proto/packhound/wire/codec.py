"""The one codec: parcels to bytes and back, for the broker, gRPC, the spool and between processes of a node.

Promise: pure. `decode` raises MalformedParcel and nothing else, on any bytes; what it returns may be indexed without
looking again. No Python object per packet either way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from packhound.wire import facts, flowrecords
from packhound.wire.batch import Action, Batch, check
from packhound.wire.columns import (
    from_bytes,
    names_in,
    sets_in,
    sets_out,
    table_in,
    table_out,
    text_in,
    text_out,
    to_bytes,
)
from packhound.wire.envelope import (
    MAX_EPOCH,
    MAX_PARCEL,
    NUMBERS,
    Header,
    MalformedParcel,
    Opened,
    header,
    is_name,
    open_parcel,
    seal,
)
from packhound.wire.flowrecords import COLUMNS, RECORD_DTYPE, FlowRecords
from packhound.wire.lost import MAX_CAUSE, Lost
from packhound.wire.v1 import packets_pb2 as pb

__all__ = ["MAX_PARCEL", "Header", "Interface", "MalformedParcel", "ParcelValue", "decode", "encode", "header"]

ParcelValue = Batch | FlowRecords | Lost

MAX_PACKETS = 65_536  #: of a parcel
MAX_RECORDS = 65_536
MAX_WANTED = 65_536
MAX_LINKTYPE = 0xFFFF
_CAUSE = re.compile(rf"[a-z0-9_]{{1,{MAX_CAUSE}}}", re.ASCII)
_PACKET_COLUMNS = {
    "ts": "<i8", "caplen": "<u4", "wirelen": "<u4", "iface": "<u2", "flow": "<u8", "fset": "<u4", "direction": "u1",
    "app": "u1",
}  # fmt: skip


@dataclass(slots=True)
class Interface:
    """Where packets were captured, as it came over the wire."""

    name: str
    linktype: int
    snaplen: int


def encode(parcel: ParcelValue, *, compress: bool = False) -> bytes:
    """The parcel as bytes. `compress`: try it on the packets; records of flows are compressed always."""
    if isinstance(parcel, Batch):
        return seal(_batch_head(parcel), "packets", _batch_body(parcel), parcel.blob, compress=compress)
    if isinstance(parcel, FlowRecords):
        body = _flows_body(parcel)
        blob = b"".join(parcel.records[name].tobytes() for name in COLUMNS)
        return seal(_flows_head(parcel), "flows", body, blob, compress=True)
    return seal(_lost_head(parcel), "lost", _lost_body(parcel))


def decode(data: bytes, *, limit: int = MAX_PARCEL) -> ParcelValue:
    """Read a parcel of at most `limit` bytes, its blob unpacked at most `limit` too. Raises MalformedParcel."""
    opened = open_parcel(data, limit=limit)
    if opened.header.kind == "packets":
        return _batch(opened)
    if opened.header.kind == "flows":
        return _flows(opened)
    return _lost(opened)


# packets -------------------------------------------------------------------------------------------------------------


def _batch_head(batch: Batch) -> dict[str, Any]:
    return _origin(batch) | {
        "packets": len(batch), "media": batch.media, "clock_offset_ns": batch.clock_offset_ns,
    }  # fmt: skip


def _origin(parcel: ParcelValue) -> dict[str, Any]:
    return {
        "sensor": parcel.sensor, "epoch": parcel.epoch, "shard": parcel.shard, "sequence": parcel.sequence,
        "plan": parcel.plan, "traceparent": parcel.traceparent, "cluster": parcel.cluster,
    }  # fmt: skip


def _batch_body(batch: Batch) -> pb.PacketBatch:
    columns: dict[str, Any] = {name: to_bytes(getattr(batch, name), kind) for name, kind in _PACKET_COLUMNS.items()}
    calls, call = table_out([] if batch.calls is None else batch.calls.tolist())
    return pb.PacketBatch(
        **columns,
        call=call,
        calls=[text_out(each) for each in calls],
        filter_sets=sets_out(batch.fsets),
        interfaces=[
            pb.Interface(name=text_out(each.name), linktype=each.linktype, snaplen=each.snaplen)
            for each in batch.interfaces
        ],
        facts=facts.write(batch.facts),
        actions=[pb.Action(filter=name, **each._asdict()) for name, each in batch.actions.items()],
    )


def _batch(opened: Opened) -> Batch:
    head, body = opened.header, opened.parse(pb.PacketBatch)
    count = head.packets
    if count > MAX_PACKETS:
        raise MalformedParcel(f"more than {MAX_PACKETS} packets")
    columns: dict[str, Any] = {
        name: from_bytes(getattr(body, name), kind, count=count, name=name) for name, kind in _PACKET_COLUMNS.items()
    }
    made = Batch(
        **columns,
        blob=opened.unpack(),
        fsets=sets_in(body.filter_sets),
        interfaces=[_interface(each) for each in body.interfaces],
        facts=facts.read(body.facts),
        sequence=head.sequence,
        calls=table_in([text_in(each) for each in body.calls], body.call, count=count, name="call"),
        epoch=head.epoch,
        shard=head.shard,
        plan=head.plan,
        sensor=head.sensor,
        cluster=head.cluster,
        clock_offset_ns=head.clock_offset_ns,
        traceparent=head.traceparent,
        media=head.media,
        actions=_actions(body),
    )
    fault = check(made)
    if fault:
        raise MalformedParcel(fault)
    return made


def _actions(body: pb.PacketBatch) -> dict[str, Action]:
    if len(body.actions) > MAX_WANTED:
        raise MalformedParcel(f"actions of more than {MAX_WANTED} filters")
    for row in body.actions:
        quiet = len(row.alert) <= MAX_CAUSE and row.alert.isprintable()
        if not quiet or not is_name(row.filter) or not 0 < row.rate <= 1:
            raise MalformedParcel("an action has a bad filter, alert or rate")
    return {row.filter: Action(row.record, row.per_call, row.alert, row.rate) for row in body.actions}


def _interface(row: pb.Interface) -> Interface:
    if row.linktype > MAX_LINKTYPE:
        raise MalformedParcel("an interface has a bad link type")
    return Interface(text_in(row.name), row.linktype, row.snaplen)


# flows ---------------------------------------------------------------------------------------------------------------


def _flows_head(flows: FlowRecords) -> dict[str, Any]:
    return _origin(flows) | {"clock_offset_ns": flows.clock_offset_ns}


def _flows_body(flows: FlowRecords) -> pb.FlowBatch:
    fault = flowrecords.check(flows)
    if fault:
        raise ValueError(fault)
    serials = flows.records["serial"].tolist()
    hosts, host = table_out(map(flows.hosts.get, serials))
    calls, call = table_out(map(flows.calls.get, serials))
    sets, filter_set = table_out(map(flows.filters.get, serials))
    return pb.FlowBatch(
        records=len(flows),
        columns=[pb.Column(name=name, bytes=size) for name, size in COLUMNS.items()],
        interfaces=list(map(text_out, flows.interfaces)),
        host=host, hosts=list(map(text_out, hosts)),
        filter_set=filter_set, filter_sets=sets_out(dict(enumerate(sets))),
        call=call, calls=list(map(text_out, calls)),
    )  # fmt: skip


def _flows(opened: Opened) -> FlowRecords:
    head, body = opened.header, opened.parse(pb.FlowBatch)
    count = body.records
    if count > MAX_RECORDS or head.packets or head.media:
        raise MalformedParcel(f"more than {MAX_RECORDS} records, or packets among them")
    records = _records(opened.unpack(), body.columns, count)
    serials = records["serial"].tolist()

    def by_serial(table: list[Any], column: bytes, name: str) -> dict[int, Any]:
        found = table_in(table, column, count=count, name=name)
        if found is None:
            return {}
        return {serial: each for serial, each in zip(serials, found.tolist(), strict=True) if each is not None}

    return FlowRecords(
        records,
        hosts=by_serial(list(map(text_in, body.hosts)), body.host, "host"),
        filters=by_serial([names_in(each.filters) for each in body.filter_sets], body.filter_set, "filter_set"),
        calls=by_serial(list(map(text_in, body.calls)), body.call, "call"),
        interfaces=tuple(map(text_in, body.interfaces)),
        sensor=head.sensor, epoch=head.epoch, shard=head.shard, sequence=head.sequence, plan=head.plan,
        cluster=head.cluster, clock_offset_ns=head.clock_offset_ns, traceparent=head.traceparent,
    )  # fmt: skip


def _records(blob: bytes, columns: Any, count: int) -> Any:
    records = np.zeros(count, RECORD_DTYPE)
    at, seen = 0, set()
    for column in columns:
        data = blob[at : at + count * column.bytes]
        at += count * column.bytes
        if len(data) != count * column.bytes or column.name in seen:
            raise MalformedParcel("a column is cut short or there twice")
        seen.add(column.name)
        if column.name not in COLUMNS:
            continue
        if column.bytes != COLUMNS[column.name]:
            raise MalformedParcel("a column has another width")
        field = records[column.name]
        field[...] = np.frombuffer(data, field.dtype.newbyteorder("<")).reshape(field.shape)
    if at != len(blob) or (count and "serial" not in seen):
        raise MalformedParcel("columns do not add up to the blob")
    return records


# tombstones ----------------------------------------------------------------------------------------------------------


def _lost_head(lost: Lost) -> dict[str, Any]:
    return _origin(lost) | {"packets": lost.packets, "media": lost.media}


def _lost_body(lost: Lost) -> pb.Tombstone:
    return pb.Tombstone(
        kind_lost=pb.KIND_FLOWS if lost.kind_lost == "flows" else pb.KIND_PACKETS,
        cause=lost.cause,
        wanted=[pb.Wanted(filters=names, packets=count) for names, count in lost.wanted.items()],
        last=lost.last,
    )


def _lost(opened: Opened) -> Lost:
    head, body = opened.header, opened.parse(pb.Tombstone)
    if opened.blob or len(body.wanted) > MAX_WANTED:
        raise MalformedParcel("a tombstone holds too much")
    if not _CAUSE.fullmatch(body.cause) or body.kind_lost not in (NUMBERS["packets"], NUMBERS["flows"]):
        raise MalformedParcel("a tombstone says neither what was lost nor why")
    if body.last and not head.sequence < body.last <= MAX_EPOCH:
        raise MalformedParcel("a tombstone ends before it begins")
    wanted = {names_in(each.filters): each.packets for each in body.wanted}
    if len(wanted) != len(body.wanted) or sum(wanted.values()) != head.packets:
        raise MalformedParcel("counts of a tombstone do not add up")
    return Lost(
        epoch=head.epoch, shard=head.shard, sequence=head.sequence, sensor=head.sensor, wanted=wanted,
        cause=body.cause, kind_lost="flows" if body.kind_lost == pb.KIND_FLOWS else "packets", plan=head.plan,
        media=head.media, cluster=head.cluster, traceparent=head.traceparent, last=body.last,
    )  # fmt: skip
