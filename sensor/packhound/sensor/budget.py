"""What a filter may take: packets a second, bytes in all.

Promise: pure, time is packet time in ns; a filter over its budget loses packets that are counted, never others'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SECOND = 1_000_000_000


@dataclass(slots=True)
class _Bucket:
    rate: int | None
    total: int | None
    tokens: float = 0.0
    last: int | None = None
    spent: int = 0
    refused: int = 0


class Budgets:
    """Token buckets, one per filter with a budget; `limits[i]` is (packets per second, total bytes) of filter i,
    None where there is no such limit. A bucket holds one second's packets."""

    def __init__(self, limits: Sequence[tuple[int | None, int | None]]) -> None:
        self._buckets = {
            i: _Bucket(r, t, float(r or 0)) for i, (r, t) in enumerate(limits) if r is not None or t is not None
        }

    def __bool__(self) -> bool:
        return bool(self._buckets)

    def limits_any(self, filters: frozenset[int]) -> bool:
        """Tell whether any of `filters` has a budget."""
        return not self._buckets.keys().isdisjoint(filters)

    def charge(self, filters: frozenset[int], *, ts: int, size: int) -> frozenset[int]:
        """Charge one packet of `size` bytes at `ts` to every one of `filters`; return those that can pay."""
        refused = {i for i in filters if i in self._buckets and not self._pay(self._buckets[i], ts, size)}
        return filters - refused if refused else filters

    def _pay(self, bucket: _Bucket, ts: int, size: int) -> bool:
        if bucket.rate is not None:
            if bucket.last is not None and ts > bucket.last:
                gained = (ts - bucket.last) * bucket.rate / SECOND
                bucket.tokens = min(float(bucket.rate), bucket.tokens + gained)
            bucket.last = ts if bucket.last is None else max(ts, bucket.last)
            if bucket.tokens < 1:
                bucket.refused += 1
                return False
        if bucket.total is not None and bucket.spent + size > bucket.total:
            bucket.refused += 1
            return False
        if bucket.rate is not None:
            bucket.tokens -= 1
        bucket.spent += size
        return True

    def refused(self) -> dict[int, int]:
        """Packets refused so far, by filter index (only filters that have refused any)."""
        return {i: b.refused for i, b in self._buckets.items() if b.refused}
