"""The CRDs: structural as Kubernetes demands, small enough to apply, and saying of the examples what the models say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from packhound.api import schema
from packhound.fields import FIELDS

EXAMPLES = Path(__file__).resolve().parents[3] / "crds" / "examples"
KINDS = {kind.name: kind for kind in schema.KINDS}
SCALED = (".spec", ".spec.processor", ".spec.processor.replicas")  # what the scale sub-resource reads is always there
OPEN, INT_OR_STRING = "x-kubernetes-preserve-unknown-fields", "x-kubernetes-int-or-string"
ANNOTATION_LIMIT = 262_144  # bytes: `kubectl apply` keeps the whole object in an annotation


def whole(kind: schema.Kind) -> dict[str, Any]:
    return schema.crd(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def nodes(node: dict[str, Any], path: str = "") -> list[tuple[str, dict[str, Any]]]:
    found = [(path, node)]
    for name, each in node.get("properties", {}).items():
        found += nodes(each, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if key in node:
            found += nodes(node[key], f"{path}[]")
    return found


@pytest.mark.parametrize("kind", schema.KINDS, ids=lambda kind: kind.name)
def test_every_node_is_structural(kind: schema.Kind) -> None:
    for path, node in nodes(whole(kind)):
        assert "type" in node or node.get(OPEN) or node.get(INT_OR_STRING), path
        assert not {"anyOf", "$ref", "allOf", "title"} & node.keys(), path
        assert ("default" in node) is (kind.name == "HuntFleet" and path in SCALED), path
        assert (node.get("type") == "array") == ("items" in node), path
        assert not ("properties" in node and "additionalProperties" in node), path
        assert not (node.get("nullable") and "enum" in node), path


@pytest.mark.parametrize("kind", schema.KINDS, ids=lambda kind: kind.name)
def test_it_can_be_applied(kind: schema.Kind) -> None:
    assert len(json.dumps(schema.crd(kind))) < ANNOTATION_LIMIT
    assert yaml.safe_load(schema.text_of(kind)) == schema.crd(kind)


def test_names_and_columns() -> None:
    short = {kind.name: schema.crd(kind)["spec"]["names"]["shortNames"] for kind in schema.KINDS}
    assert short == {"HuntFilter": ["hf"], "ClusterHuntFilter": ["chf"], "HuntFleet": ["hfl"]}
    for kind in schema.KINDS:
        crd = schema.crd(kind)
        version = crd["spec"]["versions"][0]
        assert crd["spec"]["names"]["categories"] == ["hunt"]
        assert set(version["subresources"]) == ({"status", "scale"} if kind.scale else {"status"})
        for path in (kind.scale or ()) + kind.selectable:
            assert leads_somewhere(path, whole(kind)), path
        columns = [each["name"] for each in version["additionalPrinterColumns"]]
        wanted = ["READY", "SENSORS", "MATCHED", "LOST", "EXPIRES", "AGE"]
        assert columns == [each for each in wanted if each != "EXPIRES" or kind.name != "HuntFleet"]
        for each in version["additionalPrinterColumns"][:-1]:
            assert leads_somewhere(each["jsonPath"], whole(kind)), each


def leads_somewhere(path: str, node: dict[str, Any]) -> bool:
    for part in re.findall(r"\.(\w+)(?![^\[]*\])", path):
        node = node["items"] if "items" in node else node
        node = node.get("properties", {}).get(part, {})
    return bool(node)


def test_only_fields_that_a_filter_may_use_are_admitted() -> None:
    spec = whole(KINDS["HuntFilter"])["properties"]["spec"]["properties"]
    admitted = spec["match"]["properties"]["field"]["enum"]
    assert set(admitted) == {row.name for row in FIELDS.values() if row.matchable and row.filled_by}


def test_check_finds_drift(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert schema.main([str(tmp_path)]) == 0
    assert schema.main(["--check", str(tmp_path)]) == 0
    (tmp_path / "huntfleets.yaml").write_text("x")
    assert schema.main(["--check", str(tmp_path)]) == 1
    assert "huntfleets.yaml is out of date" in capsys.readouterr().err
    assert schema.main(["--what"]) == 2


# what an API server would say of an object ---------------------------------------------------------------------------


def faults(value: Any, node: dict[str, Any], path: str = "") -> list[str]:
    """A validator of the keywords that the CRDs use."""
    if value is None and node.get("nullable"):
        return []
    if node.get(INT_OR_STRING):
        return [] if isinstance(value, int | str) and not isinstance(value, bool) else [f"{path}: type"]
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
    kind = node.get("type")
    if kind and (not isinstance(value, kinds[kind]) or (isinstance(value, bool) and kind in ("integer", "number"))):
        return [f"{path}: type"]
    found = [f"{path}: enum"] if "enum" in node and value not in node["enum"] else []
    found += _bounds(value, node, path)
    if isinstance(value, dict) and not (node.get(OPEN) and "properties" not in node):
        properties = node.get("properties", {})
        found += [f"{path}.{name}: missing" for name in node.get("required", ()) if name not in value]
        found += [f"{path}.{name}: unknown" for name in value if name not in properties and not _open(node)]
        for name, each in value.items():
            found += faults(each, properties.get(name, node.get("additionalProperties", {})), f"{path}.{name}")
        if "oneOf" in node and sum(not _lacks(value, each) for each in node["oneOf"]) != 1:
            found.append(f"{path}: oneOf")
    if isinstance(value, list):
        found += [each for i, part in enumerate(value) for each in faults(part, node.get("items", {}), f"{path}[{i}]")]
    return found


def _open(node: dict[str, Any]) -> bool:
    return bool(node.get(OPEN)) or "additionalProperties" in node or not node


def _lacks(value: dict[str, Any], node: dict[str, Any]) -> bool:
    if any(name not in value for name in node.get("required", ())):
        return True
    return "oneOf" in node and sum(not _lacks(value, each) for each in node["oneOf"]) != 1


def _bounds(value: Any, node: dict[str, Any], path: str) -> list[str]:
    found = []
    if isinstance(value, str | list | dict):
        low = next((node[key] for key in ("minLength", "minItems", "minProperties") if key in node), 0)
        high = next((node[key] for key in ("maxLength", "maxItems", "maxProperties") if key in node), len(value))
        found += [] if low <= len(value) <= high else [f"{path}: size"]
    if isinstance(value, str) and "pattern" in node and not re.search(node["pattern"], value):
        found.append(f"{path}: pattern")
    if isinstance(value, int | float) and ("minimum" in node or "maximum" in node):
        low, high = node.get("minimum", value), node.get("maximum", value)
        found += (
            [] if low <= value <= high and not (node.get("exclusiveMinimum") and value == low) else [f"{path}: range"]
        )
    return found


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_are_admitted(path: Path) -> None:
    for value in yaml.safe_load_all(path.read_text("utf-8")):
        spec = whole(KINDS[value["kind"]])["properties"]["spec"]
        assert faults(value.get("spec", {}), spec) == []


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ({"match": {"field": "sip.usr", "equals": "a"}}, ".match.field: enum"),
        ({"match": {"field": "sip.user"}}, ".match: oneOf"),
        ({"match": {"field": "sip.user", "equals": "a", "glob": "b"}}, ".match: oneOf"),
        ({"match": {"any": [{"field": "port", "equals": 5}], "field": "port", "equals": 5}}, ".match: oneOf"),
        ({"match": {}}, ".match: oneOf"),
        ({"match": {"all": []}}, ".match.all: size"),
        ({"match": {"any": [{"field": "x", "equals": [1]}]}}, ".match.any[0].field: enum"),
        ({"match": {"not": {"any": [{"field": "X y", "equals": [1]}]}}}, ".match.not.any[0].field: pattern"),
        ({"match": {"field": "port", "equals": 5}}, ".match.equals: type"),
        ({"scope": "dialog"}, ".scope: enum"),
        ({"sample": {"rate": 0}}, ".sample.rate: range"),
        ({"suspend": "no"}, ".suspend: type"),
        ({"huh": 1}, ".huh: unknown"),
        ({"budget": {"totalBytes": True}}, ".budget.totalBytes: type"),
    ],
)
def test_what_the_schema_can_see_is_not_admitted(spec: dict[str, Any], fault: str) -> None:
    assert fault in faults(spec, whole(KINDS["HuntFilter"])["properties"]["spec"])


def test_what_both_accept() -> None:
    spec = {"match": {"any": [{"not": {"field": "port", "equals": [5]}}]}, "actions": {"record": None}, "suspend": False}
    assert faults(spec, whole(KINDS["HuntFilter"])["properties"]["spec"]) == []
