"""A fleet's status counts its nodes, and says which are missing."""

from __future__ import annotations

from packhound.api.meta import FleetStatus
from packhound.operator.fleetstatus import FleetState, fleet_status_of
from packhound.operator.rollout import PENDING, SECOND, Ack

NOW = 1_800_000_000 * SECOND
GOOD = {"revisions": {"n1": 5, "n2": 6}, "acks": {"n1": Ack("n1", 5, True), "n2": Ack("n2", 7, True)},
        "heard": {"n1": NOW, "n2": NOW}}  # fmt: skip


def look(before=None, **given):
    status = fleet_status_of(FleetState(2, **{**GOOD, **given}), now=NOW, before=before)
    FleetStatus.model_validate(status)
    return {each["type"]: (each["status"], each["reason"], each["message"]) for each in status["conditions"]}, status


def test_all_well():
    found, status = look(packets={"matched": 3, "delivered": 3, "lost": 0}, replicas=2, revision=7)
    assert {kind: row[:2] for kind, row in found.items()} == {
        "Accepted": ("True", "Applied"), "Distributed": ("True", "Acknowledged"), "Capturing": ("True", "Sensing"),
        "Lossless": ("True", "NothingLost"),
    }  # fmt: skip
    assert status["sensors"] == {"desired": 2, "acked": 2, "rejected": 0, "silent": 0}
    assert (status["replicas"], status["revision"], status["observedGeneration"]) == (2, 7, 2)


def test_what_is_wrong_shows():
    assert look(faults=("metadata.name: too long",))[0]["Accepted"][:2] == ("False", "Invalid")
    assert look(workloads="forbidden")[0]["Accepted"][:2] == ("False", "NotApplied")
    assert look(away="no broker")[0]["Distributed"] == ("Unknown", "BrokerAway", "no broker")
    assert look(revisions={"n1": 5, "n2": PENDING})[0]["Distributed"][:2] == ("False", "Waiting")
    assert look(acks={**GOOD["acks"], "n2": Ack("n2", 7, False, "no")})[0]["Distributed"][2] == "n2: no"
    assert look(blocked={"n1": "too large"})[0]["Distributed"][:2] == ("False", "Rejected")
    assert look(revisions={})[0]["Capturing"][:2] == ("False", "NoNodes")
    assert look(heard={})[0]["Capturing"][:2] == ("False", "NoSensor")
    assert "never heard of: n2" in look(heard={"n1": NOW})[0]["Capturing"][2]
    assert look(heard={"n1": NOW})[0]["Lossless"][:2] == ("Unknown", "Silent")
    assert look(packets={"lost": 2})[0]["Lossless"][:2] == ("False", "Lost")


def test_counts_never_fall():
    _, before = look(packets={"matched": 9, "delivered": 9, "lost": 0})
    assert look(before, packets={"matched": 2})[1]["packets"]["matched"] == 9
