"""From `kubectl apply` to a status that tells the truth: filters on a real API, a real broker, simulated sensors."""

from __future__ import annotations

import time

import pytest

from tests.support.objects import leaf
from tests.support.operated import eventually

WEB = {"podSelector": {"matchLabels": {"app": "web"}}}


@pytest.fixture
def fleet(scene, operator, sensors):
    """Three nodes with sensors; a web pod on the first, a database on the second, both of namespace shop."""
    for n in (1, 2, 3):
        scene.node(f"n{n}", ip=f"10.0.0.{n}")
    scene.pod("web", "n1", "10.1.0.5", namespace="shop", app="web")
    scene.pod("db", "n2", "10.2.0.5", namespace="shop", app="db")
    scene.fleet()
    sensors.add("n1", "n2", "n3")
    scene.fleet_holds("Distributed")
    scene.fleet_holds("Lossless")
    return scene


def test_a_filter_reaches_the_sensors_of_its_pods_and_the_status_says_so(fleet, sensors):
    fleet.filter("alice", namespace="shop", target=WEB)
    status = fleet.holds("alice", "Distributed", namespace="shop")
    assert status["sensors"] == {"desired": 1, "acked": 1, "rejected": 0, "silent": 0}
    assert status["revision"] >= 1
    assert status["pushLatencySeconds"]["p99"] < 2
    assert sensors["n1"].filters == {"shop/alice": 1}
    assert sensors["n1"].guard("shop/alice") == ["10.1.0.5"]
    assert sensors["n2"].filters == sensors["n3"].filters == {}
    fleet.holds("alice", "Capturing", namespace="shop")
    fleet.holds("alice", "Lossless", namespace="shop")
    assert all(each["lastTransitionTime"] for each in status["conditions"])


def test_nothing_is_written_on_a_users_object_but_its_status(fleet):
    before = fleet.filter("alice", namespace="shop", target=WEB)["metadata"]
    fleet.holds("alice", "Distributed", namespace="shop")
    for kind, name, space in (("HuntFilter", "alice", "shop"), ("Pod", "web", "shop"), ("Node", "n1", "")):
        meta = fleet.api.get(kind, name, space)["metadata"]
        assert not any("kopf" in key for key in meta.get("annotations", {}))
        assert "finalizers" not in meta
        if kind == "HuntFilter":
            assert meta["generation"] == before["generation"]
            assert {each["manager"]: each.get("subresource") for each in meta["managedFields"]}["packhound"] == "status"


def test_an_edit_a_suspension_and_a_deletion_follow(fleet, sensors):
    fleet.filter("alice", namespace="shop", target=WEB)
    fleet.holds("alice", "Distributed", namespace="shop")
    fleet.filter("alice", leaf("sip.user", "glob", "bob*"), namespace="shop", target=WEB)
    status = fleet.holds("alice", "Distributed", namespace="shop")
    assert status["observedGeneration"] == 2
    assert sensors["n1"].plan.filters[0]["object"]["spec"]["match"]["glob"] == ["bob*"]
    fleet.filter("alice", namespace="shop", target=WEB, suspend=True)
    fleet.holds("alice", "Capturing", "False", "Suspended", namespace="shop")
    assert sensors["n1"].plan.filters[0]["object"]["spec"]["suspend"] is True
    fleet.api.delete("HuntFilter", "alice", "shop")
    eventually(lambda: sensors["n1"].filters == {}, "the sensor lets go of it")


def test_a_ttl_that_is_over_shows(fleet):
    fleet.filter("brief", namespace="shop", target=WEB, schedule={"ttl": "4s"})
    status = fleet.holds("brief", "Capturing", "True", namespace="shop")
    assert status["expiresAt"]
    fleet.holds("brief", "Expired", "True", namespace="shop", within=12)
    fleet.holds("brief", "Capturing", "False", "Expired", namespace="shop")


def test_a_bad_edit_says_why_and_the_last_good_version_stays(fleet, sensors, operator):
    fleet.filter("alice", namespace="shop", target=WEB)
    fleet.holds("alice", "Distributed", namespace="shop")
    good = sensors["n1"].plan.digest
    fleet.filter("alice", namespace="shop", target=WEB, pcapFilter="tcp prt 80")
    fleet.holds("alice", "Accepted", "False", "Invalid", namespace="shop")
    assert "spec.pcapFilter" in fleet.message("alice", "Accepted", namespace="shop")
    assert "last good version stays" in fleet.message("alice", "Accepted", namespace="shop")
    fleet.holds("alice", "Capturing", "True", "LastGood", namespace="shop")
    assert sensors["n1"].plan.digest == good
    eventually(lambda: [each["reason"] for each in fleet.events("alice", "shop")] == ["Rejected"], "an Event says so")
    # a restart knows the last good version from the broker, also when nothing carries it now
    operator.restart().ready()
    fleet.filter("other", namespace="shop", target=WEB)
    fleet.holds("other", "Distributed", namespace="shop")
    assert sensors["n1"].filters == {"shop/alice": 1, "shop/other": 1}
    fleet.api.delete("Pod", "web", "shop")
    eventually(lambda: sensors["n1"].filters == {}, "no pod, no filter")
    operator.restart().ready()
    fleet.pod("web2", "n3", "10.3.0.9", namespace="shop", app="web")
    eventually(lambda: sensors["n3"].filters == {"shop/alice": 1, "shop/other": 1}, "the last good version comes back")
    assert sensors["n3"].guard("shop/alice") == ["10.3.0.9"]


