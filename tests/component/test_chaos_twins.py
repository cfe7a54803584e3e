"""Two processes with the name of one sensor, over a real broker: the later one learns of it and gives way, in its first
minute only; a successor does not give way to its dead predecessor."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from packhound.fleet import status
from packhound.fleet.status import StatusBoard
from packhound.fleet.streams import Layout, ensure
from packhound.kit.bus import Bus, BusSettings
from packhound.wire.beats import Heartbeat
from tests.support.loop import bounded, until
from tests.support.nats_server import nats_server, needs_nats

pytestmark = needs_nats
HOUR = 3600 * 1_000_000_000
NAMES = Layout("t", shards=1).subjects


@pytest.fixture
def server(tmp_path):
    with nats_server(tmp_path / "nats") as made:
        yield made


@contextlib.asynccontextmanager
async def speaking(server, beat: Heartbeat) -> AsyncIterator[StatusBoard]:
    """A sensor that writes its status again and again."""
    async with await Bus.connect(BusSettings((server.url,), "t")) as bus:
        await bus.ready(30)
        board = StatusBoard(bus, NAMES, beat.node)

        async def say() -> None:
            while True:
                board.beat(beat)
                await asyncio.sleep(0.05)

        tasks = [asyncio.create_task(board.run()), asyncio.create_task(say())]
        try:
            yield board
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def fleet(server) -> AsyncIterator[None]:
    async with await Bus.connect(BusSettings((server.url,), "t")) as bus:
        await bus.ready(30)
        await ensure(bus, Layout("t", shards=1))
        yield


def beat(epoch: int, *, started: int, offset: int = 0, node: str = "n1", state: str = "ok") -> Heartbeat:
    return Heartbeat(node=node, epoch=epoch, sent_ns=5, started_ns=started, clock_offset_ns=offset, state=state)


@bounded()
async def test_the_later_of_two_gives_way_whatever_their_clocks_say(server):
    early = beat(1, started=100 * HOUR)
    late = beat(2, started=99 * HOUR + 5, offset=HOUR)  # its clock is an hour behind
    async with fleet(server), speaking(server, early) as first, speaking(server, late) as second:
        await until(lambda: second.elder is not None and first.twin)
        assert second.elder.epoch == 1
        assert first.elder is None


@bounded()
async def test_who_has_been_at_work_is_not_stopped_by_what_is_written(server, monkeypatch):
    monkeypatch.setattr(status, "NEW_SECONDS", 0.0)
    async with fleet(server), speaking(server, beat(9, started=2)) as old, speaking(server, beat(3, started=1)):
        await until(lambda: old.twin)
        await asyncio.sleep(0.3)
        assert old.elder is None


@bounded()
@pytest.mark.parametrize("left", [beat(1, started=1), beat(1, started=1, state="stopped")], ids=["killed", "stopped"])
async def test_a_successor_goes_on(server, left):
    async with fleet(server):
        async with speaking(server, left) as before:
            await until(lambda: before.written > 2)
        async with speaking(server, beat(2, started=2)) as after:
            await until(lambda: after.written > 10)
            assert not after.twin
            assert after.elder is None
