"""Every test of this folder that asks for `walker` runs on the native and on the portable walk."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from packhound.sensor.tap import index


@pytest.fixture(params=["native", "portable"])
def walker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Which walk is in force."""
    if request.param == "native" and index._native is None:
        pytest.skip("the native kernel is not built")
    if request.param == "portable":
        monkeypatch.setattr(index, "_native", None)
    yield request.param
