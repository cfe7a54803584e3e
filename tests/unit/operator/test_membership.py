"""A fleet has the nodes on which the DaemonSet controller would put its sensor."""

from __future__ import annotations

import pytest

from packhound.api.huntfleet import HuntFleet
from packhound.operator.membership import Node, members, node_of

LINUX = {"kubernetes.io/os": "linux"}


def fleet(**sensor):
    return HuntFleet.model_validate({"metadata": {"name": "f"}, "spec": {"sensor": sensor}})


def one(taints=(), labels=LINUX, **sensor):
    return bool(members(fleet(**sensor), [Node("n", labels, taints)]))


@pytest.mark.parametrize(
    ("taint", "tolerations", "there"),
    [
        (("node.kubernetes.io/not-ready", "", "NoExecute"), [], True),
        (("node.kubernetes.io/unschedulable", "", "NoSchedule"), [], True),
        (("edge", "x", "PreferNoSchedule"), [], True),
        (("edge", "x", "NoSchedule"), [], False),
        (("edge", "x", "NoSchedule"), [{"key": "edge", "value": "x"}], True),
        (("edge", "x", "NoSchedule"), [{"key": "edge", "value": "y"}], False),
        (("edge", "x", "NoSchedule"), [{"key": "edge", "operator": "Exists"}], True),
        (("edge", "x", "NoExecute"), [{"key": "edge", "operator": "Exists", "effect": "NoSchedule"}], False),
        (("edge", "x", "NoExecute"), [{"operator": "Exists"}], True),
    ],
)
def test_taints_and_tolerations(taint, tolerations, there):
    assert one((taint,), tolerations=tolerations) is there


def test_selectors_and_systems():
    assert not one(labels={"kubernetes.io/os": "windows"})
    assert not one(nodeSelector={"zone": "a"})
    assert one(labels={**LINUX, "zone": "a"}, nodeSelector={"zone": "a"})


def test_a_node_as_the_api_has_it():
    raw = {"metadata": {"name": "n", "labels": LINUX}, "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]},
           "status": {"addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.0.0.1"}]}}  # fmt: skip
    assert node_of(raw) == Node("n", LINUX, (("k", "", "NoSchedule"),), ("10.0.0.1",))
    assert node_of({"metadata": {"name": "n"}}) == Node("n")
