"""The images are what the chart and SECURITY.md count on; each role starts with the dependencies of its image alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from packhound.api.huntfleet import HuntFleet
from packhound.kit.settings import load
from packhound.operator.desired import Site, objects_of
from packhound.run.options import RESERVED, Options
from tests.support.helm import pods

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "images"
ROLES = ("sensor", "processor", "operator")
# Distributions that only some roles have, and the module by which one notices.
OWN = {"duckdb": "duckdb", "redis": "redis", "hiredis": "hiredis", "kopf": "kopf", "kubernetes": "kubernetes",
       "cryptography": "cryptography", "grpcio": "grpc", "nats-py": "nats", "cyclopts": "cyclopts"}  # fmt: skip
START = {"sensor": "packhound.run.sensing", "processor": "packhound.run.processing", "operator": "packhound.operator.__main__"}


def _lines(role: str) -> list[str]:
    text = (IMAGES / f"{role}.Dockerfile").read_text()
    return re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", text)).splitlines()


def _extras(role: str) -> list[str]:
    found = re.search(r"'\.\[([a-z,]+)\]'", "\n".join(_lines(role)))
    assert found
    return found[1].split(",")


def _brought(extras: list[str]) -> set[str]:
    """Names of the distributions that extras bring, those of other extras included."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    found: set[str] = set()
    for extra in extras:
        for each in declared[extra]:
            name, _, inner = each.partition("[")
            if name == "packhound":
                found |= _brought(inner.partition("]")[0].split(","))
            else:
                found.add(re.split(r"[\[<>=;! ]", each)[0])
    return found


@pytest.mark.parametrize("role", ROLES)
def test_an_image_has_stages_no_shell_and_the_least_user(role: str) -> None:
    lines = _lines(role)
    stages = [line for line in lines if line.startswith("FROM ")]
    assert len(stages) == 2
    assert stages[0].endswith(" AS build")
    assert "distroless" in stages[1]
    final = lines[lines.index(stages[1]):]
    assert not [line for line in final if line.startswith(("RUN ", "ADD ", "SHELL "))]
    users = [line.split()[1] for line in final if line.startswith("USER ")]
    assert users == (["0:0"] if role == "sensor" else ["10001:10001"])
    assert final[-2:] == ['ENTRYPOINT ["/opt/venv/bin/packhound"]', f'CMD ["{role}"]']


def test_images_differ_only_in_what_their_roles_differ() -> None:
    def common(role: str) -> list[str]:
        lines = [line for line in _lines(role) if not line.startswith(("USER", "CMD", "LABEL"))]
        plain = [re.sub(r"'\.\[[a-z,]+\]'", "EXTRAS", line) for line in lines]
        return [re.sub(r'/opt/venv/bin/python -c "[^"]*" &&\s*', "", line).replace("  ", " ") for line in plain]

    first, *others = ([re.sub(r"\s+", " ", line) for line in common(role)] for role in ROLES)
    assert all(each == first for each in others)


def test_everything_that_an_image_copies_is_let_through() -> None:
    through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for role in ROLES:
        for line in _lines(role):
            if line.startswith("COPY ") and "--from" not in line:
                assert set(line.split()[1:-1]) <= through


def test_the_processors_image_has_what_a_sensor_needs() -> None:
    """The operator runs it for a HuntFleet that names no image."""
    assert _brought(_extras("sensor")) <= _brought(_extras("processor"))


def test_the_sensors_image_is_the_smallest_of_those_that_touch_packets() -> None:
    assert not {"duckdb", "redis", "kubernetes", "kopf"} & _brought(_extras("sensor"))
    assert not {"kubernetes", "kopf"} & _brought(_extras("processor"))
    assert not {"duckdb", "redis"} & _brought(_extras("operator"))


@pytest.mark.parametrize("role", ROLES)
def test_a_role_starts_with_the_dependencies_of_its_image(role: str) -> None:
    brought = _brought(_extras(role))
    lacking = [module for name, module in OWN.items() if name not in brought]
    script = f"""
import importlib, sys
class Lacking:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {lacking!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Lacking())
from packhound.console.cli import main
importlib.import_module({START[role]!r})
sys.argv = ["packhound", {role!r}, "--help"]
sys.exit(main())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60,
                          env={"PATH": os.environ["PATH"]})  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]


def test_what_the_operator_makes_runs_in_these_images() -> None:
    """Commands and variables of the pods of a fleet are ones that the processes know."""
    fleet = HuntFleet.model_validate({"apiVersion": "packhound.dev/v1alpha1", "kind": "HuntFleet", "metadata": {"name": "main"},
                                      "spec": {}})  # fmt: skip
    seen = set()
    site = Site(nats_secret="n", redis_secret="r", otlp="http://c:4317", cluster="c", nats_tls_secret="t", nats_tls_client=True,
                api_secret="a", api_tokens="b", streams={"packets": 64, "pods": 8}, stream_replicas=3)  # fmt: skip
    for name, _, spec in pods(objects_of(fleet, site)):
        (container,) = spec["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True, name
        env = {row["name"]: row.get("value", "from-a-field") for row in container["env"]}
        load(Options, environ=env, reserved=RESERVED)
        mounts = tuple(each["mountPath"] for each in container["volumeMounts"])
        files = [value for value in env.values() if value.startswith("/run/secrets/")]
        assert len(files) >= 4, name
        assert all(value.startswith(mounts) for value in files), name
        assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in spec["volumes"]} | (
            {"recordings"} if name.startswith("StatefulSet") else set()
        )
        seen.add(container["args"][0])
    assert seen == {"sensor", "processor"}


def test_tilt_builds_the_images_that_the_chart_runs() -> None:
    text = (ROOT / "Tiltfile").read_text()
    values = yaml.safe_load((ROOT / "charts" / "packhound" / "values.yaml").read_text())
    for role in ROLES:
        assert f"{values['image']['registry']}/{values['images'][role]['repository']}" in text
        assert f"images/{role}.Dockerfile" in text or "images/{}.Dockerfile" in text
