"""Heartbeats and media watches over a real broker: whose they are, whose clock counts, who hears of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from packhound.fleet.heartbeats import Beats, Heart
from packhound.fleet.media import follow, on_bus
from packhound.fleet.status import StatusBoard, read_status
from packhound.fleet.streams import Layout, ensure
from packhound.fleet.watches import LEASE_NS, MediaWatches, News
from packhound.kit.bus import Bus, BusSettings
from packhound.kit.retry import RetryPolicy
from packhound.wire.beats import Heartbeat, MediaWatch
from tests.support.loop import bounded, until
from tests.support.nats_server import NatsServer, nats_server, needs_nats

pytestmark = needs_nats
SECOND = 1_000_000_000
MS = 1_000_000
NAMES = Layout("t", shards=1).subjects


@pytest.fixture
def server(tmp_path):
    with nats_server(tmp_path / "nats") as made:
        yield made


@contextlib.asynccontextmanager
async def connected(server: NatsServer) -> AsyncIterator[Bus]:
    quick = RetryPolicy(first_ns=50 * MS, most_ns=300 * MS, floor_ns=10 * MS)
    async with await Bus.connect(BusSettings((server.url,), "t", retry=quick)) as bus:
        await bus.ready(30)
        yield bus


def beat(node: str = "n1", epoch: int = 1, sent: int = 5) -> Heartbeat:
    return Heartbeat(node=node, epoch=epoch, sent_ns=sent)


@bounded()
async def test_beats_are_heard_answered_and_kept_in_the_status(server):
    async with connected(server) as bus, connected(server) as sensor:
        await ensure(bus, Layout("t", shards=1))
        async with Beats(bus, NAMES, processor="p1", clock=time.time_ns) as beats:
            board = StatusBoard(sensor, NAMES, "n1")
            heart = Heart(sensor, NAMES, make=beat, clock=time.time_ns, board=board, every=0.05)
            tasks = [asyncio.create_task(heart.run()), asyncio.create_task(board.run())]
            await until(lambda: heart.answered >= 3 and board.written >= 1)
            assert set(beats.nodes()) == {"n1"}
            assert (await read_status(bus, NAMES))["n1"].heartbeat == beat()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@bounded()
async def test_the_clock_of_a_sensor_that_is_an_hour_off_is_known_and_does_not_make_it_silent(server):
    hour = 3600 * SECOND
    async with connected(server) as bus, Beats(bus, NAMES, processor="p1", clock=time.time_ns) as beats:
        heart = Heart(bus, NAMES, make=beat, clock=lambda: time.time_ns() - hour)
        assert heart.offset is None
        for _ in range(3):
            await heart.beat(beat(sent=time.time_ns() - hour))
        assert abs(heart.offset.offset_ns - hour) <= heart.offset.error_ns + 50 * MS
        assert beats.silent() == []


@bounded()
async def test_silence_is_judged_by_the_listeners_clock_and_twins_are_seen(server):
    now = 1000 * SECOND
    async with connected(server) as bus, Beats(bus, NAMES, processor="p", clock=lambda: now, silent_ns=15 * SECOND) as beats:
        heart = Heart(bus, NAMES, make=beat, clock=time.time_ns)
        await heart.beat(beat("n1", 1))
        await heart.beat(beat("n2", 9))
        now += 10 * SECOND
        await heart.beat(beat("n2", 9))
        await heart.beat(beat("n2", 10))
        assert beats.silent() == []
        assert beats.twins() == {"n2": (9, 10)}
        now += 6 * SECOND
        assert beats.silent() == ["n1"]
        now += 6 * SECOND
        await heart.beat(beat("n2", 10))
        now += 6 * SECOND
        await heart.beat(beat("n2", 10))
        assert beats.twins() == {}
        assert beats.silent() == ["n1"]


@bounded()
async def test_a_beat_for_another_node_and_nonsense_are_dropped_and_get_no_answer(server):
    async with connected(server) as bus, Beats(bus, NAMES, processor="p", clock=time.time_ns) as beats:
        await bus.say(NAMES.heartbeat("n1"), beat("n2").encode())
        await bus.say(NAMES.heartbeat("n1"), b"\xff")
        await until(lambda: beats.malformed == 2)
        assert beats.nodes() == {}


def watch(node: str, call: str = "c1", *, seconds: int = 60, over: bool = False, port: int = 40000) -> MediaWatch:
    return MediaWatch(call, ("v/alice",), (("10.0.0.1", port),), time.time_ns() + seconds * SECOND, node, over)


class Node:
    """Media watches of one node over the bus: what it was told, as (call, ports, news); its clock can be moved."""

    def __init__(self, bus: Bus, name: str) -> None:
        self.used: list[tuple[str, list[int], News]] = []
        self.later_ns = 0
        self.watches = MediaWatches(
            node=name, say=on_bus(bus, NAMES, node=name), use=self._use, clock=lambda: time.time_ns() + self.later_ns
        )

    def _use(self, watch: MediaWatch, news: News) -> None:
        self.used.append((watch.call, [port for _, port in watch.endpoints], news))

    async def tell(self, port: int) -> None:
        await self.watches.tell("c1", ["v/alice"], [("10.0.0.1", port)])


@contextlib.asynccontextmanager
async def watching(bus: Bus, name: str) -> AsyncIterator[Node]:
    made = Node(bus, name)
    task = asyncio.create_task(follow(made.watches, bus, NAMES, every=0.3))
    await asyncio.sleep(0)
    await bus.flush()
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@bounded()
async def test_a_watch_reaches_all_others_once_also_those_who_were_away(server):
    async with (
        connected(server) as one, connected(server) as two, watching(one, "n1") as mine, watching(two, "n2") as other,
    ):  # fmt: skip
        first, second = ("c1", [40000], News.HELD), ("c1", [40002], News.HELD)
        await mine.tell(40000)
        await mine.tell(40000)
        await until(lambda: other.used == [first])
        await mine.tell(40002)
        await until(lambda: other.used == [first, second])
        assert mine.used == []
        async with connected(server) as three, watching(three, "n3") as late:
            await asyncio.to_thread(server.restart)
            await until(lambda: late.used == [second])
        await one.ready(30)
        await two.ready(30)
        await asyncio.sleep(0.6)
        assert other.used == [first, second]
        await mine.watches.over("c1")
        await until(lambda: other.used[2:] == [("c1", [], News.OVER)])
        assert (mine.watches.own, other.watches.known) == (0, 0)


@bounded()
async def test_who_tells_no_more_is_silent_and_who_tells_on_is_not(server):
    async with (
        connected(server) as one, connected(server) as two, watching(one, "n1") as mine, watching(two, "n2") as other,
    ):  # fmt: skip
        await mine.tell(40000)
        await until(lambda: other.used)
        for node in (mine, other):
            node.later_ns = LEASE_NS - 2 * SECOND
        await asyncio.sleep(1)  # it is told again
        for node in (mine, other):
            node.later_ns = LEASE_NS + SECOND
        await asyncio.sleep(0.6)
        assert len(other.used) == 1
        mine.watches.drop("c1")
        other.later_ns += LEASE_NS
        await until(lambda: other.used[1:] == [("c1", [40000], News.SILENT)])


@bounded()
async def test_a_watch_of_another_or_too_long_or_too_old_is_dropped(server):
    async with connected(server) as bus, connected(server) as two, watching(two, "n2") as heard:
        for made in (watch("n3"), watch("n1", seconds=5 * 3600), watch("n1", seconds=-1)):
            await bus.say(NAMES.media("n1"), made.encode())
        await bus.say(NAMES.media("n1"), b"nonsense")
        await bus.say(NAMES.media("n1"), watch("n1").encode())
        await until(lambda: heard.used)
        assert heard.used == [("c1", [40000], News.HELD)]
        assert (heard.watches.malformed, heard.watches.dropped) == (2, 2)
