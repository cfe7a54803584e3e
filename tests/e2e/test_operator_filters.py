"""From `kubectl apply` to a status that tells the truth: filters on a real API, a real broker, simulated sensors."""

from __future__ import annotations


def test_a_filter_reaches_the_sensors_of_its_pods_and_the_status_says_so(scene, operator, sensors):
    for n in (1, 2, 3):
        scene.node(f"n{n}", ip=f"10.0.0.{n}")
    scene.pod("web", "n1", "10.1.0.5", namespace="shop", app="web")
    scene.pod("db", "n2", "10.2.0.5", namespace="shop", app="db")
    scene.fleet()
    sensors.add("n1", "n2", "n3")
    scene.fleet_holds("Distributed")
    scene.filter("alice", namespace="shop", target={"podSelector": {"matchLabels": {"app": "web"}}})
    status = scene.holds("alice", "Distributed", namespace="shop")
    assert status["sensors"] == {"desired": 1, "acked": 1, "rejected": 0, "silent": 0}
    assert status["revision"] >= 1
    assert status["pushLatencySeconds"]["p99"] < 2
    assert sensors["n1"].filters == {"shop/alice": 1}
    assert sensors["n1"].guard("shop/alice") == ["10.1.0.5"]
    assert sensors["n2"].filters == sensors["n3"].filters == {}
    scene.holds("alice", "Capturing", namespace="shop")
