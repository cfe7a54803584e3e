"""A release over time, on a real API server: the next version of charts and kinds, a second fleet, a second release."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from packhound.api.huntfleet import HuntFleet
from packhound.operator import settings
from packhound.operator.desired import objects_of
from tests.support.helm import CHART, CRDS, Said, environment, helm, needs_helm, render
from tests.support.kube import Api, ApiError, ControlPlane, control_plane, needs_assets

pytestmark = [needs_helm, needs_assets, pytest.mark.slow]
SPACE, SENSORS = "hounds", "hounds-sensors"
MINE: dict[str, Any] = {"namespaces": {"sensors": {"name": SENSORS}}, "uninstall": {"deleteFleets": False},
                        "operator": {"replicas": 3}, "nats": {"fleets": ["edge"], "streams": {"packets": "1Gi"}}}  # fmt: skip
FILTER = {"apiVersion": "packhound.dev/v1alpha1", "kind": "HuntFilter", "metadata": {"name": "kept", "namespace": "default"},
          "spec": {"match": {"field": "dns.qname", "equals": ["a.example"]}}}  # fmt: skip


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("plane")) as made:
        made.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
        run(made, "install", "packhound-crds", CRDS)
        for kind in ("HuntFilter", "ClusterHuntFilter", "HuntFleet"):
            soon(lambda kind=kind: made.admin.items(kind) == [])
        run(made, "install", "packhound", CHART, values=MINE)
        yield made


def tried(plane: ControlPlane, *arguments: str | Path, values: Mapping[str, Any] | None = None, space: str = SPACE) -> Said:
    return helm(*arguments, "--namespace", space, values=values, kubeconfig=plane.admin.kubeconfig)


def run(plane: ControlPlane, *arguments: str | Path, values: Mapping[str, Any] | None = None) -> str:
    said = tried(plane, *arguments, values=values)
    assert said.code == 0, said.out + said.error
    return said.out


def soon(holds: Callable[[], Any], within: float = 120.0) -> Any:
    deadline = time.monotonic() + within
    while True:
        with contextlib.suppress(ApiError):
            if found := holds():
                return found
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.1)


def next_version(chart: Path, folder: Path) -> Path:
    """A copy of a chart as its next version."""
    copy = folder / chart.name
    shutil.copytree(chart, copy)
    meta = yaml.safe_load((copy / "Chart.yaml").read_text())
    (copy / "Chart.yaml").write_text(yaml.safe_dump(meta | {"version": "0.99.0"}))
    return copy


def strictly(api: Api, raw: Mapping[str, Any]) -> Any:
    """As kubectl creates it: what the schema does not know is refused."""
    path = api.path(raw["kind"], namespace=raw["metadata"].get("namespace", ""))
    return api.call("POST", f"{path}?fieldValidation=Strict", raw)


def test_kinds_of_the_next_version_take_more_and_keep_what_there_is(plane: ControlPlane, tmp_path: Path) -> None:
    api = plane.admin
    kept = strictly(api, FILTER)
    newer = {**FILTER, "metadata": {"name": "newer", "namespace": "default"}, "spec": {**FILTER["spec"], "ticket": "4711"}}
    with pytest.raises(ApiError, match=r'unknown field "spec.ticket"'):
        strictly(api, newer)
    chart = next_version(CRDS, tmp_path)
    for name in ("huntfilters", "clusterhuntfilters"):
        path = chart / "templates" / f"{name}.yaml"
        text = path.read_text()
        place = text.index("                purpose:\n") if "                purpose:\n" in text else text.index("              purpose:\n")
        indent = " " * (len(text[place:]) - len(text[place:].lstrip()))
        path.write_text(text[:place] + f"{indent}ticket:\n{indent}  type: string\n{indent}  maxLength: 8\n" + text[place:])
    run(plane, "upgrade", "packhound-crds", chart)
    soon(lambda: strictly(api, newer))
    assert api.get("HuntFilter", "newer", "default")["spec"]["ticket"] == "4711"
    after = api.get("HuntFilter", "kept", "default")
    assert (after["spec"], after["metadata"]["uid"]) == (kept["spec"], kept["metadata"]["uid"])
    wrong = {**newer, "metadata": {"name": "wrong", "namespace": "default"}, "spec": {**newer["spec"], "ticket": "much too long"}}
    soon(lambda: "Too long" in refusal_of(api, wrong))
    run(plane, "rollback", "packhound-crds", "1")
    soon(lambda: "unknown field" in refusal_of(api, {**newer, "metadata": {"name": "again", "namespace": "default"}}))
    assert "ticket" not in api.get("HuntFilter", "newer", "default")["spec"], "what the kind no longer knows is pruned"
    for name in ("kept", "newer"):
        api.delete("HuntFilter", name, "default")


def refusal_of(api: Api, raw: Mapping[str, Any]) -> str:
    try:
        strictly(api, raw)
    except ApiError as error:
        return str(error)
    api.delete(raw["kind"], raw["metadata"]["name"], raw["metadata"].get("namespace", ""))
    return ""


def test_the_next_version_of_the_chart_has_a_new_value_and_keeps_ours(plane: ControlPlane, tmp_path: Path) -> None:
    api = plane.admin
    before = {kind: api.get(kind, name, space)["metadata"]["uid"]
              for kind, name, space in (("HuntFleet", "main", ""), ("StatefulSet", "packhound-nats", SPACE), ("Secret", "packhound-nats-server", SPACE))}  # fmt: skip
    passwords = api.get("Secret", "packhound-nats-server", SPACE)["data"]
    chart = next_version(CHART, tmp_path)
    values = (chart / "values.yaml").read_text()
    (chart / "values.yaml").write_text(values.replace("operator:\n  # -- Replicas", "operator:\n  pace: 7\n  # -- Replicas", 1))
    schema = json.loads((chart / "values.schema.json").read_text())
    schema["properties"]["operator"]["properties"]["pace"] = {"type": "integer", "minimum": 1}
    (chart / "values.schema.json").write_text(json.dumps(schema))
    account = chart / "templates" / "operator" / "service.yaml"
    account.write_text(account.read_text().replace("spec:\n", "  annotations: {pace: {{ .Values.operator.pace | quote }}}\nspec:\n", 1))
    assert "additional properties 'pace' not allowed" in tried(plane, "upgrade", "packhound", CHART, "--reset-then-reuse-values",
                                                               values={"operator": {"pace": 3}}).error  # fmt: skip
    run(plane, "upgrade", "packhound", chart, "--reset-then-reuse-values")
    assert api.get("Service", "packhound-operator", SPACE)["metadata"]["annotations"]["pace"] == "7"
    deployment = api.call("GET", f"/apis/apps/v1/namespaces/{SPACE}/deployments/packhound-operator")
    assert deployment["spec"]["replicas"] == 3, "values of ours stay"
    run(plane, "upgrade", "packhound", chart, "--reset-then-reuse-values", values={"operator": {"pace": 3}})
    assert api.get("Service", "packhound-operator", SPACE)["metadata"]["annotations"]["pace"] == "3"
    assert "/operator/pace" in tried(plane, "upgrade", "packhound", chart, "--reset-then-reuse-values", values={"operator": {"pace": 0}}).error
    after = {kind: api.get(kind, name, space)["metadata"]["uid"]
             for kind, name, space in (("HuntFleet", "main", ""), ("StatefulSet", "packhound-nats", SPACE), ("Secret", "packhound-nats-server", SPACE))}  # fmt: skip
    assert after == before, "nothing was made anew"
    assert api.get("Secret", "packhound-nats-server", SPACE)["data"] == passwords
    run(plane, "rollback", "packhound", "1")
    assert "annotations" not in api.get("Service", "packhound-operator", SPACE)["metadata"] or "pace" not in api.get(
        "Service", "packhound-operator", SPACE)["metadata"]["annotations"]  # fmt: skip


def test_two_fleets_lie_side_by_side(plane: ControlPlane) -> None:
    """As the operator of this release makes them: no object of one is an object of the other."""
    api = plane.admin
    edge = api.create({"apiVersion": "packhound.dev/v1alpha1", "kind": "HuntFleet", "metadata": {"name": "edge"},
                       "spec": {"sensor": {"nodeSelector": {"zone": "edge"}}}})  # fmt: skip
    found = settings.read(environ=environment(render(MINE, namespace=SPACE))).value
    site = settings.site(found, json.loads(found.operator.resources))
    seen: dict[tuple[str, str, str], str] = {}
    for raw in (api.get("HuntFleet", "main"), edge):
        fleet = HuntFleet.model_validate({key: raw[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": raw["metadata"]["name"]}})
        for each in objects_of(fleet, site, uid=raw["metadata"]["uid"]):
            meta = each["metadata"]
            key = (each["kind"], meta["namespace"], meta["name"])
            assert key not in seen, f"{key} of {seen.get(key)} and {fleet.metadata.name}"
            seen[key] = fleet.metadata.name
            api.call("PATCH", api.path(each["kind"], meta["name"], meta["namespace"]) + "?fieldManager=packhound", each,
                     "application/apply-patch+yaml")  # fmt: skip
    for kind, space in (("DaemonSet", SENSORS), ("StatefulSet", SPACE)):
        owners = {each["metadata"]["name"]: each["metadata"]["ownerReferences"][0]["name"]
                  for each in api.items(kind, space) if "ownerReferences" in each["metadata"]}  # fmt: skip
        role = "sensor" if kind == "DaemonSet" else "processor"
        assert owners == {f"packhound-main-{role}": "main", f"packhound-edge-{role}": "edge"}


def test_a_second_release_is_refused_with_what_to_do_instead(plane: ControlPlane) -> None:
    said = tried(plane, "install", "second", CHART, "--create-namespace", space="elsewhere",
                 values={"namespaces": {"sensors": {"name": "elsewhere-sensors"}}, "fleet": {"name": "other"}})  # fmt: skip
    assert said.code != 0
    assert f"this cluster has an operator already, of the release {SPACE}/packhound" in said.error
    assert "nats.fleets" in said.error
    assert {each["metadata"]["name"] for each in plane.admin.items("HuntFleet")} <= {"main", "edge"}
