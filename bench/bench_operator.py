"""The operator against a real API server: apply to Distributed=True, requests of an idle fleet, memory at scale.

    KUBEBUILDER_ASSETS=DIR python bench/bench_operator.py latency [nodes] [edits]
    ... idle [nodes] [seconds]      requests a minute at the API server, with and without the operator
    ... memory [filters] [nodes]    RSS of the operator; every filter is on every node, guarded by the pods there

Nodes are objects without kubelets, sensors are simulated (in a process of their own) and beat every 5 s.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.support.kube import ROOT, Api, control_plane, install_crds
from tests.support.nats_server import nats_server
from tests.support.objects import hunt_filter, leaf
from tests.support.operated import OperatorProcess, Scene, eventually


class StatusWatch:
    """Statuses of a kind as they change."""

    def __init__(self, api: Api, kind: str) -> None:
        version = api.get(kind)["metadata"]["resourceVersion"]
        self._connection = http.client.HTTPSConnection(api._host, api._port, context=api._tls, timeout=60)
        self._connection.request("GET", f"{api.path(kind)}?watch=true&resourceVersion={version}")
        self._answer = self._connection.getresponse()

    def until(self, name: str, generation: int) -> dict:
        while True:
            raw = json.loads(self._answer.readline())["object"]
            status = raw.get("status") or {}
            if raw["metadata"]["name"] == name and status.get("observedGeneration") == generation:
                said = {each["type"]: each["status"] for each in status["conditions"]}
                if said["Distributed"] == "True":
                    return status


def quantiles(took: list[float]) -> str:
    took = sorted(took)
    return (f"p50 {took[len(took) // 2] * 1000:.0f} ms, p99 {took[min(len(took) - 1, len(took) * 99 // 100)] * 1000:.0f} ms, "
            f"max {took[-1] * 1000:.0f} ms ({len(took)} edits)")  # fmt: skip


def latency(scene: Scene, edits: int) -> None:
    watch = StatusWatch(scene.api, "ClusterHuntFilter")
    took, pushed = [], []
    for n in range(edits):
        began = time.perf_counter()
        generation = scene.cluster_filter("hot", leaf("sip.user", "glob", f"user{n}*"))["metadata"]["generation"]
        status = watch.until("hot", generation)
        took.append(time.perf_counter() - began)
        pushed.append(status.get("pushLatencySeconds", {}).get("p99", 0))
        time.sleep(0.2)
    print("apply -> Distributed=True:", quantiles(took[2:]))
    print("pushLatencySeconds.p99 as the status has it:", quantiles(pushed[2:]))
    began = time.perf_counter()
    for n in range(200):
        scene.cluster_filter(f"many{n}", leaf("sip.user", "glob", f"user{n}*"))
    applied = time.perf_counter() - began
    def all_there():
        return sum(1 for each in scene.api.items("ClusterHuntFilter") if any(
            c["type"] == "Distributed" and c["status"] == "True" for c in each.get("status", {}).get("conditions", ()))) == 201
    eventually(all_there, within=120)
    print(f"200 filters at once: applied in {applied:.1f} s, all Distributed after {time.perf_counter() - began:.1f} s")


def requests(api: Api) -> float:
    found = api.metrics("apiserver_request_total")
    return sum(value for labels, value in found.items() if 'verb="WATCH"' not in labels)


def idle(scene: Scene, operator: OperatorProcess, seconds: int) -> None:
    def rate() -> float:
        before = requests(scene.api)
        time.sleep(seconds)
        return (requests(scene.api) - before - 1) * 60 / seconds
    scene.filter("quiet")
    scene.cluster_filter("hot")
    scene.holds("hot", "Distributed", kind="ClusterHuntFilter")
    time.sleep(15)
    with_us = rate()
    operator.stop()
    time.sleep(5)
    without = rate()
    print(f"requests a minute at the API server: {with_us:.1f} with the operator, {without:.1f} without: {with_us - without:.1f} are ours")


def memory(scene: Scene, operator: OperatorProcess, filters: int, nodes: list[str]) -> None:
    spaces = 10
    for space in range(spaces):
        for at, node in enumerate(nodes):
            scene.pod(f"p{at}", node, f"10.{space}.{at // 250}.{at % 250 + 1}", namespace=f"s{space}", app="web")
    print(f"{len(nodes)} nodes, {spaces * len(nodes)} pods: {operator.rss_mib:.0f} MiB")
    began = time.perf_counter()
    for n in range(filters):
        scene.api.apply(hunt_filter(f"f{n}", {"any": [leaf("sip.user", "glob", f"user{n}*"), leaf("ip.addr", "in", f"10.9.{n % 250}.0/24")]},
                                    namespace=f"s{n % spaces}", purpose="bench"))  # fmt: skip
    print(f"{filters} filters applied in {time.perf_counter() - began:.0f} s: {operator.rss_mib:.0f} MiB")
    def settled():
        found = scene.api.items("HuntFilter")
        return len(found) == filters and all(any(
            c["type"] == "Distributed" and c["status"] == "True" for c in each.get("status", {}).get("conditions", ())) for each in found)
    eventually(settled, within=300)
    print(f"all Distributed=True on {len(nodes)} nodes after {time.perf_counter() - began:.0f} s: {operator.rss_mib:.0f} MiB")
    for _ in range(3):
        time.sleep(10)
        began, before = time.perf_counter(), cpu(operator)
        scene.filter("f1", leaf("sip.user", "glob", f"x{time.time_ns()}"), namespace="s1")
        scene.holds("f1", "Distributed", namespace="s1", within=60)
        print(f"one edit: {time.perf_counter() - began:.2f} s, {operator.rss_mib:.0f} MiB, operator CPU {cpu(operator) - before:.2f} s")
    before = cpu(operator)
    time.sleep(20)
    print(f"idle: {operator.rss_mib:.0f} MiB, CPU {(cpu(operator) - before) / 20:.3f} cores")
    operator.restart().ready()
    time.sleep(15)
    print(f"after a restart: {operator.rss_mib:.0f} MiB")


def cpu(operator: OperatorProcess) -> float:
    fields = Path(f"/proc/{operator.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> None:
    what, *numbers = sys.argv[1:]
    a, b = (int(each) for each in (*numbers, *("0", "0"))[:2])
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        room = {"store_dir": str(where / "js"), "max_mem": 64 << 20, "max_file": 64 << 30}
        with control_plane(where / "kube") as plane, nats_server(where / "nats", settings={"jetstream": room}) as broker:
            install_crds(plane.admin)
            scene = Scene(plane.admin, broker)
            count = {"latency": a or 100, "idle": a or 100, "memory": b or 100}[what]
            nodes = [f"fake-{n:04}" for n in range(count)]
            for n, node in enumerate(nodes):
                scene.node(node, ip=f"172.16.{n // 250}.{n % 250 + 1}")
            scene.fleet()
            operator = OperatorProcess(where, plane.admin.kubeconfig, broker.url).start().ready()
            sensors = subprocess.Popen([sys.executable, "-m", "tests.support.simulated", broker.url, "main", *nodes],
                                       stdout=subprocess.PIPE, cwd=ROOT)  # fmt: skip
            try:
                scene.fleet_holds("Distributed", within=60)
                print(f"{count} sensors, operator {operator.rss_mib:.0f} MiB")
                if what == "latency":
                    latency(scene, b or 50)
                elif what == "idle":
                    idle(scene, operator, b or 120)
                else:
                    memory(scene, operator, a or 1000, nodes)
            finally:
                sensors.kill()
                sensors.wait()
                operator.kill()


if __name__ == "__main__":
    main()
