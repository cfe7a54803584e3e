"""Calls as the sensor sees them: which dialog a message belongs to, whether a filter wants it, where its media goes.

Promise: pure, times are packet times in ns. A call's verdict is latched over all its messages: once wanted, always
wanted. Bounded: ended and idle calls go first, counted.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address

from packhound.net.facts import Value
from packhound.rules.latch import Latch

SECOND = 1_000_000_000
IDLE = 600 * SECOND  #: a call without signalling and media for this long is over
LINGER = 32 * SECOND  #: after BYE or a final failure, for retransmissions and late media (64 * T1, RFC 3261)

Endpoint = tuple[int, bytes, int]  # IP version, address in 16 bytes (IPv4 first, zero padded), port


@dataclass(slots=True)
class Far:
    """What another sensor tells of a call: filters that want it, endpoints of its media. `leased`: it still does."""

    filters: tuple[str, ...]
    ends: tuple[Endpoint, ...]
    leased: bool = True


@dataclass(slots=True)
class Call:
    """One dialog by its Call-ID; `known` keeps what its messages said, for a plan that comes later. `own`: endpoints
    that were announced here, `told`: what others know of them, `far`: what they tell of theirs, by node."""

    call_id: str
    latch: Latch
    wanted: frozenset[int] = frozenset()
    sampled_out: bool = False
    ended_at: int | None = None
    last: int = 0
    known: list[Mapping[str, Value]] = field(default_factory=list)
    endpoints: set[Endpoint] = field(default_factory=set)
    flows: dict[int, int] = field(default_factory=dict)
    own: set[Endpoint] = field(default_factory=set)
    told: tuple[tuple[str, ...], frozenset[Endpoint]] = ((), frozenset())
    far: dict[str, Far] = field(default_factory=dict)

    @property
    def leased(self) -> bool:
        """Whether only others see its messages, and say that it goes on."""
        return not self.known and any(each.leased for each in self.far.values())


KNOWN_MAX = 64


def endpoints_of(fields: Mapping[str, Value]) -> Iterator[Endpoint]:
    """Media endpoints that an SDP announces (RFC 4566 c= and m=, RTCP on the next port, RFC 3605 left aside).

    `sdp.media` rows are "kind port proto". Where there are as many addresses in `sdp.connection` as rows, they go
    together; where addresses are fewer (each is listed once), every row may use any of them.
    """
    media = [port for port in map(_port_of, as_tuple(fields.get("sdp.media"))) if port]
    addresses = [each for each in map(address_of, as_tuple(fields.get("sdp.connection"))) if each]
    paired = len(media) == len(addresses)
    pairs = zip(addresses, media, strict=True) if paired else ((a, p) for p in media for a in addresses)
    for (version, packed), port in pairs:
        yield version, packed, port
        if port < 65535:
            yield version, packed, port + 1


def _port_of(row: object) -> int:
    parts = str(row).split()
    return int(parts[1]) if len(parts) > 1 and parts[1].isdecimal() and 0 < int(parts[1]) < 65536 else 0


def address_of(text: object) -> tuple[int, bytes] | None:
    """IP version and address as an `Endpoint` has it; None for what can have no media."""
    try:
        parsed = ip_address(str(text))
    except ValueError:
        return None
    if parsed.is_unspecified or parsed.is_multicast:
        return None
    return parsed.version, parsed.packed.ljust(16, b"\0")


def as_tuple(value: Value | None) -> tuple[str | int | float | bool, ...]:
    """A field's values as a tuple, whether the message held one, several or none."""
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


class CallBoard:
    """Live calls by Call-ID, and the calls that announced each media endpoint."""

    def __init__(self, *, capacity: int = 16384) -> None:
        self._calls: OrderedDict[str, Call] = OrderedDict()
        self._by_endpoint: dict[Endpoint, list[Call]] = {}
        self._capacity = capacity
        self.evicted = 0

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self._calls.values()))

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def full(self) -> bool:
        """Whether one more call would push another out."""
        return len(self._calls) >= self._capacity

    def find(self, call_id: str) -> Call | None:
        """The live call of that Call-ID."""
        return self._calls.get(call_id)

    def open(self, call_id: str, latch: Latch, *, now: int) -> tuple[Call, list[Call]]:
        """Start a call; also the calls that had to go to make room."""
        call = self._calls[call_id] = Call(call_id, latch, last=now)
        gone = []
        while len(self._calls) > self._capacity:
            victim = next((c for c in self._calls.values() if c.ended_at is not None), None)
            gone.append(victim or next(iter(self._calls.values())))
            del self._calls[gone[-1].call_id]
            self.evicted += 1
        return call, gone

    def message(self, call: Call, fields: Mapping[str, Value], *, now: int) -> set[Endpoint]:
        """Take in one message of `call`; return the media endpoints that are new."""
        call.last = max(call.last, now)
        self._calls.move_to_end(call.call_id)
        if len(call.known) < KNOWN_MAX:
            call.known.append(fields)
        self._follow_state(call, fields, now)
        ends = set(endpoints_of(fields))
        call.own |= ends
        return self.announce(call, ends)

    def announce(self, call: Call, ends: Iterable[Endpoint]) -> set[Endpoint]:
        """Note where media of `call` will flow; return the endpoints that are new."""
        fresh = set(ends) - call.endpoints
        for endpoint in fresh:
            call.endpoints.add(endpoint)
            self._by_endpoint.setdefault(endpoint, []).append(call)
        return fresh

    def _follow_state(self, call: Call, fields: Mapping[str, Value], now: int) -> None:
        method, status = fields.get("sip.cseq.method") or fields.get("sip.method"), fields.get("sip.status")
        final = isinstance(status, int) and status >= 200 and status not in (401, 407)
        if method == "INVITE" and final:
            if isinstance(status, int) and status >= 300:
                call.ended_at = now
            else:
                call.ended_at = None
        elif method == "BYE" or (final and method not in ("ACK", "PRACK", "UPDATE", "INFO", "CANCEL")):
            call.ended_at = now

    def announced(self, *ends: Endpoint) -> list[Call]:
        """Calls that announced any of `ends`, earliest announcement first, each once."""
        found: dict[str, Call] = {}
        for end in ends:
            for call in self._by_endpoint.get(end, ()):
                found.setdefault(call.call_id, call)
        return list(found.values())

    def close(self, call: Call) -> set[Endpoint]:
        """Forget `call`; return the endpoints that nobody announces any more."""
        self._calls.pop(call.call_id, None)
        orphaned = set()
        for endpoint in call.endpoints:
            users = self._by_endpoint.get(endpoint, [])
            if call in users:
                users.remove(call)
            if not users:
                self._by_endpoint.pop(endpoint, None)
                orphaned.add(endpoint)
        return orphaned

    def over(self, now: int, busy: Mapping[int, int]) -> list[Call]:
        """Calls that ended `LINGER` ago or were idle for `IDLE`; `busy` gives the last packet time of media flows."""
        out = []
        for call in self._calls.values():
            last = max([call.last, *(busy.get(serial, 0) for serial in call.flows)])
            ended = call.ended_at is not None and now - max(call.ended_at, last) > LINGER
            if ended or (now - last > IDLE and not call.leased):
                out.append(call)
        return out
