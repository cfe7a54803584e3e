"""The operator's rights are these and no others; a change of them is seen in review."""

from __future__ import annotations

import ast
from pathlib import Path

from packhound.operator import kinds
from packhound.operator.rbac import CLUSTER, OWN, SENSORS, as_data

OPERATOR = Path(__file__).resolve().parents[3] / "operator/packhound/operator"


def lines(rules):
    return [
        f"{','.join(rule['verbs'])} {'/'.join((rule['apiGroups'][0], resource)) if rule['apiGroups'][0] else resource}"
        + (f" {rule['resourceNames']}" if "resourceNames" in rule else "")
        for rule in rules for resource in rule["resources"]
    ]  # fmt: skip


def test_the_snapshot():
    assert lines(CLUSTER) == [
        "get,list,watch packhound.dev/huntfilters", "get,list,watch packhound.dev/clusterhuntfilters",
        "get,list,watch packhound.dev/huntfleets", "patch packhound.dev/huntfilters/status",
        "patch packhound.dev/clusterhuntfilters/status", "patch packhound.dev/huntfleets/status",
        "patch packhound.dev/huntfleets", "update packhound.dev/huntfleets/finalizers", "list,watch pods",
        "list,watch nodes", "create,patch events",
        "get,patch admissionregistration.k8s.io/validatingwebhookconfigurations ['WEBHOOKS']",
    ]  # fmt: skip
    assert lines(OWN) == [
        "get,list,watch,update coordination.k8s.io/leases ['LEASE']", "get,update secrets ['SECRET']",
        "create,patch serviceaccounts", "create,patch,delete services", "create,patch,delete apps/statefulsets",
        "create,patch policy/poddisruptionbudgets", "create,patch,delete autoscaling/horizontalpodautoscalers",
        "create,patch,delete networking.k8s.io/networkpolicies",
    ]  # fmt: skip
    assert lines(SENSORS) == ["create,patch serviceaccounts", "create,patch,delete apps/daemonsets"]


def test_no_rule_is_wide():
    for rules in as_data().values():
        for rule in rules:
            assert len(rule["apiGroups"]) == 1
            assert "*" not in {*rule["verbs"], *rule["resources"], *rule["apiGroups"]}
            assert "secrets" not in rule["resources"] or rule["resourceNames"] == ["SECRET"]


def test_every_kind_that_is_asked_for_has_a_rule():
    named = {node.attr for path in OPERATOR.rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))
             if isinstance(node, ast.Attribute)}  # fmt: skip
    ruled = {resource.partition("/")[0] for rules in as_data().values() for rule in rules for resource in rule["resources"]}
    assert {kind.plural for kind in kinds.BY_NAME.values()} == ruled
    assert named
