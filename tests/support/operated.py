"""The operator under test: its real process against a real API and a real broker, and steps that scenarios are made of.

A step does one thing to the cluster or waits until something holds, and says what it saw when it does not.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.support.kube import ROOT, Api, ApiError
from tests.support.nats_server import NatsServer
from tests.support.objects import hunt_filter, leaf

PATIENCE = 20.0
MARK = {"packhound.dev/test": "e2e"}  #: on everything that scenes make, so that nothing else is ever removed


def eventually(ready: Callable[[], Any], what: str = "", *, within: float = PATIENCE, every: float = 0.02) -> Any:
    """Wait until `ready` gives something true; AssertionErrors in it mean not yet."""
    deadline, last = time.monotonic() + within, None
    while True:
        try:
            found = ready()
        except (AssertionError, KeyError, StopIteration, ApiError) as error:
            found, last = None, error
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s: {what} {last or ''}")
        time.sleep(every)


class OperatorProcess:
    """`packhound operator` of a test."""

    def __init__(self, folder: Path, kubeconfig: Path, broker: str, *, name: str = "one", **settings: str) -> None:
        self.folder, self.name = folder, name
        self.log = folder / f"operator-{name}.log"
        self.settings = {
            "OPERATOR_KUBECONFIG": str(kubeconfig), "OPERATOR_IDENTITY": name, "NATS_URLS": broker,
            "TELEMETRY_LISTEN": "127.0.0.1:0", "LOG_FORMAT": "json", "LOG_LEVEL": "info", **settings,
        }  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *module: str) -> OperatorProcess:
        """`module`: what to run instead, with its arguments."""
        env = {key: value for key, value in os.environ.items() if not key.startswith("PACKHOUND_")}
        env |= {f"PACKHOUND_{key}": value for key, value in self.settings.items()}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *(module or ("packhound.operator",))], env=env, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, cwd=ROOT,
            )  # fmt: skip
        return self

    def ready(self) -> OperatorProcess:
        """Wait until it leads and has seen everything."""
        eventually(lambda: "everything was listed" in self.said(), f"the operator works:\n{self.said()[-2000:]}")
        return self

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def rss_mib(self) -> float:
        assert self.process is not None
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096 / (1 << 20)

    def ended(self, within: float = PATIENCE) -> int:
        """Wait until it ended by itself; its exit code."""
        assert self.process is not None
        try:
            return self.process.wait(within)
        finally:
            self.process = None if self.process.poll() is not None else self.process

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        if self.process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        code = self.process.wait(15)
        self.process = None
        return code

    def restart(self) -> OperatorProcess:
        """kill -9 and begin again."""
        self.kill()
        self.log.rename(self.log.with_suffix(f".{time.time_ns()}.log"))
        return self.start()


class Scene:
    """A cluster with a fleet: what a test does to it and what it sees."""

    def __init__(self, api: Api, broker: NatsServer, *, fleet: str = "main") -> None:
        self.api, self.broker, self.fleet_name = api, broker, fleet
        for name in ("packhound", "packhound-sensors"):
            self.namespace(name)

    # what people do --------------------------------------------------------------------------------------------------

    def namespace(self, name: str) -> None:
        with contextlib.suppress(ApiError):
            self.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def node(self, name: str, *, ip: str = "", taints: list[dict[str, str]] | None = None, **labels: str) -> None:
        made = {"apiVersion": "v1", "kind": "Node",
                "metadata": {"name": name, "labels": {"kubernetes.io/os": "linux", **MARK, **labels}}, "spec": {}}  # fmt: skip
        if taints:
            made["spec"] = {"taints": taints}
        with contextlib.suppress(ApiError):
            self.api.create(made)
        # a Node is born with the taint that it is not ready, which every sensor tolerates
        if ip:
            self.api.merge("Node", name, {"status": {"addresses": [{"type": "InternalIP", "address": ip}]}}, sub="status")

    def pod(self, name: str, node: str, ip: str, *, namespace: str = "default", host_network: bool = False, **labels: str) -> None:
        """A pod that runs, as kubelet would say."""
        self.namespace(namespace)
        spec = {"nodeName": node, "hostNetwork": host_network, "terminationGracePeriodSeconds": 0,
                "tolerations": [{"operator": "Exists"}], "containers": [{"name": "main", "image": "x"}]}  # fmt: skip
        self.api.create({"apiVersion": "v1", "kind": "Pod", "spec": spec,
                         "metadata": {"name": name, "namespace": namespace, "labels": {**MARK, **labels}}})  # fmt: skip
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "startTime": now,
                  "containerStatuses": [{"name": "main", "containerID": f"containerd://{name}", "image": "x", "imageID": "x",
                                         "ready": True, "restartCount": 0, "state": {"running": {"startedAt": now}}}]}  # fmt: skip
        self.api.merge("Pod", name, {"status": status}, namespace=namespace, sub="status")

    def fleet(self, **spec: Any) -> None:
        self.api.apply({"apiVersion": "packhound.dev/v1alpha1", "kind": "HuntFleet", "metadata": {"name": self.fleet_name, "labels": MARK},
                        "spec": {"processor": {"replicas": 1}, **spec}})  # fmt: skip

    def filter(self, name: str, match: dict[str, Any] | None = None, *, namespace: str = "default", **spec: Any) -> Any:
        """As `kubectl apply`."""
        self.namespace(namespace)
        raw = hunt_filter(name, match or leaf("sip.user", "glob", "alice*"), namespace=namespace, **spec)
        raw["metadata"]["labels"] = MARK
        return self.api.apply(raw)

    def cluster_filter(self, name: str, match: dict[str, Any] | None = None, **spec: Any) -> Any:
        raw = hunt_filter(name, match or leaf("port", "equals", 5060), **spec)
        raw["metadata"] = {"name": name, "labels": MARK}
        return self.api.apply({**raw, "kind": "ClusterHuntFilter"})

    # what they see ---------------------------------------------------------------------------------------------------

    def status(self, name: str, *, namespace: str = "default", kind: str = "HuntFilter") -> dict[str, Any]:
        found = self.api.get(kind, name, "" if kind == "ClusterHuntFilter" else namespace)
        return {"generation": found["metadata"]["generation"], **found.get("status", {})}

    def conditions(self, name: str, **where: Any) -> dict[str, tuple[str, str]]:
        """Conditions of the newest generation; empty when the status is of an older one."""
        status = self.status(name, **where)
        if status.get("observedGeneration") != status["generation"]:
            return {}
        return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}

    def message(self, name: str, condition: str, **where: Any) -> str:
        return next(each["message"] for each in self.status(name, **where)["conditions"] if each["type"] == condition)

    def holds(self, name: str, condition: str, status: str = "True", reason: str = "", **where: Any) -> dict[str, Any]:
        """Wait until a condition of the newest generation is so; gives the status."""
        within = where.pop("within", PATIENCE)

        def so() -> bool:
            found = self.conditions(name, **where).get(condition)
            assert found is not None, "no status of this generation"
            assert found[0] == status, f"it is {found}: {self.message(name, condition, **where)}"
            assert not reason or found[1] == reason, f"it is {found}: {self.message(name, condition, **where)}"
            return True

        eventually(so, f"{name}: {condition}={status} {reason}", within=within)
        return self.status(name, **where)

    def fleet_status(self) -> Mapping[str, Any]:
        return self.api.get("HuntFleet", self.fleet_name).get("status", {})

    def fleet_holds(self, condition: str, status: str = "True", *, within: float = PATIENCE) -> Mapping[str, Any]:
        def so() -> bool:
            found = next(each for each in self.fleet_status()["conditions"] if each["type"] == condition)
            assert found["status"] == status, f"{found['reason']}: {found['message']}"
            return True

        eventually(so, f"fleet: {condition}={status}", within=within)
        return self.fleet_status()

    def events(self, name: str, namespace: str = "default") -> list[dict[str, Any]]:
        return [each for each in self.api.items("Event", namespace) if each["involvedObject"]["name"] == name]
