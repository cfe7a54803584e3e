"""A layout says every limit; roles may do what they must and nothing of others."""

from __future__ import annotations

import json

import pytest

from packhound.fleet.permissions import ROLES, inbox, permissions, user
from packhound.fleet.streams import Layout
from packhound.wire.subjects import BadName

NASTY = ("node-1.example", "a_b", "*", ">", "x.>", "ä b", "n" * 253)


def test_streams_of_a_fleet_have_short_names_and_the_limits_of_the_design():
    layout = Layout("f" * 12, shards=16)
    streams = {each.config()["name"]: each.config() for each in layout.streams}
    packets = streams[f"ph-{'f' * 12}-b"]
    assert (packets["retention"], packets["discard"], packets["storage"]) == ("workqueue", "new", "file")
    assert packets["duplicate_window"] == 120 * 10**9
    dead = streams[f"ph-{'f' * 12}-dead"]
    assert (dead["max_bytes"], dead["discard"], dead["max_age"]) == (64 << 20, "old", 7 * 86400 * 10**9)
    assert max(map(len, streams)) <= 32
    assert all(each["max_bytes"] > 0 for each in streams.values())
    assert not any(each.get("allow_rollup_hdrs") for each in streams.values())


def test_every_shard_has_its_consumer():
    consumers = Layout("x", shards=16).consumers
    assert [each.name for each in consumers] == [f"s{n}" for n in range(16)]
    one = consumers[3].config()
    assert (one["filter_subject"], one["ack_policy"], one["max_deliver"]) == ("ph.x.b.3.>", "explicit", -1)
    assert one["ack_wait"] == 30 * 10**9


@pytest.mark.parametrize("shards", [0, -1, 1025])
def test_a_fleet_without_shards_or_with_too_many_is_refused(shards):
    with pytest.raises(BadName):
        Layout("x", shards=shards)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("node", NASTY)
def test_nobody_may_hear_everything_and_a_name_is_one_token(role, node):
    made = permissions(role, "x", node)
    hears, says = made["subscribe"]["allow"], made["publish"]["allow"]
    assert not any(">" in each for each in hears)
    assert not {">", "*", "$JS.>", "$JS.API.>", "$SYS.>"} & set(says + hears)
    assert inbox(role, "x", node).count(".") == 3
    assert f"{inbox(role, 'x', node)}.*.*" in hears
    assert all(len(each.split(".")) <= 16 for each in says + hears)
    assert json.loads(json.dumps(made)) == made


def test_no_two_nodes_share_an_inbox_or_a_subject():
    made = [permissions("sensor", "x", node) for node in NASTY]
    inboxes = [each["subscribe"]["allow"][0] for each in made]
    parcels = [each["publish"]["allow"][0] for each in made]
    assert len(set(inboxes)) == len(set(parcels)) == len(NASTY)


def test_only_publishers_write_plans_and_filters():
    def writes(role: str) -> bool:
        says = permissions(role, "x", "n")["publish"]["allow"]
        return any(each.startswith(("$KV.ph-x-plans", "$KV.ph-x-filters")) for each in says)

    assert {role for role in ROLES if writes(role)} == {"publisher", "operator"}


def test_a_row_of_the_brokers_configuration():
    made = user("sensor", "x", "n1", name="sensor-n1", password="s3cret")
    assert (made["user"], made["password"]) == ("sensor-n1", "s3cret")
    assert made["permissions"] == permissions("sensor", "x", "n1")
