"""Filters become a plan; what is wrong is refused alone, all of it, by path."""

from __future__ import annotations

import pytest

from packhound.api.load import path_text
from packhound.rules.compile import MAX_LEAVES, MAX_PCAP, at_time, compile_plan
from tests.support.hunts import compiled, hunt, plan_for

SECOND = 1_000_000_000


def refusals(result):
    return [(path_text(each.path), each.reason) for each in result.refused]


def test_a_bad_filter_is_refused_alone():
    result = compiled(
        {"field": "tls.sni", "equals": "a.com"}, {"field": "tls.snl", "equals": "a"}, hunt(None, pcapFilter="udp")
    )
    assert [each.name for each in result.plan.filters] == ["f0", "f"]
    assert refusals(result) == [("spec.match.field", "no such field: 'tls.snl'; did you mean tls.sni?")]
    assert result.refused[0].filter == "f1"


def test_everything_wrong_with_a_filter_is_said_at_once():
    result = compiled(
        hunt(
            {
                "any": [
                    {"field": "ip.addr", "in": ["10.0.0.0/8", "10.0.0.0/99", "x"]},
                    {"all": [{"field": "port", "glob": "80*"}, {"not": {"field": "sip.user", "regex": ["ok", "("]}}]},
                    {"field": "k8s.pod.name", "equals": "web"},
                    {"field": "app.protocol", "in": ["tls", "gopher"]},
                ]
            },
            pcapFilter="bad",
        )
    )
    assert [path for path, _ in refusals(result)] == [
        "spec.pcapFilter", "spec.match.any[0].in[1]", "spec.match.any[0].in[2]", "spec.match.any[1].all[0].glob",
        "spec.match.any[1].all[1].not.regex[1]", "spec.match.any[2].field", "spec.match.any[3].in[1]",
    ]  # fmt: skip
    reasons = dict(refusals(result))
    assert reasons["spec.pcapFilter"] == "pcap expression 'bad': no"
    assert reasons["spec.match.any[0].in[1]"] == "'10.0.0.0/99' is not an IP address or CIDR"
    assert reasons["spec.match.any[1].all[0].glob"] == "port has no operator glob; it has equals, in"
    assert "RE2" in reasons["spec.match.any[1].all[1].not.regex[1]"]
    assert reasons["spec.match.any[2].field"] == "k8s.pod.name is known in a cluster only: there are no pods here"
    assert reasons["spec.match.any[3].in[1]"].startswith("no such protocol: 'gopher'")


