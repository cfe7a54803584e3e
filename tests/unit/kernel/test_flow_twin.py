"""The native flow table says of every sequence of packets exactly what the portable one says."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packhound.net.community import is_one_way
from packhound.net.detect import App
from packhound.net.flow import DRAINING, FLOW_DTYPE, MEDIA
from packhound.net.flowtable import FlowTable
from packhound.net.frame import Frame, Status, decode
from packhound.net.timeouts import Timeouts
from tests.support.conversations import SECOND, START, frame
from tests.support.corpus import CORPUS, captures, needs_corpus
from tests.support.raw_packets import packets

kernel = pytest.importorskip("packhound.sensor.kernel._scan", reason="the native kernel is not built")

FOLDERS = sorted({name.split("/")[1] for name in captures()})
SHORT = Timeouts(
    closed=2 * SECOND, time_wait=3 * SECOND, opening=4 * SECOND, tcp=9 * SECOND, udp=5 * SECOND, dns=SECOND
)


class Twins:
    """Both tables, fed alike; every answer is compared."""

    def __init__(self, *, capacity: int, timeouts: Timeouts, seed: int = 0) -> None:
        self.portable = FlowTable(capacity=capacity, timeouts=timeouts)
        self.native = kernel.NativeFlowTable(capacity=capacity, timeouts=timeouts, seed=seed)
        self.slots: list[int] = []

    def update(self, f: Frame, *, wirelen: int, ts: int, iface: int = 0) -> int:
        ours = self.portable.update(f, wirelen=wirelen, ts=ts, iface=iface)
        theirs = self.native.update(f, wirelen=wirelen, ts=ts, iface=iface)
        assert theirs == ours
        assert self.native.row(ours[0]).tobytes() == self.portable.row(ours[0]).tobytes(), self.differs(ours[0])
        self.slots.append(ours[0])
        return ours[0]

    def differs(self, slot: int) -> dict[str, Any]:
        one, two = self.native.row(slot), self.portable.row(slot)
        return {name: (one[name], two[name]) for name in FLOW_DTYPE.names or () if np.any(one[name] != two[name])}

    def write(self, slot: int, *, app: int, flags: int, told: bool) -> None:
        row = self.portable.row(slot)
        row["app"], row["flags"], row["fset"][:] = app, flags, (app, flags)
        self.native.write(slot, app=app, flags=flags, fset=(app, flags))
        if told:
            self.portable.changed(slot)
            self.native.changed(slot)

    def expire(self, now: int) -> None:
        self.portable.expire(now)
        self.native.expire(now)

    def compare(self) -> None:
        ours, theirs = self.portable.drain(), self.native.drain()
        assert theirs.dtype == ours.dtype
        assert theirs.tobytes() == ours.tobytes()
        assert self.native.counters == self.portable.counters

    def finish(self) -> None:
        self.compare()
        self.portable.flush()
        self.native.flush()
        self.compare()


NUMBERS = st.one_of(
    st.integers(0, 40), st.integers(0xFFFFFFE0, 0xFFFFFFFF), st.integers(0x7FFFFFF0, 0x80000010),
    st.sampled_from((70000, 140000, 1 << 30, 0xFFFEFFFF)),
)  # fmt: skip
FLAGS = st.one_of(st.sampled_from((2, 18, 16, 17, 4, 20, 24)), st.integers(0, 255))
SEGMENTS = st.builds(
    frame, st.integers(1, 2), st.integers(1, 2), proto=st.just(6), sport=st.integers(1, 2), dport=st.integers(1, 2),
    size=st.sampled_from((0, 0, 1, 3, 10, 1460)), flags=FLAGS, seq=NUMBERS, ack=NUMBERS,
    window=st.sampled_from((0, 100)),
)  # fmt: skip
DATAGRAMS = st.builds(
    frame, st.integers(1, 4), st.integers(1, 4), proto=st.sampled_from((17, 17, 17, 1, 58, 132, 47)),
    sport=st.integers(0, 4), dport=st.integers(0, 4), size=st.integers(0, 3), version=st.sampled_from((4, 6)),
    tenant=st.sampled_from((0, 0, 9)), vlan=st.integers(0, 3),
)  # fmt: skip
STEPS = st.one_of(
    st.integers(-20 * SECOND, 20 * SECOND), st.integers(0, 10), st.integers(0, SECOND), st.just(0),
    st.sampled_from((5 * SECOND, 9 * SECOND, 60 * SECOND, 400 * SECOND)),
)  # fmt: skip
WRITES = st.tuples(
    st.integers(0, 5), st.sampled_from([int(app) for app in App]), st.sampled_from((0, 0, 1, MEDIA, DRAINING)),
    st.booleans(),
)  # fmt: skip
ACTIONS = st.lists(
    st.tuples(STEPS, st.one_of(SEGMENTS, SEGMENTS, DATAGRAMS), st.one_of(st.none(), st.none(), WRITES)), max_size=80
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    actions=ACTIONS,
    capacity=st.sampled_from((1, 2, 3, 5, 64)),
    timeouts=st.sampled_from((SHORT, Timeouts())),
    seed=st.integers(0, (1 << 64) - 1),
    drain_every=st.integers(1, 40),
)
def test_twins_agree_on_any_packets(
    actions: list[tuple[int, Frame, tuple[int, int, int, bool] | None]], capacity: int, timeouts: Timeouts, seed: int,
    drain_every: int,
) -> None:  # fmt: skip
    twins = Twins(capacity=capacity, timeouts=timeouts, seed=seed)
    ts = START
    for number, (step, f, write) in enumerate(actions):
        ts += step
        slot = twins.update(f, wirelen=60 + f.payload_wire, ts=ts, iface=number % 3)
        if write is not None:
            back, app, flags, told = write
            # without being told, the table learns of what is written into the newest packet's flow only
            other = twins.slots[-1 - back % len(twins.slots)] if told else slot
            twins.write(other, app=app, flags=flags, told=told)
        if number % drain_every == 0:
            twins.compare()
        if number % 17 == 16:
            twins.expire(ts + step)
    twins.finish()


@settings(max_examples=200, deadline=None)
@given(
    isn=st.integers(0, 0xFFFFFFFF),
    parts=st.lists(
        st.tuples(st.integers(-3, 12), st.integers(0, 3), st.integers(0, 4_000_000), st.booleans()), max_size=60
    ),
)
def test_twins_agree_on_shuffled_streams(isn: int, parts: list[tuple[int, int, int, bool]]) -> None:
    twins = Twins(capacity=4, timeouts=Timeouts())
    twins.update(frame(1, 2, proto=6, flags=2, seq=isn), wirelen=60, ts=START)
    twins.update(frame(2, 1, proto=6, sport=53, dport=1000, flags=18, seq=7, ack=isn + 1), wirelen=60, ts=START + 9)
    ts = START + 5_000_000
    for place, size, step, shut in parts:
        ts += step
        data = frame(1, 2, proto=6, flags=16, seq=isn + 1 + 10 * place, size=10 * size, ack=8)
        twins.update(data, wirelen=60, ts=ts)
        ack = frame(2, 1, proto=6, sport=53, dport=1000, flags=16, seq=8, ack=isn + 1, window=0 if shut else 9)
        twins.update(ack, wirelen=60, ts=ts)
    twins.finish()


class Chatter:
    """Segments of one connection with few numbers, so that holes, probes, closes and strays meet often."""

    def __init__(self, rng: random.Random, base: int) -> None:
        self._rng, self._base = rng, base
        self._next = [base, base]

    def segment(self, *, opened: bool) -> Frame:
        rng = self._rng
        side = rng.randrange(2)
        flags = 16 if opened else rng.choice((2, 18, 16, 16, 16, 16, 16, 16, 17, 17, 4, 20))
        size = rng.choice((0, 0, 1, 1, 2, 5, 10)) if flags in (16, 17) else 0
        seq = self._next[side] if rng.random() < 0.4 else self._base + rng.randrange(-1, 40)
        if flags == 2:
            seq = self._base + rng.choice((0, 0, 0, 0, 1, 65535, 65537, -65537))
        self._next[side] = seq + size + (flags & 2) // 2
        return frame(
            1 + side, 2 - side, proto=6, sport=(9, 80)[side], dport=(80, 9)[side], flags=flags, seq=seq,
            ack=self._next[1 - side] + rng.choice((0, 0, 0, 1, -1)), size=size, window=rng.choice((0, 9, 9)),
        )  # fmt: skip


@pytest.mark.parametrize("base", [1000, 0xFFFFFFF0])
def test_twins_agree_on_many_short_connections(base: int) -> None:
    rng = random.Random(base)
    ts = START
    for _ in range(1500):
        twins, chatter = Twins(capacity=4, timeouts=Timeouts()), Chatter(rng, base)
        midway = rng.random() < 0.5  # connections seen from the middle turn round most often
        pace = rng.choice(((0,), (0, 0, 1000), (0, 1000, 1_500_000, 3_000_000, SECOND)))
        for step in range(rng.randrange(2, 24)):
            ts += rng.choice(pace)
            twins.update(chatter.segment(opened=midway and step < 4), wirelen=60, ts=ts)
        twins.finish()


def test_twins_agree_on_a_verdict_that_starts_a_new_timeout() -> None:
    twins = Twins(capacity=4, timeouts=Timeouts())
    first = twins.update(frame(1, 2), wirelen=60, ts=START)
    twins.update(frame(3, 4), wirelen=60, ts=START + 20 * SECOND)
    twins.write(first, app=App.DNS, flags=0, told=True)
    for second in (35, 49, 50, 79, 80):
        twins.expire(START + second * SECOND)
        twins.compare()
    twins.finish()


def test_twins_agree_on_who_is_idle_when_flows_are_given_up() -> None:
    rng = random.Random(7)
    for _ in range(150):
        twins = Twins(capacity=3, timeouts=Timeouts(udp=600 * SECOND, other=600 * SECOND))
        ts = START
        for number in range(20):
            ts += rng.choice((0, 20 * SECOND, 30 * SECOND, 60 * SECOND))
            twins.update(frame(rng.randrange(6), 9, proto=rng.choice((17, 47))), wirelen=60, ts=ts + number % 2)
        twins.finish()


@pytest.mark.parametrize("packets_each_way", [(1, 1), (1, 2), (2, 1), (2, 2), (3, 0), (0, 3)])
def test_twins_agree_on_when_quic_is_connected(packets_each_way: tuple[int, int]) -> None:
    twins = Twins(capacity=4, timeouts=Timeouts())
    sides = (frame(1, 2, size=9), frame(2, 1, sport=53, dport=1000, size=9))
    for side, count in zip(sides, packets_each_way, strict=True):
        for _ in range(count):
            twins.write(twins.update(side, wirelen=60, ts=START), app=App.QUIC, flags=0, told=False)
    twins.expire(START + 60 * SECOND)
    twins.finish()


@pytest.mark.parametrize("ts", [0, -1, -(1 << 63), (1 << 63) - 1, (1 << 63) - SECOND, -SECOND - 1])
def test_twins_agree_at_the_ends_of_time(ts: int) -> None:
    twins = Twins(capacity=2, timeouts=Timeouts())
    syn, data = frame(1, 2, proto=6, flags=2, seq=9), frame(1, 2, proto=6, flags=16, seq=40, size=9)
    answer = frame(2, 1, proto=6, sport=53, dport=1000, flags=18, seq=3, ack=10)
    for stamp in (ts, 0, START, ts):
        for f in (syn, answer, data, frame(5, 6), data):
            twins.update(f, wirelen=60, ts=stamp)
    twins.finish()


def test_twins_know_the_same_one_way_messages() -> None:
    for proto in (1, 58, 17):
        for kind in range(300):
            there, back = frame(1, 2, proto=proto, sport=kind, dport=4), frame(2, 1, proto=proto, sport=4, dport=kind)
            twins = Twins(capacity=4, timeouts=Timeouts())
            twins.update(there, wirelen=60, ts=START)
            assert twins.update(back, wirelen=60, ts=START) == int(is_one_way(proto, 4))


def test_many_flows_come_and_go_alike_whatever_the_seed() -> None:
    for seed in (0, 1, 0xFEEDFACE):
        twins = Twins(capacity=512, timeouts=SHORT, seed=seed)
        for number in range(4000):
            twins.update(
                frame(number * 7 % 1500, 5, sport=number % 11, version=4 if number % 3 else 6),
                wirelen=60, ts=START + number * SECOND // 200,
            )  # fmt: skip
        twins.finish()


def test_a_large_drain_is_an_array_of_its_own() -> None:
    table = kernel.NativeFlowTable(capacity=8192)
    for number in range(8192):
        table.update(frame(number, 9), wirelen=60, ts=START, iface=0)
    table.flush()
    rows = table.drain()
    assert rows["serial"].tolist() == list(range(1, 8193))
    del table
    rows["fset"] = 7
    assert rows["packets"].sum() == 8192


@pytest.mark.parametrize("capacity", [0, (1 << 28) + 1])
def test_a_table_of_no_size_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match="between 1 and"):
        kernel.NativeFlowTable(capacity=capacity)


def test_a_slot_outside_the_table_is_refused() -> None:
    table = kernel.NativeFlowTable(capacity=4)
    for slot in (-1, 4):
        for call in (table.row, table.changed, lambda slot: table.write(slot, app=0, flags=0)):
            with pytest.raises(IndexError):
                call(slot)


@needs_corpus
@pytest.mark.parametrize("folder", FOLDERS)
def test_twins_agree_on_every_flow_of_the_corpus(folder: str) -> None:
    for name in captures():
        if name.split("/")[1] != folder:
            continue
        twins = Twins(capacity=200, timeouts=Timeouts())
        for packet in packets(CORPUS / name):
            f = decode(packet.data, linktype=packet.linktype)
            if f.status == Status.OK:
                twins.update(f, wirelen=packet.wirelen, ts=min(packet.ts, (1 << 63) - 1))
        twins.finish()
