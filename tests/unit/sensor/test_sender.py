"""The sender against a link with faults: everything arrives once, in the order of the spool where nothing failed."""

from __future__ import annotations

import asyncio
import random

import pytest

from packhound.kit.breaker import BreakerSettings
from packhound.kit.errors import BadInput
from packhound.kit.retry import RetryPolicy
from packhound.sensor.flowcontrol import FlowControl, FlowSettings, Pace
from packhound.sensor.link.base import Pause, Refused, Unreachable
from packhound.sensor.link.memory import LOST_ANSWER, MemoryLink
from packhound.sensor.parcel import LOST, PACKETS, Parcel
from packhound.sensor.sender import Sender
from packhound.sensor.spool import Spool, SpoolLimits
from packhound.wire.codec import decode

MS = 1_000_000
QUICK = FlowSettings(BreakerSettings(open_ns=20 * MS), RetryPolicy(first_ns=MS, most_ns=5 * MS, floor_ns=0))


def spool_in(folder, *, epoch=1, **limits):
    return Spool(folder, sensor="n1", epoch=epoch, limits=SpoolLimits(**limits))


def fill(spool, count, *, epoch=1, packets=2, start=1, size=100):
    for n in range(start, start + count):
        parcel = Parcel(spool.number(), PACKETS, epoch, n % 4, n, packets, False, bytes(size))
        spool.append(parcel, {("t/a",): packets})


