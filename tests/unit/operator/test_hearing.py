"""What sensors say adds up: over restarts, late words and drops before a filter was there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from packhound.operator.hearing import GRACE, Hearing
from packhound.wire.beats import Heartbeat, NodeStatus
from packhound.wire.books import Books
from packhound.wire.plans import APPLIED, REJECTED, PlanAck, node_scope

NOW = 1_800_000_000 * 10**9


def books(matched=0, lost=None, *, dropped=0, node="n1", name="s/a"):
    made = Books()
    account = made.filter(name)
    account.matched = account.delivered = matched
    account.lost.update(lost or {})
    made.sensor(node).kernel_dropped["kernel"] = dropped
    return made.as_dict()


def beat(epoch=1, *, started=None, node="n1", revision=0, sent=NOW, **counts):
    return Heartbeat(node, epoch, sent, started_ns=epoch if started is None else started, revision=revision,
                     books=books(node=node, **counts))  # fmt: skip


def ack(revision, *, node="n1", state=APPLIED, reason=""):
    return PlanAck(node, 1, revision, "0" * 64, state, reason, scope=node_scope(node))


def test_counters_of_a_restarted_sensor_go_on():
    hearing = Hearing()
    hearing.beat(beat(1, matched=5), now=NOW)
    hearing.beat(beat(1, matched=7), now=NOW + 5)
    hearing.beat(beat(2, matched=3), now=NOW + 10)
    hearing.beat(beat(1, matched=9), now=NOW + 11)  # the old process's last words came late
    hearing.beat(beat(2, matched=4), now=NOW + 12)
    assert hearing.totals["s/a"].matched == 11
    assert (hearing.met_at["s/a"], hearing.first["s/a"], hearing.last["s/a"]) == (NOW, NOW + 5, NOW + 12)
    assert hearing.heard("n1") == NOW + 12


def test_nodes_add_up_and_causes_too():
    hearing = Hearing()
    hearing.beat(beat(matched=5, lost={"spool_full": 2}), now=NOW)
    hearing.beat(beat(node="n2", matched=1, lost={"spool_full": 1, "io_error": 1}), now=NOW)
    hearing.beat(beat(matched=6, lost={"spool_full": 3}), now=NOW)
    assert hearing.totals["s/a"].lost == 5
    assert dict(hearing.causes["s/a"]) == {"spool_full": 4, "io_error": 1}
    hearing.forget("n2")
    assert hearing.totals["s/a"].lost == 5
    hearing.forget_filter("s/a")
    assert hearing.totals["s/a"].lost == 0


def test_drops_count_from_when_the_plan_was_there():
    hearing = Hearing()
    hearing.beat(beat(dropped=100), now=NOW)
    hearing.ack(ack(5), now=NOW)
    hearing.beat(beat(dropped=103), now=NOW)
    hearing.ack(ack(6), now=NOW)
    hearing.ack(ack(7), now=NOW)
    hearing.beat(beat(dropped=110), now=NOW)
    assert [hearing.dropped("n1", revision) for revision in (4, 5, 6, 7, 8)] == [10, 10, 7, 7, 0]
    hearing.beat(beat(2, dropped=1), now=NOW)
    assert hearing.dropped("n1", 7) == 8
    assert hearing.dropped("n9", 1) == 0


def test_a_restarted_operator_blames_no_filter_for_what_was_dropped_before():
    hearing = Hearing()
    hearing.learn(NodeStatus(beat(dropped=50), ack(9)), now=NOW)
    hearing.beat(beat(dropped=50), now=NOW)
    assert hearing.dropped("n1", 9) == 0
    hearing.beat(beat(dropped=52), now=NOW)
    assert hearing.dropped("n1", 9) == 2


def test_only_what_is_new_is_news():
    hearing = Hearing()
    assert hearing.ack(ack(5), now=NOW)
    assert not hearing.ack(ack(5), now=NOW + 1)
    assert hearing.heard("n1") == NOW + 1
    assert hearing.ack(ack(6, state=REJECTED, reason="no"), now=NOW)
    assert hearing.ack_of("n1").applied is False
    assert hearing.beat(beat(revision=9), now=NOW)
    assert not hearing.beat(beat(revision=9), now=NOW)
    assert hearing.revision("n1") == 9


@pytest.mark.parametrize(("age", "heard"), [(0, NOW - GRACE), (19 * 10**9, NOW - GRACE), (60 * 10**9, 1)])
def test_who_beat_a_moment_ago_is_taken_for_alive(age, heard):
    hearing = Hearing()
    hearing.learn(NodeStatus(beat(sent=NOW - age), None), now=NOW)
    assert hearing.heard("n1") == heard


def test_the_busiest_pods_add_up_over_nodes_and_restarts():
    hearing = Hearing()
    hearing.beat(replace(beat(1), pods={"s/a": {"s/web": 3, "s/db": 1}}), now=NOW)
    hearing.beat(replace(beat(1), pods={"s/a": {"s/web": 5}}), now=NOW + 1)  # the other is no longer among them
    hearing.beat(replace(beat(node="n2"), pods={"s/a": {"s/client": 4}}), now=NOW + 1)
    hearing.beat(replace(beat(2), pods={"s/a": {"s/web": 2}}), now=NOW + 2)
    hearing.beat(replace(beat(1), pods={"s/a": {"s/web": 9}}), now=NOW + 3)  # last words that came late
    assert hearing.pods["s/a"] == {"s/web": 7, "s/client": 4, "s/db": 1}
    hearing.forget_filter("s/a")
    assert not hearing.pods["s/a"]


def test_pods_that_come_and_go_do_not_fill_the_memory():
    hearing = Hearing()
    for n in range(1000):
        hearing.beat(replace(beat(1), pods={"s/a": {f"s/p{n}": 1, "s/web": n}}), now=NOW + n)
    assert len(hearing.pods["s/a"]) <= 64
    assert hearing.pods["s/a"]["s/web"] == 999


def test_what_was_counted_for_an_older_filter_of_the_name_can_be_told_apart():
    hearing = Hearing()
    hearing.beat(replace(beat(1, started=NOW, matched=5, lost={"spool_full": 1}), pods={"s/a": {"s/web": 5}}), now=NOW + 9)
    hearing.beat(beat(node="n2", matched=3), now=NOW + 25)
    hearing.learn(NodeStatus(beat(node="n3", matched=100), None), now=NOW + 40)
    hearing.beat(replace(beat(1, started=NOW, matched=8), pods={"s/a": {"s/web": 8}}), now=NOW + 30)
    before = hearing.before("s/a", NOW + 10)  # n1 counted for the old one; n2 is first heard when the new one is there
    assert (before.tally.matched, dict(before.lost), dict(before.pods)) == (105, {"spool_full": 1}, {"s/web": 5})
    assert hearing.totals["s/a"].matched - before.tally.matched == 6
    hearing.forget_filter("s/a")
    assert hearing.before("s/a", NOW + 10).tally.matched == 0
