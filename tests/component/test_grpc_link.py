"""The link without a broker, over real sockets: credits, answers, strangers, a processor that dies and comes back."""

from __future__ import annotations

import asyncio
import random

import pytest

from packhound.kit.rpc import new_server
from packhound.processor.intake import grpc as grpc_intake
from packhound.processor.intake.grpc import GrpcIntake, IntakeSettings, Never, Safe
from packhound.sensor.link import grpc as grpc_link
from packhound.sensor.link.base import Accepted, LinkState, Pause, Refused, Unreachable
from packhound.sensor.link.grpc import GrpcLink, GrpcSettings
from packhound.sensor.parcel import PACKETS, Parcel
from packhound.wire.codec import encode
from packhound.wire.lost import Lost
from packhound.wire.v1 import packets_pb2_grpc as stubs
from tests.support.certificates import Authority
from tests.support.loop import until


def parcel(sequence: int, *, shard: int = 0, epoch: int = 7, node: str = "n1", size: int = 0) -> Parcel:
    names = {(f"t/{'x' * min(size, 400)}{n}",): 1 for n in range(max(1, size // 400))}
    data = encode(Lost(sensor=node, epoch=epoch, shard=shard, sequence=sequence, wanted=names, cause="spool_full"))
    return Parcel(sequence, PACKETS, epoch, shard, sequence, 1, False, data)


class Far:
    """A processor that keeps what it is given."""

    def __init__(self, **options) -> None:
        self.kept: list[tuple[int, int]] = []
        self.most = self.now = 0
        self.answer = None
        self.intake_deliver = None
        self.delay = options.pop("delay", 0.0)
        self.tls = options.pop("tls", None)
        self.settings = IntakeSettings("local", "p1", 16, **options)
        self.said: list[tuple[str, str, bytes]] = []

    async def deliver(self, header, data):
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.delay * random.random())
        self.now -= 1
        if self.answer is not None:
            return self.answer
        duplicate = (header.shard, header.sequence) in self.kept
        if not duplicate:
            self.kept.append((header.shard, header.sequence))
        return Safe(duplicate=duplicate)

    def heard(self, node, kind, data):
        self.said.append((node, kind, data))
        return ("beat_reply", b"r") if kind == "heartbeat" else None

    async def start(self, port: int = 0) -> int:
        self.intake = GrpcIntake(self.settings, deliver=self.intake_deliver or self.deliver, on_message=self.heard, welcome=lambda node: b"plan")
        self.server, self.port = new_server(f"127.0.0.1:{port}", tls=self.tls)
        stubs.add_IntakeServicer_to_server(self.intake, self.server)
        await self.server.start()
        return self.port

    async def stop(self):
        await self.server.stop(0)


def link(port, *, node="n1", epoch=7, tls=None, heard=None, shards=16, fleet="local"):
    return GrpcLink(GrpcSettings(f"127.0.0.1:{port}", fleet, node, epoch, shards, tls=tls), on_message=heard)


def run(test):
    asyncio.run(asyncio.wait_for(test, 60))


def test_every_parcel_is_answered_within_the_credits_that_were_given():
    async def go():
        far = Far(credits_parcels=8, credits_bytes=1 << 20, delay=0.01)
        near = link(await far.start())
        await near.open()
        await near.ready()
        got = await asyncio.gather(*(near.send(parcel(n, shard=n % 3)) for n in range(1, 201)))
        assert set(got) == {Accepted()}
        assert len(set(far.kept)) == 200
        assert far.most <= 8
        assert await near.send(parcel(5, shard=5 % 3)) == Accepted(duplicate=True)
        await near.close()
        await far.stop()

    run(go())


def test_credits_in_bytes_hold_too():
    async def go():
        one = len(parcel(1, size=4000).data)
        far = Far(credits_parcels=100, credits_bytes=3 * one, delay=0.01)
        near = link(await far.start())
        await near.open()
        await near.ready()
        await asyncio.gather(*(near.send(parcel(n, size=4000)) for n in range(1, 30)))
        assert far.most <= 3
        assert isinstance(await near.send(parcel(99, size=16000)), Refused)
        await near.close()
        await far.stop()

    run(go())


def test_a_processor_that_dies_and_comes_back_gets_what_it_did_not_answer():
    async def go():
        far = Far(delay=0.05)
        near = link(await far.start())
        await near.open()
        await near.ready()
        sends = [asyncio.create_task(near.send(parcel(n))) for n in range(1, 50)]
        await asyncio.sleep(0.03)
        await far.stop()
        results = await asyncio.gather(*sends, return_exceptions=True)
        failed = [n for n, result in enumerate(results, 1) if isinstance(result, Unreachable)]
        assert failed
        assert near.state is LinkState.AWAY
        with pytest.raises(Unreachable):
            await near.send(parcel(1))
        kept = set(far.kept)
        await far.start(far.port)
        await near.ready()
        again = await asyncio.gather(*(near.send(parcel(n)) for n in failed))
        assert all(each.duplicate == ((0, n) in kept) for n, each in zip(failed, again, strict=True))
        assert {n for _, n in far.kept} == set(range(1, 50))
        await near.close()
        await far.stop()

    run(go())


def test_a_refusal_is_final_and_a_pause_is_said():
    async def go():
        far = Far()
        near = link(await far.start())
        await near.open()
        await near.ready()
        far.answer = Never("malformed_batch", "cannot be read")
        assert await near.send(parcel(1)) == Refused("cannot be read", "malformed_batch")
        far.answer = None
        await far.intake.pace(pause=True, after_ns=10**9)
        await asyncio.sleep(0.1)
        assert isinstance(await near.send(parcel(2)), Pause)
        await far.intake.pace(pause=False)
        await asyncio.sleep(0.1)
        assert await near.send(parcel(2)) == Accepted()
        await near.close()
        await far.stop()

    run(go())


def test_two_sensors_of_one_name_and_strangers_are_refused_with_the_reason(tmp_path):
    async def go():
        far = Far()
        port = await far.start()
        first, second = link(port), link(port, epoch=8)
        await first.open()
        await first.ready()
        for other, says in ((second, "give each its own name"), (link(port, node="n2", shards=4), "16 shards"),
                            (link(port, node="n2", fleet="x"), "fleet local")):  # fmt: skip
            await other.open()
            for _ in range(100):
                await asyncio.sleep(0.02)
                if other.reason:
                    break
            assert says in other.reason
            await other.close()
        assert await first.send(parcel(1)) == Accepted()
        assert isinstance(await first.send(parcel(2, node="somebody")), Refused)
        await first.close()
        await far.stop()

    run(go())


def test_a_node_must_be_whom_its_certificate_says(tmp_path):
    async def go():
        authority = Authority(tmp_path)
        far = Far(tls=authority.issue("processor"))
        port = await far.start()
        good, bad = link(port, tls=authority.issue("n1")), link(port, node="n2", tls=authority.issue("n1"))
        await good.open()
        await good.ready()
        assert await good.send(parcel(1)) == Accepted()
        await bad.open()
        for _ in range(100):
            await asyncio.sleep(0.02)
            if bad.reason:
                break
        assert "certificate is for n1" in bad.reason
        await good.close()
        await bad.close()
        await far.stop()

    run(go())


def test_an_answer_that_comes_too_late_is_not_asked_for_again(monkeypatch):
    monkeypatch.setattr(grpc_link, "ANSWER_WITHIN", 0.3)

    async def go():
        far = Far()
        gate = asyncio.Event()

        async def deliver(header, data):
            await gate.wait()
            return await far.deliver(header, data)

        far.intake_deliver = deliver
        near = link(await far.start())
        await near.open()
        await near.ready()
        with pytest.raises(Unreachable, match="in time"):
            await near.send(parcel(1))
        assert near.answers == 0
        gate.set()
        await until(lambda: near.answers)
        assert near.state is LinkState.OPEN
        assert await near.send(parcel(1)) == Accepted(duplicate=True)
        assert far.kept == [(0, 1)]
        assert await near.send(parcel(2)) == Accepted()
        await near.close()
        await far.stop()

    run(go())


def test_a_processor_without_room_is_waited_for_and_no_credit_is_lost(monkeypatch):
    monkeypatch.setattr(grpc_link, "ANSWER_WITHIN", 0.3)

    async def go():
        far = Far(credits_parcels=2)
        gate = asyncio.Event()

        async def deliver(header, data):
            await gate.wait()
            return await far.deliver(header, data)

        far.intake_deliver = deliver
        near = link(await far.start())
        await near.open()
        await near.ready()
        found = await asyncio.gather(*(near.send(parcel(n)) for n in range(1, 7)), return_exceptions=True)
        assert sum(isinstance(each, Unreachable) for each in found) == 2  # were sent
        assert sum(isinstance(each, Pause) for each in found) == 4  # had no room
        gate.set()
        await until(lambda: near.answers == 2)
        again = [await near.send(parcel(n)) for n in range(1, 7)]
        assert all(isinstance(each, Accepted) for each in again)
        assert sorted(far.kept) == [(0, n) for n in range(1, 7)]
        await until(lambda: near.window == 2)  # credits follow the answers
        await near.close()
        await far.stop()

    run(go())


def test_a_sensor_that_takes_nothing_keeps_nobody_from_hearing_of_a_plan(monkeypatch):
    monkeypatch.setattr(grpc_intake, "OUTGOING", 8)

    async def go():
        heard, far = [], Far()
        near = link(await far.start(), node="n2", heard=lambda kind, data: heard.append(data))
        await near.open()
        await near.ready()
        stalled = grpc_intake._Stream("n1", 1)
        far.intake._streams["n1"] = stalled
        for number in range(20):
            far.intake.tell("plan_changed", b"%d" % number)
            far.intake.pass_on("n1", b"w")
            await asyncio.sleep(0.01)
        await until(lambda: b"19" in heard)
        assert far.intake.refused["stalled"] >= 1
        assert heard.count(b"w") == 20
        del far.intake._streams["n1"]
        await near.close()
        await far.stop()

    run(go())


def test_what_is_no_parcel_travels_too():
    async def go():
        heard = []
        far = Far()
        near = link(await far.start(), heard=lambda kind, data: heard.append((kind, data)))
        await near.open()
        await near.ready()
        await near.say("heartbeat", b"h")
        await near.say("plan_ack", b"a")
        far.intake.tell("media_watch", b"m")
        for _ in range(200):
            await asyncio.sleep(0.01)
            if len(heard) == 3:
                break
        assert heard[0] == ("plan_changed", b"plan")
        assert set(heard[1:]) == {("beat_reply", b"r"), ("media_watch", b"m")}
        assert far.said == [("n1", "heartbeat", b"h"), ("n1", "plan_ack", b"a")]
        await near.close()
        await far.stop()

    run(go())
