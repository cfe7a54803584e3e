"""The kernel in plain Python: the specification that the native one is tested against.

Promise: same events, flows and counters as `_scan`, packet by packet. It is slow and it is always there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from packhound.net.detect import App, Verdict, detect, refine
from packhound.net.flowtable import FlowTable
from packhound.net.frame import DecodeConfig, Frame, Status, decode
from packhound.net.timeouts import DEFAULT, Timeouts
from packhound.rules import bpf
from packhound.sensor.kernel.copies import Copies
from packhound.sensor.kernel.events import (
    DISSECT,
    EVENT_DTYPE,
    F_DETECT_DONE,
    F_EVER_WANTED,
    F_HOLD,
    F_MEDIA,
    F_QUIET,
    F_REFINED,
    F_SAMPLED,
    F_STREAM,
    F_WATCHED,
    FORWARD,
    FRAGMENT,
    MARK,
    NEW,
    REFINED_MORE,
    UNHOLD,
    WATCH,
    WHOLE,
    YIELDS,
)
from packhound.sensor.kernel.holding import Hold, Row
from packhound.sensor.kernel.messages import is_early, starts_message, torn
from packhound.sensor.kernel.tables import ALWAYS, HeaderSets, InterfacePrograms, KernelTables
from packhound.sensor.tap.frames import Block

UDP = 17
GIVE_UP_AFTER = 8  # payload packets of a flow without a verdict
COUNTERS = (
    "seen", "seen_bytes", "rejected", "forwarded", "held", "unmatched", "sampled_out",
    "duplicate_capture", "yielded",
    "ok", "not_ip", "truncated", "malformed", "fragments", "unsupported",
)
_BY_STATUS = {
    Status.OK: "ok", Status.NOT_IP: "not_ip", Status.TRUNCATED: "truncated",
    Status.MALFORMED: "malformed", Status.FRAGMENT: "fragments", Status.UNSUPPORTED: "unsupported",
}


def touches(f: Frame, sets: HeaderSets) -> bool:
    """Tell whether anything of the packet's header is mentioned by a header leaf of the plan."""
    if sets.always or sets.protos[f.proto] or sets.vlans[f.vlan & 0xFFF]:
        return True
    if sets.ports[f.sport] or sets.ports[f.dport]:
        return True
    return _in_ranges(f.src, f.ip_version, sets) or _in_ranges(f.dst, f.ip_version, sets)


def _in_ranges(address: bytes, version: int, sets: HeaderSets) -> bool:
    if version == 6:
        if any(bytes(low) <= address <= bytes(high) for low, high in sets.v6):
            return True
        if address[:12] != b"\0" * 10 + b"\xff\xff":
            return False
        address = address[12:16]
    number = int.from_bytes(address[:4], "big")
    return any(low <= number <= high for low, high in sets.v4.tolist())


