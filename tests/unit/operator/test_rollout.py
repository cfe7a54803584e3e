"""A status says what sensors said, never more: no condition is True on silence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from packhound.api.meta import Status
from packhound.operator.rollout import SECOND, Ack, FilterState, Reports, must_write, status_of, text_of_time

NOW = 1_800_000_000 * SECOND
STATE = FilterState("voice/a", 3, revisions={"n1": 10, "n2": 12}, took=(SECOND // 5, SECOND // 10))
GOOD = {"n1": Ack("n1", 11, True), "n2": Ack("n2", 12, True)}
HEARD = {"n1": NOW, "n2": NOW}


def conditions(state=STATE, *, now=NOW, **reports):
    status = status_of(state, Reports(**({"acks": GOOD, "heard": HEARD} | reports)), now=now)
    Status.model_validate(status)
    return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}, status


def test_all_well():
    found, status = conditions(packets={"voice/a": {"matched": 7, "delivered": 7, "lost": {}}})
    assert found == {
        "Accepted": ("True", "Compiled"), "Distributed": ("True", "Acknowledged"), "Capturing": ("True", "Hunting"),
        "Lossless": ("True", "NothingLost"), "Throttled": ("False", "WithinBudget"), "Expired": ("False", "NoTTL"),
    }  # fmt: skip
    assert status["sensors"] == {"desired": 2, "acked": 2, "rejected": 0, "silent": 0}
    assert status["revision"] == 12
    assert status["packets"] == {"matched": 7, "delivered": 7, "lost": 0}
    assert status["pushLatencySeconds"] == {"p50": 0.2, "p99": 0.2}
    assert all(each["observedGeneration"] == 3 for each in status["conditions"])


@pytest.mark.parametrize(
    ("reports", "kind", "expected"),
    [
        ({"acks": {"n1": GOOD["n1"]}}, "Distributed", ("False", "Waiting")),
        ({"acks": GOOD | {"n2": Ack("n2", 11, True)}}, "Distributed", ("False", "Waiting")),
        ({"acks": GOOD | {"n2": Ack("n2", 12, False, "no such field")}}, "Distributed", ("False", "Rejected")),
        ({"acks": {}}, "Capturing", ("False", "NoSensor")),
        ({"heard": {"n1": NOW}}, "Lossless", ("Unknown", "Silent")),
        ({"heard": {}}, "Capturing", ("False", "NoSensor")),
        ({"away": "the broker is away"}, "Distributed", ("Unknown", "BrokerAway")),
        ({"packets": {"voice/a": {"matched": 9, "delivered": 7, "lost": {"spool_full": 2}}}}, "Lossless", ("False", "Lost")),
        ({"fleets": 0}, "Distributed", ("False", "NoFleet")),
        ({"fleets": 0}, "Capturing", ("False", "NoFleet")),
        ({"packets": {"voice/a": {"shed": {"budget": 3}}}}, "Throttled", ("True", "OverBudget")),
    ],
)  # fmt: skip
def test_what_is_wrong_shows(reports, kind, expected):
    assert conditions(**reports)[0][kind] == expected


def test_a_bad_edit_says_why_and_that_the_last_good_version_stays():
    state = FilterState("voice/a", 4, revisions={"n1": 10}, faults=["spec.match.regex[0]: missing )"], last_good=True)
    status = conditions(state)[1]
    accepted = next(each for each in status["conditions"] if each["type"] == "Accepted")
    assert accepted["status"] == "False"
    assert "spec.match.regex[0]" in accepted["message"]
    assert "last good version stays" in accepted["message"]
    found = conditions(state)[0]
    assert found["Distributed"] == ("False", "NotAccepted")
    assert found["Capturing"] == ("True", "LastGood")


def test_expiry_and_suspension_end_capturing():
    assert conditions(FilterState("a", 1, {"n1": 1}, expires_at=NOW))[0]["Capturing"] == ("False", "Expired")
    assert conditions(FilterState("a", 1, {"n1": 1}, expires_at=NOW))[0]["Expired"] == ("True", "TTL")
    assert conditions(FilterState("a", 1, {"n1": 1}, suspended=True))[0]["Capturing"] == ("False", "Suspended")
    assert conditions(FilterState("a", 1))[0]["Distributed"] == ("True", "NoTargets")


def test_a_condition_keeps_its_time_while_it_stays():
    first = status_of(STATE, Reports(acks=GOOD, heard=HEARD), now=NOW)
    later = status_of(STATE, Reports(acks=GOOD, heard={"n1": NOW + SECOND}), now=NOW + 20 * SECOND, before=first)
    times = {each["type"]: each["lastTransitionTime"] for each in later["conditions"]}
    assert times["Accepted"] == text_of_time(NOW)
    assert times["Lossless"] == text_of_time(NOW + 20 * SECOND)


def test_it_is_written_at_once_when_a_condition_changes_else_every_ten_seconds():
    old = status_of(STATE, Reports(acks=GOOD, heard=HEARD), now=NOW)
    more = status_of(STATE, Reports(acks=GOOD, heard=HEARD, packets={"voice/a": {"matched": 5}}), now=NOW, before=old)
    lost = status_of(STATE, Reports(acks=GOOD, heard=HEARD, packets={"voice/a": {"lost": {"x": 5}}}), now=NOW, before=old)
    assert must_write(None, old, written_at=0, now=NOW)
    assert not must_write(old, old, written_at=NOW - 60 * SECOND, now=NOW)
    assert not must_write(old, more, written_at=NOW - 9 * SECOND, now=NOW)
    assert must_write(old, more, written_at=NOW - 10 * SECOND, now=NOW)
    assert must_write(old, lost, written_at=NOW, now=NOW)


def test_the_busiest_pods_are_five_and_never_unsaid():
    pods = tuple((f"voice/p{n}", 10 - n) for n in range(7))
    status = conditions(replace(STATE, top_pods=pods))[1]
    assert [each["packets"] for each in status["topPods"]] == [10, 9, 8, 7, 6]
    again = status_of(replace(STATE, top_pods=(("voice/p0", 2), ("voice/new", 20))), Reports(), now=NOW, before=status)
    assert [(each["name"], each["packets"]) for each in again["topPods"][:3]] == [("voice/new", 20), ("voice/p0", 10), ("voice/p1", 9)]
    Status.model_validate(again)
