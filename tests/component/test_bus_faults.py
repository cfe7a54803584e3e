"""The bus outlives its broker: killed, hung, emptied, moved behind other credentials; nobody waits for ever."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from packhound.fleet.streams import Keeper, Layout, Limits
from packhound.kit.bus import (
    Away,
    Bus,
    BusSettings,
    BusState,
    Happening,
    Message,
    Pull,
    Stored,
    TlsFiles,
    Unreachable,
)
from packhound.kit.errors import Usage
from packhound.kit.retry import RetryPolicy
from tests.support import netns
from tests.support.certificates import Authority
from tests.support.loop import bounded, until
from tests.support.nats_server import NatsServer, nats_server, needs_nats

pytestmark = needs_nats
MS = 1_000_000
QUICK = RetryPolicy(first_ns=50 * MS, most_ns=300 * MS, floor_ns=10 * MS)
LAYOUT = Layout("t", shards=2, limits=Limits(packets=64 << 20))


@pytest.fixture
def server(tmp_path):
    with nats_server(tmp_path / "nats") as made:
        yield made


def settings(server: NatsServer, **options) -> BusSettings:
    return BusSettings(**({"urls": (server.url,), "name": "test", "retry": QUICK, "ack_timeout": 3.0} | options))


async def back(bus: Bus) -> None:
    """Wait until the first connection is lost and another one made."""
    await until(lambda: bus.counters["disconnects"])
    await bus.ready(30)


@bounded()
async def test_connecting_waits_for_a_broker_that_is_not_there_yet(server):
    server.kill()
    async with await Bus.connect(settings(server)) as bus:
        with pytest.raises(Away):
            await bus.ready(0.2)
        assert await bus.store("t.x", b"") == Unreachable(bus.reason)
        server.start()
        await bus.ready(30)


@bounded()
async def test_killed_under_load_every_publish_has_an_outcome_and_nothing_acknowledged_is_lost(server):
    heard: list[Happening] = []
    async with await Bus.connect(settings(server)) as bus, asyncio.TaskGroup() as group:
        bus.watch(heard.append)
        keeper = Keeper(bus, LAYOUT)
        keeping = group.create_task(keeper.run())
        await keeper.ready.wait()
        stored: set[int] = set()
        rounds = dict.fromkeys(range(400), 0)

        async def send(n: int) -> None:
            while n not in stored:
                rounds[n] += 1
                outcome = await bus.store("ph.t.b.0.n", b"%d" % n + b"." * 5000, {"Nats-Msg-Id": f"e-0-{n}"})
                if isinstance(outcome, Stored):
                    stored.add(n)
                else:
                    await asyncio.sleep(0.05)

        senders = [group.create_task(send(n)) for n in range(400)]
        await until(lambda: len(stored) > 50)
        await asyncio.to_thread(server.restart)
        await asyncio.gather(*senders)
        await bus.ready(30)
        pull, found = Pull(bus, "ph-t-b", "s0"), []
        while lot := await pull.fetch(200, size=8 << 20, within=1):
            found += [int(each.data.split(b".")[0]) for each in lot]
            for each in lot:
                await each.ack()
        assert sorted(found) == list(range(400))
        assert max(rounds.values()) > 1
        assert [each.state for each in heard] == [BusState.CONNECTED, BusState.AWAY, BusState.CONNECTED]
        assert heard[-1].again
        keeping.cancel()


@bounded()
async def test_a_broker_that_comes_back_empty_is_whole_again(server):
    told = []
    async with await Bus.connect(settings(server)) as bus, asyncio.TaskGroup() as group:
        keeper = Keeper(bus, LAYOUT, told=told.append)
        keeping = group.create_task(keeper.run())
        await keeper.ready.wait()
        pull = Pull(bus, "ph-t-b", "s1")
        fetching = asyncio.create_task(pull.fetch(1, size=1000, within=15))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(server.restart, empty=True)
        outcome = None
        while not isinstance(outcome, Stored):
            outcome = await bus.store("ph.t.b.1.n", b"after")
            await asyncio.sleep(0.02)
        await asyncio.wait([fetching])
        if fetching.exception() is None:
            lot = fetching.result()
        else:  # it asked on a connection that was lost, or while the consumer was not there yet
            await until(lambda: len(told) == 2, what="streams and consumers are made again")
            lot = await pull.fetch(1, size=1000, within=30)
        assert [each.data for each in lot] == [b"after"]
        assert len(told) == 2
        assert len(told[1].made) == len(LAYOUT.streams) + LAYOUT.shards
        keeping.cancel()


@bounded()
async def test_subscriptions_survive_and_their_handlers_are_not_interrupted(server):
    done: list[bytes] = []

    async def slow(message: Message) -> None:
        await asyncio.sleep(1.0 if message.data == b"slow" else 0)
        done.append(message.data)

    async with await Bus.connect(settings(server)) as bus:
        await bus.ready(30)
        await bus.subscribe("t.x", slow)
        await bus.say("t.x", b"slow")
        await bus.flush()
        await asyncio.to_thread(server.restart)
        await back(bus)
        await bus.say("t.x", b"after")
        await until(lambda: len(done) == 2)
        assert done == [b"slow", b"after"]


@bounded()
async def test_a_broker_that_hangs_is_noticed_and_answers_nobody(server):
    async with await Bus.connect(settings(server, ping_seconds=0.3, request_timeout=0.5, ack_timeout=0.5)) as bus:
        await bus.ready(30)
        server.hang()
        began = time.monotonic()
        assert isinstance(await bus.store("t.x", b""), Unreachable)
        with pytest.raises(Away):
            await bus.request("t.y")
        await until(lambda: not bus.connected, within=30)
        assert time.monotonic() - began < 30
        server.signal(signal.SIGCONT)
        await bus.ready(30)
        with pytest.raises(Away, match="nobody answers"):
            await bus.request("t.y")


@bounded()
async def test_closing_does_not_wait_for_a_broker_that_hangs(server):
    bus = await Bus.connect(settings(server))
    await bus.ready(30)
    waiting = asyncio.create_task(bus.store("t.x", b"x"))
    server.signal(signal.SIGSTOP)
    await asyncio.sleep(0.05)
    began = time.monotonic()
    await bus.close()
    await bus.close()
    assert time.monotonic() - began < 30
    assert isinstance(await waiting, Unreachable | Stored) or (await waiting).cause == "no_stream"


@bounded()
async def test_credentials_are_read_again_for_each_connection(tmp_path):
    user, password = tmp_path / "user", tmp_path / "password"
    user.write_text("sensor\n")
    password.write_text("wrong\n")
    with nats_server(tmp_path / "nats", users=[{"user": "sensor", "password": "right"}]) as server:
        options = {"user_file": str(user), "password_file": str(password)}
        async with await Bus.connect(settings(server, **options)) as bus:
            with pytest.raises(Away, match=r"(?i)authorization violation"):
                await bus.ready(1)
            password.write_text("right\n")
            await bus.ready(30)
            assert "right" not in repr(bus.settings)
            server.reload(users=[{"user": "sensor", "password": "newer"}])
            await until(lambda: bus.counters["disconnects"])
            password.write_text("newer\n")
            await bus.ready(30)


@bounded()
async def test_a_token_is_enough(tmp_path):
    token = tmp_path / "token"
    token.write_text("t0ken")
    with nats_server(tmp_path / "nats", settings={"authorization": {"token": "t0ken"}}) as server:
        async with await Bus.connect(settings(server, token_file=str(token))) as bus:
            await bus.ready(30)


@bounded()
async def test_tls_with_client_certificates_that_are_replaced(tmp_path):
    authority = Authority(tmp_path)
    certs, client = authority.issue("localhost"), authority.issue("sensor")
    files = TlsFiles(str(authority.path), str(client.chain), str(client.key))
    with nats_server(tmp_path / "nats", tls=certs, verify=True) as server:
        secure = server.url.replace("nats:", "tls:")
        async with await Bus.connect(settings(server, urls=(secure,), tls=files)) as bus:
            await bus.ready(30)
            authority.issue("sensor")
            await asyncio.to_thread(server.restart)
            await back(bus)
        async with await Bus.connect(settings(server, tls=TlsFiles(str(authority.path)))) as bus:
            with pytest.raises(Away):  # no certificate of its own
                await bus.ready(10)


@bounded()
async def test_a_broker_that_is_not_the_one_gets_no_credentials(tmp_path):
    authority, impostor = Authority(tmp_path), Authority(tmp_path, "impostor")
    token = tmp_path / "token"
    token.write_text("t0ken")
    options = {"tls": TlsFiles(str(authority.path)), "token_file": str(token)}
    with nats_server(tmp_path / "a", tls=impostor.issue("localhost")) as server:
        async with await Bus.connect(settings(server, **options)) as bus:
            with pytest.raises(Away, match=r"(?i)certificate"):
                await bus.ready(10)
    with nats_server(tmp_path / "b") as server:
        async with await Bus.connect(settings(server, **options)) as bus:
            with pytest.raises(Away, match="does not use TLS"):
                await bus.ready(10)


@bounded()
async def test_certificates_that_cannot_be_used_are_told_at_the_start(tmp_path):
    (tmp_path / "ca.pem").write_text("nonsense")
    with pytest.raises(Usage, match="CA certificates"):
        await Bus.connect(BusSettings(("tls://localhost:1",), "x", tls=TlsFiles(str(tmp_path / "ca.pem"))))


@netns.needs_root
@pytest.mark.needs_root
def test_a_link_that_is_cut_is_noticed_although_nobody_says_so(tmp_path):
    """No reset, no end of file: the kernel and the pings notice, and closing the dead socket delays nothing."""

    @bounded()
    async def inside() -> None:
        with nats_server(tmp_path / "nats") as server:
            quick = settings(server, ping_seconds=0.5, silent_seconds=1.5, ack_timeout=1.0, connect_timeout=1.0)
            async with await Bus.connect(quick) as bus:
                await bus.ready(30)
                netns.ip("link set lo down")
                began = time.monotonic()
                sending = [await bus.publish("t.x", b"x" * 100_000) for _ in range(8)]
                assert all(isinstance(each, Unreachable) for each in await asyncio.gather(*sending))
                await until(lambda: not bus.connected, within=30)
                assert time.monotonic() - began < 30
                netns.ip("link set lo up")
                await bus.ready(30)

    with netns.namespace():
        netns.ip("link set lo up")
        inside()


@bounded()
async def test_who_publishes_without_end_does_not_keep_the_bus_from_its_broker(server):
    """A publisher that never rests sees the loss at once, and the loop still gets to connect again."""
    async with await Bus.connect(settings(server)) as bus:
        await bus.ready(30)
        lost = 0
        stop = asyncio.Event()

        async def flood() -> None:
            nonlocal lost
            while not stop.is_set():
                answer = await bus.publish("t.x", b"x" * 20_000)
                lost += answer.done() and isinstance(answer.result(), Unreachable)

        flooding = asyncio.create_task(flood())
        await asyncio.sleep(0.1)
        await asyncio.to_thread(server.restart)
        await back(bus)
        assert lost
        stop.set()
        await flooding
