"""Processors that are killed at any moment, and others that take over: over all their folders every packet is there
once, every row is there once, and the books say so."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from packhound.net import pcapng
from packhound.net.facts import Fact
from packhound.processor.groups import take_up
from packhound.processor.service import Processor, ProcessorSettings
from packhound.processor.shared.entries import books_of
from packhound.processor.store.folder import Folder
from packhound.processor.store.tables import Answer, query
from packhound.wire.lost import Lost
from tests.support.batches import START, batch_of, batches_of, udp_packet
from tests.support.processor_process import FILTER, SHARDS, open_shared, put
from tests.support.redis_server import needs_redis, redis_server

pytestmark = pytest.mark.slow
PACKETS = 12
NODES = ("p0", "p1", "p2")


class Fleet:
    """Processors that write into folders below `root`; what was sent."""

    def __init__(self, root: Path, address: str) -> None:
        self.root, self.address = root, address
        self.queue = root / "queue"
        for shard in range(SHARDS):
            (self.queue / str(shard)).mkdir(parents=True)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.sequences: Counter[tuple[int, int]] = Counter()
        self.sent = 0
        self.told_lost = 0

    def start(self, node: str, *, crash: float = 0, lease: float = 1) -> None:
        log = (self.root / f"{node}.log").open("ab")
        self.running[node] = subprocess.Popen(
            [sys.executable, "-m", "tests.support.processor_process", self.out(node), self.queue, self.address, node],
            stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")]),
                 "CRASH": str(crash), "LEASE": str(lease)},
        )  # fmt: skip
        log.close()

    def await_ready(self, *nodes: str) -> None:
        """Wait until they work; a machine with much else to do takes long to start them."""
        deadline = time.monotonic() + 120
        while not all("ready" in (self.root / f"{node}.log").read_text() for node in nodes):
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.02)

    def out(self, node: str) -> Path:
        return self.root / node

    def kill(self, node: str) -> None:
        process = self.running.pop(node)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for process in self.running.values():
            process.send_signal(signal.SIGTERM)
        for node, process in self.running.items():
            assert process.wait(120) in {0, -signal.SIGTERM}, (self.root / f"{node}.log").read_text()
        self.running.clear()

    def send(self, shard: int, epoch: int) -> None:
        """One parcel: packets with numbers that no other has, all of one call, and a message."""
        key = epoch, shard
        self.sequences[key] += 1
        sequence = self.sequences[key]
        sensor = f"node-{epoch}"
        if sequence % 7 == 0:
            self.publish(Lost(epoch, shard, sequence, sensor, {(FILTER,): 3}, "spool_full"))
            self.told_lost += 3
            return
        numbers = range(self.sent, self.sent + PACKETS)
        self.sent += PACKETS
        times = [START + sequence * 10_000_000 + at for at in range(PACKETS)]
        fact = Fact("dns", {"dns.qname": (f"n{numbers[0]}.example",)})
        batch = batch_of(
            [udp_packet(number, size=200) for number in numbers], ts=times, sequence=sequence, flow=shard + 1,
            calls=[f"call-{shard}@x"] * PACKETS, facts=[(0, 1, times[0], fact)], fsets={1: (FILTER,)},
        )  # fmt: skip
        batch.epoch, batch.shard, batch.sensor = epoch, shard, sensor
        self.publish(batch)

    def publish(self, parcel) -> None:
        put(self.queue, parcel)

    def waiting(self) -> int:
        return sum(1 for _ in self.queue.rglob("*.parcel"))

    def drain(self, seconds: float = 240.0) -> None:
        deadline = time.monotonic() + seconds
        while self.waiting():
            assert time.monotonic() < deadline, (self.waiting(), self.logs())
            time.sleep(0.05)

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in self.root.glob("*.log"))

    # afterwards

    def recover(self) -> None:
        """What the next start of each processor would do."""
        shared = open_shared(self.address)
        for node in NODES:
            if self.out(node).exists():
                folder = Folder(self.out(node))
                take_up(folder, shared)
                processor = Processor(self.out(node), ProcessorSettings(node=node), clock=time.time_ns)
                processor.keep()
                processor.close()
                folder.close()
                assert not list(self.out(node).rglob(".*.part"))
                assert not list(self.out(node).rglob("*.rows*"))
        shared.close()

    def numbers(self, *, calls: bool) -> list[int]:
        found = []
        for node in NODES:
            for path in sorted((self.out(node) / "recordings").rglob("*.pcapng")):
                data = path.read_bytes()
                assert pcapng.whole_blocks(data)[0] == len(data)
                if ("calls" in path.parts) == calls:
                    packets = (batch.packet(at) for batch in batches_of(path) for at in range(len(batch)))
                    found += [int.from_bytes(each[42:46], "big") for each in packets]
        return found

    def rows(self, sql: str) -> list[tuple]:
        found = []
        for node in NODES:
            answer = query(sql, self.out(node))
            assert isinstance(answer, Answer), answer
            found += answer.rows
        return found

    def check(self) -> None:
        """Every packet once, in the main recordings and in those of its call; every row once; the books."""
        everything = list(range(self.sent))
        assert sorted(self.numbers(calls=False)) == everything
        assert sorted(self.numbers(calls=True)) == everything
        names = sorted(row[0][0] for row in self.rows('SELECT "dns.qname" FROM messages'))
        assert names == sorted(f"n{number}.example" for number in range(0, self.sent, PACKETS))
        alerts = self.rows('SELECT "alert.subject" FROM alerts')
        assert sorted(alerts) == sorted((f"call call-{shard}@x",) for shard in {key[1] for key in self.sequences})
        shared = open_shared(self.address)
        entries = shared.books()
        shared.close()
        books = books_of(entries)
        assert sum(account.recorded for account in books.sensors.values()) == self.sent
        assert books.filter(FILTER).recorded == self.sent
        told = sum(count for entry, count in entries.items() if entry.counter == "told_lost" and entry.kind == "sensor")
        assert told == self.told_lost


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=needs_redis)])
def fleet(request, tmp_path):
    if request.param == "sqlite":
        made = Fleet(tmp_path, str(tmp_path / "shared.db"))
        yield made
    else:
        with redis_server(tmp_path / "redis") as server:
            made = Fleet(tmp_path, server.url)
            made.redis = server
            yield made
    for node in list(made.running):
        made.kill(node)


@pytest.mark.parametrize("seed", range(2))
def test_processors_killed_at_random_moments_lose_and_double_nothing(fleet, seed):
    chance = random.Random(seed)
    for node in NODES:
        fleet.start(node)
    fleet.await_ready(*NODES)
    down: list[str] = []
    until = time.monotonic() + 8
    while time.monotonic() < until:
        for _ in range(chance.randrange(6)):
            fleet.send(chance.randrange(SHARDS), chance.choice([1, 2]))
        time.sleep(chance.uniform(0, 0.05))
        if chance.random() < 0.06 and fleet.running:
            node = chance.choice(sorted(fleet.running))
            fleet.kill(node)
            down.append(node)
        if down and (chance.random() < 0.1 or len(down) == len(NODES)):
            fleet.start(down.pop(0))
    for node in down:
        fleet.start(node)
    fleet.drain()
    for node in NODES:
        fleet.kill(node)
    fleet.recover()
    fleet.check()
    assert fleet.sent > 500


def test_processors_that_die_amid_a_write_a_commit_or_an_acknowledgement_lose_and_double_nothing(fleet):
    chance, deaths = random.Random(11), 0
    for node in NODES:
        fleet.start(node, crash=0.01)
    fleet.await_ready(*NODES)
    until = time.monotonic() + 180
    while deaths < 6:
        assert time.monotonic() < until
        fleet.send(chance.randrange(SHARDS), chance.choice([1, 2]))
        time.sleep(0.02)
        for node, process in list(fleet.running.items()):
            if process.poll() is not None:
                assert process.returncode == -signal.SIGKILL, fleet.logs()
                fleet.start(node, crash=0.01)
                deaths += 1
    for node in NODES:
        fleet.kill(node)
        fleet.start(node)
    fleet.drain()
    fleet.stop()
    fleet.recover()
    fleet.check()


def test_processors_that_hang_and_wake_up_after_another_took_over_lose_and_double_nothing(fleet):
    chance = random.Random(13)
    for node in NODES:
        fleet.start(node)
    fleet.await_ready(*NODES)
    asleep: dict[str, float] = {}
    until = time.monotonic() + 9
    while time.monotonic() < until:
        fleet.send(chance.randrange(SHARDS), chance.choice([1, 2]))
        time.sleep(0.01)
        if chance.random() < 0.02 and len(asleep) < len(NODES) - 1:
            node = chance.choice([node for node in NODES if node not in asleep])
            fleet.running[node].send_signal(signal.SIGSTOP)
            asleep[node] = time.monotonic() + chance.uniform(0.2, 2.5)
        for node in [node for node, when in asleep.items() if when < time.monotonic()]:
            fleet.running[node].send_signal(signal.SIGCONT)
            del asleep[node]
    for process in fleet.running.values():
        process.send_signal(signal.SIGCONT)
    fleet.drain()
    fleet.stop()
    fleet.recover()
    fleet.check()


def test_processors_that_come_and_go_in_order_lose_and_double_nothing(fleet):
    chance = random.Random(7)
    fleet.start("p0")
    fleet.await_ready("p0")
    for step, node in enumerate(("p1", "p2", None, None)):
        for _ in range(60):
            fleet.send(chance.randrange(SHARDS), 1)
            time.sleep(0.005)
        if node:
            fleet.start(node)
            fleet.await_ready(node)
        elif step == 2:
            process = fleet.running.pop("p0")
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    fleet.drain()
    fleet.stop()
    for node in NODES:
        assert not list(fleet.out(node).rglob(".*.part")), "an orderly end leaves nothing to recover"
    fleet.recover()
    fleet.check()


@needs_redis
def test_redis_killed_again_and_again_only_delays(tmp_path):
    with redis_server(tmp_path / "redis") as server:
        fleet = Fleet(tmp_path, server.url)
        try:
            chance = random.Random(3)
            for node in NODES:
                fleet.start(node)
            fleet.await_ready(*NODES)
            for _ in range(4):
                for _ in range(40):
                    fleet.send(chance.randrange(SHARDS), 1)
                    time.sleep(0.01)
                server.kill()
                fleet.send(chance.randrange(SHARDS), 1)
                time.sleep(chance.uniform(0.1, 1.5))
                server.start()
            fleet.drain()
            fleet.stop()
            fleet.recover()
            fleet.check()
        finally:
            for node in list(fleet.running):
                fleet.kill(node)
