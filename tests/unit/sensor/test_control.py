"""A plan message is taken whole or not at all; time and pods change what it means, never what it says."""

from __future__ import annotations

import pytest

from packhound.sensor.control import Compiled, Planner, Rejected
from packhound.wire.pods import Pod, PodBook, PodTable
from tests.support.hunting import hunt_filter, leaf

PORT = leaf("port", "equals", 80)


def planner():
    return Planner(check_pcap=lambda text: "no" if text == "bad" else None)


def row(name="a", match=PORT, *, created=0, guard=None, **spec):
    return {"object": hunt_filter(name, match, **spec), "created": created, "guard": guard}


def test_rows_become_a_plan():
    made = planner().take((row(guard=["10.0.0.1"]), row("b")), revision=7, now=5)
    assert isinstance(made, Compiled)
    assert [(f.name, f.guard) for f in made.plan.filters] == [("t/a", ("10.0.0.1",)), ("t/b", None)]
    assert made.plan.revision == 7


@pytest.mark.parametrize(
    ("bad", "says"),
    [(row("b", leaf("port", "glob", "8*")), "t/b: spec.match.glob: port has no operator glob"),
     (row("b", pcapFilter="bad"), "spec.pcapFilter"), (row("b", {"field": "port"}), "filter 2 of the plan"),
     ({"object": {"kind": "Pod"}, "created": 0}, "neither HuntFilter"), ({"object": 7}, "filter 2"),
     (row("b", created="x"), "created is not a time"), (row("a"), "same name")],
)  # fmt: skip
def test_one_bad_filter_rejects_the_message_and_the_last_plan_stays(bad, says):
    held = planner()
    held.take((row(),), revision=1, now=0)
    made = held.take((row(), bad), revision=2, now=0)
    assert isinstance(made, Rejected)
    assert says in made.reason
    assert held.plan.revision == 1
    assert [f.name for f in held.plan.filters] == ["t/a"]


def test_a_ttl_ends_without_a_message():
    held = planner()
    held.take((row(created=10, schedule={"ttl": "1s"}), row("b")), revision=3, now=10)
    assert held.next_expiry == 10 + 10**9
    assert held.again(now=11) is None
    plan = held.again(now=10 + 10**9)
    assert [f.active for f in plan.filters] == [False, True]
    assert plan.revision == 3
    assert held.next_expiry is None


def test_pods_that_come_change_what_a_name_means():
    held = planner()
    held.identity = book = PodBook()
    held.take((row(match=leaf("k8s.pod.name", "equals", "web")),), revision=1, now=0)
    assert held.again(now=1) is None
    book.take(PodTable("n1", 1, (), (Pod("t", "web", "u", "n1", ("10.0.0.5",)),)))
    plan = held.again(now=1)
    assert plan.filters[0].tree.leaf.values == ("10.0.0.5",)
