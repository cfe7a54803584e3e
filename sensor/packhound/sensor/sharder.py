"""Batches and flow records into parcels: one shard each, numbered, encoded, small enough for every link.

Promise: pure, one thread (that of capture). Every packet and every record that comes in is in exactly one parcel that
goes out; sequences of a shard run from 1 without gaps. All packets of a call, else of a flow, go to one shard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from types import SimpleNamespace
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
import numpy.typing as npt

from packhound.net.detect import App
from packhound.net.frame import DecodeConfig, decode
from packhound.sensor import kernel
from packhound.sensor.parcel import FLOWS, PACKETS, Parcel
from packhound.sensor.recent import Recent
from packhound.wire.batch import Batch, InterfaceLike
from packhound.wire.codec import encode
from packhound.wire.envelope import is_name
from packhound.wire.flowrecords import FlowRecords
from packhound.wire.shards import (
    MAX_BYTES,
    MAX_PACKETS,
    Gather,
    gather_packets,
    pieces,
    shard_of_call,
    shard_of_flow,
    split,
)
from packhound.wire.subjects import DEFAULT_SHARDS, MAX_NODE, MAX_SHARDS, BadName

KNOWN_FLOWS = 65_536
MAX_RECORDS = 1024
MAX_PARCEL = 960 * 1024  #: under the payload of 1 MiB that a broker takes, headers and subject left aside
TRIES = 8  #: packets of a flow that are looked at for its ports

_PORTED = frozenset({6, 17, 132})
_CALL_ID = "sip.call_id"
#: Protocols of text, which shrinks to a fraction.
TEXT = frozenset(map(int, (
    App.SIP, App.HTTP, App.RTSP, App.SSDP, App.SMTP, App.IMAP, App.POP3, App.FTP, App.SYSLOG, App.XMPP, App.IRC,
    App.MGCP, App.MEGACO, App.TELNET, App.REDIS,
)))  # fmt: skip

Wanted = Mapping[tuple[str, ...], int]
Ends = tuple[int, bytes, int, bytes, int]


class Made(NamedTuple):
    """A parcel, and its packets by the filters that wanted them."""

    parcel: Parcel
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class ShardLimits:
    """Sizes of a parcel: packets, bytes of packets and messages, bytes of all of it encoded; records of flows."""

    packets: int = MAX_PACKETS
    bytes: int = MAX_BYTES
    parcel: int = MAX_PARCEL
    records: int = MAX_RECORDS


class Sharder:
    """Makes the parcels of one sensor process. `number` gives their order over all epochs (the spool's); `gather` the
    function that copies packets (`packhound.sensor.kernel.gatherer`). Set `clock_offset_ns` when it is measured.
    Raises BadName for a sensor that no subject can name, or shards out of range."""

    def __init__(
        self,
        *,
        sensor: str,
        epoch: int,
        shards: int = DEFAULT_SHARDS,
        cluster: str = "",
        number: Callable[[], int] | None = None,
        gather: Gather = gather_packets,
        config: DecodeConfig | None = None,
        limits: ShardLimits | None = None,
        compress: bool = True,
    ) -> None:
        if not is_name(sensor, limit=MAX_NODE) or not 0 < shards <= MAX_SHARDS:
            raise BadName(f"a sensor needs a printable name, a fleet 1 to {MAX_SHARDS} shards")
        self.clock_offset_ns = 0
        self._sensor, self._epoch, self._shards, self._cluster = sensor, epoch, shards, cluster
        self._number = number or count(1).__next__
        self._gather = gather
        self._limits = limits or ShardLimits()
        self._compress = compress
        self._decode = decoder(config or DecodeConfig())
        self._sequences: Counter[int] = Counter()
        self._flows: Recent[int, int] = Recent(KNOWN_FLOWS)
        self._calls: Recent[int, str] = Recent(KNOWN_FLOWS)
        self._elsewhere = crc32(sensor.encode()) % shards  # what belongs to no flow stays together

    def sequence(self, shard: int) -> int:
        """The last sequence that was given out in `shard`; 0 before the first."""
        return self._sequences[shard]

    # packets -----------------------------------------------------------------------------------------------------

    def batch(self, batch: Batch) -> list[Made]:
        """The parcels of a batch, in the order in which they are to be sent."""
        parts = pieces(
            batch, self._shards_of_rows(batch), max_packets=self._limits.packets, max_bytes=self._limits.bytes,
            loose=self._shards_of_loose(batch), gather=self._gather,
        )  # fmt: skip
        return [made for piece in parts for made in self._packets(piece, self._limits.bytes)]

    def _shards_of_rows(self, batch: Batch) -> npt.NDArray[np.int64]:
        serials, first, inverse = np.unique(batch.flow, return_index=True, return_inverse=True)
        named = serials.tolist()
        known = self._flows.of(named)
        for at, shard in enumerate(known):
            if shard is None:
                known[at] = self._shard_of_serial(named[at], batch, int(first[at]))
        shards = np.array(known, np.int64)[inverse]
        for packet, _, _, fact in batch.facts:
            call = fact.fields.get(_CALL_ID)
            if packet >= 0 and isinstance(call, str):
                shards[packet] = shard_of_call(call, self._shards)
        if batch.calls is not None:
            self._by_call(batch, batch.calls, shards)
        return shards

    def _by_call(self, batch: Batch, calls: npt.NDArray[Any], shards: npt.NDArray[np.int64]) -> None:
        named = calls.tolist()
        of_call = {call: shard_of_call(call, self._shards) for call in set(named) if call}
        for at, call in enumerate(named):
            if call:
                shards[at] = of_call[call]
        media = np.flatnonzero((batch.app == App.RTP) | (batch.app == App.RTCP))
        for serial, call in dict(zip(batch.flow[media].tolist(), calls[media].tolist(), strict=True)).items():
            if call:
                self._calls[serial] = call

    def _shard_of_serial(self, serial: int, batch: Batch, at: int) -> int:
        if not serial:
            return self._elsewhere
        ends = self._ends_of(batch, serial, at)
        shard = self._flows[serial] = self._elsewhere if ends is None else shard_of_flow(*ends, self._shards)
        return shard

    def _known(self, serial: int) -> int:
        shard = self._flows.get(serial)
        return self._elsewhere if shard is None else shard

    def _ends_of(self, batch: Batch, serial: int, at: int) -> Ends | None:
        """The ends of a flow out of its packets; without ports when no packet here has them (pieces of a datagram)."""
        ends, complete = self._look(batch, at)
        if complete:
            return ends
        for other in np.flatnonzero(batch.flow[at + 1 :] == serial)[:TRIES].tolist():
            better, complete = self._look(batch, at + 1 + other)
            ends = better or ends
            if complete:
                break
        return ends

    def _look(self, batch: Batch, at: int) -> tuple[Ends | None, bool]:
        interface: InterfaceLike = batch.interfaces[int(batch.iface[at])]
        return _ends(self._decode(batch.packet(at), interface.linktype))

    def _shards_of_loose(self, batch: Batch) -> dict[int, int]:
        """Shards of the messages whose packets went before, by position."""
        found = {}
        for at, (packet, serial, _, fact) in enumerate(batch.facts):
            if packet < 0:
                call = fact.fields.get(_CALL_ID)
                found[at] = (
                    shard_of_call(call, self._shards) if isinstance(call, str)
                    else self._known(serial)
                )  # fmt: skip
        return found

    def _packets(self, piece: Batch, max_bytes: int) -> Iterator[Made]:
        piece.sensor, piece.epoch, piece.cluster = self._sensor, self._epoch, self._cluster
        piece.clock_offset_ns = self.clock_offset_ns
        piece.sequence = self._sequences[piece.shard] + 1
        text = self._compress and len(piece) > 0 and set(np.unique(piece.app).tolist()) <= TEXT
        data = encode(piece, compress=text)
        if len(data) > self._limits.parcel:
            shards = np.full(len(piece), piece.shard)
            alone = dict.fromkeys(range(len(piece.facts)), piece.shard)
            halves = split(
                piece, shards, max_packets=max(1, len(piece) // 2), max_bytes=max_bytes // 2, loose=alone,
                gather=self._gather,
            )  # fmt: skip
            if len(halves) > 1:
                for half in halves:
                    yield from self._packets(half, max_bytes // 2)
                return
        self._sequences[piece.shard] += 1
        yield Made(
            Parcel(
                number=self._number(), kind=PACKETS, epoch=self._epoch, shard=piece.shard, sequence=piece.sequence,
                packets=len(piece), media=piece.media, data=data, traceparent=piece.traceparent,
            ),
            wanted_by(piece),
        )  # fmt: skip

    # flows -------------------------------------------------------------------------------------------------------

    def flows(
        self,
        records: npt.NDArray[Any],
        *,
        hosts: Mapping[int, str] | None = None,
        filters: Mapping[int, tuple[str, ...]] | None = None,
        calls: Mapping[int, str] | None = None,
        interfaces: Sequence[str] = (),
        plan: int = 0,
        traceparent: str = "",
    ) -> list[Made]:
        """The parcels of records of flows that ended (FLOW_DTYPE). Media goes to the shard of its call: as `calls`
        says, else as the batches said."""
        serials = records["serial"].tolist()
        named = {serial: call for serial in serials if (call := self._calls.get(serial))} | dict(calls or {})
        shards = np.array([self._shard_of_record(row, named) for row in records], np.int64)
        made: list[Made] = []
        for shard in np.unique(shards).tolist():
            chosen = records[shards == shard]
            for at in range(0, len(chosen), self._limits.records):
                part = FlowRecords(
                    chosen[at : at + self._limits.records], hosts=hosts or {}, filters=filters or {}, calls=named,
                    interfaces=interfaces, sensor=self._sensor, epoch=self._epoch, shard=shard, plan=plan,
                    cluster=self._cluster, clock_offset_ns=self.clock_offset_ns, traceparent=traceparent,
                )  # fmt: skip
                made += self._records(part)
        return made

    def _shard_of_record(self, row: Any, calls: Mapping[int, str]) -> int:
        serial = int(row["serial"])
        if serial in calls:
            return shard_of_call(calls[serial], self._shards)
        shard = self._flows.get(serial)
        if shard is not None:
            return shard
        proto = int(row["proto"])
        sport, dport = (int(row["sport"]), int(row["dport"])) if proto in _PORTED else (0, 0)
        return shard_of_flow(proto, row["src"].tobytes(), sport, row["dst"].tobytes(), dport, self._shards)

    def _records(self, part: FlowRecords) -> Iterator[Made]:
        held = part.records["serial"].tolist()
        part.hosts = {serial: part.hosts[serial] for serial in held if serial in part.hosts}
        part.filters = {serial: tuple(part.filters[serial]) for serial in held if serial in part.filters}
        part.calls = {serial: part.calls[serial] for serial in held if serial in part.calls}
        part.sequence = self._sequences[part.shard] + 1
        data = encode(part)
        if len(data) > self._limits.parcel and len(part) > 1:
            rows, half = part.records, len(part) // 2
            for records in (rows[:half], rows[half:]):
                yield from self._records(replace(part, records=records))
            return
        self._sequences[part.shard] += 1
        yield Made(
            Parcel(
                number=self._number(), kind=FLOWS, epoch=self._epoch, shard=part.shard, sequence=part.sequence,
                packets=0, media=False, data=data, traceparent=part.traceparent,
            ),
            {},
        )  # fmt: skip


def wanted_by(batch: Batch) -> dict[tuple[str, ...], int]:
    """Packets of a batch by the filters that wanted them."""
    numbers, counts = np.unique(batch.fset, return_counts=True)
    found: Counter[tuple[str, ...]] = Counter()
    for number, many in zip(numbers.tolist(), counts.tolist(), strict=True):
        found[batch.fsets[number]] += many
    return dict(found)


def decoder(config: DecodeConfig) -> Callable[[bytes, int], Any]:
    """The function that decodes a packet of a link type, compiled where it can be."""
    if kernel.available() != kernel.NATIVE:
        return lambda data, linktype: decode(data, linktype=linktype, config=config)
    from packhound.sensor.kernel._scan import decode_one

    return lambda data, linktype: SimpleNamespace(**decode_one(data, linktype, config))


def _ends(frame: Any) -> tuple[Ends | None, bool]:
    """The ends of a packet, None when it is not IP; whether there is no more to know of them."""
    if not frame.ip_version:
        return None, False
    if frame.proto not in _PORTED or not frame.l4:
        return (frame.proto, frame.src, 0, frame.dst, 0), frame.proto not in _PORTED
    return (frame.proto, frame.src, frame.sport, frame.dst, frame.dport), True
