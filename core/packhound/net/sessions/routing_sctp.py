"""Diameter over SCTP (RFC 6733 section 2.1, RFC 9260 section 3.3.1): the user messages of an association.

Promise: every message is found whatever chunks carry it; at most `MAX_PARTS` messages of a direction are put together
at once, each of `max_bytes` at most; a chunk that came before is not taken again; never raises.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from packhound.net import diameter
from packhound.net.facts import Fact, Malformed
from packhound.net.octets import Octets, Short

DATA, BEGIN, END = 0, 2, 1
DATA_HEADER = 16
DIAMETER_PPID = 46
MAX_CHUNKS, MAX_PARTS, MAX_SEEN = 256, 64, 512


@dataclass(slots=True)
class _Direction:
    parts: OrderedDict[tuple[int, int], bytearray] = field(default_factory=OrderedDict)
    seen: OrderedDict[int, None] = field(default_factory=OrderedDict)


class SctpPackets:
    """The chunks of an SCTP association; only Diameter is read."""

    __slots__ = ("_directions", "_max_bytes", "done")

    def __init__(self, *, max_bytes: int) -> None:
        self._directions = (_Direction(), _Direction())
        self._max_bytes = max_bytes
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read the chunks of one packet, which follow its common header."""
        found: list[Fact | Malformed] = []
        cursor = Octets(data)
        try:
            for _ in range(MAX_CHUNKS):
                if not len(cursor):
                    break
                kind, flags, size = cursor.number(1), cursor.number(1), cursor.number(2)
                if size < 4:
                    raise Short(cursor.at)
                body = cursor.part(size - 4)
                cursor.skip(min(-size % 4, len(cursor)))
                if kind == DATA:
                    self._chunk(self._directions[direction], flags, body, found)
        except Short:
            found.append(Malformed("SCTP chunk breaks its packet"))
        return found

    def gap(self, direction: int, size: int) -> None:
        """Packets have no gaps."""

    def _chunk(self, side: _Direction, flags: int, body: Octets, found: list[Fact | Malformed]) -> None:
        number, stream, order, protocol = body.number(4), body.number(2), body.number(2), body.number(4)
        if protocol != DIAMETER_PPID or number in side.seen:
            return
        side.seen[number] = None
        if len(side.seen) > MAX_SEEN:
            side.seen.popitem(last=False)
        key = stream, order
        if flags & BEGIN:
            side.parts[key] = bytearray()
            if len(side.parts) > MAX_PARTS:
                side.parts.popitem(last=False)
        part = side.parts.get(key)
        if part is None:
            return
        part += body.rest()
        if len(part) > self._max_bytes:
            del side.parts[key]
            found.append(Malformed("Diameter message is larger than its cap"))
        elif flags & END:
            del side.parts[key]
            found.extend(diameter.read(bytes(part)))
