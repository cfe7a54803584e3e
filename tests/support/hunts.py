"""Filters for tests, built as a user would write them."""

from __future__ import annotations

from typing import Any

from packhound.api.huntfilter import ClusterHuntFilter
from packhound.rules.compile import CompileResult, compile_plan
from packhound.rules.plan import HuntPlan


def hunt(match: dict[str, Any] | None, *, name: str = "f", **spec: Any) -> ClusterHuntFilter:
    """A cluster-wide filter of that match tree."""
    body = {"match": match, **spec} if match is not None else spec
    return ClusterHuntFilter.model_validate({
        "apiVersion": "packhound.dev/v1alpha1", "kind": "ClusterHuntFilter", "metadata": {"name": name}, "spec": body,
    })  # fmt: skip


def compiled(*matches: dict[str, Any] | ClusterHuntFilter, now: int = 0, **spec: Any) -> CompileResult:
    """The result of compiling several; dicts become filters f0, f1, ... of scope `spec["scope"]`."""
    filters = [
        each if isinstance(each, ClusterHuntFilter) else hunt(each, name=f"f{i}", **spec)
        for i, each in enumerate(matches)
    ]
    return compile_plan(filters, revision=1, now=now, check_pcap=lambda text: "no" if text == "bad" else None)


def plan_for(*matches: dict[str, Any] | ClusterHuntFilter, now: int = 0, **spec: Any) -> HuntPlan:
    """The plan of filters that must all be good."""
    result = compiled(*matches, now=now, **spec)
    assert not result.refused, result.refused
    return result.plan
