"""The real helm: where it is, what it renders, refuses and installs. Without one, tests that need it are skipped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "packhound"
CRDS = ROOT / "charts" / "packhound-crds"
Object = dict[str, Any]


def _found() -> str | None:
    beside = [Path(sys.executable).parent / "helm", Path(os.environ.get("KUBEBUILDER_ASSETS") or "/nowhere") / "helm"]
    for path in beside:
        if os.access(path, os.X_OK):
            return str(path)
    return shutil.which("helm")


BINARY = _found()
needs_helm = pytest.mark.skipif(BINARY is None, reason="needs helm (`make helm`)")


class Said(NamedTuple):
    """What helm said: exit code, standard output, standard error."""

    code: int
    out: str
    error: str


def helm(*arguments: str | Path, values: Mapping[str, Any] | None = None, kubeconfig: Path | None = None) -> Said:
    """Run helm; `values` go in as a file. Without `kubeconfig` it can reach no cluster."""
    assert BINARY is not None
    given = [BINARY, *map(str, arguments), *(["--values", "-"] if values is not None else [])]
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "HELM_DRIVER": "secret"}
    environ["KUBECONFIG"] = str(kubeconfig or "/dev/null")
    text = None if values is None else yaml.safe_dump(dict(values))
    done = subprocess.run(given, input=text, capture_output=True, text=True, timeout=300, env=environ)
    return Said(done.returncode, done.stdout, done.stderr)


def render(
    values: Mapping[str, Any] | None = None, *, chart: Path = CHART, release: str = "packhound",
    namespace: str = "packhound", more: Sequence[str] = (),
) -> list[Object]:  # fmt: skip
    """Every object that an installation would send."""
    said = helm("template", release, chart, "--namespace", namespace, *more, values=values or {})
    assert said.code == 0, said.error
    return [each for each in yaml.safe_load_all(said.out) if each]


def refusal(values: Mapping[str, Any], *, chart: Path = CHART) -> str:
    """Why helm does not take such values."""
    said = helm("template", "packhound", chart, "--namespace", "packhound", values=values)
    assert said.code != 0, "these values are taken"
    return said.error


def pick(objects: Sequence[Object], kind: str, name: str | None = None, namespace: str | None = None) -> Object:
    """The one object of that kind (and name, and namespace)."""
    found = [
        each for each in objects
        if each["kind"] == kind and name in (None, each["metadata"]["name"])
        and namespace in (None, each["metadata"].get("namespace"))
    ]  # fmt: skip
    assert len(found) == 1, [(each["kind"], each["metadata"]["name"]) for each in found or objects]
    return found[0]


def pods(objects: Sequence[Object]) -> Iterator[tuple[str, Object, Object]]:
    """Name, metadata and spec of every pod that the objects make."""
    for each in objects:
        template = each if each["kind"] == "Pod" else (each.get("spec") or {}).get("template")
        if each["kind"] in {"Pod", "Deployment", "StatefulSet", "DaemonSet", "Job"} and template:
            yield f"{each['kind']}/{each['metadata']['name']}", template["metadata"], template["spec"]


def environment(objects: Sequence[Object]) -> dict[str, str]:
    """The operator's variables; those that come from its pod as the name of a field."""
    container = pick(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    return {
        row["name"]: row.get("value", json.dumps(row.get("valueFrom"))) for row in container["env"]
    }  # fmt: skip
