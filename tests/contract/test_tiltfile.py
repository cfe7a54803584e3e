"""The Tiltfile, run against a stand-in of Tilt's API: what it names is there, and the chart takes what it sets.

Starlark is Python enough here: no `while`, no imports, strings formatted with `%`. The stand-in knows the functions and
arguments of Tilt that are used, and refuses others, as Tilt does.
"""

from __future__ import annotations

import ast
import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.helm import BINARY, helm, needs_helm, pick, pods, render

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Tiltfile").read_text()
MANUAL = object()


class Tilt:
    """What the file asked for."""

    def __init__(self) -> None:
        self.images: dict[str, dict[str, Any]] = {}
        self.helms: list[tuple[str, str, str, list[str]]] = []
        self.yamls: list[Any] = []
        self.resources: dict[str, dict[str, Any]] = {}
        self.locals: dict[str, dict[str, Any]] = {}
        self.kinds: dict[str, list[str]] = {}
        self.spaces: list[str] = []
        self.contexts: list[str] = []

    def names(self) -> dict[str, Any]:
        def load(extension: str, *names: str) -> None:
            assert extension.startswith("ext://")
            assert names == ("namespace_create",)

        def docker_build(ref: str, context: str, *, dockerfile: str, only: list[str], match_in_env_vars: bool = False) -> None:
            assert (ROOT / context).is_dir()
            self.images[ref] = {"dockerfile": dockerfile, "only": only, "variables": match_in_env_vars}

        def helm_(path: str, *, name: str, namespace: str, set: list[str] | None = None) -> tuple[str, str]:
            self.helms.append((path, name, namespace, set or []))
            return path, name

        def k8s_resource(
            workload: str = "", *, new_name: str = "", objects: list[str] | None = None, port_forwards: list[str] | None = None,
            resource_deps: list[str] | None = None, labels: list[str] | None = None,
        ) -> None:
            self.resources[new_name or workload] = {
                "objects": objects or [], "ports": port_forwards or [], "deps": resource_deps or [], "labels": labels,
            }

        def local_resource(
            name: str, cmd: str, *, deps: list[str] | None = None, labels: list[str] | None = None, trigger_mode: object = None,
            auto_init: bool = True, resource_deps: list[str] | None = None,
        ) -> None:
            self.locals[name] = {"cmd": cmd, "sources": deps or [], "deps": resource_deps or [], "manual": trigger_mode is MANUAL,
                                 "labels": labels, "first": auto_init}  # fmt: skip

        return {
            "load": load, "docker_build": docker_build, "helm": helm_, "k8s_resource": k8s_resource, "local_resource": local_resource,
            "allow_k8s_contexts": self.contexts.extend, "k8s_yaml": self.yamls.append, "TRIGGER_MODE_MANUAL": MANUAL,
            "namespace_create": lambda name, labels: self.spaces.append(f"{name} {labels}"),
            "k8s_kind": lambda kind, image_json_path, pod_readiness: self.kinds.update({kind: image_json_path}),
        }  # fmt: skip


@pytest.fixture(scope="module")
def tilt() -> Tilt:
    made = Tilt()
    exec(compile(TEXT, "Tiltfile", "exec"), {"__builtins__": {"len": len, "str": str}} | made.names())
    return made


def test_it_is_starlark() -> None:
    """Nothing of Python that Starlark has not."""
    tree = ast.parse(TEXT)
    foreign = (ast.Import, ast.ImportFrom, ast.While, ast.ClassDef, ast.Try, ast.With, ast.JoinedStr, ast.AsyncFunctionDef, ast.Global,
               ast.Raise, ast.Assert, ast.NamedExpr, ast.Yield)  # fmt: skip
    assert [type(node).__name__ for node in ast.walk(tree) if isinstance(node, foreign)] == []
    loops = [node for node in tree.body if isinstance(node, ast.For | ast.If)]
    assert loops == [], "at the top level Starlark has no loops"


def test_what_it_builds_and_watches_is_there(tilt: Tilt) -> None:
    assert set(tilt.images) == {f"ghcr.io/packhound-dev/{role}" for role in ("operator", "processor", "sensor")}
    for image in tilt.images.values():
        text = (ROOT / image["dockerfile"]).read_text()
        copied = {word.rstrip("/") for line in text.splitlines() if line.startswith("COPY ") and "--from" not in line for word in line.split()[1:-1]}
        assert copied <= set(image["only"]), image["dockerfile"]
        assert all((ROOT / each).exists() for each in image["only"])
    for each in tilt.locals.values():
        assert all((ROOT / source).exists() for source in each["sources"])
    targets = shlex.split(tilt.locals["generated"]["cmd"])
    assert targets[0] == "make"
    assert all(f"\n{target}:" in (ROOT / "Makefile").read_text() for target in targets[1:])
    assert all(context.startswith("kind-") for context in tilt.contexts), "never somebody's cluster"


