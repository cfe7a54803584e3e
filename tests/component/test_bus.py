"""The bus against a real broker: every publish has one outcome, questions have answers, streams are as specified."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from packhound.kit.bus import (
    Away,
    Bucket,
    BucketSpec,
    Bus,
    BusSettings,
    Conflict,
    ConsumerSpec,
    Full,
    Message,
    Pull,
    Pulled,
    Refused,
    Rejected,
    Stored,
    StreamSpec,
    ensure_consumer,
    ensure_stream,
)
from packhound.kit.errors import BadInput, Usage
from tests.support.loop import bounded, until
from tests.support.nats_server import NatsServer, nats_server, needs_nats

pytestmark = needs_nats
SECOND = 1_000_000_000
STREAM = StreamSpec("t-b", ("t.b.>",), "workqueue", "new", 4 << 20, duplicates_ns=120 * SECOND)
CONSUMER = ConsumerSpec("t-b", "s0", "t.b.0.>", 2 * SECOND, 100)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with nats_server(tmp_path_factory.mktemp("nats")) as made:
        yield made


async def connected(server: NatsServer, **options) -> Bus:
    bus = await Bus.connect(BusSettings((server.url,), "test", **options))
    await bus.ready(30)
    return bus


async def fresh(bus: Bus, *specs: StreamSpec | BucketSpec) -> None:
    for spec in specs:
        name = spec.config()["name"]
        try:
            await bus.api(f"STREAM.DELETE.{name}")
        except Rejected:
            pass
        await ensure_stream(bus, spec)


@bounded()
async def test_a_publish_is_stored_once_however_often_it_is_sent(server):
    async with await connected(server) as bus:
        await fresh(bus, STREAM)
        again = [await bus.store("t.b.0.n", b"x", {"Nats-Msg-Id": "ff-0-1"}) for _ in range(3)]
        assert again == [Stored(1), Stored(1, True), Stored(1, True)]
        assert (await bus.api("STREAM.INFO.t-b"))["state"]["messages"] == 1


@bounded()
async def test_many_in_flight_are_all_acknowledged_and_the_window_bounds_them(server):
    async with await connected(server, window=8) as bus:
        await fresh(bus, STREAM)
        acks = []
        for n in range(500):
            acks.append(await bus.publish("t.b.0.n", b"x" * 1000, {"Nats-Msg-Id": f"a-0-{n}"}))
            assert bus.in_flight <= 8
        assert sorted(each.sequence for each in await asyncio.gather(*acks)) == list(range(1, 501))


@bounded()
async def test_what_the_broker_does_not_take_says_why(server):
    async with await connected(server) as bus:
        await fresh(bus, dataclasses.replace(STREAM, max_message=1000))
        assert await bus.store("nobody.listens", b"x") == Refused("no_stream", "no stream takes this subject")
        assert (await bus.store("t.b.0.n", b"x" * 1001)).cause == "too_large"
        assert (await bus.store("t.b.0.n", b"x" * (1 << 20))).cause == "too_large"


@bounded()
async def test_a_full_stream_refuses_until_somebody_takes_something(server):
    async with await connected(server) as bus:
        await fresh(bus, STREAM)
        await ensure_consumer(bus, CONSUMER)
        outcomes = [await bus.store("t.b.0.n", b"x" * 500_000) for _ in range(9)]
        assert isinstance(outcomes[0], Stored)
        assert isinstance(outcomes[-1], Full)
        pull = Pull(bus, "t-b", "s0")
        for each in await pull.fetch(2, size=4 << 20, within=5):
            await each.ack()
        await bus.flush()
        assert isinstance(await bus.store("t.b.0.n", b"x" * 500_000), Stored)


@bounded()
async def test_streams_are_made_changed_and_left_alone_without_losing_a_message(server):
    async with await connected(server) as bus:
        await fresh(bus, STREAM)
        await bus.store("t.b.0.n", b"kept")
        assert await ensure_stream(bus, STREAM) == "as it was"
        assert await ensure_stream(bus, dataclasses.replace(STREAM, max_bytes=8 << 20)) == "changed"
        assert (await bus.api("STREAM.INFO.t-b"))["config"]["max_bytes"] == 8 << 20
        assert (await bus.api("STREAM.INFO.t-b"))["state"]["messages"] == 1
        with pytest.raises(Rejected, match="storage"):
            await ensure_stream(bus, dataclasses.replace(STREAM, storage="memory"))
        assert [await ensure_consumer(bus, CONSUMER) for _ in range(2)] == ["made", "as it was"]
        assert await ensure_consumer(bus, dataclasses.replace(CONSUMER, max_pending=7)) == "changed"
        made = await asyncio.gather(*(ensure_stream(bus, BucketSpec("t-race", 1 << 20)) for _ in range(8)))
        assert set(made) <= {"made", "as it was"}


@bounded()
async def test_a_lot_is_bounded_in_messages_and_bytes_and_comes_as_soon_as_there_is_one(server):
    async with await connected(server) as bus:
        await fresh(bus, STREAM)
        await ensure_consumer(bus, CONSUMER)
        pull = Pull(bus, "t-b", "s0")
        assert await pull.fetch(5, size=1000, within=0.1) == []
        waiting = asyncio.create_task(pull.fetch(5, size=1 << 20, within=5))
        await asyncio.sleep(0.05)
        await bus.store("t.b.0.n", b"first", {"Ph-Kind": "packets"})
        lot = await waiting
        assert [(each.data, each.headers["Ph-Kind"], each.delivered) for each in lot] == [(b"first", "packets", 1)]
        await lot[0].ack()
        for n in range(20):
            await bus.store("t.b.0.n", b"%d" % n * 400)
        sizes = []
        while len(sizes) < 20:
            lot = await pull.fetch(6, size=3000, within=5)
            assert len(lot) <= 6
            assert len(lot) <= 1 or sum(len(each.data) for each in lot) <= 3000
            sizes += [len(each.data) for each in lot]
            for each in lot:
                await each.ack()
        assert len(sizes) == 20
        await bus.store("t.b.0.n", b"x" * 9000)
        assert [len(each.data) for each in await pull.fetch(6, size=3000, within=30)] == [9000]


@bounded()
async def test_what_is_not_acknowledged_comes_again_at_once_or_later_or_never(server):
    async with await connected(server) as bus:
        await fresh(bus, STREAM)
        await ensure_consumer(bus, CONSUMER)
        for n in range(4):
            await bus.store("t.b.0.n", b"%d" % n)
        pull = Pull(bus, "t-b", "s0")
        first: dict[bytes, Pulled] = {}
        while len(first) < 4:
            first |= {each.data: each for each in await pull.fetch(10, size=1 << 20, within=2)}
        await first[b"0"].nak()
        await first[b"1"].nak(SECOND // 2)
        await first[b"2"].term()
        seen: list[tuple[bytes, int]] = []
        while len(seen) < 2:
            await first[b"3"].in_progress()  # else it comes again after two seconds
            for each in await pull.fetch(10, size=1 << 20, within=0.1):
                seen.append((each.data, each.delivered))
                await each.ack()
        assert seen == [(b"0", 2), (b"1", 2)]
        await first[b"3"].ack()
        for _ in range(100):
            if (await bus.api("STREAM.INFO.t-b"))["state"]["messages"] == 0:
                break
            await asyncio.sleep(0.02)
        else:
            pytest.fail("what was acknowledged or given up is still there")


@bounded()
async def test_closing_a_pull_gives_back_what_nobody_took(server):
    async with await connected(server) as bus:
        await fresh(bus, STREAM)
        await ensure_consumer(bus, dataclasses.replace(CONSUMER, ack_wait_ns=60 * SECOND))
        for n in range(10):
            await bus.store("t.b.0.n", b"%d" % n)
        one, other = Pull(bus, "t-b", "s0"), Pull(bus, "t-b", "s0")
        taken = await one.fetch(10, size=1, within=2)
        assert [each.data for each in taken] == [b"0"]
        await one.close()
        found: list[bytes] = []
        while len(found) < 9:
            lot = await other.fetch(10, size=1 << 20, within=5)
            found += [each.data for each in lot]
            for each in lot:
                await each.ack()
        assert sorted(found) == [b"%d" % n for n in range(1, 10)]


@bounded()
async def test_pulling_where_there_is_no_consumer_is_told(server):
    async with await connected(server) as bus:
        await fresh(bus, STREAM)
        with pytest.raises(Away, match="t-b/none"):
            await Pull(bus, "t-b", "none").fetch(1, size=1, within=1)


@bounded()
async def test_keys_have_last_values_and_change_only_when_nobody_was_faster(server):
    async with await connected(server) as bus:
        await fresh(bus, BucketSpec("t-kv", 1 << 20))
        bucket = Bucket(bus, "t-kv")
        assert await bucket.get("all") is None
        assert await bucket.last("all") == (0, None)
        first = await bucket.update("all", b"1", last=0)
        with pytest.raises(Conflict):
            await bucket.update("all", b"2", last=0)
        second = await bucket.update("all", b"2", last=first)
        assert (await bucket.get("all"))[1:] == (b"2", second)
        await bucket.put("node.a=5Fb", b"x")
        assert await bucket.keys() == ["all", "node.a=5Fb"]
        assert [(e.key, e.value) for e in await bucket.entries("node.*")] == [("node.a=5Fb", b"x")]
        await bucket.delete("all")
        assert await bucket.get("all") is None
        assert await bucket.keys() == ["node.a=5Fb"]
        sequence, value = await bucket.last("all")
        assert value is None
        await bucket.update("all", b"3", last=sequence)
        for bad in ("", ".", "a..b", "a b", "*", ">", "ä"):
            with pytest.raises(ValueError, match="is no key"):
                await bucket.get(bad)


@bounded()
async def test_a_bucket_of_a_thousand_keys_is_read_whole(server):
    async with await connected(server) as bus:
        await fresh(bus, BucketSpec("t-many", 8 << 20))
        bucket = Bucket(bus, "t-many")
        acks = [await bus.publish(f"$KV.t-many.node{n}", b"%d" % n) for n in range(1000)]
        await asyncio.gather(*acks)
        assert {e.key: e.value for e in await bucket.entries()} == {f"node{n}": b"%d" % n for n in range(1000)}


@bounded()
async def test_a_bucket_that_is_not_there_is_away(server):
    async with await connected(server) as bus:
        with pytest.raises(Away):
            await Bucket(bus, "t-none").get("a")
        with pytest.raises(Away):
            await Bucket(bus, "t-none").put("a", b"")


@bounded()
async def test_questions_are_answered_or_away(server):
    async with await connected(server) as bus, await connected(server) as other:

        async def answer(message: Message) -> None:
            await other.say(message.reply, message.data.upper(), {"Ph-Kind": message.headers.get("Ph-Kind", "")})

        subscription = await other.subscribe("t.ask", answer)
        found = await bus.request("t.ask", b"who", headers={"Ph-Kind": "x\r\nInjected: y"})
        assert (found.data, dict(found.headers)) == (b"WHO", {"Ph-Kind": "x  Injected: y"})
        await subscription.close()
        with pytest.raises(Away, match="nobody answers"):
            await bus.request("t.ask", within=0.5)
        silent = await other.subscribe("t.silent", lambda _: asyncio.sleep(0))
        with pytest.raises(Away, match=r"within 0\.2 s"):
            await bus.request("t.silent", within=0.2)
        await silent.close()


@bounded()
async def test_a_slow_handler_drops_and_counts_and_a_failing_one_goes_on(server):
    async with await connected(server) as bus:
        gate, seen = asyncio.Event(), []

        async def handle(message: Message) -> None:
            await gate.wait()
            seen.append(message.data)
            if message.data == b"1":
                raise RuntimeError("bad message")

        subscription = await bus.subscribe("t.flood", handle, messages=5)
        for n in range(20):
            await bus.say("t.flood", b"%d" % n)
        await until(lambda: subscription.dropped >= 14)
        gate.set()
        await until(lambda: len(seen) + subscription.dropped == 20)
        assert [int(each) for each in seen] == sorted(map(int, seen))
        assert subscription.failed == 1
        assert isinstance(subscription.fault, RuntimeError)
        assert bus.counters["slow"] == subscription.dropped


@bounded()
async def test_subjects_that_would_write_other_commands_are_refused(server):
    async with await connected(server) as bus:
        for bad in ("", "a b", "a\r\nPUB b 0\r\n", "a\tb"):
            with pytest.raises(ValueError, match="a subject has no blanks"):
                await bus.say(bad)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"urls": ()}, "no address"),
        ({"urls": ("nats://user:secret@host:4222",)}, "credentials go into files"),
        ({"urls": ("http://host",)}, "no address of a broker"),
        ({"inbox": "a.>"}, "inbox"), ({"inbox": ""}, "inbox"),
        ({"user_file": "u"}, "password file"), ({"token_file": "t", "credentials": "c"}, "one kind"),
        ({"window": 0}, "window"),
    ],
)  # fmt: skip
def test_settings_that_can_never_work_are_refused_without_telling_secrets(options, words):
    with pytest.raises(Usage, match=words) as caught:
        BusSettings(**({"urls": ("nats://localhost:4222",), "name": "x"} | options))
    assert "secret" not in str(caught.value)


@bounded()
async def test_files_that_are_missing_are_told_at_the_start():
    with pytest.raises(BadInput, match="token file of the bus"):
        await Bus.connect(BusSettings(("nats://localhost:1",), "x", token_file="/nonexistent/token"))
