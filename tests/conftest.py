"""What holds for every test: our environment variables of the person who runs them do not count, and markers do."""

from __future__ import annotations

import os

import pytest

KEPT = {"PACKHOUND_CORPUS"}  # says where the corpus is; everything else with our prefix would be a setting


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("PACKHOUND_") and name not in KEPT:
            monkeypatch.delenv(name)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip `needs_root` tests, with the reason, when we are not root."""
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="needs root")
    for item in items:
        if item.get_closest_marker("needs_root"):
            item.add_marker(skip)
