"""The operator dies, is doubled, loses its broker or the API: it converges, says so, and takes nothing away meanwhile."""

from __future__ import annotations

import itertools
import time

import pytest

from tests.support.kube import Existing
from tests.support.objects import leaf
from tests.support.operated import OperatorProcess, eventually
from tests.support.simulated import Sensors

WEB = {"podSelector": {"matchLabels": {"app": "web"}}}


@pytest.fixture
def stage(scene, sensors):
    """Two nodes with sensors and a web pod on each, a fleet, one filter; no operator yet."""
    for n in (1, 2):
        scene.node(f"n{n}", ip=f"10.0.0.{n}")
        scene.pod(f"web{n}", f"n{n}", f"10.{n}.0.5", app="web")
    scene.fleet()
    scene.filter("alice", target=WEB)
    sensors.add("n1", "n2")
    return scene


def converged(scene, sensors, word):
    """Everything is as the last edit says: both sensors, the status, the fleet, its objects."""
    scene.holds("alice", "Distributed")
    scene.holds("alice", "Capturing")
    for node in ("n1", "n2"):
        (row,) = sensors[node].plan.filters
        assert row["object"]["spec"]["match"]["glob"] == [word]
        assert row["guard"] == [f"10.{node[1]}.0.5"]
    scene.fleet_holds("Distributed")
    assert scene.api.get("HuntFleet", "main")["metadata"]["finalizers"] == ["packhound.dev/broker"]
    for kind, name, space in (("DaemonSet", "packhound-main-sensor", "packhound-sensors"),
                              ("StatefulSet", "packhound-main-processor", "packhound"),
                              ("NetworkPolicy", "packhound-main-processor", "packhound")):  # fmt: skip
        assert scene.api.get(kind, name, space)["metadata"]["ownerReferences"][0]["kind"] == "HuntFleet"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_at_every_call_of_the_api_the_next_run_converges(stage, sensors, kube, tmp_path, when):
    operator = OperatorProcess(tmp_path, kube.admin.kubeconfig, stage.broker.url)
    for n in itertools.count(1):
        stage.filter("alice", leaf("sip.user", "glob", f"a{n}"), target=WEB)
        if n % 3 == 0:  # from nothing, now and then
            stage.api.delete("DaemonSet", "packhound-main-sensor", "packhound-sensors")
            stage.api.merge("HuntFilter", "alice", {"status": None}, namespace="default", sub="status")
        operator.start("tests.support.crashing", str(n), when)
        try:
            converged(stage, sensors, f"a{n}") if n > 60 else operator.ended(within=8)
        except Exception:
            assert n > 15, operator.said()[-2000:]  # it made fewer calls than that: every one was tried
            converged(stage, sensors, f"a{n}")
            operator.kill()
            break
        stage.api.delete("Lease", "packhound-operator", "packhound")  # or every run would wait for the dead one's to end
        operator.start()
        try:
            converged(stage, sensors, f"a{n}")
        finally:
            operator.kill()
            stage.api.delete("Lease", "packhound-operator", "packhound")
    assert sensors["n1"].plan.revision < 4 * n + 10


def test_a_restart_changes_nothing_that_was_right(stage, sensors, operator):
    eventually(lambda: converged(stage, sensors, "alice*") is None)
    before, seen = stage.api.get("HuntFilter", "alice", "default"), list(sensors["n1"].seen)
    operator.restart().ready()
    time.sleep(4)
    after = stage.api.get("HuntFilter", "alice", "default")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert sensors["n1"].seen == seen


def test_a_broker_that_is_away_shows_and_everything_follows_when_it_is_back(stage, sensors, operator):
    stage.holds("alice", "Distributed")
    stage.broker.kill()
    stage.holds("alice", "Distributed", "Unknown", "BrokerAway")
    stage.filter("alice", leaf("sip.user", "glob", "new"), target=WEB)
    stage.holds("alice", "Accepted")
    stage.holds("alice", "Distributed", "Unknown", "BrokerAway")
    stage.broker.start()
    eventually(lambda: converged(stage, sensors, "new") is None, within=30)


