"""Plans and what is answered to them: whole, with the digest of what they hold."""

from __future__ import annotations

import json
import zlib

import pytest

from packhound.wire.beats import BeatReply, Heartbeat, InterfaceState, MediaWatch
from packhound.wire.books import Books
from packhound.wire.checked import BadMessage
from packhound.wire.plans import ALL, PlanAck, PlanMessage, digest_of, node_scope

FILTERS = ({"kind": "HuntFilter", "metadata": {"name": "alice", "namespace": "voice"}, "spec": {"sample": {"rate": 0.5}}},)
PLAN = PlanMessage.of(FILTERS, revision=7, created_ns=5, scope=node_scope("n1"), previous=6, publisher="cli")


def change(message, **values):
    row = json.loads(zlib.decompress(message.encode()))
    return zlib.compress(json.dumps(row | values).encode())


def test_a_plan_comes_back_as_it_went():
    assert PlanMessage.decode(PLAN.encode()) == PLAN
    assert PLAN.encode() == PlanMessage.decode(PLAN.encode()).encode()


def test_the_digest_is_of_the_filters_alone_in_one_form():
    swapped = ({name: FILTERS[0][name] for name in reversed(FILTERS[0])},)
    assert digest_of(swapped) == PLAN.digest == PlanMessage.of(FILTERS, revision=8, created_ns=9, scope=ALL).digest
    assert digest_of(()) != PLAN.digest


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"filters": []}, "digest"), ({"digest": "0" * 64}, "digest"), ({"digest": "x"}, "digest"),
        ({"revision": 0}, "revision"), ({"revision": True}, "revision"), ({"scope": "node/"}, "scope"),
        ({"scope": "everywhere"}, "scope"), ({"traceparent": "00-1"}, "traceparent"), ({"filters": [1]}, "object"),
        ({"previous": -1}, "previous"), ({"publisher": "p" * 999}, "publisher"),
    ],
)  # fmt: skip
def test_a_plan_that_was_changed_on_the_way_is_refused(values, reason):
    with pytest.raises(BadMessage, match=reason):
        PlanMessage.decode(change(PLAN, **values))


def test_a_plan_over_the_limit_is_refused():
    with pytest.raises(BadMessage, match="larger"):
        PlanMessage.decode(PLAN.encode(), limit=50)


def test_an_acknowledgement_of_many_words_is_cut_not_refused():
    ack = PlanAck("n1", 3, 7, PLAN.digest, "rejected", reason="x" * 9999, warnings=("y" * 9999,) * 99)
    found = PlanAck.decode(ack.encode())
    assert (found.state, len(found.reason), len(found.warnings)) == ("rejected", 4096, 64)
    with pytest.raises(BadMessage, match="state"):
        PlanAck.decode(change(ack, state="maybe"))


def test_books_travel_with_a_heartbeat():
    books = Books()
    books.sensor("n1").seen = 9
    books.settle("n1", {("a/b",): 4}, "lost", cause="spool_full")
    beat = Heartbeat.decode(Heartbeat("n1", 1, 2, books=books.as_dict()).encode())
    found = Books.of_dict(beat.books)
    assert found.as_dict() == books.as_dict()
    assert found.filter("a/b").by_sensor is False
    with pytest.raises(BadMessage):
        Heartbeat.decode(change(beat, books={"sensors": {"n1": {"seen": "9"}}}))


def test_a_heartbeat_or_watch_of_too_much_is_cut_not_refused():
    beat = Heartbeat("n1", 1, 2, conditions=("x" * 9999,) * 999, interfaces=(InterfaceState("veth", 1),) * 5000)
    found = Heartbeat.decode(beat.encode())
    assert (len(found.conditions), len(found.conditions[0]), len(found.interfaces)) == (256, 1024, 1024)
    watch = MediaWatch("c@x", ("a/b",) * 2000, (("10.0.0.1", 4000),) * 999, 9, "n1")
    assert len(MediaWatch.decode(watch.encode()).endpoints) == 256


def test_clocks_are_compared_without_the_way_between_them():
    reply = BeatReply(received_ns=3_600_000_000_500, replied_ns=3_600_000_000_700, processor="p")
    assert reply.offset(sent_ns=400, got_ns=800) == (3_600_000_000_000, 100)


@pytest.mark.parametrize("endpoints", [[["10.0.0.1", 0]], [["10.0.0.1", 70000]], [["x", 4000]], [["10.0.0.1"]], "x",
                                       [["10.0.0.1", 4000]] * 257])  # fmt: skip
def test_a_watch_of_no_endpoint_is_refused(endpoints):
    watch = MediaWatch("c@x", ("a/b",), (("2001:db8::1", 4000),), 9, "n1")
    assert MediaWatch.decode(change(watch, endpoints=[["2001:DB8:0::1", 4000]])) == watch
    with pytest.raises(BadMessage):
        MediaWatch.decode(change(watch, endpoints=endpoints))
