"""One dialog: its states, what moves it from one to the next, its row in the table, and as bytes for another processor.

Promise: pure. What was saved is taken up whole, or is None, whoever wrote it.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

CHALLENGES = frozenset({401, 407, 422, 494})
MAX_RECORDINGS = 1024


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
    """One dialog. Times in ns, None: not seen. Strings are raw from the wire. `heard`: time of the packet that came
    last, on the clock of `source`, who saw it."""

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
    source: str = ""
    heard: int = 0

    @property
    def is_call(self) -> bool:
        """An INVITE was seen, as request or in an answer."""
        return "INVITE" in self.methods or any(key.endswith(" INVITE") for key in self.responses)


def asked(call: Call, method: str, number: Any, now: int) -> None:
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


def answered(call: Call, method: str, status: int, now: int) -> None:
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


def call_row(call: Call, recordings: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a call as a row under registry names: times in ns, what was not seen left out; `recordings`: the files of
    its own that it has, in order."""
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
    if recordings:
        row["call.recordings"] = recordings
    return {name: value for name, value in row.items() if value is not None and value != ""}


_NUMBERS = (
    "start", "last", "ringing", "answer", "end", "cseq", "messages", "rtp_packets", "rtcp_packets", "media_flows",
    "heard",
)  # fmt: skip
_MAYBE = frozenset({"ringing", "answer", "end"})
_TEXTS = ("call_id", "sender", "receiver", "state", "end_reason", "source")
_COUNTERS = ("methods", "responses")
_LISTS = ("users", "numbers", "agents", "media", "codecs", "peers", "filters")


def saved_call(call: Call) -> bytes:
    """A call as bytes."""
    row: dict[str, Any] = {name: getattr(call, name) for name in (*_NUMBERS, *_TEXTS)}
    row |= {name: dict(getattr(call, name)) for name in _COUNTERS}
    row |= {name: list(getattr(call, name)) for name in _LISTS}
    return json.dumps(row, separators=(",", ":")).encode()


def restored_call(saved: bytes) -> Call | None:
    """The call of bytes; None when they are none."""
    try:
        row = json.loads(saved)
        values: dict[str, Any] = {}
        for name in _NUMBERS:
            values[name] = None if row[name] is None and name in _MAYBE else int(row[name])
        for name in _TEXTS:
            values[name] = str(row[name])
        for name in _COUNTERS:
            values[name] = Counter({str(key): int(count) for key, count in row[name].items()})
        for name in _LISTS:
            values[name] = dict.fromkeys(str(each) for each in row[name])
        return Call(**values)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
