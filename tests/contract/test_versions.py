"""The version is the same wherever it is written."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

from packhound.console import cli, kubectl
from packhound.run import links

ROOT = Path(__file__).resolve().parents[2]


def test_everything_says_the_same_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {cli.VERSION, kubectl.VERSION, links.VERSION} == {version}
    for chart in ("packhound", "packhound-crds"):
        meta = yaml.safe_load((ROOT / "charts" / chart / "Chart.yaml").read_text())
        assert {str(meta["version"]), str(meta["appVersion"])} == {version}, chart
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
