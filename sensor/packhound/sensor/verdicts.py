"""Who wants what: the verdicts on flows, calls and packets under the plan in force.

Promise: everything a filter can say is decided here, from header fields, dissected messages and flow totals; the
kernel only carries the answer out. Pure but for writing verdicts into the kernel's flow table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from packhound.fleet.watches import News
from packhound.net.detect import App, name_of
from packhound.net.facts import Fact, Value
from packhound.net.frame import Frame
from packhound.rules.guard import Guards
from packhound.rules.latch import Latch, Matcher
from packhound.rules.plan import HuntPlan, leaves
from packhound.sensor.budget import Budgets
from packhound.sensor.calls import Call, CallBoard, Endpoint
from packhound.sensor.farcalls import FarCalls
from packhound.sensor.filtersets import FilterSets
from packhound.sensor.header import header_fields
from packhound.sensor.kernel.events import F_DETECT_DONE, F_HOLD, F_MEDIA, F_QUIET, F_SAMPLED, F_WATCHED
from packhound.wire.beats import MediaWatch

KNOWN_MAX = 32
METHOD_EXPECTED = 3
HOST_FIELDS = ("tls.sni", "http.host", "dns.qname")
NOBODY: frozenset[int] = frozenset()


@dataclass(slots=True)
class _Flow:
    latch: Latch
    epoch: int
    wanted: frozenset[int] = NOBODY
    sampled_out: bool = False
    by_packet: tuple[frozenset[int], frozenset[int]] = (NOBODY, NOBODY)
    app: int = 0
    known: list[Mapping[str, Value]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    ever: set[str] = field(default_factory=set)


@dataclass(slots=True)
class CallVerdict:
    """What the calls of one packet say: the Call-ID (empty: no call), filters that want it, whether that may still
    change, and the calls that became wanted by this very packet."""

    call_id: str = ""
    wanted: frozenset[int] = NOBODY
    undecided: bool = False
    sampled_out: bool = False
    newly_wanted: list[Call] = field(default_factory=list)


class Verdicts:
    """State of the plan in force for one worker."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self._flows: dict[int, _Flow] = {}
        self._hosts: dict[int, str] = {}
        self._board = CallBoard()
        self.far = FarCalls(self._board, kernel)
        self._epoch = 0
        self.flow_calls: dict[int, str] = {}
        self.active = False
        self.refines = False
        self.programs = 0
        self.base = 0
        self._speaking: set[str] = set()  # protocols whose later messages may still decide a flow
        self.budgets = Budgets(())
        self._plan: HuntPlan
        self._matcher: Matcher
        self._sets: FilterSets
        self._guards: Guards
        self.guarded = False

    def use(self, plan: HuntPlan, matcher: Matcher, sets: FilterSets, *, programs: int, base: int) -> None:
        """Take a new plan. Flows are judged again at their next packet; for calls see `replan_calls`."""
        self._plan, self._matcher, self._sets = plan, matcher, sets
        self._guards = Guards(plan)
        self.far.use(plan)
        self.guarded = bool(self._guards.guarded)
        self._epoch += 1
        self.active = any(f.active for f in plan.filters)
        self.programs = programs
        self.refines = bool(programs) or sets.by_interface
        self.base = base
        self._speaking = {
            protocol
            for f in plan.filters if f.active and f.scope == "flow" and f.tree is not None
            for leaf, _ in leaves(f.tree) for protocol in leaf.row.protocols
        }  # fmt: skip
        self.budgets = Budgets([(f.packets_per_second, f.total_bytes) for f in plan.filters])

    # flows -----------------------------------------------------------------------------------------------------

    def flow(self, event: Any, row: Any, facts: list[Fact], *, judge: bool) -> bool:
        """Learn what this packet says of its flow; write the verdict to the kernel. True when it changed."""
        serial = int(event["flow"])
        state = self._flows.get(serial)
        if state is None and not judge:
            return False
        if state is None or state.epoch != self._epoch or state.app != int(row["app"]):
            state = self._judge_anew(serial, state, row)
        if row["app"] or row["flags"] & F_DETECT_DONE:
            state.latch.close(name_of(int(row["app"])))
        for fact in facts:
            state.latch.learn(fact.fields)
            if len(state.known) < KNOWN_MAX:
                state.known.append(fact.fields)
        if self._plan.byte_marks:
            state.latch.learn({"flow.bytes": int(row["bytes"].sum())})
        if facts and row["flags"] & F_QUIET:
            state.latch.finish()
        verdict = state.latch.verdict()
        fresh = verdict.wanted - state.wanted
        if fresh:
            taken = self._sets.sampled(verdict.wanted, _flow_key(row))
            state.sampled_out = not taken
            state.wanted = taken
        more = name_of(int(row["app"])) in self._speaking and not row["flags"] & F_QUIET
        open_still = not state.wanted and not state.sampled_out and (bool(verdict.undecided) or more)
        return self._write(event, row, state, hold=open_still)

    def learn(self, serial: int, facts: list[Fact]) -> None:
        """Learn what a flow said at its end; `last_words` acts on it."""
        state = self._flows.get(serial)
        if state is not None and state.epoch == self._epoch:
            for fact in facts:
                state.latch.learn(fact.fields)

    def _judge_anew(self, serial: int, state: _Flow | None, row: Any) -> _Flow:
        latch = self._matcher.open("flow")
        headers = header_fields(row, 0), header_fields(row, 1)
        latch.learn(headers[0])
        if state is None:
            state = self._flows[serial] = _Flow(latch, self._epoch)
        if state.epoch != self._epoch:
            state.wanted, state.sampled_out = NOBODY, False
        state.latch, state.epoch, state.app = latch, self._epoch, int(row["app"])
        state.by_packet = (self._matcher.packet(headers[0]), self._matcher.packet(headers[1]))
        for fields in state.known:
            latch.learn(fields)
        return state

    def _write(self, event: Any, row: Any, state: _Flow, *, hold: bool) -> bool:
        wanted = state.wanted.union(*(c.wanted for c in state.calls), self._sets.members(self.base))
        if self.guarded:
            wanted = self._let_in(wanted, row)
        ids = self._sets.intern(wanted | state.by_packet[0]), self._sets.intern(wanted | state.by_packet[1])
        for number in ids:
            state.ever.update(self._sets.names(number))
        held = bool(row["flags"] & F_HOLD)
        unhold = held and not hold
        old = int(row["fset"][0]), int(row["fset"][1])
        if ids == old and not unhold and not state.sampled_out:
            return False
        self._kernel.set_flow(
            int(event["slot"]), int(event["flow"]), fset=ids, set_flags=F_SAMPLED if state.sampled_out else 0,
            clear_flags=F_HOLD if unhold else 0,
        )  # fmt: skip
        return True

    def last_words(self, records: Any) -> list[tuple[Any, int]]:
        """Ended flows that nobody wanted but somebody might: their records, with the filter set that wants them now
        that nothing more can come (a `not` over what never came)."""
        out = []
        for at in [i for i, serial in enumerate(records["serial"].tolist()) if serial in self._flows]:
            state = self._flows[int(records[at]["serial"])]
            if state.wanted or state.sampled_out or state.epoch != self._epoch:
                continue
            state.latch.close(name_of(int(records[at]["app"])))
            state.latch.finish()
            wanted = self._sets.sampled(state.latch.verdict().wanted, _flow_key(records[at]))
            if wanted:
                number = self._sets.intern(wanted)
                state.wanted = wanted
                state.ever.update(self._sets.names(number))
                out.append((records[at], number))
        return out

    def packet_set(self, event: Any, row: Any, facts: list[Fact], calls: CallVerdict) -> int:
        """The filter set of this one packet: its flow's, its calls', and what its own messages met."""
        state = self._flows.get(int(event["flow"]))
        direction = int(event["dir"])
        if state is None:
            wanted = self._sets.members(int(row["fset"][direction]))
        else:
            wanted = state.wanted.union(*(c.wanted for c in state.calls), self._sets.members(self.base))
            if facts:
                header = header_fields(row, direction)
                for fact in facts:
                    wanted |= self._matcher.packet({**header, **fact.fields})
            else:
                wanted |= state.by_packet[direction]
        wanted |= calls.wanted
        number = self._sets.intern(self._let_in(wanted, row) if self.guarded else wanted)
        if state is not None:
            state.ever.update(self._sets.names(number))
        return number

    def is_sampled(self, row: Any, calls: CallVerdict | None) -> bool:
        """Tell whether the only filters that wanted this packet left it out by their sample."""
        return bool(row["flags"] & F_SAMPLED) or (calls is not None and calls.sampled_out)

    def name(self, serial: int, facts: list[Fact]) -> None:
        """Remember the first host name that a flow's messages give."""
        if serial in self._hosts:
            return
        for fact in facts:
            for key in HOST_FIELDS:
                value = fact.fields.get(key)
                if value:
                    self._hosts[serial] = str(value[0] if isinstance(value, tuple) else value)
                    return

    def forget(self, serials: Iterable[int]) -> tuple[dict[int, str], dict[int, tuple[str, ...]]]:
        """Drop the state of ended flows; their host names, and the names of all filters that ever wanted them."""
        gone = set(serials)
        hosts = {serial: self._hosts.pop(serial) for serial in self._hosts.keys() & gone}
        wanted = {}
        for serial in self.flow_calls.keys() & gone:
            del self.flow_calls[serial]
        for serial in self._flows.keys() & gone:
            state = self._flows.pop(serial)
            if state.ever:
                wanted[serial] = tuple(sorted(state.ever))
            for call in state.calls:
                call.flows.pop(serial, None)
        return hosts, wanted

    # calls -----------------------------------------------------------------------------------------------------

    def calls_of(self, event: Any, row: Any, facts: list[Fact], *, now: int) -> CallVerdict:
        """Let every SIP message of this packet speak to its call."""
        out = CallVerdict()
        for fact in facts:
            call_id = fact.fields.get("sip.call_id")
            if not call_id:
                continue
            call = self._board.find(str(call_id)) or self._open_call(str(call_id), now)
            fresh = self._board.message(call, fact.fields, now=now)
            for end in fresh:
                self._kernel.watch(*end)
            call.latch.learn({**header_fields(row, int(event["dir"])), **fact.fields})
            if self._judge_call(call):
                out.newly_wanted.append(call)
                self.far.tell(call)
            elif fresh and call.wanted:
                self.far.tell(call)
            out.call_id = out.call_id or call.call_id
            out.wanted |= call.wanted
            out.undecided |= not call.wanted and not call.sampled_out  # until its last message
            out.sampled_out |= call.sampled_out
        return out

    def _open_call(self, call_id: str, now: int) -> Call:
        call, gone = self._board.open(call_id, self._matcher.open("call"), now=now)
        for each in gone:
            self._unwatch(self._board.close(each))
            self.far.close(each)
        return call

    def heard(self, watch: MediaWatch, news: News, *, now: int) -> Call | None:
        """Learn what another sensor tells of a call; the call when that makes it wanted."""
        call = self.far.take(watch, news, now=now, open_=self._open_call)
        if call is None:
            return None
        fresh = self._judge_call(call)
        self.far.arm(call)
        self.far.tell(call)
        return call if fresh else None

    def _judge_call(self, call: Call) -> bool:
        wanted = call.latch.verdict().wanted if call.known else NOBODY
        if call.far:
            wanted |= self.far.wanted(call)
        if not wanted - call.wanted:
            return False
        taken = self._sets.sampled(wanted, call.call_id.encode())
        call.sampled_out = not taken
        fresh = taken - call.wanted
        call.wanted = taken
        return bool(fresh)

    def media(self, event: Any, row: Any) -> bool:
        """Tie a flow with a watched end to the calls that announced it. False when there is none any more."""
        version = int(row["ip_version"])
        ends: tuple[Endpoint, ...] = (
            (version, row["src"].tobytes(), int(row["sport"])), (version, row["dst"].tobytes(), int(row["dport"]))
        )  # fmt: skip
        calls = [call for call in self._board.announced(*ends) if call.known or call.wanted]
        if not calls:
            return False
        serial, slot = int(event["flow"]), int(event["slot"])
        state = self._flows.get(serial)
        if state is None or state.epoch != self._epoch:
            state = self._judge_anew(serial, state, row)
        state.calls = calls
        for call in calls:
            call.flows[serial] = slot
        self.flow_calls[serial] = calls[0].call_id
        undecided = not any(c.wanted or c.sampled_out for c in calls)
        self._kernel.set_flow(
            slot, serial, set_flags=F_WATCHED | F_MEDIA | (F_HOLD if undecided else 0),
            app=0 if row["app"] else int(App.RTP), method=METHOD_EXPECTED,
        )  # fmt: skip
        self._write(event, self._kernel.flow(slot), state, hold=undecided)
        return True

    def apply_media(self, slot: int, serial: int) -> bool:
        """Write the verdict of a media flow whose call has changed; False when the flow is gone."""
        state = self._flows.get(serial)
        if state is None:
            return False
        event = {"slot": slot, "flow": serial}
        row = self._kernel.flow(slot)
        if int(row["serial"]) != serial:
            return False
        self._write(event, row, state, hold=not any(c.wanted for c in state.calls))
        return True

    def calls_over(self, now: int) -> list[Call]:
        """Close the calls that are over at `now`."""
        over = self._board.over(now, self._media_seen())
        for call in over:
            self._unwatch(self._board.close(call))
            self.far.close(call)
        return over

    def _media_seen(self) -> dict[int, int]:
        seen = {}
        for call in self._board:
            for serial, slot in call.flows.items():
                row = self._kernel.flow(slot)
                if int(row["serial"]) == serial:
                    seen[serial] = int(row["last"])
        return seen

    def all_calls(self) -> list[Call]:
        """Every live call."""
        return list(self._board)

    def replan_calls(self) -> list[Call]:
        """Judge every live call under the new plan; those that are wanted now."""
        wanted = []
        for call in self._board:
            call.latch, call.wanted, call.sampled_out = self._matcher.open("call"), NOBODY, False
            for fields in call.known:
                call.latch.learn(fields)
            if self._judge_call(call):
                wanted.append(call)
            self.far.arm(call)
            self.far.tell(call)
        return wanted

    def _unwatch(self, ends: set[Endpoint]) -> None:
        for end in ends:
            self._kernel.unwatch(*end)

    # filter sets -----------------------------------------------------------------------------------------------

    def _let_in(self, filters: frozenset[int], row: Any) -> frozenset[int]:
        return self._guards.keep(
            filters, version=int(row["ip_version"]), src=row["src"].tobytes(), dst=row["dst"].tobytes()
        )

    def guard(self, fset: int, frame: Frame) -> int:
        """Set `fset` less the filters whose guard a packet does not pass."""
        members = self._sets.members(fset)
        kept = self._guards.keep(members, version=frame.ip_version, src=frame.src, dst=frame.dst)
        return fset if kept is members else self._sets.intern(kept)

    def intern(self, filters: frozenset[int]) -> int:
        """Number of a set of filters."""
        return self._sets.intern(filters)

    def union(self, one: int, other: int) -> int:
        """The set of the filters of both sets."""
        if one == other or not other:
            return one
        return self._sets.intern(self._sets.members(one) | self._sets.members(other)) if one else other

    def recent(self, fset: int, age: int) -> int:
        """See `FilterSets.recent`."""
        return self._sets.recent(fset, age)

    @property
    def keep_age(self) -> int:
        """How long a packet may be kept back, ns: the longest `preTrigger` of any active filter."""
        return max((f.pre_trigger_ns for f in self._plan.filters if f.active), default=0)

    def final(self, fset: int, mask: int, interface: str) -> int:
        """See `FilterSets.final`."""
        return self._sets.final(fset, mask, interface) if self.refines else fset

    def charge(self, fset: int, *, ts: int, size: int) -> int:
        """Charge a packet to the budgets of its filters; the set of those that could pay."""
        members = self._sets.members(fset)
        if not self.budgets.limits_any(members):
            return fset
        return self._sets.intern(self.budgets.charge(members, ts=ts, size=size))

    def keep_bytes(self, fset: int, caplen: int, payload: int) -> int:
        """See `FilterSets.keep_bytes`."""
        return self._sets.keep_bytes(fset, caplen, payload)

    def whole(self, fsets: Iterable[int]) -> bool:
        """Tell whether every one of these sets keeps packets whole."""
        return all(f == 0 or self._sets.whole(int(f)) for f in fsets)


def _flow_key(row: Any) -> bytes:
    """The flow's key, the same for both directions and on every sensor."""
    ends = sorted((row[a].tobytes() + int(row[p]).to_bytes(2, "big") for a, p in (("src", "sport"), ("dst", "dport"))))
    return b"".join(ends) + bytes([int(row["proto"])])
