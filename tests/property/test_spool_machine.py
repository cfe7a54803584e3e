"""The spool, driven at random with crashes and full disks in between: nothing lost but what its cap or the disk took,
that with its tombstone."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from packhound.sensor.parcel import LOST, PACKETS, Parcel
from packhound.sensor.spool import Spool, SpoolLimits, shelf
from packhound.sensor.spool.segments import Segment
from packhound.wire.codec import decode

SHARDS = 3
APPEND, PACKED_FROM = Segment.append, shelf.PACKED_FROM


class SpoolMachine(RuleBasedStateMachine):
    """A model: what was appended, by number, and what became of it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="spool"))
        self.spool: Spool | None = None
        self.epoch = 0
        self.sequences: dict[tuple[int, int], int] = {}
        self.waiting: dict[int, Parcel] = {}
        self.out: dict[int, list[Parcel]] = {}
        self.by_identity: dict[tuple[int, int, int], Parcel] = {}
        self.tried: set[int] = set()
        self.matched = 0

    @initialize(cap=st.sampled_from([1 << 30, 40_000]), memory=st.sampled_from([1 << 20, 2000]))
    def begin(self, cap: int, memory: int) -> None:
        self.limits = SpoolLimits(cap=cap, segment=4000, memory=memory)
        shelf.PACKED_FROM = 3
        self.restart()

    def restart(self) -> None:
        self.epoch += 1
        self.matched = 0
        for stood_for in self.out.values():
            self.waiting |= {each.number: each for each in stood_for}
        self.out = {}
        self.spool = Spool(self.folder, sensor="n1", epoch=self.epoch, limits=self.limits, clock=lambda: self.epoch)

    @rule(size=st.integers(0, 3000), shard=st.integers(0, SHARDS - 1), media=st.booleans(), packets=st.integers(0, 9))
    def append(self, size: int, shard: int, media: bool, packets: int) -> None:
        key = self.epoch, shard
        self.sequences[key] = self.sequences.get(key, 0) + 1
        number = self.spool.number()
        parcel = Parcel(number, PACKETS, self.epoch, shard, self.sequences[key], packets, media, bytes([number % 251]) * size)
        self.spool.append(parcel, {("t/a",): packets} if packets else {})
        self.waiting[number] = self.by_identity[parcel.identity] = parcel
        self.matched += packets

    @rule(count=st.integers(1, 6))
    def take(self, count: int) -> None:
        found = self.spool.next(count)
        numbers = [each.number for each in found]
        assert numbers == sorted(numbers)
        assert bool(numbers) == bool(self.waiting)
        for each in found:
            stood_for = self.stood_for(each)
            first = min(self.waiting)
            assert stood_for[0].number == each.number == first  # the oldest first
            for was in stood_for:
                del self.waiting[was.number]
            self.out[each.number] = stood_for

    def stood_for(self, parcel: Parcel) -> list[Parcel]:
        """What was appended that this parcel is or stands for, the oldest first."""
        if parcel.kind != LOST:
            assert parcel == self.waiting[parcel.number]
            return [parcel]
        lost = decode(parcel.data)
        assert lost.identity == parcel.identity
        assert lost.sensor == "n1"
        some = [self.by_identity[lost.epoch, lost.shard, each] for each in range(lost.sequence, lost.through + 1)]
        assert lost.packets == parcel.packets == sum(each.packets for each in some)
        if len(some) > 1:  # only what the far side cannot have is told of together
            assert not {each.number for each in some} & self.tried
        return sorted(some, key=lambda each: each.number)

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.out)))
        what = data.draw(st.sampled_from(["done", "again", "lose"]))
        stood_for = self.out.pop(number)
        if len(stood_for) == 1:
            self.tried.add(number)
        if what == "done":
            self.spool.done(number)
        elif what == "again":
            self.spool.again(number)
            self.waiting |= {each.number: each for each in stood_for}
        else:
            self.spool.lose(number, "broker_refused")
            if number in self.spool._shelf.refs:  # its tombstone waits now
                self.waiting |= {each.number: each for each in stood_for}

    @rule(full=st.booleans())
    def disk(self, full: bool) -> None:
        """The disk is full, or has room again."""

        def refuse(*_: object) -> None:
            raise OSError(28, "no space")

        Segment.append = refuse if full else APPEND

    @precondition(lambda self: not self.spool._shelf.here)  # what is in memory only dies with the process
    @rule(tear=st.integers(0, 40))
    def crash(self, tear: int) -> None:
        """Die without a word; a record that was being written is torn."""
        import os

        spool, self.spool = self.spool, None
        os.close(spool._lock_file)
        spool._shelf.done.close()
        for segment in spool._shelf.segments:
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
        waiting = len(self.spool) - len(self.out)
        assert bool(waiting) == bool(self.waiting) == self.spool.ready
        assert waiting <= len(self.waiting)
        assert self.spool.waiting_packets == sum(each.packets for each in self.waiting.values()) + sum(
            each.packets for some in self.out.values() for each in some
        )
        assert self.spool.in_flight == len(self.out)
        books = self.spool.books()
        assert self.matched == books["delivered"] + books["in_flight"] + books["spooled"] + sum(books["lost"].values())
        disk = sum(each.stat().st_size for each in self.folder.glob("*.seg"))
        assert disk <= self.limits.cap + 60_000  # tombstones and what is on its way may stand over it

    def teardown(self) -> None:
        if self.spool is not None:
            Segment.append, shelf.PACKED_FROM = APPEND, PACKED_FROM
            while self.waiting:
                self.take(6)
            for number in list(self.out):
                self.spool.done(number)
            assert len(self.spool) == self.spool.waiting_packets == self.spool.waiting_bytes == self.spool._shelf.here_bytes == 0
            self.spool.close()
            assert not list(self.folder.glob("*.seg"))
        shutil.rmtree(self.folder)


SpoolMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
TestSpool = SpoolMachine.TestCase