def test_a_filter_that_was_never_good_reaches_nobody(fleet, sensors):
    fleet.filter("bad", leaf("port", "glob", "8*"), namespace="shop", target=WEB)
    fleet.holds("bad", "Accepted", "False", namespace="shop")
    fleet.holds("bad", "Capturing", "False", "NotAccepted", namespace="shop")
    assert sensors["n1"].filters == {}


def test_pods_that_come_and_go_are_followed_within_a_second(fleet, sensors):
    fleet.filter("alice", namespace="shop", target=WEB)
    fleet.holds("alice", "Distributed", namespace="shop")
    began = time.monotonic()
    fleet.pod("web2", "n3", "10.3.0.7", namespace="shop", app="web")
    eventually(lambda: sensors["n3"].filters == {"shop/alice": 1}, "a new pod is covered")
    assert time.monotonic() - began < 1
    eventually(lambda: fleet.status("alice", namespace="shop")["sensors"]["desired"] == 2)
    fleet.api.delete("Pod", "web2", "shop")
    eventually(lambda: sensors["n3"].filters == {}, "and let go when it is gone")


def test_a_cluster_filter_reaches_every_sensor_unguarded(fleet, sensors):
    fleet.cluster_filter("ports")
    status = fleet.holds("ports", "Distributed", kind="ClusterHuntFilter")
    assert status["sensors"]["acked"] == 3
    assert {sensor.guard("ports") for sensor in sensors} == {None}


def test_a_filter_of_one_namespace_never_holds_an_address_of_another(fleet, sensors):
    fleet.pod("spy", "n1", "10.1.0.66", namespace="other", app="web")
    fleet.pod("onhost", "n1", "10.0.0.1", namespace="shop", host_network=True, app="web")
    fleet.filter("mine", namespace="other")
    fleet.filter("all", namespace="shop")
    fleet.holds("mine", "Distributed", namespace="other")
    fleet.holds("all", "Distributed", namespace="shop")
    assert sensors["n1"].guard("other/mine") == ["10.1.0.66"]
    assert sensors["n1"].guard("shop/all") == ["10.1.0.5"]
    assert "other/mine" not in sensors["n2"].filters


def test_what_sensors_say_is_what_the_status_says(fleet, sensors):
    sensors["n2"].rejects = lambda plan: "no room for it" if plan.filters else ""
    fleet.cluster_filter("ports")
    fleet.holds("ports", "Distributed", "False", "Rejected", kind="ClusterHuntFilter")
    assert "n2: no room for it" in fleet.message("ports", "Distributed", kind="ClusterHuntFilter")
    account = sensors["n1"].books.filter("ports")
    account.matched, account.delivered, account.lost["spool_full"] = 7, 5, 2
    fleet.holds("ports", "Lossless", "False", "Lost", kind="ClusterHuntFilter")
    status = fleet.status("ports", kind="ClusterHuntFilter")
    assert status["packets"] == {"matched": 7, "delivered": 5, "lost": 2}
    assert "2 spool_full" in fleet.message("ports", "Lossless", kind="ClusterHuntFilter")
    assert status["firstMatchTime"] == status["lastMatchTime"]
    eventually(lambda: {"PacketsLost", "NotDistributed"} <= {each["reason"] for each in fleet.events("ports")})
    assert {each["source"]["component"] for each in fleet.events("ports")} == {"packhound.dev"}


@pytest.mark.slow
def test_the_busiest_pods_and_the_times_of_matches_are_what_sensors_counted(fleet, sensors, operator):
    fleet.filter("alice", namespace="shop")
    fleet.holds("alice", "Distributed", namespace="shop")
    for node, pods in (("n1", {"shop/web": 4}), ("n2", {"shop/db": 9})):
        account = sensors[node].books.filter("shop/alice")
        account.matched = account.delivered = sum(pods.values())
        sensors[node].pods = {"shop/alice": pods}
    expected = [{"name": "shop/db", "packets": 9}, {"name": "shop/web", "packets": 4}]
    eventually(lambda: fleet.status("alice", namespace="shop").get("topPods") == expected, within=60)
    first = fleet.status("alice", namespace="shop")
    assert first["firstMatchTime"] <= first["lastMatchTime"]
    sensors.restart("n2")
    sensors["n2"].pods = {"shop/alice": {"shop/db": 1}}
    sensors["n2"].books.filter("shop/alice").matched = 1
    eventually(lambda: fleet.status("alice", namespace="shop")["topPods"][0] == {"name": "shop/db", "packets": 10}, within=60)
    later = fleet.status("alice", namespace="shop")
    assert later["firstMatchTime"] == first["firstMatchTime"]
    assert later["lastMatchTime"] > first["lastMatchTime"]
    operator.restart().ready()
    fleet.filter("alice", namespace="shop", suspend=True)
    fleet.holds("alice", "Capturing", "False", "Suspended", namespace="shop")
    assert fleet.status("alice", namespace="shop")["topPods"][0] == {"name": "shop/db", "packets": 10}


