"""Parcels over NATS: each answered once, by what the stream did with it; a pause is never a loss."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterator

import pytest

from packhound.fleet.permissions import user
from packhound.fleet.streams import Layout, Limits, ensure
from packhound.kit.bus import Bus, BusSettings, Pull
from packhound.kit.retry import RetryPolicy
from packhound.sensor.link.base import Accepted, Link, LinkState, Pause, Refused, Unreachable
from packhound.sensor.link.nats import NatsLink
from packhound.sensor.parcel import Parcel
from packhound.wire.subjects import KIND, MESSAGE_ID, TRACEPARENT
from tests.support.loop import bounded, until
from tests.support.nats_server import NatsServer, nats_server, needs_nats

pytestmark = needs_nats
MS = 1_000_000
LAYOUT = Layout("t", shards=4, limits=Limits(packets=2 << 20))
NAMES = LAYOUT.subjects
NODE = "node-1.example"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def parcel(number: int = 1, *, shard: int = 0, data: bytes = b"x", kind: str = "packets") -> Parcel:
    return Parcel(number, kind, 0xABC, shard, number, 1, False, data, TRACE)


@pytest.fixture
def server(tmp_path) -> Iterator[NatsServer]:
    with nats_server(tmp_path / "nats") as made:
        yield made


def settings(server: NatsServer, **options) -> BusSettings:
    quick = RetryPolicy(first_ns=50 * MS, most_ns=300 * MS, floor_ns=10 * MS)
    return BusSettings(**({"urls": (server.url,), "name": "t", "retry": quick, "ack_timeout": 2.0} | options))


@contextlib.asynccontextmanager
async def joined(server: NatsServer) -> AsyncIterator[tuple[NatsLink, Bus]]:
    """A link of its own, and a bus that made the streams."""
    async with await Bus.connect(settings(server)) as bus:
        await bus.ready(30)
        await ensure(bus, LAYOUT)
        link = NatsLink(settings(server), NAMES, node=NODE)
        await link.open()
        await until(lambda: link.state is LinkState.OPEN)
        try:
            yield link, bus
        finally:
            await link.close()


@bounded()
async def test_a_parcel_is_stored_once_with_its_identity_kind_and_trace(server):
    async with joined(server) as (link, bus):
        as_protocol: Link = link
        assert as_protocol.window == 64
        sent = parcel(7, shard=3, data=b"payload", kind="flows")
        assert [await link.send(sent) for _ in range(2)] == [Accepted(), Accepted(duplicate=True)]
        (found,) = await Pull(bus, NAMES.packets_stream, "s3").fetch(5, size=1 << 20, within=5)
        assert (found.subject, found.data) == ("ph.t.b.3.node-1_example", b"payload")
        assert dict(found.headers) == {MESSAGE_ID: "abc-3-7", KIND: "flows", TRACEPARENT: TRACE}
        assert NAMES.parse_packets(found.subject) == (3, NODE)


@bounded()
async def test_a_full_stream_pauses_and_takes_again_when_there_is_room(server):
    async with joined(server) as (link, bus):
        number = 0
        receipt = None
        while not isinstance(receipt, Pause):
            number += 1
            receipt = await link.send(parcel(number, data=b"x" * 200_000))
        assert number > 5
        assert receipt.after_ns > 0
        assert "full" in receipt.reason
        for each in await Pull(bus, NAMES.packets_stream, "s0").fetch(3, size=1 << 20, within=5):
            await each.ack()
        await bus.flush()
        assert await link.send(parcel(number, data=b"x" * 200_000)) == Accepted()


@bounded()
async def test_a_stream_that_is_not_there_is_a_pause(server):
    link = NatsLink(settings(server), NAMES, node=NODE)
    await link.open()
    await until(lambda: link.state is LinkState.OPEN)
    assert isinstance(await link.send(parcel()), Pause)
    await link.close()


@bounded()
async def test_what_the_broker_will_never_take_is_refused(tmp_path):
    users = [
        {"user": "other", "password": "x", "permissions": user("sensor", "t", "other", name="", password="")["permissions"]}
    ]
    (tmp_path / "user").write_text("other")
    (tmp_path / "password").write_text("x")
    with nats_server(tmp_path / "nats", users=users) as server:
        login = {"user_file": str(tmp_path / "user"), "password_file": str(tmp_path / "password")}
        link = NatsLink(settings(server, inbox="_INBOX.t.sensor.other", **login), NAMES, node=NODE)
        await link.open()
        await until(lambda: link.state is LinkState.OPEN)
        receipt = await link.send(parcel())
        assert isinstance(receipt, Refused)
        assert receipt.cause == "broker_refused"
        assert "permissions violation" in receipt.reason
        assert isinstance(await link.send(parcel(data=b"x" * (1 << 20))), Refused)
        await link.close()


@bounded()
async def test_a_broker_that_is_away_is_unreachable_and_found_again(server):
    async with joined(server) as (link, _):
        sending = [asyncio.create_task(link.send(parcel(n, data=b"x" * 5000))) for n in range(1, 200)]
        await asyncio.sleep(0)
        await asyncio.to_thread(server.kill)
        done = await asyncio.gather(*sending, return_exceptions=True)
        assert all(isinstance(each, Accepted | Unreachable) for each in done)
        await until(lambda: link.state is LinkState.AWAY)
        with pytest.raises(Unreachable):
            await link.send(parcel(500))
        await asyncio.to_thread(server.start)
        await until(lambda: link.state is LinkState.OPEN)
        again = [await link.send(parcel(n, data=b"x" * 5000)) for n in range(1, 200)]
        assert all(isinstance(each, Accepted) for each in again)
        for each, before in zip(again, done, strict=True):
            assert each.duplicate or not isinstance(before, Accepted)


@bounded()
async def test_closing_answers_whoever_waits(server):
    async with await Bus.connect(dataclasses.replace(settings(server), ack_timeout=30.0)) as bus:
        await bus.ready(30)
        link = NatsLink(bus, NAMES, node=NODE)
        await link.open()
        server.hang()
        waiting = [asyncio.create_task(link.send(parcel(n))) for n in range(1, 5)]
        await asyncio.sleep(0.05)
        await link.close()
        await link.close()
        assert all(isinstance(each, Unreachable) for each in await asyncio.gather(*waiting, return_exceptions=True))
        assert link.state is LinkState.CLOSED
        with pytest.raises(Unreachable):
            await link.send(parcel())
        assert bus.connected