def sending(spool, link, seconds=10.0, *, during=None):
    """Run a sender until the spool is empty."""

    async def go():
        await link.open()
        sender = Sender(spool, link, control=FlowControl(QUICK, uniform=random.random))
        task = asyncio.create_task(sender.run())
        if during is not None:
            await during(sender)
        empty = await sender.drain(seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return sender, empty

    return asyncio.run(go())


def balanced(spool, appended):
    books = spool.books()
    assert appended == books["delivered"] + books["in_flight"] + books["spooled"] + sum(books["lost"].values())
    return books


def test_everything_arrives_in_order_within_the_window(tmp_path):
    spool, link = spool_in(tmp_path), MemoryLink(window=5)
    fill(spool, 100)
    _, empty = sending(spool, link)
    assert empty
    assert [each.number for each in link.arrivals] == list(range(1, 101))
    assert link.most <= 5
    assert balanced(spool, 200)["delivered"] == 200


def test_whatever_goes_wrong_everything_arrives_once(tmp_path):
    dice = random.Random(7)
    faults = [None, None, Unreachable("x"), Pause(MS, "slow"), LOST_ANSWER]
    spool, link = spool_in(tmp_path), MemoryLink(window=7, fault=lambda _: dice.choice(faults))
    fill(spool, 60)
    sender, empty = sending(spool, link)
    assert empty
    assert sorted(each.number for each in link.arrivals) == list(range(1, 61))
    assert sender.sent.duplicates > 0
    assert balanced(spool, 120)["delivered"] == 120


def test_a_far_side_that_is_away_costs_nothing_and_is_found_again(tmp_path):
    spool, link = spool_in(tmp_path), MemoryLink()
    fill(spool, 20)

    async def during(sender):
        link.cut(away=True)
        sender.wake()
        await asyncio.sleep(0.2)
        assert not link.arrivals
        fill(spool, 20, start=21)
        link.cut(away=False)

    _, empty = sending(spool, link, during=during)
    assert empty
    assert len(link.arrivals) == 40
    assert balanced(spool, 80)["delivered"] == 80


def test_what_is_refused_is_lost_with_its_cause_and_a_tombstone_goes_in_its_place(tmp_path):
    def fault(parcel):
        return Refused("too large", "oversize") if parcel.number == 3 and parcel.kind == PACKETS else None

    spool, link = spool_in(tmp_path), MemoryLink(fault=fault)
    fill(spool, 5)
    sender, empty = sending(spool, link)
    assert empty
    stands = next(each for each in link.arrivals if each.number == 3)
    assert stands.kind == LOST
    assert decode(stands.data).cause == "oversize"
    assert balanced(spool, 10)["lost"] == {"oversize": 2}
    assert sender.last_refusal == "too large"
    assert spool.lost_by_filter == {("t/a", "oversize"): 2}


def test_a_restart_sends_the_old_epoch_first_and_nothing_twice(tmp_path):
    spool, link = spool_in(tmp_path), MemoryLink()
    fill(spool, 30)
    taken = spool.next(10)
    for each in taken[:7]:
        link.kept[each.identity] = each
        spool.done(each.number)
    spool.close()
    again = spool_in(tmp_path, epoch=2)
    assert again.recovered == {1: 60}
    fill(again, 5, epoch=2)
    sending(again, link)
    assert [(each.epoch, each.number) for each in link.arrivals] == [(1, n) for n in range(8, 31)] + [(2, n) for n in range(31, 36)]
    assert again.books()["delivered"] == 10
    again.close()
    assert list(tmp_path.glob("*.seg")) == []


def test_over_the_cap_the_oldest_media_goes_first_and_tombstones_say_so(tmp_path):
    spool, link = spool_in(tmp_path, cap=90_000, segment=8_000), MemoryLink()
    for n in range(1, 41):
        media = n % 2 == 0
        parcel = Parcel(spool.number(), PACKETS, 1, 0, n, 1, media, bytes(3000))
        spool.append(parcel, {("t/a",): 1})
    lost = sum(balanced(spool, 40)["lost"].values())
    assert lost > 8
    sending(spool, link)
    assert len(link.arrivals) == 40
    gone = [each.number for each in link.arrivals if each.kind == LOST]
    assert len(gone) == lost
    assert all(number % 2 == 0 for number in gone)
    assert gone == sorted(gone)
    assert gone[0] == 2
    assert balanced(spool, 40)["delivered"] == 40 - lost


def test_two_sensors_in_one_folder_are_refused(tmp_path):
    spool = spool_in(tmp_path)
    with pytest.raises(BadInput, match="in use by another sensor"):
        spool_in(tmp_path)
    spool.close()
    spool_in(tmp_path).close()


def test_a_slow_processor_slows_the_sender(tmp_path):
    control = FlowControl(QUICK, uniform=lambda: 0.5)
    assert control.pace(0) is Pace.CONTINUE
    control.paused(0, 10 * MS)
    assert control.pace(0) is Pace.PAUSE
    assert control.pace(10 * MS) is Pace.SLOW
    assert control.room(10 * MS, window=64, out=0) == 4
    assert control.pace(3000 * MS) is Pace.CONTINUE


def test_a_window_larger_than_the_cap_does_not_stop_capture(tmp_path):
    spool = spool_in(tmp_path, cap=40_000, segment=5_000)
    fill(spool, 10, size=3000)
    taken = spool.next(10)
    fill(spool, 30, start=11, size=3000)
    for each in taken:
        spool.done(each.number)
    balanced(spool, 80)
    link = MemoryLink()
    sending(spool, link)
    assert len(link.arrivals) == 30


def test_an_empty_spool_does_not_use_up_the_breakers_try():
    control = FlowControl(QUICK, uniform=lambda: 0.5)
    for _ in range(5):
        control.failed(0)
    assert control.room(50 * MS, window=4, out=0) == 1
    control.connected()
    assert control.pace(50 * MS) is Pace.CONTINUE
    assert control.room(50 * MS, window=4, out=0) == 4


def test_room_that_was_not_used_is_not_lost():
    control = FlowControl(QUICK, uniform=lambda: 0.5)
    for _ in range(5):
        control.failed(0)
    assert control.room(50 * MS, window=4, out=0) == 1
    assert control.room(50 * MS, window=4, out=0) == 0
    control.unused()
    assert control.room(50 * MS, window=4, out=0) == 1


def test_a_damaged_record_costs_itself_and_no_other(tmp_path):
    spool = spool_in(tmp_path)
    fill(spool, 20)
    spool.close()
    path = next(tmp_path.glob("*.seg"))
    data = bytearray(path.read_bytes())
    data[150] ^= 0xFF
    path.write_bytes(data)
    again, link = spool_in(tmp_path, epoch=2), MemoryLink()
    sending(again, link)
    assert [each.number for each in link.arrivals] == list(range(2, 21))
    again.close()
