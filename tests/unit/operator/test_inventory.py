"""What is known does not depend on the order in which it was told, nor on how often."""

from __future__ import annotations

import pytest

from packhound.operator import kinds
from packhound.operator.inventory import Inventory
from tests.support.objects import hunt_filter, leaf

NOW = 1_800_000_000 * 10**9
CREATED = "2026-01-01T00:00:00Z"
GOOD, BAD = leaf("sip.user", "glob", "a*"), leaf("port", "glob", "8*")


def raw(match, generation=1, uid="u1", version=1, status=None):
    made = hunt_filter("a", match, namespace="s")
    made["metadata"] |= {"uid": uid, "generation": generation, "creationTimestamp": CREATED, "resourceVersion": str(version)}
    return {**made, **({"status": status} if status else {})}


def seen(*objects):
    inventory = Inventory()
    for each in objects:
        inventory.see(kinds.HUNT_FILTER, each, now=NOW)
    return inventory


def test_a_good_filter_is_wanted_and_a_bad_edit_keeps_it():
    inventory = seen(raw(GOOD), raw(BAD, 2))
    held = inventory.filters["s/a"]
    assert held.faults
    assert held.good.generation == 1
    assert inventory.targets.wanted("s/a") is held.good
    inventory.see(kinds.HUNT_FILTER, raw(GOOD, 3), now=NOW)
    assert inventory.filters["s/a"].good.generation == 3


def test_a_filter_that_was_made_anew_has_no_last_good_version():
    inventory = seen(raw(GOOD), raw(BAD, 1, uid="u2"))
    assert inventory.filters["s/a"].good is None
    assert inventory.targets.wanted("s/a") is None
    assert inventory.removed == ["s/a"]


def test_the_broker_remembers_what_was_accepted_before_this_process_began():
    inventory = seen(raw(BAD, 5))
    created = inventory.filters["s/a"].created
    inventory.recall([("s/a", raw(GOOD, 4), created, 4)], now=NOW)
    assert inventory.filters["s/a"].good.generation == 4
    inventory.recall([("s/a", raw(GOOD, 3), created, 3)], now=NOW)  # an older one does not replace it
    assert inventory.filters["s/a"].good.generation == 4


@pytest.mark.parametrize("kept", [("s/a", raw(GOOD, 4), 7, 4), ("s/b", raw(GOOD, 4), 7, 4), ("s/a", {"metadata": {}}, 0, 4)])
def test_what_the_broker_remembers_of_another_object_is_not_brought_back(kept):
    inventory = seen(raw(BAD, 5))
    if kept[2] == 0:
        kept = (*kept[:2], inventory.filters["s/a"].created, 4)
        kept[1].update(apiVersion="x", kind="y", spec={})
    inventory.recall([kept], now=NOW)
    assert inventory.filters["s/a"].good is None


def test_a_late_word_of_a_deletion_does_not_touch_its_successor():
    inventory = seen(raw(GOOD), raw(GOOD, 1, uid="u2"))
    inventory.gone(kinds.HUNT_FILTER, "s/a", "u1", now=NOW)
    assert inventory.filters["s/a"].ref.uid == "u2"
    inventory.gone(kinds.HUNT_FILTER, "s/a", "u2", now=NOW)
    assert inventory.filters == {}


def test_an_older_status_does_not_replace_a_newer_one():
    inventory = seen(raw(GOOD, version=5, status={"revision": 1}))
    held = inventory.filters["s/a"]
    held.learn(raw(GOOD, version=9, status={"revision": 2}))
    inventory.see(kinds.HUNT_FILTER, raw(GOOD, version=7, status={"revision": 1}), now=NOW)
    assert held.status == {"revision": 2}


def test_what_was_there_before_us_is_not_measured():
    assert seen(raw(GOOD)).filters["s/a"].took == {}
    assert seen(raw(GOOD, status={"observedGeneration": 1})).filters["s/a"].took is None


@pytest.mark.parametrize(
    ("name", "spec", "fault"),
    [("main", {}, ""), ("a-name-too-long", {}, "at most 12"), ("a.b", {}, "no dot"),
     ("main", {"transport": {"grpc": {}}}, "spec.transport"), ("main", {"sensor": 7}, "spec.sensor")],
)  # fmt: skip
def test_fleets(name, spec, fault):
    inventory = Inventory()
    inventory.see(kinds.HUNT_FLEET, {"apiVersion": kinds.OURS, "kind": "HuntFleet", "spec": spec,
                                     "metadata": {"name": name, "uid": "u", "generation": 1}}, now=NOW)  # fmt: skip
    fleet = inventory.fleets[name]
    assert bool(fleet.model) is not bool(fault)
    assert fault in "; ".join(fleet.faults)
