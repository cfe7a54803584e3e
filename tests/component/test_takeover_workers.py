"""Workers share the shards fairly, hold everything while something is away, and end in order."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from pathlib import Path

import pytest

from packhound.processor.groups import GroupLimits, Groups, take_up
from packhound.processor.intake.delivery import Delivery
from packhound.processor.keeper import Keeper
from packhound.processor.service import Processor, ProcessorSettings
from packhound.processor.shared.entries import books_of
from packhound.processor.shared.sqlite import SqliteState
from packhound.processor.shared.state import Unavailable
from packhound.processor.store.folder import Folder
from packhound.processor.worker import Worker
from tests.support.batches import batch_of, batches_of, udp_packet

SHARDS = 6


class Broker:
    """Keeps parcels of every shard until they are acknowledged; brings them again to whoever opens the shard next."""

    def __init__(self) -> None:
        self.kept: dict[int, dict[int, object]] = defaultdict(dict)
        self.owners: dict[int, list[object]] = defaultdict(list)
        self.lock = threading.Lock()

    def put(self, batch) -> None:
        with self.lock:
            self.kept[batch.shard][batch.sequence] = batch

    def __len__(self) -> int:
        with self.lock:
            return sum(map(len, self.kept.values()))


class Memory:
    """A source from that broker."""

    def __init__(self, broker: Broker) -> None:
        self.broker, self.brought = broker, {}
        self.holds = 0

    def open(self, shard):
        self.brought[shard] = set()
        self.broker.owners[shard].append(self)

    def close(self, shard):
        self.brought.pop(shard, None)

    def take(self, count, timeout):
        found = []
        with self.broker.lock:
            for shard, brought in self.brought.items():
                for sequence, batch in sorted(self.broker.kept[shard].items()):
                    if sequence not in brought and len(found) < count:
                        brought.add(sequence)
                        found.append(Delivery(shard, batch, (shard, sequence)))
        if not found:
            time.sleep(min(timeout, 0.01))
        return found

    def settle(self, handles):
        with self.broker.lock:
            for shard, sequence in handles:
                self.broker.kept[shard].pop(sequence, None)

    def hold(self):
        self.holds += 1

    @property
    def caught_up(self):
        return False


class Away(SqliteState):
    """Away when told."""

    away = False

    def commit(self, commit):
        if self.away:
            raise Unavailable("away")
        return super().commit(commit)


class Running:
    """A worker in a thread."""

    def __init__(self, root: Path, node: str, broker: Broker, *, grace: float = 5.0) -> None:
        self.out = root / node
        self.shared = Away(root / "shared.db", lease_ns=600_000_000)
        self.folder = Folder(self.out)
        claimed, _ = take_up(self.folder, self.shared)
        self.processor = Processor(self.out, ProcessorSettings(node=node), clock=time.time_ns)
        groups = Groups(
            self.processor, folder=self.folder, shared=self.shared, claimed=claimed, limits=GroupLimits(4, 10_000_000)
        )  # fmt: skip
        self.source = Memory(broker)
        keeper = Keeper(self.shared, member=node, beat=0.05)
        self.worker = Worker(groups, self.source, shared=self.shared, keeper=keeper, shards=SHARDS, grace=grace)
        keeper.start()
        self.failed: BaseException | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.worker.run()
        except BaseException as error:
            self.failed = error
        self.folder.close()

    @property
    def shards(self) -> set[int]:
        return set(self.source.brought)

    def stop(self) -> None:
        self.worker.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()

    def numbers(self) -> list[int]:
        return [
            int.from_bytes(batch.packet(at)[42:46], "big")
            for path in self.out.rglob("*.pcapng") for batch in batches_of(path) for at in range(len(batch))
        ]  # fmt: skip


def parcel(shard: int, sequence: int):
    batch = batch_of([udp_packet(shard * 1000 + sequence)], sequence=sequence)
    batch.shard = shard
    return batch


def until(promise, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not promise():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def running(tmp_path):
    """Starts workers on one broker."""
    broker, made = Broker(), []

    def start(node, **settings):
        made.append(Running(tmp_path, node, broker, **settings))
        return made[-1]

    start.broker = broker
    yield start
    for each in made:
        each.shared.away = False
        each.stop()


def test_shards_are_shared_and_move_in_order_when_members_come_and_go(running):
    first = running("p1")
    until(lambda: len(first.shards) == SHARDS)
    second, third = running("p2"), running("p3")
    until(lambda: [len(each.shards) for each in (first, second, third)] == [2, 2, 2])
    assert first.shards | second.shards | third.shards == set(range(SHARDS))
    assert first.worker.progress.lost == 0
    for shard in range(SHARDS):
        running.broker.put(parcel(shard, 1))
    until(lambda: not running.broker)
    began = time.monotonic()
    second.stop()
    until(lambda: len(first.shards) == len(third.shards) == 3)
    assert time.monotonic() - began < 30
    for shard in range(SHARDS):
        running.broker.put(parcel(shard, 2))
    until(lambda: not running.broker)
    for each in (first, third):
        each.stop()
    everything = [number for each in (first, second, third) for number in each.numbers()]
    assert sorted(everything) == [shard * 1000 + n for shard in range(SHARDS) for n in (1, 2)]


def test_while_the_shared_state_is_away_everything_is_held(running):
    worker = running("p1")
    until(lambda: len(worker.shards) == SHARDS)
    worker.shared.away = True
    for sequence in range(1, 20):
        running.broker.put(parcel(0, sequence))
    until(lambda: worker.source.holds >= 2)
    assert worker.worker.progress.held == "away"
    assert len(running.broker) == 19
    assert len(worker.shards) == SHARDS
    worker.shared.away = False
    until(lambda: not running.broker)
    until(lambda: worker.worker.progress.held == "")
    worker.stop()
    assert sorted(worker.numbers()) == list(range(1, 20))


def test_a_worker_stopped_while_the_state_is_away_ends_in_time_and_its_successor_does_the_rest(running):
    first = running("p1", grace=0.5)
    until(lambda: len(first.shards) == SHARDS)
    running.broker.put(parcel(0, 1))
    until(lambda: not running.broker)
    first.shared.away = True
    running.broker.put(parcel(0, 2))
    until(lambda: first.source.holds)
    began = time.monotonic()
    first.stop()
    assert time.monotonic() - began < 30
    assert len(running.broker) == 1
    second = running("p1")
    until(lambda: not running.broker)
    second.stop()
    assert sorted(second.numbers()) == [1, 2]
    assert books_of(second.shared.books()).sensor("").recorded == 2


def test_what_nobody_foresaw_ends_the_worker_and_nothing_more_is_settled(running, monkeypatch):
    worker = running("p1")
    until(lambda: len(worker.shards) == SHARDS)
    monkeypatch.setattr(worker.processor, "accept", lambda *_, **__: 1 / 0)
    running.broker.put(parcel(0, 1))
    until(lambda: not worker.thread.is_alive())
    assert isinstance(worker.failed, ZeroDivisionError)
    assert len(running.broker) == 1


def test_a_worker_whose_lease_went_to_another_stops_working_on_the_shard(running):
    first = running("p1")
    until(lambda: len(first.shards) == SHARDS)
    first.shared.release(first.worker._groups.leases[3])
    thief = first.shared.acquire("thief", 3)
    until(lambda: 3 not in first.shards)
    assert first.worker.progress.lost == 1
    first.shared.release(thief)
    until(lambda: 3 in first.shards)
