"""Whoever takes a shard over from what was saved goes on as its predecessor would have."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.processor.intake.ledger import Verdict
from packhound.processor.track import dialog
from packhound.processor.track.calls import CallTracker
from packhound.processor.track.dialog import Call, restored_call, saved_call
from packhound.processor.track.shard import Limits, ShardTrack
from packhound.wire.batch import BatchId
from tests.support.batches import batch_of, udp_packet

SECOND = 1_000_000_000
STEPS = ["INVITE", "180 INVITE", "200 INVITE", "BYE", "486 INVITE", "alive", "media", "finish", "note", "forget", "alert",
         "part", "end", "ledger"]  # fmt: skip


def play(track: ShardTrack, step: str, who: int, now: int) -> object:
    call = f"call \udc80{who}"
    if step == "alive":
        return track.calls.alive(call, now=now, source="s")
    if step == "media":
        return bool(track.calls.media(call, packets=3, last=now, source="s"))
    if step == "finish":
        return sorted(saved_call(each) for each in track.calls.finished(now + 40 * SECOND))
    if step == "note":
        batch = batch_of([udp_packet()], flow=who, calls=[call], fsets={1: (f"n/{now}",)})
        return track.notes_of("node\udcff|x", 2**63 - 1).see(batch)
    if step == "forget":
        return track.notes_of("node\udcff|x", 2**63 - 1).forget([who])
    if step == "alert":
        return track.alert_once("n/f", call)
    if step == "part":
        return track.add_part(call, f"p{now}")
    if step == "end":
        return track.end_parts(call)
    if step == "ledger":
        return track.ledger.judge(BatchId(7, 3, who)) is Verdict.NEW
    status, _, method = step.rpartition(" ")
    fields = {"sip.call_id": call, "sip.method": method, "sip.cseq": 1, "sip.user": ("a\udc80",)}
    if status:
        fields["sip.status"] = int(status)
    track.calls.message(fields, now=now, source="s", filters=("n/f",))
    return None


def look(track: ShardTrack) -> object:
    return (
        {saved_call(each) for each in track.calls.calls()},
        {each: track.parts(f"call \udc80{each}") for each in range(4)},
        {each: track.notes_of("node\udcff|x", 2**63 - 1).of(each) for each in range(4)},
        track.ledger.missing(7, 3),
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*STEPS, "SAVE"]), st.integers(1, 3)), max_size=60), st.integers(0, 60))
def test_a_successor_goes_on_as_the_predecessor_would_have(script, moved):
    track, saved = ShardTrack(3), {}
    other = None
    for at, (step, who) in enumerate(script):
        now = at * 30 * SECOND
        if step == "SAVE" or at == moved:
            put, drop = track.changes()
            assert not put.keys() & drop
            saved = {key: value for key, value in (saved | put).items() if key not in drop}
            if at >= moved and other is None:
                other = ShardTrack(3)
                other.restore(saved)
                assert other.unread == 0
                assert look(other) == look(track)
        if step != "SAVE":
            said = play(track, step, who, now)
            if other is not None:
                assert play(other, step, who, now) == said
                assert look(other) == look(track)


def test_what_was_evicted_but_not_handed_out_stays_saved():
    tracker = CallTracker(capacity=1)
    for call in ("a", "b"):
        tracker.message({"sip.call_id": call, "sip.method": "INVITE"}, now=0)
    assert set(tracker.changed()[0]) == {"b"}
    assert [call.call_id for call in tracker.finished(0)] == ["a"]
    assert tracker.changed()[0] == {"a": None}


def test_time_of_a_call_is_that_of_who_saw_it_last():
    tracker = CallTracker()
    tracker.message({"sip.call_id": "a", "sip.method": "INVITE"}, now=10**6 * SECOND, source="ahead")
    tracker.alive("a", now=5 * SECOND, source="behind")
    assert tracker.finished(0, {"ahead": 10**7 * SECOND, "behind": 100 * SECOND}) == []
    (call,) = tracker.finished(0, {"behind": 4000 * SECOND})
    assert call.last == 10**6 * SECOND


@pytest.mark.parametrize("saved", [b"", b"{}", b"[]", b"null", b'{"start": "x"}', b"\xff", b"1"])
def test_what_is_no_call_is_none(saved):
    assert restored_call(saved) is None


def test_all_fields_of_a_call_are_saved():
    names = {*dialog._NUMBERS, *dialog._TEXTS, *dialog._COUNTERS, *dialog._LISTS}
    assert names == set(Call.__dataclass_fields__)


def test_rubbish_among_what_was_saved_costs_only_itself():
    track = ShardTrack(0)
    track.alert_once("x")
    put, _ = track.changes()
    rubbish = dict.fromkeys((b"", b"c|x", b"n|", b"n|x|y|z", b"n|1|1|s", b"s|1", b"s|q", b"p|c", b"??"), b"rubbish")
    other = ShardTrack(0)
    other.restore(put | rubbish)
    assert other.unread == 9
    assert not other.alert_once("x")


def test_sensors_that_come_and_go_do_not_fill_memory():
    track = ShardTrack(0, Limits(flows=10))
    saved = {}
    for epoch in range(20):
        batch = batch_of([udp_packet()] * 3, flow=[1, 2, 3])
        track.notes_of("s", epoch).see(batch)
        put, drop = track.changes()
        saved = {key: value for key, value in (saved | put).items() if key not in drop}
    assert len(saved) <= 13
    other = ShardTrack(0, Limits(flows=10))
    other.restore(saved)
    assert other.notes_of("s", 19).community(3)
    assert not other.notes_of("s", 1).community(3)


def test_bounds_hold_for_alerts_and_parts():
    track = ShardTrack(0, Limits(alerts=2, recorded=2))
    for each in "abc":
        track.alert_once(each)
        track.add_part(each, f"{each}1")
    put, drop = track.changes()
    assert set(put) == {b"a|b", b"a|c", b"p|b", b"p|c"}
    assert drop == {b"a|a", b"p|a"}
    assert track.add_part("c", "c2") == "c1"
    assert track.parts("c") == ("c1", "c2")
