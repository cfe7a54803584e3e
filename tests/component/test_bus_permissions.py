"""What a stolen credential of a sensor reaches: its own subjects and nothing else. And that each role can do its work."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from packhound.fleet.acks import Acks
from packhound.fleet.permissions import Role, inbox, user
from packhound.fleet.plans import PlanFollower, PlanSource, Verdict
from packhound.fleet.status import StatusBoard, read_status
from packhound.fleet.streams import Layout, Limits, ensure
from packhound.kit.bus import Away, Bucket, Bus, BusSettings, Denied, Message, Pull, Stored
from packhound.wire.plans import node_scope
from tests.support.loop import bounded, until
from tests.support.nats_server import NatsServer, nats_server, needs_nats

pytestmark = needs_nats
LAYOUT = Layout("t", shards=2, limits=Limits(packets=16 << 20))
NAMES = LAYOUT.subjects
WHO: dict[str, tuple[Role, str]] = {
    "stolen": ("sensor", "n1"), "other": ("sensor", "n2"), "processor": ("processor", "p1"),
    "publisher": ("publisher", "up"), "viewer": ("viewer", "eve"),
}  # fmt: skip
BUCKETS = (NAMES.plans_bucket, NAMES.filters_bucket, NAMES.status_bucket, NAMES.pods_bucket)
STREAMS = (NAMES.packets_stream, NAMES.dead_stream, *(f"KV_{each}" for each in BUCKETS))

SAYS = [
    *(f"ph.t.b.{shard}.{node}" for shard in (0, 1, 15, 999) for node in ("n1", "n2", "n1.x", "x")), "ph.t.b.0", "ph.t.b.n1",
    *(f"ph.t.{kind}.{node}" for kind in ("ack", "hb", "media", "plan", "dead", "pods") for node in ("n1", "n2", "all", "p1")),
    *(f"ph.other.{rest}" for rest in ("b.0.n1", "ack.n1", "hb.n1")),
    *(f"$KV.{bucket}.{key}" for bucket in BUCKETS for key in ("n1", "n2", "all", "node.n1", "node.n2", "default.x")),
    *(f"$JS.API.DIRECT.GET.KV_{bucket}.$KV.{bucket}.{key}" for bucket in BUCKETS for key in ("n1", "n2", "all", "node.n1", "node.n2", "default.x")),
    *(f"$JS.API.DIRECT.GET.KV_{bucket}" for bucket in BUCKETS), *(f"$JS.API.DIRECT.GET.{stream}" for stream in STREAMS),
    *(f"$JS.API.STREAM.{verb}.{stream}" for verb in ("INFO", "CREATE", "UPDATE", "DELETE", "PURGE", "MSG.GET", "MSG.DELETE", "SNAPSHOT", "RESTORE", "LEADER.STEPDOWN") for stream in STREAMS),
    *(f"$JS.API.STREAM.{verb}" for verb in ("NAMES", "LIST")), "$JS.API.INFO", "$JS.API.STREAM.CREATE.mine",
    *(f"$JS.API.CONSUMER.{verb}.ph-t-b{rest}" for verb in ("INFO", "CREATE", "DELETE", "NAMES", "LIST", "MSG.NEXT", "DURABLE.CREATE", "PAUSE", "UNPIN", "RESET") for rest in ("", ".s0", ".s0.ph.t.b.0.>")),
    "$JS.ACK.ph-t-b.s0.1.1.1.1.1", "$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.PING.CONNZ", "_INBOX.t.processor.p1.x.y",
    f"{inbox('sensor', 't', 'n2')}.a.b", "_INBOX.x", "anything",
]  # fmt: skip
HEARS = [
    ">", "*", "ph.>", "ph.t.>", "ph.*.*.*", "ph.t.b.>", "ph.t.b.*.n1", "ph.t.b.*.*", "ph.t.b.0.n2", "ph.t.plan.all", "ph.t.plan.n1", "ph.t.plan.n2",
    "ph.t.plan.*", "ph.t.ack.*", "ph.t.ack.n1", "ph.t.hb.*", "ph.t.media.*", "ph.t.media.n2", "ph.t.dead.*", "ph.t.pods.n1", "ph.t.pods.n2", "ph.t.pods.*", "$KV.>",
    "$JS.>", "$JS.API.>", "$JS.EVENT.>", "$JS.ACK.>", "$SYS.>", "_INBOX.>", "_INBOX.*.*.*.*.*", "_INBOX.t.sensor.*.*.*", f"{inbox('sensor', 't', 'n2')}.*.*",
    f"{inbox('sensor', 't', 'n1')}.>", f"{inbox('sensor', 't', 'n1')}.x.y", "ph.other.plan.all",
]  # fmt: skip
# Everything that the lists above find open. `media.n2`, `media.*`: watches are for all sensors.
MAY_SAY = {
    "ph.t.b.0.n1", "ph.t.b.1.n1", "ph.t.b.15.n1", "ph.t.b.999.n1", "ph.t.ack.n1", "ph.t.hb.n1", "ph.t.media.n1",
    "$KV.ph-t-status.n1", "$JS.API.DIRECT.GET.KV_ph-t-status.$KV.ph-t-status.n1", "$JS.API.DIRECT.GET.KV_ph-t-plans.$KV.ph-t-plans.all",
    "$JS.API.DIRECT.GET.KV_ph-t-plans.$KV.ph-t-plans.node.n1", "$JS.API.DIRECT.GET.KV_ph-t-pods.$KV.ph-t-pods.node.n1",
}  # fmt: skip
MAY_HEAR = {
    "ph.t.plan.all", "ph.t.plan.n1", "ph.t.pods.n1", "ph.t.media.*", "ph.t.media.n2",
    f"{inbox('sensor', 't', 'n1')}.x.y",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp("nats")
    users = [user(role, "t", node, name=name, password=f"{name}-secret") for name, (role, node) in WHO.items()]
    for name in WHO:
        (folder / f"{name}.user").write_text(name)
        (folder / f"{name}.password").write_text(f"{name}-secret")
    with nats_server(folder, users=users) as made:
        yield made


@contextlib.asynccontextmanager
async def as_user(server: NatsServer, name: str) -> AsyncIterator[Bus]:
    role, node = WHO[name]
    settings = BusSettings(
        (server.url,), name, user_file=str(server.folder / f"{name}.user"), request_timeout=2.0, ack_timeout=2.0,
        password_file=str(server.folder / f"{name}.password"), inbox=inbox(role, "t", node),
    )  # fmt: skip
    async with await Bus.connect(settings) as bus:
        await bus.ready(30)
        yield bus


async def reachable(bus: Bus, subject: str) -> bool:
    try:
        await bus.request(subject, b"", within=0.3)
    except Denied:
        return False
    except Away:
        return True  # it went out; nobody answered
    return True


@bounded(60)
async def test_a_stolen_credential_reaches_its_own_subjects_and_nothing_else(server):
    async with as_user(server, "publisher") as up, as_user(server, "stolen") as thief:
        await ensure(up, LAYOUT)
        said = {subject for subject in dict.fromkeys(SAYS) if await reachable(thief, subject)}
        assert said == MAY_SAY
        heard = set()
        for subject in HEARS:
            subscription = await thief.subscribe(subject, ignore)
            if not subscription.denied:
                heard.add(subject)
            await subscription.close()
        assert heard == MAY_HEAR


async def ignore(message: Message) -> None:
    return


@bounded()
async def test_tricks_inside_what_it_may_say_reach_nothing_of_others(server):
    async with as_user(server, "publisher") as up, as_user(server, "stolen") as thief, as_user(server, "other") as other:
        await ensure(up, LAYOUT)
        await PlanSource(up, NAMES, name="up", clock=time.time_ns).publish([{"for": "n2"}], scope=node_scope("n2"))
        own = f"$JS.API.DIRECT.GET.KV_{NAMES.plans_bucket}.$KV.{NAMES.plans_bucket}.node.n1"
        for question in (
            {"last_by_subj": f"$KV.{NAMES.plans_bucket}.node.n2"}, {"seq": 1},
            {"multi_last": [f"$KV.{NAMES.plans_bucket}.>"]}, {"next_by_subj": f"$KV.{NAMES.plans_bucket}.>", "seq": 1},
        ):  # fmt: skip
            answer = await thief.request(own, json.dumps(question).encode())
            assert answer.headers.get("Nats-Subject") != f"$KV.{NAMES.plans_bucket}.node.n2"
            assert not answer.data
        await Bucket(other, NAMES.status_bucket).put("n2", b"mine")
        mine = f"$KV.{NAMES.status_bucket}.n1"
        for headers in ({"Nats-Rollup": "all"}, {"Nats-Rollup": "sub"}, {"KV-Operation": "PURGE", "Nats-Rollup": "all"}):
            await thief.store(mine, b"x", headers)
        assert (await Bucket(up, NAMES.status_bucket).get("n2")).value == b"mine"


@bounded()
async def test_every_role_can_do_its_work_and_processors_write_neither_plans_nor_filters(server):
    async with (
        as_user(server, "processor") as processor, as_user(server, "publisher") as up, as_user(server, "viewer") as eye,
        as_user(server, "other") as sensor,
    ):  # fmt: skip
        assert (await ensure(processor, LAYOUT)).faults == ()
        assert (await ensure(up, LAYOUT)).faults == ()
        board = StatusBoard(sensor, NAMES, "n2")
        follower = PlanFollower(
            sensor, NAMES, node="n2", epoch=3, apply=lambda _: Verdict(), clock=time.time_ns, told=board.ack
        )
        tasks = [asyncio.create_task(follower.run()), asyncio.create_task(board.run())]
        async with Acks(up, NAMES) as acks:
            plan = await PlanSource(up, NAMES, name="up", clock=time.time_ns).publish([{"n": 1}])
            assert set(await acks.wait(plan, count=1, within=5)) == {"n2"}
        await until(lambda: board.written)
        assert set(await read_status(eye, NAMES)) >= {"n2"}
        assert isinstance(await sensor.store(NAMES.packets(1, "n2"), b"x"), Stored)
        pull = Pull(processor, NAMES.packets_stream, "s1")
        lot = await pull.fetch(1, size=1 << 20, within=5)
        assert [await each.ack() for each in lot] == [True]
        assert isinstance(await processor.store(NAMES.dead("p1"), b"x"), Stored)
        for bucket in (NAMES.plans_bucket, NAMES.filters_bucket):
            for bus in (processor, eye, sensor):
                with pytest.raises(Denied):
                    await Bucket(bus, bucket).put("all", b"")
        for bus in (processor, eye, sensor, up):
            for what in ("DELETE", "PURGE"):
                with pytest.raises(Denied):
                    await bus.api(f"STREAM.{what}.{NAMES.packets_stream}")
        await asyncio.gather(pull.close(), *(cancelled(task) for task in tasks))


async def cancelled(task: asyncio.Task) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
