"""An outage may last: what waits is known in a few bytes, what was dropped in a few tombstones, also across a crash."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from packhound.processor.intake.ledger import Ledger, Verdict
from packhound.sensor.parcel import FLOWS, LOST, PACKETS, Parcel
from packhound.sensor.spool import Spool, SpoolLimits
from packhound.sensor.spool.segments import Segment
from packhound.sensor.spool.shelf import Shelf
from packhound.wire.batch import BatchId
from packhound.wire.codec import decode
from packhound.wire.lost import MAX_SETS, Lost, joined

SHARDS = 4


def fill(spool: Spool, count: int, *, size: int = 2000, begin: int = 0) -> None:
    """Parcels of every shard in turn; each eighth is of flows, each third is media."""
    for n in range(begin, begin + count):
        kind = FLOWS if n % 8 == 7 else PACKETS
        packets = 0 if kind == FLOWS else 2
        parcel = Parcel(spool.number(), kind, spool.epoch, n % SHARDS, n // SHARDS + 1, packets, n % 3 == 0, bytes(size))
        spool.append(parcel, {("t/a", f"t/{n % 3}"): packets} if packets else {})


def drained(spool: Spool) -> list[Parcel]:
    found = []
    while some := spool.next(64):
        found += some
        for each in some:
            spool.done(each.number)
    return found


def check_whole(parcels: list[Parcel], count: int, *, lost: int) -> None:
    """Every sequence of every shard is there once; as many packets are told of as lost."""
    ledger, told = Ledger(), 0
    for each in parcels:
        value = decode(each.data) if each.kind == LOST else None
        assert ledger.judge(BatchId(*each.identity), last=value.last if value is not None else 0) is Verdict.NEW
        told += value.packets if value is not None else 0
    assert not ledger.gaps()
    for shard in range(SHARDS):
        last = (count - 1 - shard) // SHARDS + 1
        assert ledger.judge(BatchId(1, shard, last)) is Verdict.DUPLICATE
        assert ledger.judge(BatchId(1, shard, last + 1)) is Verdict.NEW
    assert told == lost


def spool_in(folder: Path, *, epoch: int = 1, cap: int = 400_000, memory: int = 4000) -> Spool:
    return Spool(folder, sensor="n", epoch=epoch, limits=SpoolLimits(cap=cap, segment=40_000, memory=memory))


def test_a_spool_over_its_cap_for_long_keeps_a_few_tombstones(tmp_path):
    spool = spool_in(tmp_path)
    fill(spool, 5000)
    soon = len(spool._stones)  # between signalling that lives there are those of media that went before
    fill(spool, 15_000, begin=5000)
    assert len(spool._stones) < max(1.5 * soon, 120)
    assert len(spool) < 400_000 / 2000 + 120
    assert sum(each.stat().st_size for each in tmp_path.glob("*.seg")) < 440_000
    lost = spool.books()["lost"]["spool_full"]
    parcels = drained(spool)
    assert sum(each.kind == LOST for each in parcels) < 180
    check_whole(parcels, 20_000, lost=lost)
    spool.close()


def test_a_full_disk_for_long_costs_a_tombstone_a_shard(tmp_path, monkeypatch):
    spool = spool_in(tmp_path)
    fill(spool, 10)

    def refuse(*_: object) -> None:
        raise OSError(28, "no space")

    with monkeypatch.context() as patched:
        patched.setattr(Segment, "append", refuse)
        fill(spool, 20_000, begin=10)
        assert spool.fault == "disk_full"
        assert len(spool) < 10 + 2 + SHARDS + 1
        assert all(each.closed or not each.size for each in spool._shelf.segments)  # so that they go when delivered
        assert spool._shelf.here_bytes < 4000 + 200 * SHARDS
        assert len(spool._shelf._ready) < 4000
    fill(spool, 10, begin=20_010)
    assert not spool._shelf.here  # the disk has room again: all is written
    lost = spool.books()["lost"]["disk_full"]
    assert lost > 30_000
    os.close(spool._lock_file)  # kill -9
    again = spool_in(tmp_path, epoch=2)
    check_whole(drained(again), 20_020, lost=lost)
    again.close()
    spool._shelf.done.close()


def test_a_crash_between_a_tombstone_and_the_end_of_what_it_stands_for(tmp_path, monkeypatch):
    spool = spool_in(tmp_path)
    fill(spool, 150)
    with monkeypatch.context() as patched:
        patched.setattr(Segment, "remove", lambda self: None)
        patched.setattr(Shelf, "log", lambda self, number: None)
        fill(spool, 400, begin=150)
    lost = spool.books()["lost"]["spool_full"]
    os.close(spool._lock_file)
    spool._shelf.done.close()
    again = spool_in(tmp_path, epoch=2, cap=1 << 30)
    check_whole(drained(again), 550, lost=lost)
    again.close()


def test_what_was_handed_out_is_not_told_of_together_with_others(tmp_path):
    spool = spool_in(tmp_path)
    fill(spool, 40)
    taken = {each.identity for each in spool.next(12)}
    for number in range(1, 13):
        spool.again(number)
    fill(spool, 1000, begin=40)
    stones = [decode(each.data) for each in drained(spool) if each.kind == LOST]
    assert {each.identity for each in stones if not each.last} >= taken
    spool.close()


def test_what_waits_costs_a_few_bytes_of_memory(tmp_path):
    spool = Spool(tmp_path, sensor="n", epoch=1, limits=SpoolLimits(segment=1 << 20, memory=4000))
    fill(spool, 10_000, size=1000)
    assert len(spool) == 10_000
    assert len(spool._shelf.refs) < 2500
    assert len(spool._shelf._ready) < 6000
    assert sum(len(each.rows) for each in spool._shelf.segments) < 400_000
    assert [each.number for each in drained(spool)] == list(range(1, 10_001))
    assert not len(spool)
    spool.close()


A = Lost(1, 2, 5, "n", {("a",): 3}, "spool_full")


def test_tombstones_join():
    both = joined(A, Lost(1, 2, 6, "n", {("a",): 1, ("b",): 2}, "spool_full", media=True))
    assert (both.sequence, both.last, both.wanted, both.packets) == (5, 6, {("a",): 4, ("b",): 2}, 6)
    assert joined(both, Lost(1, 2, 7, "n", {}, "spool_full", kind_lost="flows")).kind_lost == "packets"
    far = joined(Lost(1, 2, 3, "n", {}, "spool_full", last=4), both)
    assert (far.sequence, far.last) == (3, 6)


@pytest.mark.parametrize(
    "other",
    [
        Lost(1, 2, 7, "n", {}, "spool_full"), Lost(1, 2, 5, "n", {}, "spool_full"), Lost(1, 3, 6, "n", {}, "spool_full"),
        Lost(2, 2, 6, "n", {}, "spool_full"), Lost(1, 2, 6, "n", {}, "disk_full"), Lost(1, 2, 6, "m", {}, "spool_full"),
        Lost(1, 2, 6, "n", {("a",): 1 << 31}, "spool_full"),
        Lost(1, 2, 6, "n", {(str(n),): 1 for n in range(MAX_SETS)}, "spool_full"),
    ],
)  # fmt: skip
def test_tombstones_that_do_not_belong_together_stay_apart(other):
    assert joined(A, other) is None
