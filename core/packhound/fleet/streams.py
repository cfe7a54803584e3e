"""The streams, consumers and buckets of a fleet, and keeping the broker in possession of them.

Promise: a layout is a value that every process of a fleet must agree on. `ensure` never deletes anything and may be
called by many at once; `Keeper` calls it on every new connection, so that a broker that came back empty is whole again
before anybody waits for long. One asyncio loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from packhound.kit.bus import (
    BucketSpec,
    Bus,
    BusError,
    ConsumerSpec,
    Denied,
    Rejected,
    StreamSpec,
    ensure_consumer,
    ensure_stream,
)
from packhound.kit.retry import Backoff, RetryPolicy
from packhound.kit.tasks import happened
from packhound.wire.subjects import DEFAULT_SHARDS, MAX_SHARDS, BadName, Subjects

SECOND = 1_000_000_000
EVERY = 30.0
_RETRY = RetryPolicy(first_ns=SECOND // 2, most_ns=10 * SECOND)


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in ns. `packets`: of parcels that no processor has acknowledged yet, the broker's disk;
    `pending`: parcels of one shard that may be with a processor at once."""

    packets: int = 4 << 30
    duplicates_ns: int = 120 * SECOND
    ack_wait_ns: int = 30 * SECOND
    pending: int = 1024
    dead: int = 64 << 20
    dead_age_ns: int = 7 * 86400 * SECOND
    plans: int = 64 << 20
    filters: int = 64 << 20
    status: int = 256 << 20
    pods: int = 256 << 20

    @classmethod
    def of_mib(cls, sizes: Mapping[str, int]) -> Limits:
        """The same times with sizes in MiB, by name."""
        return cls(**{name: mib << 20 for name, mib in sizes.items()})


@dataclass(frozen=True, slots=True)
class Layout:
    """A fleet on the bus: `shards` is its constant, `replicas` of each stream in a cluster of brokers."""

    fleet: str
    shards: int = DEFAULT_SHARDS
    limits: Limits = field(default_factory=Limits)
    replicas: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.shards <= MAX_SHARDS:
            raise BadName(f"a fleet has 1 to {MAX_SHARDS} shards")

    @property
    def subjects(self) -> Subjects:
        """Its names."""
        return Subjects(self.fleet)

    @property
    def streams(self) -> tuple[StreamSpec | BucketSpec, ...]:
        """Streams and buckets."""
        names, limits = self.subjects, self.limits
        return (
            StreamSpec(
                names.packets_stream, tuple(map(names.packets_of_shard, range(self.shards))), "workqueue", "new",
                limits.packets, duplicates_ns=limits.duplicates_ns, replicas=self.replicas,
            ),
            StreamSpec(
                names.dead_stream, (names.every_dead,), "limits", "old", limits.dead, max_age_ns=limits.dead_age_ns,
                replicas=self.replicas,
            ),
            BucketSpec(names.plans_bucket, limits.plans, replicas=self.replicas),
            BucketSpec(names.filters_bucket, limits.filters, replicas=self.replicas),
            BucketSpec(names.status_bucket, limits.status, replicas=self.replicas),
            BucketSpec(names.pods_bucket, limits.pods, replicas=self.replicas),
        )  # fmt: skip

    @property
    def consumers(self) -> tuple[ConsumerSpec, ...]:
        """One consumer for each shard."""
        names, limits = self.subjects, self.limits
        return tuple(
            ConsumerSpec(
                names.packets_stream, names.consumer(shard), names.packets_of_shard(shard), limits.ack_wait_ns,
                limits.pending,
            )
            for shard in range(self.shards)
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ensured:
    """What `ensure` did: names that it made or changed, and those that the broker would not let it, with the reason."""

    made: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()


async def ensure(bus: Bus, layout: Layout) -> Ensured:
    """Make the broker have what the layout says. Raises Away when the broker does not answer; what it does not permit
    or cannot do is among the faults."""
    done: dict[str, list[str]] = {"made": [], "changed": []}
    faults: list[str] = []
    for spec in (*layout.streams, *layout.consumers):
        try:
            if isinstance(spec, ConsumerSpec):
                what = f"{spec.stream}/{spec.name}"
                change = await ensure_consumer(bus, spec)
            else:
                what = spec.name
                change = await ensure_stream(bus, spec)
        except (Denied, Rejected) as error:
            faults.append(f"{what}: {error.reason}")
            continue
        if change in done:
            done[change].append(what)
    return Ensured(tuple(done["made"]), tuple(done["changed"]), tuple(faults))


class Keeper:
    """Ensures the layout on every connection and every half minute. `ready` is set while the broker is known to have
    everything; `told` hears of every look that made, changed or missed something."""

    def __init__(self, bus: Bus, layout: Layout, *, told: Callable[[Ensured], None] | None = None) -> None:
        self._bus, self._layout, self._told = bus, layout, told
        self._wake = asyncio.Event()
        self.ready = asyncio.Event()
        self.last = Ensured()

    async def run(self) -> None:
        """Keep at it until cancelled."""
        unwatch = self._bus.watch(lambda _: self._changed())
        backoff = Backoff(_RETRY, uniform=random.random)
        try:
            while True:
                await self._bus.ready()
                self._wake.clear()
                wait = EVERY
                if await self._look():
                    backoff.worked()
                else:
                    wait = backoff.next_ns() / 1e9
                await happened(self._wake, within=wait)
        finally:
            unwatch()

    def _changed(self) -> None:
        self.ready.clear()
        self._wake.set()

    async def _look(self) -> bool:
        try:
            found = await ensure(self._bus, self._layout)
        except BusError:
            return False
        self.last = found
        self.ready.set()
        if self._told is not None and found != Ensured():
            self._told(found)
        return True