def test_a_broker_that_lost_everything_is_filled_again_with_higher_revisions(stage, sensors, operator):
    stage.holds("alice", "Distributed")
    for n in range(3):
        stage.filter("alice", leaf("sip.user", "glob", f"x{n}"), target=WEB)
        stage.holds("alice", "Distributed")
    high = sensors["n1"].plan.revision
    operator.kill()
    stage.broker.restart(empty=True)
    stage.api.delete("Lease", "packhound-operator", "packhound")
    operator.start().ready()
    stage.filter("alice", leaf("sip.user", "glob", "y"), target=WEB)
    eventually(lambda: converged(stage, sensors, "y") is None, within=30)
    assert sensors["n1"].plan.revision > high


def test_an_operator_that_starts_without_a_broker_says_so_and_takes_nothing_away(stage, sensors, kube, tmp_path):
    stage.broker.kill()
    operator = OperatorProcess(tmp_path, kube.admin.kubeconfig, stage.broker.url).start()
    try:
        stage.holds("alice", "Distributed", "Unknown", "BrokerAway", within=30)
        stage.broker.start()
        eventually(lambda: converged(stage, sensors, "alice*") is None, within=30)
    finally:
        operator.kill()


def test_of_two_replicas_the_other_takes_over_within_fifteen_seconds(stage, sensors, kube, tmp_path):
    one = OperatorProcess(tmp_path, kube.admin.kubeconfig, stage.broker.url, name="one").start().ready()
    two = OperatorProcess(tmp_path, kube.admin.kubeconfig, stage.broker.url, name="two").start()
    try:
        converged(stage, sensors, "alice*")
        time.sleep(1.5)
        assert "leading" not in two.said()
        one.kill()
        died = time.monotonic()
        stage.filter("alice", leaf("sip.user", "glob", "after"), target=WEB)
        eventually(lambda: converged(stage, sensors, "after") is None, within=20)
        assert time.monotonic() - died < 16.5  # 15 s, and what the edit itself takes
        one.start()
        time.sleep(1.5)
        assert two.stop() == 0
        stopped = time.monotonic()
        one.ready()
        assert time.monotonic() - stopped < 4  # given up, not run out
    finally:
        one.kill()
        two.kill()


def test_a_leader_that_loses_the_api_ends_and_says_why(stage, sensors, kube, operator):
    if isinstance(kube, Existing):
        pytest.skip("needs an API server of its own to stop")
    stage.holds("alice", "Distributed")
    kube.pause()
    try:
        assert operator.ended(within=25) == 1
    finally:
        kube.resume()
    assert "no longer leads" in operator.said()


def test_a_fleet_that_is_deleted_takes_its_streams_along(stage, operator, sensors):
    stage.holds("alice", "Distributed")
    assert streams(stage) >= {"ph-main-b", "KV_ph-main-plans", "KV_ph-main-pods"}
    sensors.close()
    stage.api.delete("HuntFleet", "main", now=False)
    eventually(lambda: stage.api.gone("HuntFleet", "main"))
    assert streams(stage) == set()
    stage.holds("alice", "Distributed", "False", "NoFleet")


def test_a_fleet_whose_broker_is_gone_is_let_go(stage, operator):
    stage.fleet_holds("Accepted")
    stage.broker.kill()
    began = time.monotonic()
    stage.api.delete("HuntFleet", "main", now=False)
    eventually(lambda: stage.api.gone("HuntFleet", "main"), within=15)
    assert time.monotonic() - began > 8


def test_drift_is_repaired_and_what_is_no_longer_wanted_goes(stage, kube, tmp_path):
    operator = OperatorProcess(tmp_path, kube.admin.kubeconfig, stage.broker.url, OPERATOR_REPAIR_SECONDS="5").start()
    try:
        stage.fleet(processor={"replicas": 1, "maxReplicas": 4})
        eventually(lambda: not stage.api.gone("HorizontalPodAutoscaler", "packhound-main-processor", "packhound"))
        where = ("DaemonSet", "packhound-main-sensor")
        stage.api.merge(*where, {"spec": {"template": {"spec": {"hostNetwork": False}}}}, namespace="packhound-sensors")
        eventually(lambda: stage.api.get(*where, "packhound-sensors")["spec"]["template"]["spec"].get("hostNetwork"))
        stage.api.delete(*where, "packhound-sensors")
        eventually(lambda: not stage.api.gone(*where, "packhound-sensors"))
        stage.fleet(processor={"replicas": 2})
        eventually(lambda: stage.api.gone("HorizontalPodAutoscaler", "packhound-main-processor", "packhound"))
    finally:
        operator.kill()


