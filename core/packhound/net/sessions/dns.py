"""DNS, mDNS and LLMNR over UDP, and over TCP behind a length of two bytes (RFC 7766): messages, how long answers take.

Promise: bounded work per datagram; each direction of a stream holds one message, at most `MAX_PENDING` queries wait
for their answer. After a gap or a broken length a stream's direction is given up: its framing cannot be found again.
Never raises.
"""

from __future__ import annotations

from packhound.net import dns
from packhound.net.dns import DnsMessage
from packhound.net.facts import Fact, Malformed

MAX_PENDING = 1024


class Transactions:
    """Queries of one flow that wait for their answer, by side, id and what is asked; the oldest gives way at the bound.

    The same query sent again does not start the wait anew.
    """

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked: dict[tuple[int, int, int], int] = {}

    def response_time(self, direction: int, message: DnsMessage, now: int) -> int:
        """Note a query; return how long ago (ns) the query of a response was sent, -1 where that was not seen."""
        asked = hash(tuple((name.lower(), number) for name, number in message.questions))  # names would cost memory
        if message.response:
            at = self._asked.pop((1 - direction, message.id, asked), None)
            return -1 if at is None else now - at
        if len(self._asked) >= MAX_PENDING:
            del self._asked[next(iter(self._asked))]
        self._asked.setdefault((direction, message.id, asked), now)
        return -1


def dns_facts(data: bytes, *, kind: str, direction: int, waiting: Transactions, now: int) -> list[Fact | Malformed]:
    """Read one DNS message into its fact, and the reason where it breaks."""
    message = dns.parse(data)
    if isinstance(message, Malformed):
        return [message]
    # multicast is answered by others, in flows of their own
    taken = waiting.response_time(direction, message, now) if kind == "dns" else -1
    found: list[Fact | Malformed] = [dns.dns_fact(message, kind=kind, response_time=taken)]
    if message.broken:
        found.append(Malformed(message.broken))
    return found


class DnsDatagrams:
    """DNS, mDNS or LLMNR over UDP; `kind` names the facts."""

    __slots__ = ("_kind", "_waiting", "done")

    def __init__(self, *, kind: str) -> None:
        self._kind = kind
        self._waiting = Transactions()
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read one datagram; a message that breaks half-way gives its fact and the reason."""
        return dns_facts(data, kind=self._kind, direction=direction, waiting=self._waiting, now=now)

    def gap(self, direction: int, size: int) -> None:
        """Datagrams have no gaps."""


class DnsStream:
    """DNS or LLMNR over TCP: two bytes of length, then a message, many on one connection."""

    __slots__ = ("_broken", "_buffers", "_kind", "_waiting", "done")

    def __init__(self, *, kind: str) -> None:
        self._buffers = (bytearray(), bytearray())
        self._broken = [False, False]
        self._kind = kind
        self._waiting = Transactions()
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read the next bytes of one direction and return the messages they complete."""
        if self._broken[direction]:
            return []
        buffer = self._buffers[direction]
        buffer += data
        found: list[Fact | Malformed] = []
        while len(buffer) >= 2:
            size = int.from_bytes(buffer[:2], "big")
            if size < 12:
                found.append(Malformed("DNS length prefix is shorter than a header"))
                self._close(direction)
                break
            if len(buffer) < 2 + size:
                break
            message = bytes(buffer[2 : 2 + size])
            del buffer[: 2 + size]
            found += dns_facts(message, kind=self._kind, direction=direction, waiting=self._waiting, now=now)
        return found

    def gap(self, direction: int, size: int) -> None:
        """Give up on this direction: where the next message starts is unknown."""
        self._close(direction)

    def _close(self, direction: int) -> None:
        self._broken[direction] = True
        self._buffers[direction].clear()
        self.done = all(self._broken)
