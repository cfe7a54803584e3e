"""A release of the charts on a cluster with kubelets: helm and kubectl as a person types them, and what came back.

With PACKHOUND_E2E_TRANSCRIPT=FILE every command and its output is appended there, to be read by people.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support import helm
from tests.support.operated import eventually

ROOT = Path(__file__).resolve().parents[2]
CHARTS = Path(os.environ.get("PACKHOUND_E2E_CHARTS") or "charts")
NAME, SPACE, SENSORS = "packhound", "packhound", "packhound-sensors"
TRANSCRIPT = os.environ.get("PACKHOUND_E2E_TRANSCRIPT")  # now: tests run without the settings of whoever runs them
SLOW = 420.0  # for what a busy machine may take, never for what decides


def kubectl_binary() -> str | None:
    beside = Path(os.environ.get("KUBEBUILDER_ASSETS") or "/nowhere") / "kubectl"
    return str(beside) if os.access(beside, os.X_OK) else shutil.which("kubectl")


def why_not() -> str:
    """What a test with real pods lacks here, "" when nothing."""
    config = os.environ.get("PACKHOUND_E2E_KUBECONFIG")
    if not config:
        return "needs PACKHOUND_E2E_KUBECONFIG: a cluster whose nodes have kubelets"
    if not os.environ.get("PACKHOUND_E2E_IMAGE"):
        return "needs PACKHOUND_E2E_IMAGE: the image of Packhound, on the nodes or to be pulled"
    lacks = [name for name, found in (("kubectl", kubectl_binary()), ("helm", helm.BINARY), ("tshark", shutil.which("tshark")))
             if found is None]  # fmt: skip
    if lacks:
        return f"needs {', '.join(lacks)}"
    nodes = Shell(Path(config)).nodes()
    return "" if len(nodes) >= 2 else f"needs two nodes with kubelets, there are {len(nodes)}"


class Shell:
    """Commands against one cluster."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.environ = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        binary = kubectl_binary()
        if binary is not None:
            self.environ["PATH"] = f"{Path(binary).parent}:{self.environ['PATH']}"

    def run(self, *command: object, give: str | None = None, check: bool = True, quiet: bool = False) -> str:
        """Run a command; its output. AssertionError with everything it said when it fails."""
        words = list(map(str, command))
        done = subprocess.run(words, input=give, env=self.environ, capture_output=True, text=True, timeout=600, cwd=ROOT)
        if not quiet:
            self.note(words, done.stdout + done.stderr, give)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(words)}: {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def note(self, words: list[str], said: str, give: str | None = None) -> None:
        """Write a command and its output into the transcript."""
        if not TRANSCRIPT:
            return
        words = [Path(words[0]).name, *words[1:]]
        if words[1:3] == ["-m", "packhound.console.kubectl"]:
            words = ["kubectl", "packhound", *words[3:]]
        shown = " ".join(f"'{each}'" if set(each) & set(" {}[]|*;") else each for each in words)
        text = f" <<'EOF'\n{give.rstrip()}\nEOF" if give is not None else ""
        with open(TRANSCRIPT, "a", encoding="utf-8") as file:
            file.write(f"$ {shown}{text}\n{said.rstrip()}\n\n")

    def title(self, text: str) -> None:
        if TRANSCRIPT:
            with open(TRANSCRIPT, "a", encoding="utf-8") as file:
                file.write(f"# {text}\n\n")

    def kubectl(self, *words: object, **how: Any) -> str:
        return self.run(kubectl_binary(), *words, **how)

    def helm(self, *words: object, **how: Any) -> str:
        return self.run(helm.BINARY, *words, **how)

    def get(self, *words: object) -> Any:
        """`kubectl get ... -o json`, or None when there is no such thing; not in the transcript."""
        said = self.kubectl("get", *words, "-o", "json", check=False, quiet=True)
        with contextlib.suppress(ValueError):
            return json.loads(said)
        return None

    def apply(self, *objects: dict[str, Any], check: bool = True, quiet: bool = False) -> str:
        text = "---\n".join(yaml.safe_dump(each, sort_keys=False, default_flow_style=None) for each in objects)
        return self.kubectl("apply", "-f", "-", give=text, check=check, quiet=quiet)

    def nodes(self) -> list[str]:
        """Nodes whose kubelet is ready, and real."""
        found = []
        for each in (self.get("nodes") or {"items": []})["items"]:
            ready = any(row["type"] == "Ready" and row["status"] == "True" for row in each["status"].get("conditions", ()))
            if ready and each["status"]["nodeInfo"]["kubeletVersion"] and each["metadata"]["labels"].get("type") != "faker":
                found.append(each["metadata"]["name"])
        return sorted(found)


class Release(Shell):
    """The charts, installed."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        super().__init__(kubeconfig)
        self.folder = folder
        self.values = folder / "values.yaml"
        self.values.write_text(yaml.safe_dump(values(), sort_keys=False))
        self.volumes: list[str] = []

    def install(self) -> None:
        self._volumes()
        self.kubectl("create", "namespace", SPACE)
        self.kubectl("label", "namespace", SPACE, "pod-security.kubernetes.io/enforce=restricted")
        self.helm("install", "packhound-crds", CHARTS / "packhound-crds", "-n", SPACE, "--take-ownership")
        self.helm("install", NAME, CHARTS / "packhound", "-n", SPACE, "-f", self.values, "--wait", "--timeout", "10m")
        self.kubectl("wait", "huntfleet/main", "--for=condition=Capturing", "--timeout=5m")

    def _volumes(self) -> None:
        """Volumes by hand where the cluster makes none: PACKHOUND_E2E_VOLUMES is a folder that nodes and test share."""
        shared = os.environ.get("PACKHOUND_E2E_VOLUMES")
        if not shared:
            return
        made = []
        for n in range(6):
            path = Path(shared) / f"e2e-{os.getpid()}-{n}"
            path.mkdir(parents=True)
            path.chmod(0o777)
            name = f"{NAME}-e2e-{n}"
            self.volumes.append(name)
            made.append({
                "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
                "spec": {"capacity": {"storage": "200Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": str(path)},
                         "persistentVolumeReclaimPolicy": "Retain"},
            })  # fmt: skip
        self.apply(*made, quiet=True)

    def remove(self) -> None:
        """Whatever is left, so that the cluster is as it was."""
        for chart in (NAME, "packhound-crds"):
            self.helm("uninstall", chart, "-n", SPACE, "--wait", check=False, quiet=True)
        for kind in ("huntfilters", "clusterhuntfilters", "huntfleets"):
            self.kubectl("delete", "crd", f"{kind}.packhound.dev", "--ignore-not-found", check=False, quiet=True)
        self.kubectl("delete", "namespace", SPACE, SENSORS, "--ignore-not-found", check=False, quiet=True)
        for name in self.volumes:
            self.kubectl("delete", "pv", name, "--ignore-not-found", "--wait=false", check=False, quiet=True)
        for path in Path(os.environ.get("PACKHOUND_E2E_VOLUMES") or "/nowhere").glob(f"e2e-{os.getpid()}-*"):
            shutil.rmtree(path, ignore_errors=True)

    # filters -----------------------------------------------------------------------------------------------------------

    def filter(self, name: str, spec: dict[str, Any], *, space: str = "shop", check: bool = True) -> str:
        return self.apply(hunt_filter(name, spec, space=space), check=check)

    def status(self, name: str, space: str = "shop") -> dict[str, Any]:
        found = self.get("huntfilter", name, "-n", space)
        assert found is not None, f"no {space}/{name}"
        return {"generation": found["metadata"]["generation"], **found.get("status", {})}

    def holds(self, name: str, condition: str, status: str = "True", reason: str = "", *, space: str = "shop") -> dict[str, Any]:
        """Wait until a condition of the newest generation is so; gives the status."""
        def so() -> dict[str, Any] | None:
            found = self.status(name, space)
            rows = {each["type"]: each for each in found.get("conditions", ())}
            assert found.get("observedGeneration") == found["generation"], "no status of this generation"
            assert (rows[condition]["status"], reason or rows[condition]["reason"]) == (status, rows[condition]["reason"]), rows[condition]
            return found

        found: dict[str, Any] = eventually(so, f"{name}: {condition}={status} {reason}", within=SLOW, every=0.5)
        return found

    # people's tools --------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def watching(self, *words: object) -> Iterator[None]:
        """`kubectl get ... -w` meanwhile; its output goes into the transcript."""
        out = self.folder / f"watch-{time.time_ns()}"
        with out.open("wb") as file:
            child = subprocess.Popen([str(kubectl_binary()), *map(str, words)], env=self.environ, stdout=file, stderr=file)
            try:
                yield
            finally:
                child.terminate()
                child.wait(10)
        self.note(["kubectl", *map(str, words)], out.read_text())

    def plugin(self, *words: object) -> subprocess.Popen[bytes]:
        """`kubectl packhound ...`, begun."""
        return subprocess.Popen([sys.executable, "-m", "packhound.console.kubectl", *map(str, words)], env=self.environ,
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)  # fmt: skip

    def left(self) -> set[str]:
        """Everything in the cluster that is called or labelled packhound, but Events."""
        kinds = self.kubectl("api-resources", "--verbs=list", "-o", "name", quiet=True).split()
        asked = ",".join(kind for kind in kinds if kind.partition(".")[0] not in {"events", "apiservices", "namespaces", "persistentvolumes"})
        found = set()
        for each in self.get(asked, "-A")["items"]:
            meta = each["metadata"]
            labels = meta.get("labels") or {}
            if "packhound" in meta["name"] or labels.get("app.kubernetes.io/part-of") == "packhound":
                keep = " (keep)" if (meta.get("annotations") or {}).get("helm.sh/resource-policy") == "keep" else ""
                found.add(f"{each['kind']}/{meta['name']}{keep}")
        return found


def hunt_filter(name: str, spec: dict[str, Any], *, space: str = "shop") -> dict[str, Any]:
    return {"apiVersion": "packhound.dev/v1alpha1", "kind": "HuntFilter", "metadata": {"name": name, "namespace": space}, "spec": spec}


def values() -> dict[str, Any]:
    """Values of the chart for the images that the environment names."""
    asked = {"operator": "IMAGE", "sensor": "IMAGE", "processor": "IMAGE", "nats": "NATS_IMAGE", "redis": "REDIS_IMAGE"}
    images = {}
    for role, variable in asked.items():
        named = os.environ.get(f"PACKHOUND_E2E_{variable}")
        if named:
            registry, _, rest = named.partition("/")
            repository, _, tag = rest.rpartition(":")
            images[role] = {"registry": registry, "repository": repository, "tag": tag}
    return {"images": images}
