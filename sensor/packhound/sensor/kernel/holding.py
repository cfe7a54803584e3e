"""Packets kept back until their flow is decided, portable side of `_hold.pxi`.

Promise: pure; one pile a flow, its first packets, bounded per flow and in all; the oldest pile is given up first.
Rows are (ts, wirelen, iface, number, bytes, flow serial, direction, app, payload offset).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

MEDIA_FACTOR = 8
Row = tuple[int, int, int, int, bytes, int, int, int, int]


@dataclass(slots=True)
class _Pile:
    serial: int
    rows: deque[Row] = field(default_factory=deque)
    size: int = 0


class Hold:
    """Piles by flow slot. `fset_of(slot, serial)` gives the filter sets of a live flow, None when it is gone."""

    def __init__(self, fset_of: Callable[[int, int], tuple[int, int] | None]) -> None:
        self._fset_of = fset_of
        self._piles: OrderedDict[int, _Pile] = OrderedDict()
        self._ended: dict[int, _Pile] = {}
        self._given_up: list[tuple[int, int, list[Row]]] = []
        self.pile_packets, self.pile_bytes, self.total_bytes = 64, 65536, 64 << 20
        self.packets = self.bytes = self.dropped = 0

    def add(self, slot: int, serial: int, row: Row, *, media: bool) -> bool:
        """Keep a packet; False when its pile is full. `media`: of a call, whose messages decide late: more room."""
        factor = MEDIA_FACTOR if media else 1
        pile, size = self._piles.get(slot), len(row[4])
        if pile is not None and pile.serial != serial:
            self._unlink(slot, pile)
            self._ended[pile.serial] = pile
            pile = None
        if pile is None:
            pile = self._piles[slot] = _Pile(serial)
        elif len(pile.rows) >= self.pile_packets * factor or pile.size + size > self.pile_bytes * factor:
            return False
        pile.rows.append(row)
        pile.size += size
        self.packets += 1
        self.bytes += size
        while self.bytes > self.total_bytes and len(self._piles) > 1:
            self._give_up(next(iter(self._piles)))
        return True

    def _unlink(self, slot: int, pile: _Pile) -> None:
        del self._piles[slot]
        self.packets -= len(pile.rows)
        self.bytes -= pile.size

    def _give_up(self, slot: int) -> None:
        pile = self._piles[slot]
        self._unlink(slot, pile)
        fsets = self._fset_of(slot, pile.serial)
        if fsets is None or not any(fsets):
            self.dropped += len(pile.rows)
        else:
            self._given_up.append((*fsets, list(pile.rows)))

    def take(self, slot: int, serial: int) -> list[Row]:
        """Take a flow's pile out."""
        pile = self._piles.get(slot)
        if pile is not None and pile.serial == serial:
            self._unlink(slot, pile)
            return list(pile.rows)
        ended = self._ended.pop(serial, None)
        return list(ended.rows) if ended else []

    def drop(self, slot: int, serial: int) -> int:
        """Let go of a flow's pile; how many packets it held."""
        count = len(self.take(slot, serial))
        self.dropped += count
        return count

    def age(self, before: int) -> None:
        """Drop packets older than packet time `before` from the piles that began earliest."""
        for slot in list(self._piles):
            pile = self._piles[slot]
            if pile.rows[0][0] >= before:
                break
            while pile.rows and pile.rows[0][0] < before:
                size = len(pile.rows.popleft()[4])
                pile.size -= size
                self.bytes -= size
                self.packets -= 1
                self.dropped += 1
            if pile.rows:
                self._piles.move_to_end(slot)
            else:
                del self._piles[slot]

    @property
    def holding(self) -> int:
        """Packets inside, those of piles that wait to be taken too."""
        waiting = sum(len(pile.rows) for pile in self._ended.values()) + sum(len(rows) for *_, rows in self._given_up)
        return self.packets + waiting

    def given_up(self) -> list[tuple[int, int, list[Row]]]:
        """Piles of wanted flows that had to go since the last call, newest first: both filter sets, packets."""
        out, self._given_up = self._given_up, []
        return out[::-1]
