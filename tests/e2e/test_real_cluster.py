"""The product as its users meet it: charts, filters and real pods on a cluster whose nodes have kubelets.

Environment: PACKHOUND_E2E_KUBECONFIG (a cluster with two nodes or more, without Packhound), PACKHOUND_E2E_IMAGE,
PACKHOUND_E2E_NATS_IMAGE, PACKHOUND_E2E_REDIS_IMAGE (REGISTRY/NAME:TAG; the chart's own when not set),
PACKHOUND_E2E_CHARTS (their folder when not charts/), PACKHOUND_E2E_POD_IMAGE (has sh, wget, httpd; busybox when not set), PACKHOUND_E2E_VOLUMES (a folder of the nodes that
the test can write, where no storage class makes volumes), PACKHOUND_E2E_NODE_DOWN and _UP (commands that take a node
away, the last by name, and bring it back), PACKHOUND_E2E_TRANSCRIPT (a file). One release for all tests, in this order.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.operated import eventually
from tests.support.release import NAME, SENSORS, SLOW, SPACE, Release, hunt_filter, why_not

POD_IMAGE = os.environ.get("PACKHOUND_E2E_POD_IMAGE") or "docker.io/library/busybox:1.36"
DOWN, UP = os.environ.get("PACKHOUND_E2E_NODE_DOWN"), os.environ.get("PACKHOUND_E2E_NODE_UP")
INDEX = {"match": {"field": "http.path", "prefix": ["/index"]}}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """The release, with a shop of a web pod on one node and a client on another."""
    if reason := why_not():
        pytest.skip(reason)
    made = Release(Path(os.environ["PACKHOUND_E2E_KUBECONFIG"]), tmp_path_factory.mktemp("release"))
    if made.get("crd", "huntfleets.packhound.dev") is not None:
        pytest.skip("there is a Packhound in this cluster already")
    try:
        made.title("Install")
        made.install()
        one, *_, other = made.nodes()
        made.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
                   pod("web", one, "mkdir -p /www; echo hello >/www/index.html; exec httpd -f -p 8080 -h /www"),
                   pod("client", other, "sleep 1000000"))  # fmt: skip
        made.kubectl("-n", "shop", "wait", "pod", "--all", "--for=condition=Ready", "--timeout=3m")
        yield made
    finally:
        made.kubectl("delete", "namespace", "shop", "--ignore-not-found", check=False, quiet=True)
        made.remove()


def pod(name: str, node: str, script: str) -> dict[str, Any]:
    container = {"name": "c", "image": POD_IMAGE, "imagePullPolicy": "IfNotPresent", "command": ["/bin/sh", "-c", script]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop", "labels": {"app": name}},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container]}}  # fmt: skip


def ask(release: Release, path: str = "/index.html") -> str:
    """The client asks the web pod, over the network between their nodes."""
    address = release.get("pod", "web", "-n", "shop")["status"]["podIP"]
    return release.kubectl("-n", "shop", "exec", "client", "--", "wget", "-q", "-O", "-", f"http://{address}:8080{path}", check=False)


def counted(release: Release, name: str, more_than: int = 0) -> dict[str, Any]:
    """Wait until a filter has matched more packets, and all are delivered."""
    def so() -> dict[str, Any] | None:
        status = release.status(name)
        packets = status["packets"]
        return status if packets["matched"] > more_than and packets["delivered"] == packets["matched"] else None

    return eventually(so, f"{name} matches more than {more_than}", within=SLOW, every=0.5)


def test_what_two_pods_say_to_each_other_is_one_pcapng_with_both_names(release, tmp_path):
    release.title("Apply a filter; an HTTP exchange between two pods on two nodes")
    with release.watching("get", "hf", "-n", "shop", "-w"):
        release.filter("hello", INDEX)
        status = release.holds("hello", "Distributed")
        assert status["sensors"]["acked"] == 2
        assert status["pushLatencySeconds"]["p99"] > 0
        file = tmp_path / "hello.pcapng"
        words = ("pcap", "hello", "-n", "shop", "-o", str(file), "--duration", "20")
        plugin = release.plugin(*words)
        for _ in range(4):  # it shows what comes from its first connection on
            time.sleep(3)
            assert ask(release) == "hello\n"
        _, said = plugin.communicate(timeout=SLOW)
        release.note(["kubectl", "packhound", *words], said.decode())
        assert plugin.returncode == 0, said
        status = counted(release, "hello")
    assert status["packets"]["lost"] == 0
    assert status["firstMatchTime"] <= status["lastMatchTime"]
    assert {each["name"] for each in status["topPods"]} == {"shop/web", "shop/client"}
    comments = release.run("tshark", "-r", file, "-T", "fields", "-e", "frame.number", "-e", "ip.src", "-e", "ip.dst",
                           "-e", "tcp.flags.str", "-e", "http.request.uri", "-e", "frame.comment", "-E", "separator= ")  # fmt: skip
    rows = comments.splitlines()
    assert 10 <= len(rows) <= status["packets"]["matched"]
    assert all("k8s.src.pod=shop/" in row and "k8s.dst.pod=shop/" in row for row in rows)
    assert all("shop/web" in row and "shop/client" in row and "filter=shop/hello" in row for row in rows)
    assert any("/index.html" in row for row in rows)
    # one packet, one delivery per node that saw it: no more than two of each
    identities = release.run("tshark", "-r", file, "-T", "fields", "-e", "ip.src", "-e", "ip.id", "-e", "tcp.seq_raw",
                             "-e", "tcp.flags", "-e", "tcp.len", quiet=True).splitlines()  # fmt: skip
    assert all(identities.count(each) <= 2 for each in identities), identities
    release.kubectl("get", "hf", "hello", "-n", "shop", "-o", "yaml")


def test_an_edit_changes_what_is_hunted(release):
    release.title("Edit, suspend, ttl, delete")
    before = counted(release, "hello")["packets"]["matched"]
    release.filter("hello", {"match": {"field": "http.path", "prefix": ["/other"]}})
    release.holds("hello", "Distributed")
    ask(release)
    ask(release, "/other.html")
    after = counted(release, "hello", before)["packets"]["matched"]
    assert after - before <= 2 * 16  # one exchange, seen by two nodes


def test_a_suspended_filter_takes_nothing(release):
    release.kubectl("-n", "shop", "patch", "hf", "hello", "--type=merge", "-p", '{"spec": {"suspend": true}}')
    release.holds("hello", "Capturing", "False", "Suspended")
    release.holds("hello", "Distributed")
    before = release.status("hello")["packets"]
    ask(release, "/other.html")
    release.filter("after", {"match": {"field": "http.path", "prefix": ["/other"]}})  # hunts: what it counts is later
    release.holds("after", "Distributed")
    ask(release, "/other.html")
    counted(release, "after")
    assert release.status("hello")["packets"] == before


def test_a_ttl_ends_it_and_a_deletion_too(release):
    release.filter("short", {**INDEX, "schedule": {"ttl": "10s"}})
    release.holds("short", "Expired", "True")
    release.holds("short", "Capturing", "False", "Expired")
    release.kubectl("get", "hf", "-n", "shop")
    release.kubectl("-n", "shop", "delete", "hf", "short", "after", "hello")
    assert release.get("hf", "-n", "shop")["items"] == []


def test_bad_filters_are_refused_where_they_are_written(release):
    release.title("Bad filters")
    for spec, told in (
        ({"match": {"field": "ip.addr", "in": ["10.0.0.0/64"]}}, "addresses and CIDRs"),
        ({"match": {"field": "http.path", "prefix": ["/"], "glob": ["*"]}}, "one"),
        ({"pcapFilter": "tcp prot 80"}, "pcapFilter"),
        ({"match": {"field": "http.path", "regex": ["("]}}, "spec.match"),
    ):
        said = release.filter("bad", spec, check=False)
        assert told in said, said
        assert release.get("hf", "bad", "-n", "shop") is None


def test_the_canary_is_hunted(release):
    release.title("helm test")
    said = release.helm("test", NAME, "-n", SPACE, "--logs")
    assert "Succeeded" in said


def test_two_hundred_filters_at_once(release):
    release.title("200 filters at once; the operator is killed meanwhile")
    many = [hunt_filter(f"many-{n}", {"match": {"field": "http.path", "equals": [f"/{n}"]}}) for n in range(200)]
    release.apply(*many, quiet=True)
    release.kubectl("-n", SPACE, "delete", "pod", "-l", "app.kubernetes.io/component=operator", "--force", "--grace-period=0")

    def all_have() -> bool:
        items = release.get("hf", "-n", "shop")["items"]
        rows = [{row["type"]: row["status"] for row in each.get("status", {}).get("conditions", ())} for each in items]
        return len(rows) == 200 and all(row.get("Distributed") == "True" for row in rows)

    eventually(all_have, "all are distributed", within=SLOW, every=0.5)
    release.kubectl("-n", "shop", "delete", "hf", "--all", quiet=True)


def test_while_the_broker_is_away_it_is_said_and_nothing_is_lost(release):
    release.title("The broker goes away and comes back")
    release.filter("hello", INDEX)
    release.holds("hello", "Distributed")
    release.kubectl("-n", SPACE, "scale", "statefulset", f"{NAME}-nats", "--replicas=0")
    release.holds("hello", "Distributed", "Unknown", "BrokerAway")
    ask(release)
    release.filter("meanwhile", INDEX)
    release.holds("meanwhile", "Accepted")
    release.holds("meanwhile", "Distributed", "Unknown", "BrokerAway")
    release.kubectl("-n", SPACE, "scale", "statefulset", f"{NAME}-nats", "--replicas=1")
    release.holds("meanwhile", "Distributed")
    status = counted(release, "hello")
    assert status["packets"]["lost"] == 0
    release.kubectl("get", "hf", "-n", "shop")
    release.kubectl("-n", "shop", "delete", "hf", "--all")


def test_a_sensor_that_crash_loops_is_missed_and_the_others_go_on(release):
    release.title("A sensor crash-loops")
    release.filter("hello", INDEX)
    release.holds("hello", "Lossless")
    release.kubectl("patch", "hfl", "main", "--type=merge", "-p", '{"spec": {"sensor": {"interfaces": ["nothere0"]}}}')

    def crashes() -> bool:
        pods = release.get("pods", "-n", SENSORS)["items"]
        return any(row["restartCount"] >= 2 for each in pods for row in each["status"].get("containerStatuses", ()))

    eventually(crashes, "a sensor crash-loops", within=SLOW, every=0.5)
    status = release.holds("hello", "Lossless", "Unknown", "Silent")
    assert (status["sensors"]["desired"], status["sensors"]["silent"]) == (2, 1)  # the roll-out stopped at the first
    release.kubectl("get", "pods", "-n", SENSORS)
    release.kubectl("get", "hf", "-n", "shop")
    release.kubectl("patch", "hfl", "main", "--type=merge", "-p", '{"spec": {"sensor": {"interfaces": ["any"]}}}')
    release.kubectl("-n", SENSORS, "delete", "pod", "--all", quiet=True)  # their back-off may be minutes
    release.holds("hello", "Lossless")
    before = release.status("hello")["packets"]["matched"]
    ask(release)
    counted(release, "hello", before)


def test_a_node_that_goes_away_is_missed_and_comes_back(release):
    if not (DOWN and UP):
        pytest.skip("needs PACKHOUND_E2E_NODE_DOWN and PACKHOUND_E2E_NODE_UP")
    release.title("A node goes away and comes back")
    release.filter("hello", INDEX)
    release.holds("hello", "Lossless")
    last = release.nodes()[-1]
    broker = release.get("pod", f"{NAME}-nats-0", "-n", SPACE)["spec"]["nodeName"]
    subprocess.run(shlex.split(DOWN), check=True, timeout=300, capture_output=True)
    try:
        status = release.holds("hello", "Lossless", "Unknown", "Silent")
        assert status["sensors"]["silent"] == (2 if broker == last else 1)  # without a broker nobody is heard
        eventually(lambda: last not in release.nodes(), f"{last} is not ready", within=SLOW, every=0.5)
        release.kubectl("get", "nodes")
        release.kubectl("get", "hf", "-n", "shop")
    finally:
        subprocess.run(shlex.split(UP), check=True, timeout=300, capture_output=True)
    eventually(lambda: last in release.nodes(), f"{last} is ready", within=SLOW, every=0.5)
    release.holds("hello", "Lossless")


def test_a_namespace_goes_with_its_filters(release):
    release.title("A namespace is deleted with filters in it")
    release.kubectl("delete", "namespace", "shop", "--timeout=3m")
    assert release.get("namespace", "shop") is None
    assert release.get("hf", "-A")["items"] == []


def test_after_uninstall_nothing_is_left_but_what_is_marked_keep(release):
    release.title("Uninstall")
    release.helm("uninstall", NAME, "-n", SPACE, "--wait", "--timeout", "5m")
    def rest() -> set[str]:
        return {each for each in release.left() if not each.startswith(("PersistentVolumeClaim/", "ReplicaSet/", "Pod/"))}

    eventually(lambda: not any(each.startswith(("Pod/", "DaemonSet/", "StatefulSet/")) for each in release.left()), "pods go", within=SLOW, every=0.5)
    kept = {f"CustomResourceDefinition/{kind}.packhound.dev (keep)" for kind in ("huntfilters", "clusterhuntfilters", "huntfleets")}
    mine = {each for each in rest() if "packhound-crds" not in each}
    release.note(["kubectl", "get", "everything", "of", "packhound"], "\n".join(sorted(release.left())))
    assert mine == kept, mine