class PortableKernel:
    """One worker's engine: decode, flow table, detection, prefilter, verdicts."""

    native = False

    def __init__(
        self,
        *,
        capacity: int = 65536,
        timeouts: Timeouts = DEFAULT,
        config: DecodeConfig | None = None,
    ) -> None:
        self._config = config or DecodeConfig()
        self._table = FlowTable(capacity=capacity, timeouts=timeouts)
        self._tables = KernelTables()
        self._epoch = 1
        self._slot_epoch: dict[int, tuple[int, int]] = {}
        self._slot_watch: dict[int, int] = {}
        self._watch_version = 0
        self._watches: set[tuple[int, bytes, int]] = set()
        self._programs: list[InterfacePrograms] = []
        self._need: list[int] = [0]
        self._free: list[int] = [0]
        self._count = dict.fromkeys(COUNTERS, 0)
        self._first_number = 1
        self._hold = Hold(self._fset_of)
        self._copies = Copies()

    # plan and interfaces -------------------------------------------------------------------------------------

    def load(self, tables: KernelTables) -> None:
        """Swap the plan; every live flow is judged anew at its next packet."""
        self._tables = tables
        self._epoch += 1
        self._need, self._free = [0], [0]
        self._table.reset_fsets(tables.base_fset)

    def set_interfaces(self, programs: Sequence[InterfacePrograms]) -> None:
        """Link type and pcap programs of each interface, in the tap's order."""
        self._programs = list(programs)

    def define_fset(self, number: int, *, need: int, free: bool) -> None:
        """Say of filter set `number` (dense, from 1) which programs its filters need and whether one needs none."""
        while len(self._need) <= number:
            self._need.append(0)
            self._free.append(0)
        self._need[number], self._free[number] = need, int(free)

    def watch(self, version: int, address: bytes, port: int) -> None:
        """Watch a media endpoint: flows with this end yield WATCH once."""
        self._watches.add((version, address, port))
        self._watch_version += 1

    def unwatch(self, version: int, address: bytes, port: int) -> None:
        """Stop watching; flows already found keep their verdict."""
        self._watches.discard((version, address, port))

    def set_copies(self, window: int) -> None:
        """Count a packet once that comes over several interfaces within `window` ns; 0: every time."""
        self._copies.set(window)

    # the walk --------------------------------------------------------------------------------------------------

    def scan(self, block: Block, start: int) -> tuple[npt.NDArray[Any], int]:
        """Walk `block` from packet `start`; return the events and the index to go on from (n: block done)."""
        rows: list[tuple[Any, ...]] = []
        data = memoryview(block.data)
        n = len(block.offset)
        index = start
        self._first_number = block.first_number
        while index < n:
            at = int(block.offset[index])
            packet = data[at : at + int(block.caplen[index])]
            iface = int(block.iface[index])
            row = self._packet(packet, int(block.wirelen[index]), int(block.ts[index]), iface, index)
            index += 1
            if row is not None:
                rows.append(row)
                if row[10] & YIELDS:
                    break
        return np.array(rows, EVENT_DTYPE), index

    def scan_one(self, packet: bytes, *, linktype: int, wirelen: int, ts: int, iface: int) -> npt.NDArray[Any] | None:
        """Judge one reassembled datagram; its event (also when nothing wants it), None when it is no flow."""
        f = decode(packet, linktype=linktype, config=self._config)
        if not f.l4 or f.status == Status.FRAGMENT:
            return None
        row = self._flow(f, memoryview(packet), wirelen, ts, iface, 0, None)
        return np.array([row], EVENT_DTYPE)

    def _packet(self, packet: memoryview, wirelen: int, ts: int, iface: int, index: int) -> tuple[Any, ...] | None:
        programs = self._programs[iface]
        if programs.capture is not None and not bpf.run(programs.capture, bytes(packet), wirelen):
            self._count["rejected"] += 1
            return None
        self._count["seen"] += 1
        self._count["seen_bytes"] += wirelen
        f = decode(packet, linktype=programs.linktype, config=self._config)
        self._count[_BY_STATUS[Status(f.status)]] += 1
        if self._copies.window and self._copies.seen(f, packet, ts=ts, iface=iface):
            self._count["duplicate_capture"] += 1
            return None
        if f.status == Status.FRAGMENT:
            self._count["yielded"] += 1
            return _event(f, index, FRAGMENT)
        if f.l4:
            f.payload_wire = min(f.payload_wire, max(0, wirelen - f.payload))
            row = self._flow(f, packet, wirelen, ts, iface, index, programs)
            return row if row[10] else None
        if f.status == Status.NOT_IP and f.l3 and self._tables.mode[App.ARP]:
            self._count["yielded"] += 1
            f.payload, f.payload_len = f.l3, len(packet) - f.l3
            f.payload_wire = f.payload_len
            return _event(f, index, DISSECT, app=App.ARP)
        wanted, mask = self._passes(self._tables.base_fset, packet, wirelen, programs)
        if wanted:
            self._count["forwarded"] += 1
            return _event(f, index, FORWARD, fset=self._tables.base_fset, mask=mask)
        self._count["unmatched"] += 1
        return None

    def _flow(
        self, f: Frame, packet: memoryview, wirelen: int, ts: int, iface: int, index: int,
        programs: InterfacePrograms | None,
    ) -> tuple[Any, ...]:
        slot, direction, is_new = self._table.update(f, wirelen=wirelen, ts=ts, iface=iface)
        row = self._table.row(slot)
        serial = int(row["serial"])
        flags = self._judge_new(f, slot, row, serial)
        flags |= self._judge_watch(f, slot, row, is_new)
        if f.payload_len or f.proto in WHOLE:
            flags |= self._judge_payload(f, packet, direction, slot, row)
        flags |= self._judge_marks(row, wirelen)
        fset, mask = int(row["fset"][direction]), 0
        if flags & YIELDS or programs is None:
            self._count["yielded"] += programs is not None
        elif row["flags"] & F_HOLD and self._hold.add(slot, serial, (
            ts, wirelen, iface, self._first_number + index, bytes(packet), serial, direction, int(row["app"]), f.payload
        ), media=bool(row["flags"] & F_MEDIA)):  # fmt: skip
            self._count["held"] += 1
        else:
            flags |= self._unhold(slot, row)
            wanted, mask = self._passes(fset, packet, wirelen, programs)
            if wanted:
                self._count["forwarded"] += 1
                flags |= FORWARD
            elif row["flags"] & F_SAMPLED:
                self._count["sampled_out"] += 1
            else:
                self._count["unmatched"] += 1
        return _event(
            f, index, flags, slot=slot, serial=serial, direction=direction, app=int(row["app"]), fset=fset, mask=mask
        )

    def _judge_new(self, f: Frame, slot: int, row: Any, serial: int) -> int:
        if self._slot_epoch.get(slot) == (self._epoch, serial):
            return 0
        known = self._slot_epoch.get(slot, (0, 0))[1] == serial
        self._slot_epoch[slot] = (self._epoch, serial)
        tables = self._tables
        row["fset"][:] = tables.base_fset
        flags = int(row["flags"]) & ~F_SAMPLED
        if not known:
            self._slot_watch.pop(slot, None)
            if tables.hold[0]:
                flags |= F_HOLD
        row["flags"] = flags
        wanted_before = known and flags & F_EVER_WANTED
        return NEW if wanted_before or touches(f, tables.headers) else 0

    def _judge_watch(self, f: Frame, slot: int, row: Any, is_new: bool) -> int:
        if f.proto != UDP or self._slot_watch.get(slot, 0) == self._watch_version:
            return 0
        self._slot_watch[slot] = self._watch_version
        if row["flags"] & F_WATCHED:
            return 0
        version = f.ip_version
        ends = ((version, f.src, f.sport), (version, f.dst, f.dport))
        return WATCH if any(end in self._watches for end in ends) else 0

    def _judge_payload(self, f: Frame, packet: memoryview, direction: int, slot: int, row: Any) -> int:
        flags = 0
        start = f.l4 if f.proto in WHOLE else f.payload
        payload = bytes(packet[start : f.payload + f.payload_len])
        if not row["app"] and not row["flags"] & F_DETECT_DONE:
            flags |= self._detect(f, payload, direction, slot, row)
            if not row["flags"] & F_DETECT_DONE:
                return flags | (DISSECT if self._tables.dissects and is_early(f, direction, row) else 0)
        elif row["app"] == App.STUN:
            flags |= self._refine(f, payload, direction, slot, row)
        app, tables = int(row["app"]), self._tables
        mode = tables.mode[app]
        limit = int(tables.limits[app]) + (REFINED_MORE if row["flags"] & F_REFINED else 0)
        if not mode or not app or row["flags"] & F_QUIET or row["payload_packets"][direction] > limit:
            return flags
        if app == App.QUIC and not starts_message(app, payload):
            return flags
        if mode == ALWAYS or row["flags"] & F_STREAM:
            return flags | DISSECT
        if not starts_message(app, payload):
            return flags
        if torn(app, payload, f.proto) or tables.literals[app].hit(payload):
            return flags | DISSECT
        # a whole ClientHello without a literal; a ServerHello seen first (packets out of order) decides nothing
        if tables.first_only[app] and payload[5] == 1:
            row["flags"] |= F_QUIET
            flags |= self._unhold(slot, row)
        return flags

    def _detect(self, f: Frame, payload: bytes, direction: int, slot: int, row: Any) -> int:
        scratch = [int(x) for x in row["scratch"]]
        packets = int(row["payload_packets"][0] + row["payload_packets"][1])
        verdict = detect(
            payload, proto=f.proto, sport=f.sport, dport=f.dport, direction=direction, scratch=scratch,
            payload_packets=packets,
        )
        row["scratch"][:] = scratch
        if verdict.app != App.UNKNOWN:
            row["flags"] |= F_DETECT_DONE
            return self._found(verdict, slot, row)
        if packets >= GIVE_UP_AFTER:
            row["flags"] |= F_DETECT_DONE
            return NEW if self._tables.on_detect else 0 if self._tables.hold_unknown else self._unhold(slot, row)
        return 0

    def _refine(self, f: Frame, payload: bytes, direction: int, slot: int, row: Any) -> int:
        scratch = [int(x) for x in row["scratch"]]
        verdict = refine(
            payload, app=App.STUN, proto=f.proto, sport=f.sport, dport=f.dport, direction=direction, scratch=scratch
        )
        row["scratch"][:] = scratch
        if verdict.app == App.UNKNOWN:
            return 0
        row["flags"] |= F_REFINED
        return self._found(verdict, slot, row)

    def _found(self, verdict: Verdict, slot: int, row: Any) -> int:
        row["app"], row["confidence"], row["method"] = verdict.app, verdict.confidence, verdict.method
        if self._tables.on_detect:
            return NEW
        return 0 if self._tables.hold[int(verdict.app)] else self._unhold(slot, row)

    def _unhold(self, slot: int, row: Any) -> int:
        if not row["flags"] & F_HOLD:
            return 0
        row["flags"] = int(row["flags"]) & ~F_HOLD
        if row["fset"].any():
            return UNHOLD
        self._hold.drop(slot, int(row["serial"]))
        return 0

    def _fset_of(self, slot: int, serial: int) -> tuple[int, int] | None:
        row = self._table.row(slot)
        return (int(row["fset"][0]), int(row["fset"][1])) if int(row["serial"]) == serial else None

    def _judge_marks(self, row: Any, wirelen: int) -> int:
        marks = self._tables.marks
        if not len(marks):
            return 0
        total = int(row["bytes"][0] + row["bytes"][1])
        crossed = bisect_right(marks, total) != bisect_right(marks, total - wirelen)
        return MARK if crossed else 0

    def _passes(self, fset: int, packet: memoryview, wirelen: int, programs: InterfacePrograms) -> tuple[bool, int]:
        if not fset:
            return False, 0
        mask = self._mask(self._need[fset], packet, wirelen, programs)
        return bool(self._free[fset] or mask), mask

    def _mask(self, need: int, packet: memoryview, wirelen: int, programs: InterfacePrograms) -> int:
        mask = 0
        for number, program in enumerate(programs.filters):
            if need >> number & 1 and bpf.run(program, bytes(packet), wirelen):
                mask |= 1 << number
        return mask

    # packets kept back --------------------------------------------------------------------------------------------

    def set_hold_limits(self, pile_packets: int, pile_bytes: int, total_bytes: int) -> None:
        """Most packets and bytes kept back of one flow, and bytes in all."""
        self._hold.pile_packets, self._hold.pile_bytes, self._hold.total_bytes = pile_packets, pile_bytes, total_bytes

    def hold(self, slot: int, serial: int, row: Row) -> bool:
        """Keep a packet back with its flow; False when the pile is full."""
        media = bool(self._table.row(slot)["flags"] & F_MEDIA)
        return self._fset_of(slot, serial) is not None and self._hold.add(slot, serial, row, media=media)

    def take_held(self, slot: int, serial: int) -> list[Row]:
        """Take the packets kept back of a flow (also of one that has ended), in order."""
        return self._hold.take(slot, serial)

    def drop_held(self, slot: int, serial: int) -> int:
        """Let go of the packets kept back of a flow; how many."""
        return self._hold.drop(slot, serial)

    def drop_ended(self, slots: npt.NDArray[Any], serials: npt.NDArray[Any]) -> None:
        """Let go of the packets kept back of flows that have ended unwanted."""
        for slot, serial in zip(slots.tolist(), serials.tolist(), strict=True):
            self._hold.drop(slot, serial)

    def age_held(self, before: int) -> None:
        """Drop packets kept back that are older than packet time `before` (ns)."""
        self._hold.age(before)

    def given_up(self) -> list[tuple[int, int, list[Row]]]:
        """Piles of wanted flows that had to go since the last call."""
        return self._hold.given_up()

    # flows -------------------------------------------------------------------------------------------------------

    def pcap_mask(self, iface: int, packet: bytes, wirelen: int) -> int:
        """Which of the plan's pcap programs the packet passes, as bits."""
        programs = self._programs[iface]
        return self._mask((1 << len(programs.filters)) - 1, memoryview(packet), wirelen, programs)

    def flow(self, slot: int) -> Any:
        """A copy of the flow in `slot` (FLOW_DTYPE)."""
        return self._table.row(slot).copy()

    def set_flow(
        self, slot: int, serial: int, *, fset: tuple[int, int] | None = None, set_flags: int = 0,
        clear_flags: int = 0, app: int = 0, method: int = 0,
    ) -> bool:
        """Write a verdict into a live flow; False when that flow is gone."""
        row = self._table.row(slot)
        if int(row["serial"]) != serial:
            return False
        if fset is not None:
            row["fset"][:] = fset
            if any(fset):
                set_flags |= F_EVER_WANTED
        row["flags"] = (int(row["flags"]) | set_flags) & ~clear_flags
        if app:
            row["app"], row["method"], row["confidence"] = app, method, 100
            row["flags"] |= F_DETECT_DONE
        self._table.changed(slot)
        return True

    def expire(self, now: int) -> None:
        """End flows idle at packet time `now` (ns)."""
        self._table.expire(now)

    def drain(self) -> npt.NDArray[Any]:
        """Flows ended since the last call, in the order they ended."""
        return self._table.drain()

    def flush(self) -> None:
        """End every flow: shutdown."""
        self._table.flush()

    def counters(self) -> dict[str, int]:
        """Counters since the start, by name (`COUNTERS`, and the flow table's)."""
        hold = self._hold
        unmatched = self._count["unmatched"] + hold.dropped
        return {**self._count, "unmatched": unmatched, "holding": hold.holding, **self._table.counters}


def _event(
    f: Frame, index: int, flags: int, *, slot: int = -1, serial: int = 0, direction: int = 255, app: int = 0,
    fset: int = 0, mask: int = 0,
) -> tuple[Any, ...]:
    return (
        serial, mask, index, slot, fset, f.l4, f.payload, f.payload_len, f.payload_wire, f.seq, flags, direction, app,
        f.proto, f.tcp_flags, 0,
    )
