"""Tombstones that wait, so that those which adjoin can be made one: an outage without end costs no more than a few.

Promise: pure. Only tombstones that the far side cannot have are noted here: what it has once counted never grows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from packhound.sensor.spool.records import Record
from packhound.wire.lost import Lost, joined

_Place = tuple[int, int, int]


class Stone(NamedTuple):
    """A tombstone and the record that holds it."""

    lost: Lost
    record: Record


class Stones:
    """Tombstones by the number of their record."""

    def __init__(self) -> None:
        self._stones: dict[int, Stone] = {}
        self._first: dict[_Place, int] = {}
        self._last: dict[_Place, int] = {}

    def note(self, stone: Stone) -> None:
        """There is a tombstone."""
        number, lost = stone.record.parcel.number, stone.lost
        self._stones[number] = stone
        self._first[lost.epoch, lost.shard, lost.sequence] = number
        self._last[lost.epoch, lost.shard, lost.through] = number

    def forget(self, number: int) -> None:
        """It is no more, or was handed out."""
        stone = self._stones.pop(number, None)
        if stone is not None:
            lost = stone.lost
            del self._first[lost.epoch, lost.shard, lost.sequence]
            del self._last[lost.epoch, lost.shard, lost.through]

    def get(self, number: int) -> Stone | None:
        """A tombstone that was noted."""
        return self._stones.get(number)

    def join(self, lost: Lost, may: Callable[[int], bool]) -> tuple[Lost, list[Stone]]:
        """The tombstone that stands for this one and for those that it adjoins, as far as they `may`; and these."""
        found = []
        for number in (
            self._last.get((lost.epoch, lost.shard, lost.sequence - 1)),
            self._first.get((lost.epoch, lost.shard, lost.through + 1)),
        ):
            if number is None or not may(number):
                continue
            other = self._stones[number]
            early, late = sorted((other.lost, lost), key=lambda each: each.sequence)
            both = joined(early, late)
            if both is not None:
                lost = both
                found.append(other)
        return lost, found

    def __len__(self) -> int:
        return len(self._stones)
