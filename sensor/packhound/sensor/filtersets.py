"""Which filters want a packet, as small numbers: sets of filters interned for the kernel and the batches.

Promise: pure but for telling the kernel of each new set; ids are dense, from 1, and valid for one plan only.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Protocol

from packhound.rules.plan import CompiledFilter, HuntPlan

FULL = 0xFFFFFFFF


class DefinesSets(Protocol):
    """What this module needs of a kernel."""

    def define_fset(self, number: int, *, need: int, free: bool) -> None: ...


class FilterSets:
    """Interned sets of indexes into `plan.filters`."""

    def __init__(self, plan: HuntPlan, programs: dict[str, int], kernel: DefinesSets) -> None:
        self._filters: tuple[CompiledFilter, ...] = plan.filters
        self._program = [programs.get(f.pcap_filter or "", -1) for f in plan.filters]
        self._kernel = kernel
        self._ids: dict[frozenset[int], int] = {frozenset(): 0}
        self._sets: list[frozenset[int]] = [frozenset()]
        self._final: dict[tuple[int, int, str], int] = {}
        self._shortest_trigger = min((f.pre_trigger_ns for f in plan.filters), default=0)
        self.by_interface = any("any" not in f.interfaces for f in plan.filters)

    def intern(self, filters: Iterable[int]) -> int:
        """Number of this set of filters; 0 is the empty set."""
        key = frozenset(filters)
        number = self._ids.get(key)
        if number is None:
            number = self._ids[key] = len(self._sets)
            self._sets.append(key)
            need = 0
            for i in key:
                if self._program[i] >= 0:
                    need |= 1 << self._program[i]
            self._kernel.define_fset(number, need=need, free=any(self._program[i] < 0 for i in key))
        return number

    def members(self, number: int) -> frozenset[int]:
        """The filters of set `number`."""
        return self._sets[number]

    def names(self, number: int) -> tuple[str, ...]:
        """Names of the filters of set `number`, sorted."""
        return tuple(sorted(self._filters[i].name for i in self._sets[number]))

    def final(self, number: int, mask: int, interface: str) -> int:
        """Set `number` less the filters whose pcap program did not pass or that do not listen on `interface`."""
        key = (number, mask, interface if self.by_interface else "")
        found = self._final.get(key)
        if found is None:
            members = (i for i in self._sets[number] if self._takes(i, mask, interface))
            found = self._final[key] = self.intern(members)
        return found

    def recent(self, number: int, age: int) -> int:
        """Set `number` less the filters whose `preTrigger` a packet of that age (ns, when it was wanted) exceeds."""
        if age <= self._shortest_trigger:
            return number
        return self.intern(i for i in self._sets[number] if age <= self._filters[i].pre_trigger_ns)

    def _takes(self, i: int, mask: int, interface: str) -> bool:
        if self._program[i] >= 0 and not mask >> self._program[i] & 1:
            return False
        return "any" in self._filters[i].interfaces or interface in self._filters[i].interfaces

    def sampled(self, filters: Iterable[int], key: bytes) -> frozenset[int]:
        """Those of `filters` whose sample takes the flow or call named by `key` (same answer on every sensor)."""
        point = zlib.crc32(key) / 0x1_0000_0000
        return frozenset(i for i in filters if point < self._filters[i].sample)

    def keep_bytes(self, number: int, caplen: int, payload: int) -> int:
        """How much of a packet the set keeps: the most that any of its filters asks for, in bytes."""
        best = 0
        for i in self._sets[number]:
            spec = self._filters[i]
            size = min(caplen, spec.snaplen)
            if spec.payload != "full":
                size = min(size, payload or caplen)
            best = max(best, size)
        return best

    def whole(self, number: int) -> bool:
        """Tell whether the set keeps packets whole, so that nothing need be cut."""
        return any(self._filters[i].payload == "full" and self._filters[i].snaplen >= 65535 for i in self._sets[number])
