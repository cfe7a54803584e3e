"""Guards: filters that may see a packet only when one of its ends is an address of theirs (a tenant's own pods).

Promise: pure. A guard stands beside a filter's tree: the tree says what matches, the guard what may be shipped at all,
the media of a matched call included.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from packhound.rules.indexes import AddressIndex
from packhound.rules.plan import HuntPlan

MAX_SEEN = 65_536


class Guards:
    """The guarded filters of a plan, by their indexes."""

    def __init__(self, plan: HuntPlan) -> None:
        self.guarded = frozenset(i for i, f in enumerate(plan.filters) if f.guard is not None)
        self._index = AddressIndex()
        for i in self.guarded:
            self._index.add(i, plan.filters[i].guard or ())
        self._seen: dict[tuple[int, bytes, bytes], frozenset[int]] = {}

    def keep(self, filters: frozenset[int], *, version: int, src: bytes, dst: bytes) -> frozenset[int]:
        """Those of `filters` that may see a packet between `src` and `dst` (at least 4 or 16 bytes, by `version`;
        version 0: no IP packet, which no guarded filter sees)."""
        if not filters & self.guarded:
            return filters
        size = 4 if version == 4 else 16
        key = version, bytes(src[:size]), bytes(dst[:size])
        let_in = self._seen.get(key)
        if let_in is None:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            let_in = self._seen[key] = self._let_in(*key)
        return frozenset(i for i in filters if i not in self.guarded or i in let_in)

    def _let_in(self, version: int, src: bytes, dst: bytes) -> frozenset[int]:
        if version not in (4, 6):
            return frozenset()
        kind = IPv4Address if version == 4 else IPv6Address
        return frozenset(i for each in (src, dst) for i in self._index.find(str(kind(each))))
