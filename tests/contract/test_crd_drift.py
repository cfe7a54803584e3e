"""The CustomResourceDefinitions in crds/ are what the models say."""

from __future__ import annotations

from packhound.api import schema


def test_crds_are_up_to_date() -> None:
    assert [path.name for path in schema.drift()] == [], "run `make crds`"
