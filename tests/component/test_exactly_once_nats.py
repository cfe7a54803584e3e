"""The same over a real broker: processors and the broker killed, nothing lost or doubled, taken over in order."""

from __future__ import annotations

import asyncio
import random
import threading
import time

import pytest

from packhound.fleet.streams import Layout, ensure
from packhound.kit.bus import Bus, BusSettings, Stored
from packhound.kit.retry import RetryPolicy
from packhound.wire.codec import encode
from packhound.wire.subjects import MESSAGE_ID, Subjects, message_id
from tests.component.test_exactly_once import NODES, Fleet
from tests.support.nats_server import NatsServer, needs_nats
from tests.support.processor_process import SHARDS
from tests.support.redis_server import needs_redis, redis_server

pytestmark = [needs_nats, needs_redis, pytest.mark.slow]
NAMES = Subjects("t")


class NatsFleet(Fleet):
    """Parcels go through JetStream."""

    def __init__(self, root, redis, nats) -> None:
        super().__init__(root, redis.url)
        self.nats, self.queue = nats, nats.url
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.bus = self.do(Bus.connect(BusSettings((nats.url,), "t", retry=RetryPolicy(200_000_000, 500_000_000))))
        self.do(self.bus.ready(30))
        self.do(ensure(self.bus, Layout("t", SHARDS)))

    def do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def publish(self, parcel) -> None:
        """As a sensor does: again until the broker has it."""
        subject = NAMES.packets(parcel.shard, parcel.sensor)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            found = self.do(self.bus.store(subject, encode(parcel), {MESSAGE_ID: message_id(parcel.identity)}))
            if isinstance(found, Stored):
                return
            time.sleep(0.1)
        raise AssertionError(found)

    def waiting(self) -> int:
        self.do(self.bus.ready(20))
        info = self.do(self.bus.api(f"STREAM.INFO.{NAMES.packets_stream}"))
        return info["state"]["messages"]

    def close(self) -> None:
        for node in list(self.running):
            self.kill(node)
        self.do(self.bus.close())
        self.loop.call_soon_threadsafe(self.loop.stop)


@pytest.fixture
def fleet(tmp_path):
    nats = NatsServer(tmp_path / "nats").start()
    with redis_server(tmp_path / "redis") as redis:
        made = NatsFleet(tmp_path, redis, nats)
        yield made
        made.close()
    nats.kill()


def test_processors_and_broker_killed_at_random_moments_lose_and_double_nothing(fleet):
    chance = random.Random(5)
    for node in NODES:
        fleet.start(node)
    fleet.await_ready(*NODES)
    down: list[str] = []
    until = time.monotonic() + 9
    broker = time.monotonic() + 4
    while time.monotonic() < until:
        for _ in range(chance.randrange(4)):
            fleet.send(chance.randrange(SHARDS), chance.choice([1, 2]))
        time.sleep(chance.uniform(0, 0.05))
        if chance.random() < 0.05 and fleet.running:
            node = chance.choice(sorted(fleet.running))
            fleet.kill(node)
            down.append(node)
        if down and (chance.random() < 0.1 or len(down) == len(NODES)):
            fleet.start(down.pop(0))
        if time.monotonic() > broker:
            fleet.nats.kill()
            fleet.nats.start()
            broker = float("inf")
    for node in down:
        fleet.start(node)
    fleet.drain()
    fleet.stop()
    fleet.recover()
    fleet.check()


def test_what_a_killed_processor_had_taken_comes_to_its_successor_at_once_and_in_order(fleet):
    fleet.start("p0")
    fleet.await_ready("p0")
    fleet.send(0, 1)
    fleet.drain()
    fleet.running["p0"].send_signal(19)  # it hangs, with what it takes from the broker in its hands
    time.sleep(0.1)
    for _ in range(40):
        fleet.send(0, 1)
    fleet.running["p0"].send_signal(18)
    time.sleep(0.02)
    fleet.kill("p0")
    fleet.start("p1")
    fleet.await_ready("p1")
    began = time.monotonic()
    fleet.drain()
    assert time.monotonic() - began < 28  # the broker alone would wait for 30
    fleet.stop()
    fleet.recover()
    fleet.check()
    numbers = fleet.numbers(calls=False)
    assert numbers == sorted(numbers)
