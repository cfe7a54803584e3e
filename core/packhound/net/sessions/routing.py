"""Protocols over TCP that frame themselves: BGP with a marker and a length, Diameter with a version and a length.

Promise: each direction holds at most one message (BGP 64 KiB, Diameter `max_bytes`); after a gap or a broken frame the
next message is looked for; every byte is looked at a bounded number of times; never raises.
"""

from __future__ import annotations

from packhound.net import bgp, diameter
from packhound.net.bgp import MARKER, Offer
from packhound.net.bgp_routes import Terms
from packhound.net.facts import Fact, Malformed


class BgpStream:
    """BGP over TCP: any cut of messages into segments; what both OPENs offer decides how UPDATEs are read."""

    __slots__ = ("_buffers", "_lost", "_offers", "done")

    def __init__(self) -> None:
        self._buffers = (bytearray(), bytearray())
        self._lost = [False, False]
        self._offers: list[Offer | None] = [None, None]
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read the next bytes of one direction and return the messages they complete."""
        buffer = self._buffers[direction]
        buffer += data
        found: list[Fact | Malformed] = []
        at = 0
        while len(buffer) - at >= bgp.HEADER:
            size = bgp.message_size(buffer[at : at + bgp.HEADER], framed=not self._lost[direction])
            if size is None:
                at = self._resynchronise(direction, at, found)
                continue
            if len(buffer) - at < size:
                break
            self._lost[direction] = False
            self._message(direction, bytes(buffer[at : at + size]), found)
            at += size
        del buffer[:at]
        return found

    def gap(self, direction: int, size: int) -> None:
        """Drop the torn message and look for the next marker."""
        self._buffers[direction].clear()
        self._lost[direction] = True

    def _message(self, direction: int, data: bytes, found: list[Fact | Malformed]) -> None:
        message = bgp.parse(data, terms=self._terms(direction))
        if isinstance(message, Malformed):
            found.append(message)
            return
        if message.offer is not None:
            self._offers[direction] = message.offer
        found.append(bgp.bgp_fact(message))
        if message.broken:
            found.append(Malformed(message.broken))

    def _resynchronise(self, direction: int, at: int, found: list[Fact | Malformed]) -> int:
        """Find the next marker behind `at`; say once that the framing broke."""
        if not self._lost[direction]:
            found.append(Malformed("BGP stream lost its framing"))
            self._lost[direction] = True
        buffer = self._buffers[direction]
        start = buffer.find(MARKER, at + 1)
        if start >= 0:
            return start
        kept = len(buffer) - len(buffer.rstrip(b"\xff"))
        return len(buffer) - min(kept, len(MARKER) - 1)

    def _terms(self, direction: int) -> Terms:
        """What was agreed on for messages of this direction, as far as the OPENs were seen."""
        mine, other = self._offers[direction], self._offers[1 - direction]
        if mine is None or other is None:
            one = mine or other
            return Terms(as_width=2 if one is not None and not one.as4 else 0)
        return Terms(4 if mine.as4 and other.as4 else 2, frozenset(mine.sends_paths & other.receives_paths))


class DiameterStream:
    """Diameter over TCP: any cut of messages into segments; resynchronises where something like a header stands."""

    __slots__ = ("_buffers", "_lost", "_max_bytes", "done")

    def __init__(self, *, max_bytes: int) -> None:
        self._buffers = (bytearray(), bytearray())
        self._lost = [False, False]
        self._max_bytes = max_bytes
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read the next bytes of one direction and return the messages they complete."""
        buffer = self._buffers[direction]
        buffer += data
        found: list[Fact | Malformed] = []
        at = 0
        while len(buffer) - at >= diameter.HEADER:
            size = diameter.message_size(buffer, at, framed=not self._lost[direction])
            if size is None or size > self._max_bytes:
                if not self._lost[direction]:
                    found.append(Malformed("Diameter stream lost its framing"))
                    self._lost[direction] = True
                start = buffer.find(diameter.VERSION, at + 1)
                at = start if start >= 0 else len(buffer)
                continue
            if len(buffer) - at < size:
                break
            self._lost[direction] = False
            found.extend(diameter.read(bytes(buffer[at : at + size])))
            at += size
        del buffer[:at]
        return found

    def gap(self, direction: int, size: int) -> None:
        """Drop the torn message and look for the next header."""
        self._buffers[direction].clear()
        self._lost[direction] = True
