"""Whose address was it then: across reuse, shared addresses and tables of many nodes; no bytes break the reader."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.wire.pods import BadTable, Pod, PodBook, PodTable, decode

POD = Pod("voice", "kamailio-0", "u1", "n1", ("10.1.0.5", "fd00::5"), {"app": "kamailio"}, owner_kind="StatefulSet",
          owner_name="kamailio", containers=(("main", "abc"),), since=100)  # fmt: skip


def table(*pods: Pod, node: str = "n1", revision: int = 1, node_ips: tuple[str, ...] = ("192.168.0.1",)) -> PodTable:
    return PodTable(node, revision, node_ips, pods)


def book(*tables: PodTable) -> PodBook:
    made = PodBook()
    for each in tables:
        made.take(each)
    return made


def test_a_table_survives_the_wire():
    assert decode(table(POD).encode()) == table(POD)


def test_an_address_that_is_used_again_names_the_pod_of_that_time():
    old = Pod("a", "old", "u0", "n1", ("10.1.0.5",), since=0, until=90)
    found = book(table(old, POD))
    assert [getattr(found.find("10.1.0.5", at), "name", None) for at in (50, 95, 150)] == ["old", None, "kamailio-0"]


def test_both_ends_on_different_nodes_are_found():
    other = Pod("web", "b", "u2", "n2", ("10.2.0.9",), since=0)
    found = book(table(POD), table(other, node="n2", node_ips=()))
    assert found.find("10.2.0.9", 1).node == "n2"
    assert found.find("fd00::5", 200).name == "kamailio-0"


def test_a_pod_on_its_nodes_network_is_never_guessed():
    proxy = Pod("kube-system", "proxy", "u3", "n1", ("192.168.0.1",), host_network=True)
    found = book(table(POD, proxy))
    assert found.find("192.168.0.1", 200) is None
    assert found.node_of("192.168.0.1") == "n1"
    assert found.addresses("k8s.pod.name", lambda name: True) == ("10.1.0.5", "fd00::5")


def test_an_older_table_does_not_replace_a_newer_one():
    found = book(table(POD, revision=5))
    assert not found.take(table(revision=4))
    assert found.find("10.1.0.5", 200)
    assert found.take(table(revision=6))
    assert found.find("10.1.0.5", 200) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("k8s.namespace", "voice"), ("k8s.pod.label", "app=kamailio"), ("k8s.workload", "StatefulSet/kamailio"),
     ("container.id", "abc"), ("k8s.node.name", "n1"), ("k8s.pod.uid", "u1")],
)  # fmt: skip
def test_every_field_selects(field, value):
    assert book(table(POD)).addresses(field, lambda text: text == value) == ("10.1.0.5", "fd00::5")
    assert book(table(POD)).addresses(field, lambda text: text == "x") == ()


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["node", "revision", "node_ips", "pods", "namespace", "name"]), inner, max_size=6),
    max_leaves=12).map(lambda value: zlib.compress(json.dumps(value).encode())))  # fmt: skip
def test_no_bytes_do_anything_but_be_refused(data):
    with pytest.raises(BadTable):
        decode(data)


def test_a_table_that_unpacks_to_too_much_is_refused():
    with pytest.raises(BadTable, match="cap"):
        decode(zlib.compress(bytes(17 << 20)))
