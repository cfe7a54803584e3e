"""The spool, driven at random with crashes in between: nothing lost but what its cap took, that with its tombstone."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from packhound.sensor.parcel import LOST, PACKETS, Parcel
from packhound.sensor.spool import Spool, SpoolLimits
from packhound.wire.codec import decode

SHARDS = 3


class SpoolMachine(RuleBasedStateMachine):
    """A model: what was appended, by number, and what became of it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="spool"))
        self.spool: Spool | None = None
        self.epoch = 0
        self.sequences: dict[tuple[int, int], int] = {}
        self.waiting: dict[int, Parcel] = {}
        self.out: dict[int, Parcel] = {}
        self.matched = 0

    @initialize(cap=st.sampled_from([1 << 30, 40_000]), memory=st.sampled_from([1 << 20, 2000]))
    def begin(self, cap: int, memory: int) -> None:
        self.limits = SpoolLimits(cap=cap, segment=4000, memory=memory)
        self.restart()

    def restart(self) -> None:
        self.epoch += 1
        self.matched = 0
        self.waiting |= self.out
        self.out = {}
        self.spool = Spool(self.folder, sensor="n1", epoch=self.epoch, limits=self.limits, clock=lambda: self.epoch)

    @rule(size=st.integers(0, 3000), shard=st.integers(0, SHARDS - 1), media=st.booleans(), packets=st.integers(0, 9))
    def append(self, size: int, shard: int, media: bool, packets: int) -> None:
        key = self.epoch, shard
        self.sequences[key] = self.sequences.get(key, 0) + 1
        number = self.spool.number()
        parcel = Parcel(number, PACKETS, self.epoch, shard, self.sequences[key], packets, media, bytes([number % 251]) * size)
        self.spool.append(parcel, {("t/a",): packets} if packets else {})
        self.waiting[number] = parcel
        self.matched += packets

    @rule(count=st.integers(1, 6))
    def take(self, count: int) -> None:
        found = self.spool.next(count)
        numbers = [each.number for each in found]
        assert numbers == sorted(numbers)
        assert len(numbers) == min(count, len(self.waiting))
        assert set(numbers) == set(sorted(self.waiting)[: len(numbers)])
        for each in found:
            self.check(each)
            self.out[each.number] = self.waiting.pop(each.number)

    def check(self, parcel: Parcel) -> None:
        was = self.waiting[parcel.number]
        assert parcel.identity == was.identity
        if parcel.kind == LOST:
            lost = decode(parcel.data)
            assert lost.identity == was.identity
            assert lost.packets == was.packets
            assert lost.sensor == "n1"
        else:
            assert parcel == was

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.out)))
        what = data.draw(st.sampled_from(["done", "again", "lose"]))
        parcel = self.out.pop(number)
        if what == "done":
            self.spool.done(number)
        elif what == "again":
            self.spool.again(number)
            self.waiting[number] = parcel
        else:
            self.spool.lose(number, "broker_refused")
            if number in self.spool._refs:  # its tombstone waits now
                self.waiting[number] = parcel

    @rule(tear=st.integers(0, 40))
    def crash(self, tear: int) -> None:
        """Die without a word; a record that was being written is torn."""
        import os

        spool, self.spool = self.spool, None
        os.close(spool._lock_file)
        spool._done.close()
        for segment in spool._segments:
            segment.shut()
        if tear:
            newest = max(self.folder.glob("*.seg"), default=None)
            if newest is not None:
                with newest.open("ab") as file:
                    file.write(b"PHS1" + bytes(tear))
        self.restart()
        if tear and newest is not None:
            assert self.spool.torn == tear + 4

    @invariant()
    def nothing_is_missing(self) -> None:
        if self.spool is None:
            return
        assert len(self.spool) == len(self.waiting) + len(self.out)
        assert self.spool.in_flight == len(self.out)
        books = self.spool.books()
        assert self.matched == books["delivered"] + books["in_flight"] + books["spooled"] + sum(books["lost"].values())
        disk = sum(each.stat().st_size for each in self.folder.glob("*.seg"))
        assert disk <= self.limits.cap + 60_000  # tombstones and what is on its way may stand over it

    def teardown(self) -> None:
        if self.spool is not None:
            self.spool.close()
        shutil.rmtree(self.folder)


SpoolMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=50, deadline=None)
TestSpool = SpoolMachine.TestCase