def test_a_filter_made_anew_counts_from_nothing_whatever_its_namesake_matched(fleet, sensors, operator):
    fleet.filter("alice", namespace="shop", target=WEB)
    fleet.holds("alice", "Distributed", namespace="shop")
    account = sensors["n1"].books.filter("shop/alice")
    account.matched = account.delivered = 40
    sensors["n1"].pods = {"shop/alice": {"shop/web": 40}}
    eventually(lambda: fleet.status("alice", namespace="shop")["packets"]["matched"] == 40, within=60)
    fleet.api.delete("HuntFilter", "alice", "shop")
    eventually(lambda: sensors["n1"].filters == {})
    operator.restart().ready()  # it hears of the 40 again, and of no filter that they could be of
    fleet.filter("alice", namespace="shop", target=WEB)
    fleet.holds("alice", "Distributed", namespace="shop")
    account.matched = account.delivered = 42
    sensors["n1"].pods = {"shop/alice": {"shop/web": 42}}
    status = eventually(lambda: (found := fleet.status("alice", namespace="shop"))["packets"]["matched"] and found, within=60)
    assert status["packets"] == {"matched": 2, "delivered": 2, "lost": 0}
    assert status["topPods"] == [{"name": "shop/web", "packets": 2}]


def test_how_long_it_took_is_told_also_when_the_first_pod_comes_later(fleet, sensors):
    fleet.filter("later", namespace="empty")
    status = fleet.holds("later", "Distributed", "True", "NoTargets", namespace="empty")
    assert "pushLatencySeconds" not in status
    time.sleep(3)
    fleet.pod("first", "n3", "10.3.0.7", namespace="empty")
    status = fleet.holds("later", "Distributed", "True", "Acknowledged", namespace="empty")
    assert 0 < status["pushLatencySeconds"]["p99"] < 2.5  # since the pod was seen, not since the filter


def test_a_silent_sensor_is_missed_and_what_was_counted_stays(fleet, sensors):
    fleet.cluster_filter("ports")
    fleet.holds("ports", "Distributed", kind="ClusterHuntFilter")
    account = sensors["n1"].books.filter("ports")
    account.matched = account.delivered = 9
    eventually(lambda: fleet.status("ports", kind="ClusterHuntFilter")["packets"]["matched"] == 9, within=40)
    sensors.restart("n1")
    sensors["n1"].books.filter("ports").matched = 4
    eventually(lambda: fleet.status("ports", kind="ClusterHuntFilter")["packets"]["matched"] == 13, within=40)
    sensors.end("n1")
    fleet.holds("ports", "Lossless", "Unknown", "Silent", kind="ClusterHuntFilter", within=60)
    assert fleet.status("ports", kind="ClusterHuntFilter")["sensors"]["silent"] == 1
    assert fleet.message("ports", "Capturing", kind="ClusterHuntFilter") == "2 of 3 sensors hunt"


def test_a_namespace_deleted_with_filters_in_it_leaves_no_plan(fleet, sensors):
    for n in range(5):
        fleet.filter(f"f{n}", namespace="shop", target=WEB)
    fleet.holds("f4", "Distributed", namespace="shop")
    for n in range(5):
        fleet.api.delete("HuntFilter", f"f{n}", "shop")
    fleet.api.delete("Pod", "web", "shop")
    eventually(lambda: sensors["n1"].filters == {})


def test_without_a_fleet_the_status_says_so(scene, operator):
    scene.filter("lonely")
    scene.holds("lonely", "Distributed", "False", "NoFleet")
    scene.holds("lonely", "Accepted")


@pytest.mark.slow
def test_a_busy_cluster_hides_no_silence(fleet, sensors):
    """Pods that come and go without end do not keep the operator from looking at the clock."""
    fleet.cluster_filter("ports")
    fleet.holds("ports", "Lossless", kind="ClusterHuntFilter")
    sensors.end("n2")
    deadline = time.monotonic() + 30
    for n in range(10_000):
        fleet.pod(f"churn{n}", "n3", f"10.3.{n // 200}.{n % 200 + 1}", namespace="shop")
        fleet.api.delete("Pod", f"churn{n}", "shop")
        if fleet.conditions("ports", kind="ClusterHuntFilter").get("Lossless") == ("Unknown", "Silent"):
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)
