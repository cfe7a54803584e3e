"""A call, its flows and its recording go on when another processor takes the shard over."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import numpy as np
import pytest

from packhound.net.facts import Fact
from packhound.processor.groups import GroupLimits, Groups, take_up
from packhound.processor.intake.delivery import Delivery
from packhound.processor.recording import Actions
from packhound.processor.service import DiskFault, Processor, ProcessorSettings
from packhound.processor.shared.entries import books_of
from packhound.processor.shared.redis import RedisSettings, RedisState
from packhound.processor.shared.sqlite import SqliteState
from packhound.processor.shared.state import Unavailable
from packhound.processor.store.folder import Folder
from packhound.processor.store.segments import Limits
from packhound.processor.store.tables import Answer, query
from packhound.wire.flowrecords import RECORD_DTYPE, FlowRecords
from packhound.wire.lost import Lost
from tests.component.test_exactly_once import Fleet
from tests.support.batches import SECOND, START, batch_of, batches_of, udp_packet
from tests.support.redis_server import needs_redis, redis_server

LEASE = 100_000_000
CALL = "c1@host"


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=needs_redis)])
def shared(request, tmp_path):
    if request.param == "sqlite":
        yield SqliteState(tmp_path / "shared.db", lease_ns=LEASE)
    else:
        with redis_server(tmp_path / "redis") as server:
            yield RedisState(RedisSettings(server.url), fleet="t", lease_ns=LEASE)


class Rig:
    """One processor without links: parcels are handed to it."""

    def __init__(self, root: Path, shared, node: str, **settings) -> None:
        self.out, self.node, self.shared = root / node, node, shared
        self.folder = Folder(self.out)
        claimed, self.recovered = take_up(self.folder, shared)
        self.now = START
        chosen = ProcessorSettings(node=node, live=True, **settings)
        self.processor = Processor(self.out, chosen, clock=lambda: self.now, recovered=self.recovered)
        self.processor.use({"voice/alice": Actions(per_call=True, alert="high")})
        self.groups = Groups(self.processor, folder=self.folder, shared=shared, claimed=claimed, limits=GroupLimits(8))
        self._handles = itertools.count()

    def own(self, shard: int = 0) -> None:
        deadline = time.monotonic() + 60
        while (lease := self.shared.acquire(self.node, shard)) is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.groups.adopt(lease)

    def take(self, *parcels, redelivered: bool = False) -> list[int]:
        """Hand parcels over and settle them; what is to be acknowledged."""
        for each in parcels:
            self.groups.accept(Delivery(each.shard, each, next(self._handles), redelivered))
        return list(self.groups.settle().handles)

    def end(self) -> None:
        self.processor.seal()
        self.groups.settle()
        self.die()

    def die(self) -> None:
        """As kill -9 does, as far as files go."""
        self.processor.close()
        self.folder.close()

    def rows(self, sql: str) -> list[tuple]:
        found = query(sql, self.out)
        assert isinstance(found, Answer), found
        return found.rows

    def packets(self, part: str = "recordings") -> list[int]:
        return [
            int.from_bytes(batch.packet(at)[42:46], "big")
            for path in sorted((self.out / part).rglob("*.pcapng")) for batch in batches_of(path)
            for at in range(len(batch))
        ]  # fmt: skip


def sip(number: int, **fields):
    fact = Fact("sip", {"sip.call_id": CALL, "sip.cseq": 1, "sip.from": "<sip:alice@x>", **fields})
    ts = START + number * SECOND
    return batch_of([udp_packet(number)], ts=[ts], sequence=number, flow=9, app=9, calls=[CALL], facts=[(0, 9, ts, fact)])


def media(number: int, flow: int = 10):
    return batch_of(
        [udp_packet(number, dport=4000)], ts=[START + number * SECOND], sequence=number, flow=flow, app=10, calls=[CALL]
    )  # fmt: skip


def test_a_call_goes_on_where_its_processor_died(tmp_path, shared):
    first = Rig(tmp_path, shared, "p1")
    first.own()
    assert len(first.take(sip(1, **{"sip.method": "INVITE"}), sip(2, **{"sip.method": "INVITE", "sip.status": 200}))) == 2
    assert len(first.take(media(3))) == 1
    first.groups.accept(Delivery(0, media(4)))  # not settled
    first.die()

    second = Rig(tmp_path, shared, "p2")
    second.own()
    second.take(media(3), redelivered=True)  # settled, but its acknowledgement was lost
    second.take(media(4))
    second.take(sip(5, **{"sip.method": "BYE"}))
    records = np.zeros(1, RECORD_DTYPE)
    records["serial"], records["app"], records["ip_version"], records["packets"] = 10, 10, 4, (2, 0)
    records["last"] = START + 4 * SECOND
    second.take(FlowRecords(records, sequence=6, filters={10: ("voice/alice",)}))
    second.now += 200 * SECOND
    second.processor.tick()
    second.groups.settle()
    second.end()
    (call,) = second.rows(
        'SELECT "call.state", "call.messages", "call.rtp_packets", "call.answer_ns" - "call.start_ns", "call.recordings"'
        " FROM calls"
    )
    assert call[:4] == ("ended", 3, 2, SECOND)
    first = Rig(tmp_path, shared, "p1")
    assert [each.packets for each in first.recovered if "calls" in str(each.path)] == [3]
    assert [each.partition(":")[0] for each in call[4]] == ["p1", "p2"]
    paths = [tmp_path / part.replace(":", "/", 1) for part in call[4]]
    assert all(path.is_file() for path in paths)
    assert f"continues={call[4][0]}".encode() in paths[1].read_bytes()[:512]
    assert first.packets("recordings/calls") + second.packets("recordings/calls") == [1, 2, 3, 4, 5]
    assert sorted({*first.packets(), *second.packets()}) == [1, 2, 3, 4, 5]
    first.end()
    assert len(first.rows("SELECT * FROM alerts") + second.rows("SELECT * FROM alerts")) == 1
    assert len(first.rows("SELECT * FROM messages")) == 2
    assert second.processor.redelivered == 1
    books = books_of(shared.books())
    assert (books.sensor("").recorded, books.sensor("").duplicates_dropped) == (5, 0)


def test_a_shard_given_back_ends_its_calls_files_and_nothing_is_left_hidden(tmp_path, shared):
    first = Rig(tmp_path, shared, "p1")
    first.own()
    first.take(media(1))
    first.processor.leave(0)
    first.groups.settle()
    assert len(list((first.out / "recordings/calls").rglob("*.pcapng"))) == 1
    lease = first.groups.leases[0]
    first.groups.drop(0)
    shared.release(lease)
    second = Rig(tmp_path, shared, "p2")
    second.own()
    second.take(media(2))
    second.end()
    (path,) = (second.out / "recordings/calls").rglob("*.pcapng")
    assert b"continues=p1:recordings/calls/" in path.read_bytes()[:512]
    first.end()


def test_whoever_lost_a_shard_takes_back_what_was_not_settled_and_keeps_the_rest(tmp_path, shared):
    first = Rig(tmp_path, shared, "p1")
    first.own(0)
    first.own(1)
    first.take(media(1))
    time.sleep(LEASE / 1e9 + 0.05)
    second = Rig(tmp_path, shared, "p2")
    second.own(0)
    mine = media(5)
    mine.shard = 1
    first.groups.accept(Delivery(0, media(2), "lost"))
    first.groups.accept(Delivery(1, mine, "kept"))
    done = first.groups.settle()
    assert (list(done.handles), done.lost) == (["kept"], frozenset({0}))
    assert list(first.groups.leases) == [1]
    assert not first.groups.accept(Delivery(0, media(3)))
    second.take(media(2))
    first.end()
    second.end()
    assert sorted(set(first.packets())) == [1, 5]
    assert sorted(set(second.packets())) == [2]
    assert books_of(shared.books()).sensor("").recorded == 3


def test_while_the_shared_state_is_away_nothing_is_acknowledged_and_then_all_is_once(tmp_path):
    class Away(SqliteState):
        """Fails before or after it did what was asked."""

        fail = ""

        def commit(self, commit):
            if self.fail == "before":
                raise Unavailable("away")
            found = super().commit(commit)
            if self.fail == "after":
                raise Unavailable("away")
            return found

    state = Away(tmp_path / "s.db", lease_ns=LEASE)
    rig = Rig(tmp_path, state, "p1")
    rig.own()
    for fail in ("before", "after"):
        state.fail = fail
        rig.groups.accept(Delivery(0, media({"before": 1, "after": 2}[fail]), fail))
        for _ in range(3):
            with pytest.raises(Unavailable):
                rig.groups.settle()
            assert rig.groups.stuck
        state.fail = ""
        assert list(rig.groups.settle().handles) == [fail]
    rig.end()
    assert rig.packets("recordings/calls") == [1, 2]
    assert books_of(state.books()).sensor("").recorded == 2


def test_no_file_is_published_with_a_packet_that_was_not_settled(tmp_path, shared, monkeypatch):
    rig = Rig(tmp_path, shared, "p1", segment=Limits(bytes=600))
    rig.own()

    def away(commit):
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(shared, "commit", away)
        for number in range(1, 8):
            rig.groups.accept(Delivery(0, media(number)))
        with pytest.raises(Unavailable):
            rig.groups.settle()
    assert not list(rig.out.rglob("*.pcapng"))
    rig.die()
    again = Rig(tmp_path, shared, "p1", segment=Limits(bytes=600))
    assert again.packets() == []
    again.own()
    again.take(*(media(number) for number in range(1, 8)))
    assert len(list(again.out.rglob("*.pcapng"))) > 2
    again.end()
    assert sorted(again.packets("recordings/calls")) == list(range(1, 8))


def test_a_disk_that_fails_costs_nothing_but_time(tmp_path, shared, monkeypatch):
    rig = Rig(tmp_path, shared, "p1")
    rig.own()
    rig.take(media(1), sip(2, **{"sip.method": "INVITE"}))
    real = os.pwrite

    def full(fd, data, offset):
        real(fd, bytes(data[:20]), offset)
        raise OSError(28, "No space left on device")

    def broken(fd):
        raise OSError(5, "Input/output error")

    for name, fault, cause in (("pwrite", full, "disk_full"), ("fdatasync", broken, "io_error")):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fault)
            if not rig.groups.stuck:
                number = {"pwrite": 3, "fdatasync": 4}[name]
                rig.groups.accept(Delivery(0, sip(number, **{"sip.method": "INVITE"}), name))
            for _ in range(3):
                with pytest.raises(DiskFault) as found:
                    rig.groups.settle()
                assert found.value.fault.cause == cause
        assert list(rig.groups.settle().handles) == [name]
    rig.end()
    assert not list(rig.out.rglob(".*.part"))
    assert sorted(rig.packets("recordings/calls")) == [1, 2, 3, 4]
    assert rig.rows("SELECT count(*) FROM messages") == [(3,)]
    account = books_of(shared.books()).sensor("")
    assert (account.recorded, account.lost.total()) == (4, 0)


def test_what_sensors_lost_is_told_once(tmp_path, shared):
    rig = Rig(tmp_path, shared, "p1")
    rig.own()
    lost = Lost(0, 0, 1, "s", {("n/a", "n/b"): 3, ("n/a",): 2}, "spool_full")
    flows = Lost(0, 0, 2, "s", {("n/a",): 1}, "spool_full", kind_lost="flows")
    rig.take(lost, lost, flows)
    rig.take(lost, redelivered=True)
    rig.end()
    found = {(entry.kind, entry.name, entry.cause): count for entry, count in shared.books().items()}
    assert found == {
        ("sensor", "s", "spool_full"): 5, ("filter", "n/a", "spool_full"): 5, ("filter", "n/b", "spool_full"): 3,
        ("sensor", "s", "flows:spool_full"): 1, ("filter", "n/a", "flows:spool_full"): 1,
    }  # fmt: skip


@needs_redis
def test_a_shared_state_that_was_emptied_costs_no_packet(tmp_path):
    with redis_server(tmp_path / "redis") as server:
        shared = RedisState(RedisSettings(server.url), fleet="t", lease_ns=LEASE)
        rig = Rig(tmp_path, shared, "p1")
        rig.own()
        rig.take(media(1))
        server.restart(empty=True)
        rig.groups.accept(Delivery(0, media(2), "late"))
        done = rig.groups.settle()
        assert (list(done.handles), done.lost) == ([], frozenset({0}))
        rig.own()
        assert len(rig.take(media(2))) == 1
        server.restart(empty=True)
        rig.die()
        again = Rig(tmp_path, shared, "p1")
        assert sorted(again.packets("recordings/calls")) == [1, 2]
        again.end()


@pytest.mark.slow
def test_the_shards_of_a_killed_processor_are_taken_over_within_ten_seconds(tmp_path):
    fleet = Fleet(tmp_path, str(tmp_path / "shared.db"))
    try:
        for node in ("p0", "p1"):
            fleet.start(node, lease=4)
        for shard in (0, 1, 2, 3):
            fleet.send(shard, 1)
        fleet.drain()
        time.sleep(1.5)
        fleet.kill("p0")
        began = time.monotonic()
        for shard in (0, 1, 2, 3):
            fleet.send(shard, 1)
        fleet.drain()
        assert time.monotonic() - began < 10
    finally:
        for node in list(fleet.running):
            fleet.kill(node)
