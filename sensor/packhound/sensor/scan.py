"""The engine of one worker: walk blocks with the kernel, judge what it hands over, ship what is wanted.

Promise: packets are judged one after the other, in capture order, so results never depend on where blocks end or
which kernel runs. Every packet seen ends as matched, unmatched, sampled out or shed; what is still kept back is
counted as held. One thread; plans are swapped between two blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from packhound.fleet.watches import News
from packhound.net.facts import Fact, Value
from packhound.net.fragments import Reassembler
from packhound.net.frame import DecodeConfig
from packhound.sensor.batcher import Batcher
from packhound.sensor.dissection import Dissection
from packhound.sensor.fragmented import Fragmented
from packhound.sensor.header import header_fields
from packhound.sensor.kept import Keep, Kept
from packhound.sensor.kernel.events import (
    DISSECT,
    F_HOLD,
    F_QUIET,
    F_STREAM,
    FORWARD,
    FRAGMENT,
    MARK,
    NEW,
    UNHOLD,
    WATCH,
    WHOLE,
    YIELDS,
)
from packhound.sensor.ship import Shipping
from packhound.sensor.tap.frames import Block, Interface
from packhound.sensor.verdicts import Verdicts
from packhound.wire.beats import MediaWatch

SECOND = 1_000_000_000
TIDY_PACKETS = 4096


@dataclass(frozen=True, slots=True)
class Message:
    """A dissected message as `inspect` shows it: capture number, time (ns) and interface index of the packet that
    completed it, its flow, the header fields of that packet, and the fact."""

    number: int
    ts: int
    iface: int
    flow: int
    header: Mapping[str, Value]
    fact: Fact


@dataclass(frozen=True, slots=True)
class KeepLimits:
    """How much is kept back for flows and calls that are undecided: per flow, per call and in all (bytes)."""

    flow_bytes: int = 16 * 1024
    flow_packets: int = 32
    call_bytes: int = 256 * 1024
    call_packets: int = 256
    total_bytes: int = 64 * 1024 * 1024


class Engine:
    """Joins kernel, dissection, verdicts and shipping for one worker."""

    def __init__(
        self,
        kernel: Any,
        *,
        interfaces: Sequence[Interface],
        batcher: Batcher,
        verdicts: Verdicts,
        on_flows: Callable[[npt.NDArray[Any], dict[int, str], dict[int, tuple[str, ...]]], None],
        on_message: Callable[[Message], None] | None = None,
        limits: KeepLimits | None = None,
        config: DecodeConfig | None = None,
    ) -> None:
        limits = limits or KeepLimits()
        self._kernel = kernel
        self._interfaces = interfaces
        self._verdicts = verdicts
        self._ship = Shipping(kernel, batcher=batcher, interfaces=interfaces, verdicts=verdicts, config=config)
        self._on_flows, self._on_message = on_flows, on_message
        self._dissection = Dissection()
        kernel.set_hold_limits(limits.flow_packets, limits.flow_bytes, limits.total_bytes)
        self._messages: dict[int, dict[int, list[Fact]]] = {}
        self._by_call = Keep(
            pile_bytes=limits.call_bytes, pile_packets=limits.call_packets, total_bytes=limits.total_bytes
        )
        self._fragmented = Fragmented(Reassembler(), config=config)
        self._tidied = 0
        self._now = 0

    # one block -------------------------------------------------------------------------------------------------

    def process(self, block: Block) -> None:
        """Judge every packet of `block`; when this returns, nothing refers to its memory any more."""
        for start, stop in self._parts(block):
            self._walk(block if stop - start == len(block) else block.part(start, stop))

    def _parts(self, block: Block) -> Iterator[tuple[int, int]]:
        """Cut `block` where it is time to tidy, and tidy there: that depends on packet times and numbers alone."""
        start, count = 0, len(block)
        while start < count:
            room = -(block.first_number + start) % TIDY_PACKETS or TIDY_PACKETS
            times = block.ts[start : start + room]
            if room == TIDY_PACKETS or times[0] - self._tidied >= SECOND:
                self.tidy(int(times[0]))
            late = times - self._tidied >= SECOND
            at = int(late.argmax())
            stop = start + (at if at else len(times))
            yield start, stop
            start = stop

    def _walk(self, block: Block) -> None:
        start, count = 0, len(block)
        while start < count:
            events, start = self._kernel.scan(block, start)
            if len(events):
                self._carry_out(block, events)

    def _carry_out(self, block: Block, events: npt.NDArray[Any]) -> None:
        special = np.flatnonzero(events["flags"] != FORWARD)
        at = 0
        for stop in special.tolist():
            if stop > at:
                self._ship.rows(block, events[at:stop])
            self._one(block, events, stop)
            at = stop + 1
        if at < len(events):
            self._ship.rows(block, events[at:])

    def _one(self, block: Block, events: npt.NDArray[Any], at: int) -> None:
        event = events[at]
        flags = int(event["flags"])
        if flags & FRAGMENT:
            self._fragment(self._lift(block, event))
        elif flags & YIELDS and event["slot"] < 0:
            self._no_flow(event, self._lift(block, event))
        elif flags & YIELDS:
            self._decide(event, [self._lift(block, event)], None)
        elif flags & UNHOLD:
            self._let_go(event, self._row(event))
            if flags & FORWARD:
                self._ship.rows(block, events[at : at + 1])

    def _lift(self, block: Block, event: Any) -> Kept:
        """Copy one packet out of its block."""
        i = int(event["pkt"])
        return Kept(
            int(block.ts[i]), int(block.wirelen[i]), int(block.iface[i]), block.first_number + i, block.packet(i),
            int(event["flow"]), int(event["dir"]), int(event["app"]), int(event["payload"]),
        )  # fmt: skip

    def _row(self, event: Any) -> Any:
        return self._kernel.flow(int(event["slot"]))

    # one packet that needs a decision --------------------------------------------------------------------------

    def _fragment(self, piece: Kept) -> None:
        whole, pieces = self._fragmented.add(piece, linktype=self._interfaces[piece.iface].linktype)
        if whole is None:
            self._ship.loose(pieces)
            return
        last = pieces[-1]
        events = self._kernel.scan_one(
            whole, linktype=self._fragmented.linktype, wirelen=last.wirelen, ts=last.ts, iface=last.iface
        )
        if events is None:
            self._ship.loose(pieces)
            return
        for each in pieces:
            each.flow, each.direction = int(events[0]["flow"]), int(events[0]["dir"])
            each.app, each.payload = int(events[0]["app"]), 0
        self._decide(events[0], pieces, whole)

    def _no_flow(self, event: Any, packet: Kept) -> None:
        """Dissect a frame that belongs to no flow (ARP); only filters without a match tree can want it."""
        self._now = packet.ts
        facts = self._dissection.frame(int(event["app"]), packet.data[packet.payload :])
        if self._on_message is not None:
            for fact in facts:
                self._on_message(Message(packet.number, packet.ts, packet.iface, 0, {}, fact))
        self._ship.loose([packet])

    def _decide(self, event: Any, pieces: list[Kept], whole: bytes | None) -> None:
        """Settle the fate of one packet (or the pieces of one datagram) that the kernel stopped at."""
        flags, row, last = int(event["flags"]), self._row(event), pieces[-1]
        self._now = last.ts
        if flags & UNHOLD:
            self._let_go(event, row)
        facts = []
        if flags & DISSECT:
            facts = last.facts = self._dissect(event, row, last, whole)
            row = self._row(event)
        verdicts = self._verdicts
        if not verdicts.active:
            self._ship.fate(pieces, 0, sampled=False)
            return
        change = verdicts.flow(event, row, facts, judge=bool(flags & (NEW | MARK | DISSECT)))
        if flags & WATCH:
            change |= verdicts.media(event, row)
        calls = verdicts.calls_of(event, row, facts, now=last.ts)
        for call in calls.newly_wanted:
            self._release_call(call)
        if change:
            row = self._row(event)
            if not row["flags"] & F_HOLD:
                self._let_go(event, row)
        self._settle(event, row, pieces, calls)

    def _settle(self, event: Any, row: Any, pieces: list[Kept], calls: Any) -> None:
        fset = self._verdicts.packet_set(event, row, pieces[-1].facts, calls)
        for each in pieces:
            each.call = calls.call_id or self._verdicts.flow_calls.get(each.flow, "")
        if calls.undecided and not calls.wanted:
            for each in pieces:
                each.base = fset
                if not self._by_call.add(calls.call_id, each):
                    self._ship.fate([each], fset, sampled=False)
            self._drop_given_up()
        elif row["flags"] & F_HOLD and not calls.call_id and not fset:
            for each in pieces:
                self._hold_flow(event, each)
        else:
            self._ship.fate(pieces, fset, sampled=self._verdicts.is_sampled(row, calls))

    def _dissect(self, event: Any, row: Any, packet: Kept, whole: bytes | None) -> list[Fact]:
        data = packet.data if whole is None else whole
        stop = int(event["payload"]) + int(event["payload_len"])
        payload = data[int(event["l4" if event["proto"] in WHOLE else "payload"]) : stop]
        facts, done = self._dissection.feed(
            row, event, payload, size=int(event["payload_wire"]), now=packet.ts, number=packet.number,
            iface=packet.iface,
        )  # fmt: skip
        set_flags = F_QUIET if done else 0 if row["flags"] & F_STREAM or not row["app"] else F_STREAM
        if set_flags:
            self._kernel.set_flow(int(event["slot"]), int(event["flow"]), set_flags=set_flags)
        if facts:
            self._verdicts.name(int(event["flow"]), facts)
            if self._on_message is not None:
                header = header_fields(row, int(event["dir"]))
                for fact in facts:
                    self._on_message(Message(packet.number, packet.ts, packet.iface, int(event["flow"]), header, fact))
        return facts

    # what is kept back -----------------------------------------------------------------------------------------

    def _hold_flow(self, event: Any, packet: Kept) -> None:
        slot, serial = int(event["slot"]), int(event["flow"])
        row = (
            packet.ts, packet.wirelen, packet.iface, packet.number, packet.data, serial, packet.direction, packet.app,
            packet.payload,
        )  # fmt: skip
        if self._kernel.hold(slot, serial, row):
            if packet.facts:
                self._messages.setdefault(serial, {})[packet.number] = packet.facts
            return
        self._kernel.set_flow(slot, serial, clear_flags=F_HOLD)
        self._let_go(event, self._row(event))
        self._ship.fate([packet], 0, sampled=False)

    def _let_go(self, event: Any, row: Any) -> None:
        """Ship or drop what is kept of a flow, by its verdict now."""
        slot, serial = int(event["slot"]), int(event["flow"])
        fsets = int(row["fset"][0]), int(row["fset"][1])
        if any(fsets) or self._verdicts.is_sampled(row, None):
            self._ship_rows(self._kernel.take_held(slot, serial), fsets, sampled=self._verdicts.is_sampled(row, None))
        else:
            self._kernel.drop_held(slot, serial)
        self._messages.pop(serial, None)

    def _ship_rows(self, rows: list[Any], fsets: tuple[int, int], *, sampled: bool) -> None:
        for row in rows:
            packet = Kept(*row)
            packet.facts = self._messages.get(packet.flow, {}).get(packet.number, [])
            packet.call = self._verdicts.flow_calls.get(packet.flow, "")
            fset = self._verdicts.recent(fsets[packet.direction & 1], self._now - packet.ts)
            self._ship.fate([packet], fset, sampled=sampled)

    def _release_call(self, call: Any) -> None:
        """Ship what is kept of a call that has become wanted: signalling, then its media flows."""
        fset = self._verdicts.intern(call.wanted)
        for packet in self._by_call.take(call.call_id):
            recent = self._verdicts.recent(fset, self._now - packet.ts)
            self._ship.fate([packet], self._verdicts.union(packet.base, recent), sampled=False)
        for serial, slot in list(call.flows.items()):
            if self._verdicts.apply_media(slot, serial):
                self._let_go({"slot": slot, "flow": serial}, self._kernel.flow(slot))

    def heard(self, watch: MediaWatch, news: News) -> None:
        """Take in what another sensor tells of a call, between two blocks."""
        call = self._verdicts.heard(watch, news, now=max(self._now, self._tidied))
        if call is not None:
            self._release_call(call)

    def _drop_given_up(self) -> None:
        for packet in self._by_call.released():
            self._ship.fate([packet], packet.base, sampled=False)
        for one, other, rows in self._kernel.given_up():
            self._ship_rows(rows, (one, other), sampled=False)

    # time ------------------------------------------------------------------------------------------------------

    def tidy(self, now: int) -> None:
        """Take ended flows out; once a second of packet time, give up what waited too long."""
        self._flows_out()
        if now - self._tidied < SECOND:
            return
        self._tidied = now
        self._kernel.age_held(now - self._verdicts.keep_age)
        self._by_call.age(now - self._verdicts.keep_age)
        self._drop_given_up()
        self._ship.loose(self._fragmented.overdue(now))
        for call in self._verdicts.calls_over(now):
            self._end_call(call)

    def idle(self, now: int | None) -> None:
        """Nothing to read for now: let time pass for flows, keeps and the open batch until `now` (ns, the clock of a
        live wire); None: time stands still, what is ready goes out."""
        if now is None:
            self._flows_out()
            self._ship.flush()
            return
        self._kernel.expire(now)
        self.tidy(now)
        self._ship.tick(now)

    def _end_call(self, call: Any) -> None:
        for packet in self._by_call.take(call.call_id):
            self._ship.fate([packet], packet.base, sampled=call.sampled_out)

    def _flows_out(self) -> None:
        ended = self._kernel.drain()
        if not len(ended):
            return
        self._late(ended)
        wanted_rows = ended["fset"].any(axis=1)
        for record in ended[wanted_rows]:
            self._let_go({"slot": int(record["slot"]), "flow": int(record["serial"])}, record)
        unwanted = ended[~wanted_rows]
        for record, fset in self._verdicts.last_words(unwanted):
            rows = self._kernel.take_held(int(record["slot"]), int(record["serial"]))
            self._ship_rows(rows, (fset, fset), sampled=False)
        self._kernel.drop_ended(unwanted["slot"], unwanted["serial"])
        serials = ended["serial"].tolist()
        self._dissection.forget(serials)
        if self._messages:
            for serial in serials:
                self._messages.pop(serial, None)
        hosts, wanted = self._verdicts.forget(serials)
        self._ship.flush()  # a flow's record comes after its last packet
        self._on_flows(ended, hosts, wanted)

    def _late(self, ended: npt.NDArray[Any]) -> None:
        """Dissect what ended flows still hold behind a gap; it can decide a flow, and speak of a call."""
        for at, serial in enumerate(ended["serial"].tolist()):
            for late in self._dissection.finish(serial):
                record = ended[at]
                self._verdicts.name(serial, late.facts)
                if self._on_message is not None:
                    header = header_fields(record, late.direction)
                    for fact in late.facts:
                        self._on_message(Message(late.number, late.ts, late.iface, serial, header, fact))
                if self._verdicts.active:
                    self._verdicts.learn(serial, late.facts)
                    calls = self._verdicts.calls_of({"dir": late.direction}, record, late.facts, now=late.ts)
                    for call in calls.newly_wanted:
                        self._release_call(call)

    def set_plan(self, swap: Callable[[], None]) -> None:
        """Swap the plan: `swap` hands the new one to the verdicts and the kernel; calls are judged anew at once,
        flows at their next packet. What is kept back goes on under the new plan's numbers."""
        self._flows_out()
        swap()
        self._by_call.rebase(self._verdicts.base)
        for call in self._verdicts.replan_calls():
            self._release_call(call)

    def close(self) -> None:
        """End every flow and call; decide everything that is still kept."""
        self._kernel.flush()
        self._flows_out()
        for call in self._verdicts.all_calls():
            self._end_call(call)
        self._ship.loose(self._fragmented.overdue(None))
        self._by_call.age(1 << 62)
        self._drop_given_up()
        self._ship.flush()

    def counters(self) -> dict[str, int]:
        """Packets by fate, the kernel's counts and ours added up; `held` is what is kept back right now."""
        kernel = self._kernel.counters()
        ship = self._ship.counts
        held = kernel["holding"] + self._by_call.packets + self._fragmented.packets
        return {
            **kernel,
            "matched": ship["matched"],
            "unmatched": kernel["unmatched"] + ship["unmatched"],
            "sampled_out": kernel["sampled_out"] + ship["sampled_out"],
            "shed": ship["shed"],
            "held": held,
        }

    @property
    def malformed(self) -> dict[str, int]:
        """Messages that could not be read, by reason."""
        return dict(self._dissection.malformed)

    @property
    def streams(self) -> dict[str, int]:
        """What became of TCP segments that were dissected (`Dissection.streams`)."""
        return self._dissection.streams

    @property
    def messages(self) -> dict[str, int]:
        """Messages read, by kind."""
        return dict(self._dissection.messages)
