"""Calls by Call-ID: who called whom, how it went, what was said and which media went with it.

Promise: pure, times are packet times in ns; bounded: ended calls go first, then the one longest silent, counted in
`evicted`. Every message counts, retransmissions included. A challenge (401, 407, 422, 494) fails nothing; a final
answer to one branch or to a message inside the dialog does not end an established call, only BYE does.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from packhound.processor.track.dialog import (
    OVER,
    Call,
    Peer,
    State,
    answered,
    asked,
    call_row,
    restored_call,
    saved_call,
)

__all__ = ["Call", "CallTracker", "Peer", "call_row"]

SECOND = 1_000_000_000
LINGER = 90 * SECOND  #: after its end, for retransmissions (64 * T1) and the idle time-out of its media flows
IDLE = 3600 * SECOND  #: without message or media a dialog is over, unfinished
CAPACITY = 65_536
MAX_VALUES = 64


class CallTracker:
    """Dialogs by Call-ID."""

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self._calls: OrderedDict[str, Call] = OrderedDict()
        self._over: OrderedDict[str, None] = OrderedDict()
        self._capacity = capacity
        self._gone: list[Call] = []
        self._changed: set[str] = set()
        self._touched: set[str] = set()
        self.evicted: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._calls)

    def find(self, call_id: str) -> Call | None:
        """The call of that Call-ID, if it is still known."""
        return self._calls.get(call_id)

    def message(
        self,
        fields: Mapping[str, Any],
        *,
        now: int,
        src: Peer | None = None,
        dst: Peer | None = None,
        filters: tuple[str, ...] = (),
        source: str = "",
    ) -> Call | None:
        """Take in one SIP message (registry names of a `sip` fact) seen at `now`; None when it has no Call-ID."""
        call_id = fields.get("sip.call_id")
        if not isinstance(call_id, str) or not call_id:
            return None
        call = self._open(call_id, now)
        self._changed.add(call_id)
        _hear(call, now, source)
        call.start = min(call.start, now)
        call.messages += 1
        if not call.sender:
            call.sender, call.receiver = str(fields.get("sip.from", "")), str(fields.get("sip.to", ""))
        status, method = fields.get("sip.status"), str(fields.get("sip.method") or fields.get("sip.cseq.method") or "")
        _note(call.users, fields.get("sip.user"))
        _note(call.numbers, fields.get("phone.number"))
        _note(call.agents, fields.get("sip.user_agent"))
        _note(call.codecs, fields.get("rtp.codec"))
        _note(call.media, _endpoints(fields))
        _note(call.peers, tuple(str(each) for each in (src, dst) if each))
        _note(call.filters, filters)
        if isinstance(status, int):
            call.responses[f"{status} {method}"] += 1
            answered(call, method, status, now)
        else:
            call.methods[method] += 1
            asked(call, method, fields.get("sip.cseq"), now)
        self._settle(call)
        return call

    def media(
        self, call_id: str, *, packets: int, last: int, rtcp: bool = False, source: str = ""
    ) -> Call | None:
        """Count a media flow of a call that ended, or a part of one: packets both ways, time of its last packet."""
        call = self._calls.get(call_id)
        if call is None:
            return None
        self._changed.add(call_id)
        _hear(call, last, source)
        if rtcp:
            call.rtcp_packets += packets
        else:
            call.rtp_packets += packets
            call.media_flows += 1
        return call

    def alive(self, call_id: str, *, now: int, source: str = "") -> None:
        """Learn that a packet of the call, media too, was seen at `now`."""
        call = self._calls.get(call_id)
        if call is not None:
            self._touched.add(call_id)
            _hear(call, now, source)

    def _open(self, call_id: str, now: int) -> Call:
        call = self._calls.get(call_id)
        if call is None:
            call = self._calls[call_id] = Call(call_id, start=now, last=now)
            if len(self._calls) > self._capacity:
                self._evict()
        self._calls.move_to_end(call_id)
        return call

    def _evict(self) -> None:
        ended = next(iter(self._over), None)
        victim = ended if ended is not None else next(iter(self._calls))
        self.evicted["ended" if ended is not None else "live"] += 1
        self._forget(victim)

    def _forget(self, call_id: str) -> None:
        self._over.pop(call_id, None)
        self._gone.append(self._calls.pop(call_id))

    def _settle(self, call: Call) -> None:
        if call.state in OVER or call.state == State.NONE:
            self._over[call.call_id] = None
            self._over.move_to_end(call.call_id)
        else:
            self._over.pop(call.call_id, None)

    def finished(self, now: int, times: Mapping[str, int] | None = None) -> list[Call]:
        """Hand out and forget the calls that are over at `now` (ended `LINGER` ago, or silent for `IDLE`) and those
        evicted since the last call. `times`: what time it is for each source, where that is not `now`."""
        clocks = times or {}
        due = [
            call_id for call_id, call in self._calls.items()
            if clocks.get(call.source, now) - call.heard > (LINGER if call.state in OVER else IDLE)
        ]  # fmt: skip
        for call_id in due:
            self._forget(call_id)
        return self._hand_out()

    def _hand_out(self) -> list[Call]:
        gone, self._gone = self._gone, []
        self._changed.update(call.call_id for call in gone)
        return gone

    def flush(self) -> list[Call]:
        """Hand out and forget every call, in order of their last message."""
        for call_id in list(self._calls):
            self._forget(call_id)
        return self._hand_out()

    def calls(self) -> list[Call]:
        """The calls that are known, in order of their last message."""
        return list(self._calls.values())

    # for another processor -----------------------------------------------------------------------------------------

    def changed(self) -> tuple[dict[str, bytes | None], dict[str, bytes]]:
        """What is to be saved since the last time asked, by Call-ID: calls (None: handed out), and of those that were
        only heard of when that was. A call evicted but not handed out yet stays saved."""
        waiting = {call.call_id for call in self._gone}
        calls: dict[str, bytes | None] = {}
        for call_id in self._changed:
            call = self._calls.get(call_id)
            if call is not None:
                calls[call_id] = saved_call(call)
            elif call_id not in waiting:
                calls[call_id] = None
        heard = {
            call_id: f"{self._calls[call_id].last} {self._calls[call_id].heard}".encode()
            for call_id in self._touched - self._changed if call_id in self._calls
        }  # fmt: skip
        self.unchanged()
        return calls, heard

    def unchanged(self) -> None:
        """Forget what is to be saved."""
        self._changed.clear()
        self._touched.clear()

    def restore(self, calls: Iterable[bytes], heard: Mapping[str, bytes]) -> int:
        """Take up calls that were saved, and when they were heard; return how many of `calls` are none."""
        found = [restored_call(saved) for saved in calls]
        known = sorted((call for call in found if call is not None), key=lambda call: call.heard)
        for call in known:
            last, _, when = heard.get(call.call_id, b"").partition(b" ")
            if last.isdigit() and when.isdigit():
                call.last, call.heard = max(call.last, int(last)), max(call.heard, int(when))
            self._calls[call.call_id] = call
            self._settle(call)
        while len(self._calls) > self._capacity:
            self._evict()
        return len(found) - len(known)


def _hear(call: Call, now: int, source: str) -> None:
    """Note that a packet of the call was seen by `source` at `now` of its clock."""
    call.last = max(call.last, now)
    call.heard = max(call.heard, now) if source == call.source else now
    call.source = source


def _endpoints(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Media endpoints of an SDP: `audio 10.0.0.1:49170`. The n-th address belongs to the n-th media row where there
    are as many, else the first to all."""
    rows, hosts = _several(fields.get("sdp.media")), _several(fields.get("sdp.connection"))
    found = []
    for at, row in enumerate(rows):
        words = str(row).split()
        if len(words) >= 2 and hosts:
            host = str(hosts[at] if len(hosts) == len(rows) else hosts[0])
            found.append(f"{words[0]} [{host}]:{words[1]}" if ":" in host else f"{words[0]} {host}:{words[1]}")
    return tuple(found)


def _several(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def _note(seen: dict[str, None], value: Any) -> None:
    """Remember new values, `MAX_VALUES` at most."""
    for each in _several(value):
        if len(seen) < MAX_VALUES:
            seen[str(each)] = None
