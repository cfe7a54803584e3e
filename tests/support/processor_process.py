"""A processor of a fleet as a process of its own, fed from a folder: stands in for any broker that keeps a parcel until
it is acknowledged and brings it again to whoever has the shard then.

    python -m tests.support.processor_process OUT QUEUE SHARED NODE

QUEUE/SHARD/NUMBER.parcel are brought in order of their numbers; acknowledged ones are removed. QUEUE may be the address
of a NATS server instead: then it is the real thing. With CRASH=p in the
environment the process kills itself with probability p at every step that matters: amid a write, before a sync, before
and after a commit, a rename and an acknowledgement.
"""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from packhound.fleet.streams import Keeper as Streams
from packhound.fleet.streams import Layout
from packhound.kit.bus import Bus, BusSettings
from packhound.kit.retry import RetryPolicy
from packhound.processor.groups import GroupLimits, Groups, take_up
from packhound.processor.intake.delivery import Delivery
from packhound.processor.intake.nats import NatsSource
from packhound.processor.keeper import Keeper
from packhound.processor.recording import Actions
from packhound.processor.service import Processor, ProcessorSettings
from packhound.processor.shared.redis import RedisSettings, RedisState
from packhound.processor.shared.sqlite import SqliteState
from packhound.processor.shared.state import SharedState, Unavailable
from packhound.processor.store.folder import Folder
from packhound.processor.store.segments import Limits
from packhound.processor.worker import Worker
from packhound.wire.codec import decode, encode
from packhound.wire.subjects import Subjects

SHARDS = 4
LEASE_NS = int(float(os.environ.get("LEASE", "1")) * 1e9)
FILTER = "voice/alice"


class FolderQueue:
    """The source: one folder a shard."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._brought: dict[int, set[str]] = {}

    def open(self, shard: int) -> None:
        self._brought[shard] = set()

    def close(self, shard: int) -> None:
        self._brought.pop(shard, None)

    def _waiting(self) -> list[tuple[int, str]]:
        return [
            (shard, name) for shard, brought in self._brought.items()
            for name in sorted(set(os.listdir(self._root / str(shard))) - brought) if name.endswith(".parcel")
        ]  # fmt: skip

    def take(self, count: int, timeout: float) -> Sequence[Delivery]:
        found = self._waiting()
        if not found:
            time.sleep(min(timeout, 0.02))
        taken = []
        for shard, name in found[:count]:
            path = self._root / str(shard) / name
            with suppress(FileNotFoundError):  # its old owner acknowledged it just now
                taken.append(Delivery(shard, decode(path.read_bytes()), path))
            self._brought[shard].add(name)
        return taken

    def settle(self, handles: Sequence[Path]) -> None:
        for path in handles:
            self.acknowledge(path)

    def acknowledge(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def hold(self) -> None:
        pass

    @property
    def caught_up(self) -> bool:
        return not self._waiting()


def put(root: Path, batch) -> None:
    """Publish a parcel."""
    where = root / str(batch.shard)
    where.mkdir(parents=True, exist_ok=True)
    name = f"{batch.epoch:016x}-{batch.sequence:09d}.parcel"
    (where / f"{name}.new").write_bytes(encode(batch))
    (where / f"{name}.new").rename(where / name)


def from_nats(url: str, node: str) -> NatsSource:
    """The real source, on an event loop in a thread."""
    loop = asyncio.new_event_loop()

    async def connect():
        bus = await Bus.connect(BusSettings((url,), node, retry=RetryPolicy(200_000_000, 500_000_000)))
        tasks.add(loop.create_task(Streams(bus, Layout("t", SHARDS)).run()))
        return NatsSource(bus, Subjects("t"), node=node, loop=loop)

    tasks = set()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    source = asyncio.run_coroutine_threadsafe(connect(), loop).result()
    source.acknowledge = None
    return source


def open_shared(address: str) -> SharedState:
    if address.startswith("redis:"):
        return RedisState(RedisSettings(address, timeout=1.0), fleet="t", lease_ns=LEASE_NS)
    return SqliteState(Path(address), lease_ns=LEASE_NS)


class Crashing:
    """Steps at which this process may die."""

    def __init__(self, chance: float) -> None:
        self._chance = chance
        self._random = random.Random()

    def maybe(self) -> None:
        if self._random.random() < self._chance:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, call):
        def called(*arguments, **named):
            self.maybe()
            found = call(*arguments, **named)
            self.maybe()
            return found

        return called

    def arm(self, shared, source) -> None:
        write = os.pwrite

        def torn(fd, data, offset):
            if self._random.random() < self._chance:
                write(fd, bytes(data[: self._random.randrange(len(data) + 1)]), offset)
                os.kill(os.getpid(), signal.SIGKILL)
            return write(fd, data, offset)

        os.pwrite = torn
        os.fdatasync = self.around(os.fdatasync)
        os.rename = self.around(os.rename)
        shared.commit = self.around(shared.commit)
        if source.acknowledge is not None:
            source.acknowledge = self.around(source.acknowledge)
        else:
            source.settle = self.around(source.settle)


def patiently(call):
    """What the start of a processor does while the shared state is away."""
    while True:
        try:
            return call()
        except Unavailable:
            time.sleep(0.1)


def main(out: str, queue: str, address: str, node: str) -> None:
    shared = patiently(lambda: open_shared(address))
    folder = Folder(Path(out))
    claimed, recovered = patiently(lambda: take_up(folder, shared))
    settings = ProcessorSettings(node=node, segment=Limits(bytes=60_000), flush=300_000_000, live=True)
    processor = Processor(Path(out), settings, clock=time.time_ns, recovered=recovered)
    processor.use({FILTER: Actions(per_call=True, alert="high")})
    groups = Groups(
        processor, folder=folder, shared=shared, claimed=claimed, limits=GroupLimits(parcels=4, age_ns=20_000_000)
    )  # fmt: skip
    keeper = Keeper(shared, member=f"{node}-{secrets.token_hex(4)}", beat=LEASE_NS / 5e9)
    source = from_nats(queue, node) if queue.startswith("nats:") else FolderQueue(Path(queue))
    if chance := float(os.environ.get("CRASH", "0")):
        Crashing(chance).arm(shared, source)
    worker = Worker(groups, source, shared=shared, keeper=keeper, shards=SHARDS)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    keeper.start()
    print("ready", flush=True)
    worker.run()
    if isinstance(source, NatsSource):
        asyncio.run_coroutine_threadsafe(source.end(), source._loop).result(5)
    folder.close()
    shared.close()
    print("ended", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
