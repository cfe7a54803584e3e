"""Which pod has which address reaches every node's key in the broker, and what a fleet is made of suits a real API."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from packhound.api.huntfleet import HuntFleet
from packhound.kit.bus import Bucket, Bus, BusError, BusSettings
from packhound.operator.desired import Site, objects_of
from packhound.wire.pods import PodBook, decode
from packhound.wire.subjects import Subjects
from tests.support.operated import OperatorProcess, eventually


def tables(scene):
    """The pod tables that the broker has, by node."""

    async def read():
        names = Subjects(scene.fleet_name)
        async with await Bus.connect(BusSettings(urls=(scene.broker.url,), name="test")) as bus:
            await bus.ready(5)
            with contextlib.suppress(BusError):  # not there yet
                return [decode(each.value) for each in await Bucket(bus, names.pods_bucket).entries("node.>")]
            return []

    return {table.node: table for table in asyncio.run(read())}


def test_every_node_has_a_table_of_its_pods(scene, kube, tmp_path):
    operator = OperatorProcess(tmp_path, kube.admin.kubeconfig, scene.broker.url, OPERATOR_POD_LABELS="app,tier*").start()
    try:
        scene.node("n1", ip="10.0.0.1")
        scene.node("n2", ip="10.0.0.2")
        scene.pod("web", "n1", "10.1.0.5", namespace="shop", app="web", tier="front", secret="x")
        scene.pod("agent", "n1", "10.0.0.1", namespace="shop", host_network=True)
        scene.fleet()
        found = eventually(lambda: (read := tables(scene)).keys() == {"n1", "n2"} and len(read["n1"].pods) == 2 and read)
        assert found["n1"].node_ips == ("10.0.0.1",)
        assert found["n2"].pods == ()
        book = PodBook()
        for table in found.values():
            book.take(table)
        (web,) = [pod for pod in found["n1"].pods if pod.name == "web"]
        assert (web.namespace, dict(web.labels), web.containers) == ("shop", {"app": "web", "tier": "front"}, (("main", "web"),))
        assert book.find("10.1.0.5", web.since + 1).name == "web"
        assert book.find("10.0.0.1", web.since + 1) is None
        # gone, and its address with another: both are known, each in its time; also after a restart
        scene.api.delete("Pod", "web", "shop")
        operator.restart()
        scene.pod("next", "n2", "10.1.0.5", namespace="other")
        found = eventually(lambda: (read := tables(scene))["n2"].pods and read["n1"].pods[-1].until and read)
        book = PodBook()
        for table in found.values():
            book.take(table)
        gone = next(pod for pod in found["n1"].pods if pod.name == "web")
        assert book.find("10.1.0.5", gone.until - 1).name in {"web", "next"}  # API times are whole seconds
        assert book.find("10.1.0.5", gone.until + 10**10).name == "next"
        scene.api.delete("Node", "n2")
        eventually(lambda: tables(scene).keys() == {"n1"}, "a node that is gone has no table")
    finally:
        operator.kill()


@pytest.mark.parametrize(
    ("spec", "site"),
    [
        ({}, Site()),
        ({"processor": {"replicas": 2, "maxReplicas": 5}, "sensor": {"tolerations": [{"operator": "Exists"}]}},
         Site(privileged=True, nats_secret="n", redis_secret="r", pull_secrets=("p",), priority_class="c", otlp="http://o:4317",
              labels={"team": "net"}, cluster="c1")),
        ({}, Site(nats_tls_secret="t", nats_tls_client=True, api_secret="a", api_tokens="b", api_type="NodePort",
                  streams={"packets": 64}, stream_replicas=3)),
        ({"storage": {"volume": {"size": "1Gi", "storageClass": "fast"}}, "transport": {"nats": {"url": "tls://n:4222"}}},
         Site(network_policies=False, resources={"sensor": {"limits": {"memory": "1Gi"}}})),
    ],
)  # fmt: skip
def test_what_a_fleet_is_made_of_is_accepted_by_the_api(kube, spec, site):
    fleet = HuntFleet.model_validate({"metadata": {"name": "main"}, "spec": spec})
    for each in objects_of(fleet, site, uid="00000000-0000-0000-0000-000000000001"):
        kube.admin.apply(each, dry=True, manager="packhound")


@pytest.mark.slow
def test_on_a_hundred_nodes_the_numbers_are_true(scene, operator, sensors):
    nodes = [f"fake-{n:03}" for n in range(100)]
    for n, node in enumerate(nodes):
        scene.node(node, ip=f"172.16.0.{n + 1}")
    scene.fleet()
    sensors.add(*nodes[:97])
    scene.cluster_filter("ports")
    scene.holds("ports", "Distributed", "False", "Waiting", kind="ClusterHuntFilter")
    eventually(lambda: scene.status("ports", kind="ClusterHuntFilter")["sensors"]["acked"] == 97, within=25)
    assert "97 of 100 sensors have it; waiting for fake-097, fake-098, fake-099" in scene.message(
        "ports", "Distributed", kind="ClusterHuntFilter"
    )
    sensors.add(*nodes[97:])
    status = scene.holds("ports", "Distributed", kind="ClusterHuntFilter")
    assert status["sensors"] == {"desired": 100, "acked": 100, "rejected": 0, "silent": 0}
    for n in range(200):
        scene.cluster_filter(f"many{n}")
    for n in range(200):
        scene.holds(f"many{n}", "Distributed", kind="ClusterHuntFilter", within=60)
    assert all(len(sensor.filters) == 201 for sensor in sensors)