def test_what_waits_for_something_waits_for_what_is_there(tilt: Tilt) -> None:
    known = {*tilt.resources, *tilt.locals}
    for name, each in {**tilt.resources, **tilt.locals}.items():
        assert set(each["deps"]) <= known, name
        assert each["labels"], name
    assert tilt.locals["canary"]["manual"]
    assert not tilt.locals["canary"]["first"]


@needs_helm
def test_the_charts_take_what_it_sets(tilt: Tilt) -> None:
    assert [(path, name) for path, name, _, _ in tilt.helms] == [("charts/packhound-crds", "packhound-crds"), ("charts/packhound", "packhound")]
    objects: list[dict[str, Any]] = []
    for path, name, namespace, values in tilt.helms:
        more = [word for each in values for word in ("--set", each)]
        objects += render(chart=ROOT / path, release=name, namespace=namespace, more=more)
        assert tilt.spaces[0].startswith(f"{namespace} ")
    workloads = {each["metadata"]["name"]: each for each in objects if each["kind"] in {"Deployment", "StatefulSet"}}
    extra = list(yaml.safe_load_all((ROOT / "docs" / "jaeger.yaml").read_text()))
    workloads |= {each["metadata"]["name"]: each for each in extra if each["kind"] == "Deployment"}
    for name, each in tilt.resources.items():
        if each["objects"]:
            (found,) = (each["objects"][0].split(":"),)
            assert pick(objects, "HuntFleet", found[0])
            continue
        ports = {port["containerPort"] for container in workloads[name]["spec"]["template"]["spec"]["containers"] for port in container.get("ports", ())}
        assert {int(pair.rpartition(":")[2]) for pair in each["ports"]} <= ports, name
    assert not [each for each in objects if each["kind"] == "Secret" and each.get("data")], "each rendering would make new passwords"
    fleet = pick(objects, "HuntFleet", "main")
    run = {spec["containers"][0]["image"].rpartition(":")[0] for _, _, spec in pods(objects)}
    run |= {_at(fleet, path).rpartition(":")[0] for path in tilt.kinds["HuntFleet"]}
    assert set(tilt.images) <= run, "every image that is built is one that runs"
    assert all(str(each).endswith(".yaml") for each in tilt.yamls if isinstance(each, str))


def _at(value: Any, path: str) -> Any:
    for key in path.strip("{}.").split("."):
        value = value[key]
    return value


@needs_helm
def test_its_passwords_have_the_keys_that_the_chart_makes(tilt: Tilt) -> None:
    assert "charts/live-loop.yaml" in tilt.yamls
    ours = {(each["metadata"]["name"], each["metadata"]["namespace"]): each["stringData"]
            for each in yaml.safe_load_all((ROOT / "charts" / "live-loop.yaml").read_text())}  # fmt: skip
    made = {(each["metadata"]["name"], each["metadata"]["namespace"]): {**each.get("data", {}), **each.get("stringData", {})}
            for each in render() if each["kind"] == "Secret"}  # fmt: skip
    pairs = {"live-loop-broker": "packhound-nats-server", "live-loop-operator": "packhound-nats-operator",
             "live-loop-clients": "packhound-nats", "live-loop-state": "packhound-redis", "live-loop-state-server": "packhound-redis-server"}
    for (name, space), data in ours.items():
        assert set(data) == set(made[pairs[name], space]), name
    values = dict(each.split("=", 1) for each in tilt.helms[1][3] if "Secret=" in each)
    assert {key.rpartition(".")[2]: None for key in values} == {"serverSecret": None, "operatorSecret": None, "clientsSecret": None}
    assert set(values.values()) == {name for name, _ in ours}
    digest = hashlib.sha256(ours["live-loop-state", "packhound"]["password"].encode()).hexdigest()
    assert f"#{digest} " in ours["live-loop-state-server", "packhound"]["users.acl"]
    broker = ours["live-loop-broker", "packhound"]
    for role, key in (("operator", ("live-loop-operator", "packhound")), ("processor", ("live-loop-clients", "packhound")),
                      ("sensor", ("live-loop-clients", "packhound-sensors"))):  # fmt: skip
        assert broker[role] == ours[key][role]


@needs_helm
def test_the_canarys_command_renders_the_canary(tilt: Tilt) -> None:
    command = tilt.locals["canary"]["cmd"]
    words = shlex.split(next(part for part in command.split(";") if "helm template" in part).split("|")[0].partition("&&")[0])
    assert words[0] == "helm"
    assert BINARY is not None
    words[2:4] = ["packhound", str(ROOT / "charts" / "packhound")]
    done = helm(*words[1:])
    assert done.code == 0, done.error
    assert json.dumps(yaml.safe_load(done.out)["metadata"]["name"]) == '"packhound-canary"'
