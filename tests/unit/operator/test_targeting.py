"""Each node gets what selects its own pods, nobody else's; a tenant's filter is guarded by its own addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.api.huntfilter import ClusterHuntFilter, HuntFilter, LabelSelector
from packhound.operator.targeting import Targets, Wanted, plans_of, selects
from packhound.wire.pods import Pod

NODES = ("n1", "n2", "n3")


def pod(name, namespace, node, *ips, **labels):
    return Pod(namespace, name, f"uid-{name}", node, ips, labels)


PODS = [
    pod("a", "voice", "n1", "10.1.0.1", app="sip"), pod("b", "voice", "n1", "10.1.0.2", app="rtp"),
    pod("c", "voice", "n2", "10.2.0.1", "fd00::1", app="sip"), pod("d", "shop", "n1", "10.1.0.3", app="sip"),
    Pod("voice", "e", "uid-e", "n3", ("192.168.0.3",), {"app": "sip"}, host_network=True),
    Pod("voice", "f", "uid-f", "n3", ("10.3.0.1",), {"app": "sip"}, until=5),
]  # fmt: skip


def wanted(name, *, namespace=None, selector=None, generation=1):
    raw = {
        "apiVersion": "packhound.dev/v1alpha1", "kind": "HuntFilter" if namespace else "ClusterHuntFilter",
        "metadata": {"name": name, "generation": generation, "uid": "x", "managedFields": [],
                     **({"namespace": namespace} if namespace else {})},
        "spec": {"pcapFilter": "udp", "target": {"podSelector": selector or {}}},
    }  # fmt: skip
    return Wanted.of(raw, (HuntFilter if namespace else ClusterHuntFilter).model_validate(raw), 7)


def guards(*filters):
    return {node: {entry.name: entry.row["guard"] for entry in plan.entries}
            for node, plan in plans_of(filters, pods=PODS, nodes=NODES).items()}  # fmt: skip


def test_an_empty_selector_means_every_pod_of_the_namespace():
    assert guards(wanted("x", namespace="voice")) == {
        "n1": {"voice/x": ["10.1.0.1", "10.1.0.2"]}, "n2": {"voice/x": ["10.2.0.1", "fd00::1"]}, "n3": {},
    }  # fmt: skip


def test_a_selector_narrows_and_a_namespace_never_reaches_into_another():
    selector = {"matchLabels": {"app": "sip"}}
    assert guards(wanted("x", namespace="shop", selector=selector)) == {"n1": {"shop/x": ["10.1.0.3"]}, "n2": {}, "n3": {}}
    assert guards(wanted("x", namespace="voice", selector=selector))["n1"] == {"voice/x": ["10.1.0.1"]}


def test_pods_on_the_nodes_network_and_pods_that_went_are_nobodys():
    assert guards(wanted("x", namespace="voice"))["n3"] == {}


def test_a_cluster_filter_goes_everywhere_unguarded_or_where_its_selector_selects():
    assert guards(wanted("x")) == {node: {"x": None} for node in NODES}
    assert guards(wanted("x", selector={"matchLabels": {"app": "sip"}})) == {
        "n1": {"x": ["10.1.0.1", "10.1.0.3"]}, "n2": {"x": ["10.2.0.1", "fd00::1"]}, "n3": {},
    }  # fmt: skip


def test_the_row_holds_the_object_without_what_a_cluster_adds():
    entry = plans_of([wanted("x", namespace="shop", generation=4)], pods=PODS, nodes=NODES)["n1"].entries[0]
    assert entry.generation == 4
    assert entry.row["created"] == 7
    assert entry.row["object"]["metadata"] == {"name": "x", "namespace": "shop", "generation": 4}


@pytest.mark.parametrize(
    ("rule", "held"),
    [({"key": "app", "operator": "In", "values": ["sip", "x"]}, True), ({"key": "app", "operator": "NotIn", "values": ["x"]}, True),
     ({"key": "app", "operator": "NotIn", "values": ["sip"]}, False), ({"key": "tier", "operator": "NotIn", "values": ["x"]}, True),
     ({"key": "tier", "operator": "Exists"}, False), ({"key": "tier", "operator": "DoesNotExist"}, True)],
)  # fmt: skip
def test_expressions_mean_what_kubernetes_means(rule, held):
    assert selects(LabelSelector.model_validate({"matchExpressions": [rule]}), {"app": "sip"}) is held


@given(st.lists(st.tuples(st.sampled_from(["voice", "shop"]), st.sampled_from(NODES), st.integers(1, 20)), max_size=12))
def test_no_guard_ever_holds_an_address_of_another_namespace(rows):
    pods = [pod(f"p{i}", space, node, f"10.0.0.{host}") for i, (space, node, host) in enumerate(rows)]
    owners = {(each.node, address): {p.namespace for p in pods if address in p.ips and p.node == each.node}
              for each in pods for address in each.ips}  # fmt: skip
    for node, plan in plans_of([wanted("x", namespace="voice")], pods=pods, nodes=NODES).items():
        for entry in plan.entries:
            assert all("voice" in owners[node, address] for address in entry.row["guard"])


def test_a_filter_that_went_is_in_no_plan_that_is_made_before_the_next_settling():
    targets = Targets()
    targets.see("u1", Pod("shop", "web", "u1", "n1", ("10.0.0.1",)))
    for name in ("a", "b"):
        targets.want(f"shop/{name}", wanted(name, namespace="shop"))
    targets.settle()
    targets.want("shop/a", None)
    assert targets.packed("n1", targets.carries("n1")).generations.keys() == {"shop/b"}
