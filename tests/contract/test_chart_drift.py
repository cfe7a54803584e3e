"""What the charts take from elsewhere is up to date, and every value is explained in the README."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from charts import build

CHARTS = Path(__file__).resolve().parents[2] / "charts"


def test_the_charts_are_up_to_date() -> None:
    assert [str(path.relative_to(CHARTS)) for path in build.drift()] == [], "run `make charts`"


@pytest.mark.parametrize("chart", ["packhound", "packhound-crds"])
def test_every_value_is_explained(chart: str) -> None:
    text = (CHARTS / chart / "values.yaml").read_text()
    assert build.undocumented(text) == []


def test_a_readme_has_a_row_for_every_value() -> None:
    text = "a:\n  # -- What b is\n  b: 1\n  # -- A map|of things\n  c: {d: [x]}\n# -- Last\ne: ''\n"
    assert list(build.rows(text)) == [
        build.Row("a.b", "int", "`1`", "What b is"),
        build.Row("a.c", "object", '`{"d": ["x"]}`', "A map|of things"),
        build.Row("e", "string", '`""`', "Last"),
    ]
    assert build.undocumented("a:\n  # -- told\n  b: 1\n  c: 2\n") == ["a.c"]


def test_the_kinds_are_those_of_the_models_with_labels_and_kept() -> None:
    for name in build.KINDS:
        copied = (CHARTS / "packhound-crds" / "templates" / f"{name}.yaml").read_text()
        lines = [line for line in copied.splitlines() if "{{" not in line]
        made = yaml.safe_load("\n".join(lines))
        source = yaml.safe_load((CHARTS.parent / "crds" / f"{name}.yaml").read_text())
        assert made["spec"] == source["spec"]
        assert made["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_a_crd_that_would_be_taken_for_a_template_is_refused() -> None:
    with pytest.raises(ValueError, match="template"):
        build.kind_template("metadata:\n  name: x\n# {{ .Values }}\n")


def test_rights_of_the_broker_are_those_of_the_code() -> None:
    rights = build.broker_rights()
    assert set(rights) == {"operator", "processor", "sensor"}
    for role, found in rights.items():
        said = found["publish"] + found["subscribe"]
        assert ">" not in said, role
        assert all("FLEET" in each for each in said), role
        assert not any("HERE" in each or "here" in each for each in said), role
