"""Batches: closed by packets, bytes or age; every packet in one, in order; counted by filter."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net.facts import Fact
from packhound.sensor.batcher import Batcher, Limits
from packhound.sensor.kept import Kept
from packhound.sensor.kernel import gatherer
from packhound.sensor.kernel.events import EVENT_DTYPE
from packhound.sensor.kernel.portable import PortableKernel
from packhound.sensor.tap.frames import Block, Interface
from packhound.wire.batch import Batch, check

NAMES = {1: ("t/a",), 2: ("t/a", "t/b")}
LIMITS = Limits(packets=4, bytes=100, age=1000)


class Sets:
    """Filter sets as far as a batcher asks."""

    def names(self, number: int) -> tuple[str, ...]:
        return NAMES[number]


def batcher(limits: Limits = LIMITS) -> tuple[Batcher, list[Batch]]:
    got: list[Batch] = []
    made = Batcher(
        deliver=got.append, gather=gatherer(PortableKernel(capacity=16)), interfaces=[Interface("eth0", 1, 65535, 0)],
        limits=limits,
    )  # fmt: skip
    made.use(Sets())  # type: ignore[arg-type]
    return made, got


def kept(ts: int, data: bytes = b"0123456789") -> Kept:
    return Kept(ts, len(data), 0, 1, data, flow=5, direction=1, app=3)


def block(times: list[int], sizes: list[int]) -> tuple[Block, npt.NDArray[Any], npt.NDArray[np.uint32]]:
    data = b"".join(bytes([n % 251]) * size for n, size in enumerate(sizes))
    lengths = np.array(sizes, np.uint32)
    count = len(sizes)
    offsets = (np.cumsum(lengths, dtype=np.uint64) - lengths).astype(np.uint64)
    made = Block(data, offsets, lengths, lengths, np.array(times, np.int64), np.zeros(count, np.uint16), 1, None)
    rows = np.zeros(count, EVENT_DTYPE)
    rows["pkt"] = np.arange(count)
    rows["fset"] = 1
    return made, rows, lengths


def pieces(batch: Batch) -> list[bytes]:
    ends = np.cumsum(batch.caplen, dtype=np.int64).tolist()
    return [batch.blob[end - size : end] for end, size in zip(ends, batch.caplen.tolist(), strict=True)]


def test_it_closes_at_so_many_packets() -> None:
    made, got = batcher()
    for ts in range(9):
        made.add(kept(ts), 1, size=10)
    assert [len(batch) for batch in got] == [4, 4]
    made.flush()
    assert [batch.sequence for batch in got] == [1, 2, 3]
    assert all(not check(batch) for batch in got)


def test_it_closes_at_so_many_bytes() -> None:
    made, got = batcher()
    made.add(kept(0, bytes(60)), 1, size=60)
    made.add(kept(1, bytes(60)), 1, size=60)
    assert [len(batch) for batch in got] == [2]


def test_it_closes_by_age_of_packets_and_by_the_clock() -> None:
    made, got = batcher()
    made.add(kept(0), 1, size=10)
    made.add(kept(1000), 1, size=10)
    assert [len(batch) for batch in got] == [2]
    made.add(kept(2000), 1, size=10)
    made.tick(2999)
    assert len(got) == 1
    made.tick(3000)
    assert len(got) == 2


def test_columns_facts_calls_and_cut_packets() -> None:
    made, got = batcher()
    fact = Fact("dns", {"dns.qname": ("a",)})
    first = kept(7)
    first.facts, first.call = [fact], "call@x"
    made.add(first, 2, size=4)
    made.add(kept(8), 1, size=99)
    made.flush()
    [batch] = got
    assert pieces(batch) == [b"0123", b"0123456789"]
    assert (batch.wirelen.tolist(), batch.caplen.tolist()) == ([10, 10], [4, 10])
    assert (batch.flow.tolist(), batch.direction.tolist(), batch.app.tolist()) == ([5, 5], [1, 1], [3, 3])
    assert batch.fsets == NAMES
    assert batch.facts == [(0, 5, 7, fact)]
    assert batch.calls is not None
    assert batch.calls.tolist() == ["call@x", None]
    assert made.by_filter() == {"t/a": 2, "t/b": 1}


def test_an_empty_batch_is_never_delivered() -> None:
    made, got = batcher()
    made.flush()
    made.tick(1 << 60)
    assert got == []


def test_a_new_plan_ships_what_the_old_one_wanted_first() -> None:
    made, got = batcher()
    made.add(kept(0), 1, size=10)
    made.use(Sets())  # type: ignore[arg-type]
    assert [len(batch) for batch in got] == [1]


@given(
    st.lists(st.tuples(st.integers(0, 600), st.integers(0, 60), st.booleans()), max_size=40),
    st.integers(1, 9),
)
def test_every_packet_is_in_one_batch_in_order(packets: list[tuple[int, int, bool]], run: int) -> None:
    """However packets come, one by one or as rows of a block, the batches are the same."""
    ts = np.cumsum([gap for gap, *_ in packets]).tolist()
    sizes = [size for _, size, _ in packets]
    mixed, got = batcher()
    at = 0
    while at < len(packets):
        stop = min(at + run, len(packets))
        made, rows, lengths = block(ts[at:stop], sizes[at:stop])
        if packets[at][2]:
            mixed.add_rows(made, rows, rows["fset"].copy(), lengths, {})
        else:
            for n in range(stop - at):
                mixed.add(Kept(ts[at + n], sizes[at + n], 0, 1, made.packet(n)), 1, size=sizes[at + n])
        at = stop
    mixed.flush()
    alone, single = batcher()
    for when, size in zip(ts, sizes, strict=True):
        alone.add(Kept(when, size, 0, 1, bytes(size)), 1, size=size)
    alone.flush()
    assert [batch.ts.tolist() for batch in got] == [batch.ts.tolist() for batch in single]
    assert [batch.caplen.tolist() for batch in got] == [batch.caplen.tolist() for batch in single]
    assert [t for batch in got for t in batch.ts.tolist()] == ts
    assert all(len(batch) <= 4 for batch in got)
    assert all(len(batch.blob) == sum(batch.caplen.tolist()) for batch in got)


@pytest.mark.parametrize("count", [1, 511, 512, 513, 2000])
def test_the_limits_of_the_fleet(count: int) -> None:
    made, got = batcher(Limits())
    blocked, rows, lengths = block([0] * count, [60] * count)
    made.add_rows(blocked, rows, rows["fset"].copy(), lengths, {})
    made.flush()
    assert [len(batch) for batch in got] == [512] * (count // 512) + ([count % 512] if count % 512 else [])
