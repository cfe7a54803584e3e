"""An Event says what went wrong, once per thing, counted; never a flood."""

from __future__ import annotations

from packhound.operator.events import EVERY, Sayings
from packhound.operator.kinds import CLUSTER_HUNT_FILTER, HUNT_FILTER, Ref

REF = Ref(HUNT_FILTER, "shop", "alice", "u1")


def status(generation=1, **conditions):
    rows = [{"type": kind, "status": state, "reason": reason, "message": message, "observedGeneration": generation}
            for kind, (state, reason, message) in conditions.items()]  # fmt: skip
    return {"conditions": rows}


def test_a_rejection_is_told_with_its_reason():
    (event,) = Sayings().of_status(REF, None, status(Accepted=("False", "Invalid", "spec.match: no")), now=10**18)
    assert (event["reason"], event["type"], event["message"]) == ("Rejected", "Warning", "spec.match: no")
    assert event["involvedObject"]["uid"] == "u1"
    assert event["metadata"]["namespace"] == "shop"
    assert event["source"] == {"component": "packhound.dev"}


def test_what_is_well_or_only_waits_is_no_event():
    sayings = Sayings()
    for good in (status(Accepted=("True", "Compiled", "")), status(Distributed=("False", "Waiting", "1 of 2")),
                 status(Distributed=("False", "NotAccepted", ""))):  # fmt: skip
        assert sayings.of_status(REF, None, good, now=1) == []


def test_growing_losses_are_one_event_that_is_counted():
    sayings, before, names, counts = Sayings(), None, set(), []
    for n in range(1, 30):
        after = status(Lossless=("False", "Lost", f"{n} lost"))
        for event in sayings.of_status(REF, before, after, now=n * 10 * 10**9):
            names.add(event["metadata"]["name"])
            counts.append(event["count"])
        before = after
    assert len(names) == 1
    assert counts == sorted(counts)
    assert counts[-1] == 29


def test_the_same_again_within_a_minute_is_counted_not_written():
    sayings, bad, good = Sayings(), status(Accepted=("False", "Invalid", "x")), status(Accepted=("True", "Compiled", ""))
    assert len(sayings.of_status(REF, good, bad, now=10**12)) == 1
    assert sayings.of_status(REF, good, bad, now=10**12 + EVERY // 2) == []
    (event,) = sayings.of_status(REF, good, bad, now=10**12 + EVERY)
    assert event["count"] == 3


def test_every_bad_edit_is_told_of_even_with_the_same_words():
    bad, again = status(1, Accepted=("False", "Invalid", "x")), status(2, Accepted=("False", "Invalid", "x"))
    assert len(Sayings().of_status(REF, bad, again, now=1)) == 1
    assert Sayings().of_status(REF, bad, bad, now=1) == []


def test_events_of_cluster_scoped_objects_are_in_default():
    ref = Ref(CLUSTER_HUNT_FILTER, "", "a" * 250, "u2")
    (event,) = Sayings().of_status(ref, None, status(Accepted=("False", "Invalid", "x" * 5000)), now=1)
    assert event["metadata"]["namespace"] == "default"
    assert len(event["metadata"]["name"]) < 253
    assert len(event["message"]) <= 1024