def test_the_last_good_version_of_a_filter_stands_in_for_a_bad_one():
    before = plan_for(hunt({"field": "port", "equals": 80}, name="web", schedule={"ttl": "1s"}))
    bad = hunt({"field": "port", "equals": 99999}, name="web")
    result = compile_plan([bad], revision=2, now=SECOND // 2, check_pcap=lambda _: None, previous=before)
    assert [each.filter for each in result.refused] == ["web"]
    assert result.plan.revision == 2
    assert result.plan.filters == before.filters
    later = compile_plan([bad], revision=3, now=SECOND, check_pcap=lambda _: None, previous=before)
    assert [each.active for each in later.plan.filters] == [False]


def test_one_name_is_one_filter_and_one_pattern_may_be_two():
    same = {"field": "port", "equals": 80}
    result = compiled(hunt(same, name="a"), hunt(same, name="b"), hunt(same, name="a"))
    assert [each.name for each in result.plan.filters] == ["a", "b"]
    assert refusals(result) == [("metadata.name", "another filter has the same name")]


def test_suspended_and_expired_filters_are_carried_but_not_active():
    leaf = {"field": "tls.sni", "equals": "a.com"}
    filters = [hunt(leaf, name="s", suspend=True), hunt(leaf, name="t", schedule={"ttl": "2s"}), hunt(leaf, name="u")]
    result = compile_plan(filters, revision=1, now=5 * SECOND, created={"t": 4 * SECOND}, check_pcap=lambda _: None)
    assert [each.active for each in result.plan.filters] == [False, True, True]
    assert result.plan.filters[1].expires_at == 6 * SECOND
    later = at_time(result.plan, now=6 * SECOND, revision=2)
    assert [each.active for each in later.filters] == [False, False, True]
    assert later.digest != result.plan.digest
    assert at_time(plan_for(hunt(leaf, suspend=True)), now=0, revision=2).modes == {}


def test_equal_filters_give_equal_digests():
    one, other = (plan_for({"field": "tls.sni", "domain": ".a.com"}, scope="flow") for _ in range(2))
    assert one.digest == other.digest
    assert one.digest != plan_for({"field": "tls.sni", "domain": ".b.com"}, scope="flow").digest


@pytest.mark.parametrize(
    ("match", "scope"),
    [
        ({"field": "sip.user", "equals": "a"}, "call"), ({"field": "phone.number", "number": "112"}, "call"),
        ({"field": "rtp.codec", "equals": "PCMU"}, "call"), ({"field": "sip.imsi", "equals": "1"}, "call"),
        ({"field": "rtp.ssrc", "equals": 1}, "flow"), ({"field": "tls.sni", "equals": "a"}, "flow"),
        ({"any": [{"field": "ip.addr", "in": "10.0.0.1"}, {"not": {"field": "sip.method", "equals": "BYE"}}]}, "call"),
    ],
)  # fmt: skip
def test_the_scope_of_a_filter_that_names_none(match, scope):
    assert plan_for(match).filters[0].scope == scope


@pytest.mark.parametrize(
    ("match", "scope"),
    [
        ({"field": "tls.sni", "equals": "a"}, "call"), ({"field": "rtp.ssrc", "equals": 1}, "call"),
        ({"field": "flow.bytes", "in": "1-2"}, "call"), ({"field": "flow.bytes", "in": "1-2"}, "packet"),
    ],
)  # fmt: skip
def test_what_no_message_of_a_scope_can_say_is_refused(match, scope):
    assert [path for path, _ in refusals(compiled(match, scope=scope))] == ["spec.match.field"]
    sip = {"field": "sip.user", "equals": "a"}
    found = refusals(compiled({"any": [match, sip]}, scope=scope))
    assert [path for path, _ in found] == ["spec.match.any[0].field"]


def test_a_pcap_filter_alone_is_a_filter_but_no_call():
    plan = plan_for(hunt(None, pcapFilter="udp port 53"))
    assert plan.base == {0}
    assert plan.filters[0].tree is None
    assert [path for path, _ in refusals(compiled(hunt(None, pcapFilter="udp", scope="call")))] == ["spec.scope"]


def test_limits():
    many = [hunt(None, name=f"f{i}", pcapFilter=f"port {i + 1}") for i in range(MAX_PCAP + 2)]
    result = compiled(*many)
    assert len(result.plan.filters) == MAX_PCAP
    assert {path for path, _ in refusals(result)} == {"spec.pcapFilter"}
    leaf = {"field": "port", "equals": 1}
    assert "more than" in refusals(compiled({"any": [{"any": [leaf] * 256}] * (MAX_LEAVES // 256 + 1)}))[0][1]
    deep = leaf
    for _ in range(8):
        deep = {"not": deep}
    assert "nested deeper" in refusals(compiled(deep))[0][1]


def test_numbers_and_words_of_yaml_compare_as_they_were_written():
    plan = plan_for({"any": [{"field": "sip.user", "equals": [1]}, {"field": "sip.user", "equals": [True]}]})
    assert [leaf.leaf.values for leaf in plan.filters[0].tree.branches] == [("1",), ("true",)]


def test_what_an_accepted_filter_does_not_do_is_noted():
    selected = hunt({"field": "tls.sni", "equals": "a"}, target={"podSelector": {"matchLabels": {"app": "x"}}})
    notes = compiled(selected).notes
    assert [(path_text(each.path), each.filter) for each in notes] == [("spec.target.podSelector", "f")]
    both = compiled(hunt({"field": "tls.sni", "equals": "a"}, pcapFilter="tcp")).notes
    assert [path_text(each.path) for each in both] == ["spec.pcapFilter"]
    assert compiled({"field": "tls.sni", "equals": "a"}).notes == []


def test_what_a_spec_says_reaches_the_plan():
    plan = plan_for(
        hunt(
            {"field": "sip.user", "glob": "a*", "caseSensitive": True}, name="x", pcapFilter="udp",
            target={"interfaces": ["eth0", "eth1"]}, capture={"payload": "headers", "snaplen": 128, "preTrigger": "5s"},
            sample={"rate": 0.5}, actions={"record": {"perCall": True}, "alert": {"severity": "high"}},
            budget={"packetsPerSecond": 10, "totalBytes": "5Gi"}, purpose="INC-1",
        )
    )  # fmt: skip
    found = plan.filters[0]
    assert (found.interfaces, found.payload, found.snaplen) == (("eth0", "eth1"), "headers", 128)
    assert (found.pre_trigger_ns, found.sample, found.record, found.per_call) == (5 * SECOND, 0.5, True, True)
    assert (found.alert_severity, found.packets_per_second, found.total_bytes) == ("high", 10, 5 << 30)
    assert (found.purpose, found.scope, plan.voip) == ("INC-1", "call", True)
    assert found.tree.leaf.case
