"""Objects as users write them; nothing of the product is loaded for them."""

from __future__ import annotations

from typing import Any


def hunt_filter(name: str, match: dict[str, Any] | None = None, *, namespace: str = "t", **spec: Any) -> dict[str, Any]:
    """A HuntFilter object."""
    body = spec if match is None else {"match": match, **spec}
    return {
        "apiVersion": "packhound.dev/v1alpha1", "kind": "HuntFilter",
        "metadata": {"name": name, "namespace": namespace}, "spec": body,
    }  # fmt: skip


def leaf(field: str, operator: str, *values: Any) -> dict[str, Any]:
    """One leaf of a match tree."""
    return {"field": field, operator: list(values)}
