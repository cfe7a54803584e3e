"""Calls by Call-ID: who called whom, how it went, what was said and which media went with it.

Promise: pure, times are packet times in ns; bounded: ended calls go first, then the one longest silent, counted in
`evicted`. Every message counts, retransmissions included. A challenge (401, 407, 422, 494) fails nothing; a final
answer to one branch or to a message inside the dialog does not end an established call, only BYE does.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

SECOND = 1_000_000_000
LINGER = 90 * SECOND  #: after its end, for retransmissions (64 * T1) and the idle time-out of its media flows
IDLE = 3600 * SECOND  #: without message or media a dialog is over, unfinished
CAPACITY = 65_536
MAX_VALUES = 64
CHALLENGES = frozenset({401, 407, 422, 494})


class State:
    """States of a call, in the words of its rows. `none`: no INVITE was seen, so it is a dialog but no call."""

    NONE = "none"
    SETUP = "setup"
    RINGING = "ringing"
    ESTABLISHED = "established"
    ENDED = "ended"
    FAILED = "failed"
    CANCELLED = "cancelled"


OVER = frozenset({State.ENDED, State.FAILED, State.CANCELLED})


class Peer(NamedTuple):
    """One end of a message: address as text, port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(slots=True)
class Call:
    """One dialog. Times in ns, None: not seen. Strings are raw from the wire."""

    call_id: str
    start: int
    last: int
    sender: str = ""
    receiver: str = ""
    state: str = State.NONE
    ringing: int | None = None
    answer: int | None = None
    end: int | None = None
    end_reason: str = ""
    cseq: int = -1
    messages: int = 0
    methods: Counter[str] = field(default_factory=Counter)
    responses: Counter[str] = field(default_factory=Counter)
    users: dict[str, None] = field(default_factory=dict)
    numbers: dict[str, None] = field(default_factory=dict)
    agents: dict[str, None] = field(default_factory=dict)
    media: dict[str, None] = field(default_factory=dict)
    codecs: dict[str, None] = field(default_factory=dict)
    peers: dict[str, None] = field(default_factory=dict)
    filters: dict[str, None] = field(default_factory=dict)
    rtp_packets: int = 0
    rtcp_packets: int = 0
    media_flows: int = 0

    @property
    def is_call(self) -> bool:
        """An INVITE was seen, as request or in an answer."""
        return "INVITE" in self.methods or any(key.endswith(" INVITE") for key in self.responses)


class CallTracker:
    """Dialogs by Call-ID."""

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self._calls: OrderedDict[str, Call] = OrderedDict()
        self._over: OrderedDict[str, None] = OrderedDict()
        self._capacity = capacity
        self._gone: list[Call] = []
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
    ) -> Call | None:
        """Take in one SIP message (registry names of a `sip` fact) seen at `now`; None when it has no Call-ID."""
        call_id = fields.get("sip.call_id")
        if not isinstance(call_id, str) or not call_id:
            return None
        call = self._open(call_id, now)
        call.last = max(call.last, now)
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
            _answered(call, method, status, now)
        else:
            call.methods[method] += 1
            _asked(call, method, fields.get("sip.cseq"), now)
        self._settle(call)
        return call

    def media(self, call_id: str, *, packets: int, last: int, rtcp: bool = False) -> Call | None:
        """Count a media flow of a call that ended, or a part of one: packets both ways, time of its last packet."""
        call = self._calls.get(call_id)
        if call is None:
            return None
        call.last = max(call.last, last)
        if rtcp:
            call.rtcp_packets += packets
        else:
            call.rtp_packets += packets
            call.media_flows += 1
        return call

    def alive(self, call_id: str, *, now: int) -> None:
        """Learn that a packet of the call, media too, was seen at `now`."""
        call = self._calls.get(call_id)
        if call is not None:
            call.last = max(call.last, now)

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

    def finished(self, now: int) -> list[Call]:
        """Hand out and forget the calls that are over at `now` (ended `LINGER` ago, or silent for `IDLE`) and those
        evicted since the last call."""
        due = [
            call_id for call_id, call in self._calls.items()
            if now - call.last > (LINGER if call.state in OVER else IDLE)
        ]  # fmt: skip
        for call_id in due:
            self._forget(call_id)
        gone, self._gone = self._gone, []
        return gone

    def flush(self) -> list[Call]:
        """Hand out and forget every call, in order of their last message."""
        for call_id in list(self._calls):
            self._forget(call_id)
        gone, self._gone = self._gone, []
        return gone

    def calls(self) -> list[Call]:
        """The calls that are known, in order of their last message."""
        return list(self._calls.values())


def _asked(call: Call, method: str, number: Any, now: int) -> None:
    """Follow the state over a request; only a newer INVITE, never a retransmission, opens a failed call again."""
    cseq = number if isinstance(number, int) else 0
    if method == "INVITE":
        if call.state == State.NONE or (call.state in {State.FAILED, State.CANCELLED} and cseq > call.cseq):
            call.state, call.end, call.end_reason = State.SETUP, None, ""
        call.cseq = max(call.cseq, cseq)
    elif method == "CANCEL" and call.state in {State.SETUP, State.RINGING}:
        call.state, call.end, call.end_reason = State.CANCELLED, now, "CANCEL"
    elif method == "BYE" and call.state not in OVER:
        call.state, call.end, call.end_reason = State.ENDED, now, "BYE"


def _answered(call: Call, method: str, status: int, now: int) -> None:
    """Follow the state over a response."""
    if method == "BYE" and 200 <= status < 300 and call.state not in OVER:
        call.state, call.end, call.end_reason = State.ENDED, now, "BYE"
    if method != "INVITE":
        return
    if call.state == State.NONE:
        call.state = State.SETUP
    if 180 <= status <= 183 and call.state in {State.SETUP, State.RINGING}:
        call.state = State.RINGING
        call.ringing = now if call.ringing is None else call.ringing
    elif 200 <= status < 300 and call.state != State.ENDED:
        call.state, call.end, call.end_reason = State.ESTABLISHED, None, ""
        call.answer = now if call.answer is None else call.answer
    elif status >= 300 and status not in CHALLENGES and call.state in {State.SETUP, State.RINGING}:
        call.state, call.end, call.end_reason = State.FAILED, now, str(status)


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


def call_row(call: Call) -> dict[str, Any]:
    """Return a call as a row under registry names: times in ns, what was not seen left out."""
    row: dict[str, Any] = {
        "sip.call_id": call.call_id,
        "sip.from": call.sender,
        "sip.to": call.receiver,
        "call.is_call": call.is_call,
        "call.state": call.state,
        "call.end_reason": call.end_reason,
        "call.start_ns": call.start,
        "call.ringing_ns": call.ringing,
        "call.answer_ns": call.answer,
        "call.end_ns": call.end,
        "call.last_ns": call.last,
        "call.messages": call.messages,
        "call.methods": dict(call.methods),
        "call.responses": dict(call.responses),
        "call.rtp_packets": call.rtp_packets,
        "call.rtcp_packets": call.rtcp_packets,
        "call.media_flows": call.media_flows,
    }
    lists = (
        ("sip.user", call.users), ("phone.number", call.numbers), ("sip.user_agent", call.agents),
        ("call.media", call.media), ("rtp.codec", call.codecs), ("call.peers", call.peers), ("filter", call.filters),
    )  # fmt: skip
    row |= {name: tuple(values) for name, values in lists}
    return {name: value for name, value in row.items() if value is not None and value != ""}
