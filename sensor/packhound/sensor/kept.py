"""Packets kept back until somebody can say whether they are wanted: bounded, oldest given up first.

Promise: pure; every packet that enters leaves exactly once, by `take` (decided) or in `given_up` (budget, age).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

from packhound.net.facts import Fact


@dataclass(slots=True)
class Kept:
    """One packet out of its block: time (ns), original length, interface index, capture number, captured bytes,
    flow serial (0: none) and direction (255: none), app id, payload offset, pcap programs passed, and the messages
    it completed."""

    ts: int
    wirelen: int
    iface: int
    number: int
    data: bytes
    flow: int = 0
    direction: int = 255
    app: int = 0
    payload: int = 0
    mask: int = 0
    base: int = 0
    call: str = ""
    facts: list[Fact] = field(default_factory=list)


@dataclass(slots=True)
class _Pile:
    packets: deque[Kept] = field(default_factory=deque)
    size: int = 0


class Keep:
    """Piles of packets by key (a flow serial, a call id). The first packets of a pile are the ones worth keeping:
    `add` refuses a packet that would take its pile over `pile_bytes` or `pile_packets`."""

    def __init__(self, *, pile_bytes: int, pile_packets: int, total_bytes: int) -> None:
        self._piles: OrderedDict[Hashable, _Pile] = OrderedDict()
        self._pile_bytes = pile_bytes
        self._pile_packets = pile_packets
        self._total_bytes = total_bytes
        self.bytes = 0
        self.packets = 0
        self.given_up: list[Kept] = []

    def __contains__(self, key: Hashable) -> bool:
        return key in self._piles

    def add(self, key: Hashable, packet: Kept) -> bool:
        """Keep `packet`; False (not kept) when its pile is full. Makes room by giving up the oldest piles."""
        pile = self._piles.get(key)
        size = len(packet.data)
        if pile is None:
            pile = self._piles[key] = _Pile()
        elif pile.size + size > self._pile_bytes or len(pile.packets) >= self._pile_packets:
            return False
        pile.packets.append(packet)
        pile.size += size
        self.bytes += size
        self.packets += 1
        while self.bytes > self._total_bytes and len(self._piles) > 1:
            self.given_up.extend(self.take(next(iter(self._piles))))
        return True

    def take(self, key: Hashable) -> list[Kept]:
        """Remove and return a pile, in packet order; empty when there is none."""
        pile = self._piles.pop(key, None)
        if pile is None:
            return []
        self.bytes -= pile.size
        self.packets -= len(pile.packets)
        return list(pile.packets)

    def age(self, before: int) -> None:
        """Give up every packet older than packet time `before` (ns) in the piles that began earliest."""
        for key in list(self._piles):
            pile = self._piles[key]
            if pile.packets and pile.packets[0].ts >= before:
                break
            while pile.packets and pile.packets[0].ts < before:
                packet = pile.packets.popleft()
                pile.size -= len(packet.data)
                self.bytes -= len(packet.data)
                self.packets -= 1
                self.given_up.append(packet)
            if pile.packets:
                self._piles.move_to_end(key)
            else:
                del self._piles[key]

    def rebase(self, base: int) -> None:
        """Write filter set `base` on every packet kept: the numbers of an older plan mean nothing any more."""
        for pile in self._piles.values():
            for packet in pile.packets:
                packet.base = base

    def released(self) -> Iterator[Kept]:
        """Hand out what was given up since the last call."""
        given_up, self.given_up = self.given_up, []
        return iter(given_up)