def test_nodes_join_and_leave(stage, operator, sensors):
    stage.cluster_filter("ports")
    stage.holds("ports", "Distributed", kind="ClusterHuntFilter")
    stage.node("n3", ip="10.0.0.3")
    stage.holds("ports", "Distributed", "False", "Waiting", kind="ClusterHuntFilter")
    assert "waiting for n3" in stage.message("ports", "Distributed", kind="ClusterHuntFilter")
    sensors.add("n3")
    stage.holds("ports", "Distributed", kind="ClusterHuntFilter")
    assert sensors["n3"].filters == {"ports": 1}
    sensors.end("n3")
    stage.api.delete("Node", "n3")
    eventually(lambda: stage.status("ports", kind="ClusterHuntFilter")["sensors"]["desired"] == 2, within=15)
    stage.node("tainted", taints=[{"key": "edge", "value": "x", "effect": "NoSchedule"}])
    stage.node("other", **{"kubernetes.io/os": "windows"})
    time.sleep(1)
    assert stage.status("ports", kind="ClusterHuntFilter")["sensors"]["desired"] == 2


def test_a_node_that_is_not_ready_is_missed_and_taken_up_again(stage, operator, sensors):
    stage.holds("alice", "Lossless")
    taints = [{"key": "node.kubernetes.io/unreachable", "effect": effect} for effect in ("NoSchedule", "NoExecute")]
    stage.api.merge("Node", "n2", {"spec": {"taints": taints}})
    stage.api.merge("Node", "n2", {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, sub="status")
    sensors.end("n2")
    status = stage.holds("alice", "Lossless", "Unknown", "Silent", within=40)
    assert status["sensors"] == {"desired": 2, "acked": 2, "rejected": 0, "silent": 1}  # it is still to be covered
    assert "1 of 2 sensors hunt" in stage.message("alice", "Capturing")
    stage.filter("alice", leaf("sip.user", "glob", "new"), target=WEB)
    stage.holds("alice", "Distributed", "False", "Waiting")
    assert "waiting for n2" in stage.message("alice", "Distributed")
    stage.api.merge("Node", "n2", {"spec": {"taints": None}})
    sensors.add("n2")
    eventually(lambda: converged(stage, sensors, "new") is None)
    stage.holds("alice", "Lossless")


def test_a_sensor_that_dies_again_and_again_adds_up(stage, operator, sensors):
    stage.holds("alice", "Distributed")
    for n in range(1, 6):
        sensors.restart("n2")
        account = sensors["n2"].books.filter("default/alice")
        account.matched = account.delivered = n
        eventually(lambda n=n: sensors["n2"].plan is not None and sensors["n2"].filters == {"default/alice": 1})
        said = sensors["n2"].beats
        eventually(lambda said=said: sensors["n2"].beats > said + 1)  # each life is heard of
    eventually(lambda: stage.status("alice")["packets"] == {"matched": 15, "delivered": 15, "lost": 0}, within=30)
    stage.holds("alice", "Distributed")
    stage.holds("alice", "Lossless")
    assert len([each for each in stage.events("alice") if each["reason"] == "NotDistributed"]) == 0


def test_two_fleets_side_by_side_each_have_their_nodes(scene, operator, sensors):
    scene.node("a1", zone="a")
    scene.node("b1", zone="b")
    scene.pod("pa", "a1", "10.1.0.1")
    scene.pod("pb", "b1", "10.2.0.1")
    scene.fleet(sensor={"nodeSelector": {"zone": "a"}})
    scene.fleet_name = "second"
    scene.fleet(sensor={"nodeSelector": {"zone": "b"}})
    others = Sensors(scene.broker.url, "second").add("b1")
    try:
        sensors.add("a1")
        scene.filter("both")
        status = scene.holds("both", "Distributed")
        assert status["sensors"]["acked"] == 2
        assert sensors["a1"].guard("default/both") == ["10.1.0.1"]
        assert others["b1"].guard("default/both") == ["10.2.0.1"]
        scene.api.delete("HuntFleet", "second", now=False)
        others.close()
        eventually(lambda: scene.api.gone("HuntFleet", "second"))
        eventually(lambda: scene.status("both")["sensors"]["desired"] == 1, within=15)
    finally:
        others.close()


def streams(scene):
    import asyncio

    from packhound.kit.bus import Bus, BusSettings

    async def names():
        async with await Bus.connect(BusSettings(urls=(scene.broker.url,), name="test")) as bus:
            await bus.ready(5)
            return set((await bus.api("STREAM.NAMES")).get("streams") or ())

    return asyncio.run(names())
