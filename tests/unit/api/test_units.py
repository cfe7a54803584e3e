"""Durations and quantities as Kubernetes writes them."""

from __future__ import annotations

import pytest

from packhound.api.units import SECOND, duration_ns, quantity


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("2h", 7200), ("1h30m", 5400), ("0s", 0), ("1h0m1s", 3601), ("5m", 300)]
)
def test_durations(text: str, seconds: int) -> None:
    assert duration_ns(text) == seconds * SECOND


def test_milliseconds() -> None:
    assert duration_ns("1s250ms") == 1_250_000_000


@pytest.mark.parametrize("text", ["", "5", "-5s", "1d", "s", "5 s", "1s1h", "٣s", "1.5h", "9999999999h"])
def test_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        duration_ns(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [("5Gi", 5 << 30), ("100M", 100_000_000), (1024, 1024), ("1.5Ki", 1536), ("0.001k", 1), ("0.0001k", 0), ("0", 0)],
)
def test_quantities(text: str | int, number: int) -> None:
    assert quantity(text) == number


@pytest.mark.parametrize("text", ["", "5g", "-1", "1e3", "Gi", "5 Gi", "1.Gi", "٣", True])
def test_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity(text)
