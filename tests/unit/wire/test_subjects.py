"""Names on the bus: one node, one token; short enough; nobody can say the name of another."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.wire.batch import BatchId
from packhound.wire.subjects import MAX_SHARDS, BadName, Subjects, identity_of, message_id, token, untoken

NODES = st.text(min_size=1, max_size=40) | st.from_regex(r"[a-z0-9.=_*>/ -]{1,20}", fullmatch=True)
FLEET = Subjects("a" * 12)


@given(NODES)
def test_a_name_is_one_token_that_keys_and_subjects_may_hold(name):
    assert re.fullmatch(r"[A-Za-z0-9=_-]+", token(name))
    assert untoken(token(name)) == name


@given(NODES, NODES)
def test_two_names_are_two_tokens(one, two):
    assert (token(one) == token(two)) == (one == two)


@given(st.text(max_size=20) | st.from_regex(r"[A-Fa=_0-9-]{1,12}", fullmatch=True))
def test_a_token_is_nobodys_or_that_of_one_name(part):
    name = untoken(part)
    assert name is None or token(name) == part


@given(NODES, st.integers(0, MAX_SHARDS - 1))
def test_a_subject_says_where_a_parcel_comes_from(node, shard):
    assert FLEET.parse_packets(FLEET.packets(shard, node)) == (shard, node)
    assert FLEET.node_of(FLEET.heartbeat(node)) == node
    assert FLEET.node_of(FLEET.packets(shard, node)) is None
    assert Subjects("b").parse_packets(FLEET.packets(shard, node)) is None


@pytest.mark.parametrize("bad", ["ph.f.b.x.n", "ph.f.b.1", "ph.f.b.01.n", "ph.f.b.1.n.m", "ph.f.b.1.*", "ph.g.b.1.n", "",
                                 "ph.f.b.1.", "ph.f.b.b.1.n"])  # fmt: skip
def test_other_subjects_are_no_parcels(bad):
    assert Subjects("f").parse_packets(bad) is None


def test_names_are_short():
    subject = FLEET.packets(MAX_SHARDS - 1, "node-1.region.example.com")
    assert len(subject.split(".")) <= 16
    names = (FLEET.packets_stream, FLEET.dead_stream, FLEET.consumer(MAX_SHARDS - 1), FLEET.plans_bucket,
             FLEET.filters_bucket, FLEET.status_bucket)  # fmt: skip
    assert all(len(f"KV_{name}") <= 32 for name in names)


@pytest.mark.parametrize("fleet", ["", "A", "a.b", "a" * 13, "a*", "a\n", "ü"])
def test_a_fleet_that_cannot_be_named_is_refused(fleet):
    with pytest.raises(BadName):
        Subjects(fleet)


@pytest.mark.parametrize(("node", "shard"), [("", 0), ("n" * 254, 0), ("n", -1), ("n", MAX_SHARDS)])
def test_nodes_and_shards_out_of_range_are_refused(node, shard):
    with pytest.raises(BadName):
        FLEET.packets(shard, node)


@given(st.tuples(st.integers(0, (1 << 63) - 1), st.integers(0, 1023), st.integers(1, (1 << 63) - 1)))
def test_a_message_id_is_an_identity(identity):
    assert identity_of(message_id(BatchId(*identity))) == identity


@pytest.mark.parametrize("text", ["", "1-2", "x-1-1", "1-1-0", "1-01-1", "1-1-1\n", "1-1-1-1", "A-1-1"])
def test_other_ids_name_no_parcel(text):
    assert identity_of(text) is None


@given(st.one_of(NODES.filter(lambda text: "/" not in text), st.tuples(NODES, NODES).map("/".join)))
def test_a_filter_has_a_key(name):
    assert FLEET.filter_name(FLEET.filter_key(name)) == name or name.endswith("/") or name.startswith("/")
