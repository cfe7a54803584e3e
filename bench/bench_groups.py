"""What settling in groups costs: packets a second of one processor that writes in two phases, against one alone.

Same batches, same run, same disk. `alone`: files are published when closed, nothing is settled. `sqlite`, `redis`: a
group every 64 parcels or 200 ms, on the disk and settled in the shared state before it would be acknowledged.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from packhound.net.facts import Fact
from packhound.processor.groups import Groups, take_up
from packhound.processor.intake.delivery import Delivery
from packhound.processor.recording import Actions
from packhound.processor.service import Processor, ProcessorSettings
from packhound.processor.shared.redis import RedisSettings, RedisState
from packhound.processor.shared.sqlite import SqliteState
from packhound.processor.store.folder import Folder
from packhound.wire.batch import Batch
from tests.support.batches import START, batch_of, udp_packet
from tests.support.redis_server import redis_server

Took = tuple[float, float]
"""Seconds that passed, and seconds of CPU."""

PACKETS, BATCHES, ROUNDS, SHARDS = 512, 400, 5, 16


def batches(*, calls: bool) -> list[Batch]:
    """The same for everybody: 16 shards, 32 flows in each batch, a fact every 64 packets."""
    made, sequences = [], dict.fromkeys(range(SHARDS), 0)
    for number in range(BATCHES):
        shard = number % SHARDS
        sequences[shard] += 1
        packets = [udp_packet(number * PACKETS + at, size=700) for at in range(PACKETS)]
        times = [START + (number * PACKETS + at) * 10_000 for at in range(PACKETS)]
        facts = [
            (at, 1, times[at], Fact("dns", {"dns.qname": (f"n{number}-{at}.example",), "dns.qtype": (1,)}))
            for at in range(0, PACKETS, 64)
        ]  # fmt: skip
        named = [f"call-{shard}-{at % 8}@host" for at in range(PACKETS)] if calls else None
        batch = batch_of(
            packets, ts=times, sequence=sequences[shard], flow=[shard * 1000 + at % 32 + 1 for at in range(PACKETS)],
            facts=facts, calls=named,
        )  # fmt: skip
        batch.shard, batch.sensor, batch.epoch = shard, "node-1", 1
        made.append(batch)
    return made


def alone(out: Path, given: list[Batch], actions: Actions) -> Took:
    processor = Processor(out, clock=time.time_ns)
    processor.use({"voice/alice": actions})
    began, busy = time.perf_counter(), time.process_time()
    for batch in given:
        processor.accept(batch)
    processor.close()
    return time.perf_counter() - began, time.process_time() - busy


def settled(out: Path, given: list[Batch], actions: Actions, shared: object) -> Took:
    folder = Folder(out)
    claimed, _ = take_up(folder, shared)
    processor = Processor(out, ProcessorSettings(node="bench"), clock=time.time_ns)
    processor.use({"voice/alice": actions})
    groups = Groups(processor, folder=folder, shared=shared, claimed=claimed)
    for shard in range(SHARDS):
        groups.adopt(shared.acquire("bench", shard))
    began, busy = time.perf_counter(), time.process_time()
    for batch in given:
        groups.accept(Delivery(batch.shard, batch))
        if not groups.wait_ns():
            groups.settle()
    groups.settle()
    processor.seal()
    groups.settle()
    took = time.perf_counter() - began, time.process_time() - busy
    processor.close()
    folder.close()
    return took


@contextmanager
def somewhere() -> Iterator[Path]:
    where = Path(tempfile.mkdtemp(prefix="bench-groups-", dir=sys.argv[1] if len(sys.argv) > 1 else None))
    try:
        yield where
    finally:
        shutil.rmtree(where, ignore_errors=True)


def sqlite(given: list[Batch], actions: Actions) -> Took:
    with somewhere() as where:
        return settled(where / "out", given, actions, SqliteState(where / "shared.db"))


def redis(given: list[Batch], actions: Actions) -> Took:
    with somewhere() as where, redis_server(where / "redis") as server:
        return settled(where / "out", given, actions, RedisState(RedisSettings(server.url), fleet="bench"))


def without(given: list[Batch], actions: Actions) -> Took:
    with somewhere() as where:
        return alone(where / "out", given, actions)


def main() -> None:
    kinds: dict[str, Callable[[list[Batch], Actions], Took]] = {"alone": without, "sqlite": sqlite, "redis": redis}
    for title, calls, actions in (("packets and messages", False, Actions()), ("and a file per call", True, Actions(per_call=True))):
        given = batches(calls=calls)
        best = dict.fromkeys(kinds, (float("inf"), float("inf")))
        for _ in range(ROUNDS):
            for name, run in kinds.items():
                took = run(given, actions)
                best[name] = min(best[name][0], took[0]), min(best[name][1], took[1])
        total = PACKETS * BATCHES
        print(f"{title}: {total} packets of 742 bytes, best of {ROUNDS}")
        whole, base = best["alone"]
        for name, (took, busy) in best.items():
            print(f"  {name:8} {total / took:10,.0f} packets/s {whole / took:6.0%} of alone;"
                  f" CPU {busy / total * 1e9:6,.0f} ns/packet {busy / base:6.0%}")


if __name__ == "__main__":
    main()
