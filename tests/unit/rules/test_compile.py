"""What the compiler refuses and why, and what it makes of what it takes."""

from __future__ import annotations

from typing import Any

import pytest

from packhound.api import HuntFilter, load_text
from packhound.api.load import path_text
from packhound.rules import bpf
from packhound.rules.compile import MAX_PCAP, CompileResult, at_time, compile_plan
from packhound.rules.plan import EMPTY

SECOND = 1_000_000_000
HOUR = 3600 * SECOND


def check_pcap(text: str) -> str | None:
    found = bpf.compile_expression(text)
    return found.reason if isinstance(found, bpf.BadExpression) else None


def made(match: str | None = None, *, name: str = "a", **spec: Any) -> HuntFilter:
    """A filter with that match tree (YAML) and the other keys of spec as given."""
    rows = [f"  {key}: {value}\n" for key, value in spec.items()]
    text = f"kind: HuntFilter\nmetadata: {{name: {name}, namespace: n}}\nspec:\n" + "".join(rows)
    found = load_text(text + (f"  match: {match}\n" if match else ""))
    assert not found.bad, [str(each) for each in found.bad]
    assert isinstance(found.objects[0], HuntFilter)
    return found.objects[0]


def compiled(*filters: HuntFilter, **how: Any) -> CompileResult:
    return compile_plan(filters, **{"revision": 1, "now": 0, "check_pcap": check_pcap, **how})


def refusals(*filters: HuntFilter) -> list[tuple[str, str]]:
    return [(path_text(each.path), each.reason) for each in compiled(*filters).refused]


@pytest.mark.parametrize(
    ("match", "path", "reason"),
    [
        ("{field: sip.usr, equals: a}", "spec.match.field", "no such field: 'sip.usr'; did you mean sip.user?"),
        ("{field: '', equals: a}", "spec.match.field", "no such field"),
        ("{field: flow.id, equals: 1}", "spec.match.field", "output column"),
        ("{field: email.from, equals: a}", "spec.match.field", "not filled by this version"),
        ("{field: process.name, equals: a}", "spec.match.field", "not filled by this version"),
        ("{field: sip.user, domain: a.b}", "spec.match.domain", "sip.user has no operator domain; it has equals, glob"),
        ("{field: port, glob: '8*'}", "spec.match.glob", "port has no operator glob"),
        ("{field: ip.addr, in: [10.0.0.0/33]}", "spec.match.in[0]", "'10.0.0.0/33' is not an IP address or CIDR"),
        ("{field: ip.addr, in: [10.0.0.0/8, 5]}", "spec.match.in[1]", "is not an IP address or CIDR"),
        ("{field: ip.addr, equals: [10.0.0.0/8]}", "spec.match.equals[0]", "is a network: use in"),
        ("{field: port, in: [80-]}", "spec.match.in[0]", "not a number or a range"),
        ("{field: port, in: [90-80]}", "spec.match.in[0]", "ends before it begins"),
        ("{field: port, in: [70000]}", "spec.match.in[0]", "outside 0-65535"),
        ("{field: port, equals: 80-90}", "spec.match.equals[0]", "is a range: use in"),
        ("{field: port, equals: true}", "spec.match.equals[0]", "not a whole number"),
        ("{field: ip.proto, equals: tpc}", "spec.match.equals[0]", "not a number or name"),
        ("{field: vlan.id, in: [1, 5000]}", "spec.match.in[1]", "outside 0-4095"),
        ("{field: dns.response, equals: 1}", "spec.match.equals[0]", "neither true nor false"),
        ("{field: sip.user, regex: ['a(']}", "spec.match.regex[0]", "not a regular expression that RE2 takes"),
        ("{field: sip.user, regex: ['(?=a)b']}", "spec.match.regex[0]", "not a regular expression that RE2 takes"),
        ("{field: sip.user, regex: ['((a{100}){100}){100}']}", "spec.match.regex[0]", "not a regular expression"),
        ("{field: tls.sni, domain: ['exa*mple.com']}", "spec.match.domain[0]", "is not a domain"),
        ("{field: tls.sni, domain: ['*.', 'a..b']}", "spec.match.domain[1]", "is not a domain"),
        ("{field: phone.number, number: [alice]}", "spec.match.number[0]", "is not a phone number"),
        ("{field: app.protocol, equals: htpp}", "spec.match.equals[0]", "no such protocol"),
    ],
)
def test_a_leaf_that_could_never_be_true_is_refused(match: str, path: str, reason: str) -> None:
    found = refusals(made(match))
    assert any(where == path and reason in why for where, why in found), found


def test_the_path_leads_through_the_tree() -> None:
    match = "{any: [{field: port, equals: 1}, {not: {all: [{field: port, equals: 2}, {field: prot, equals: 3}]}}]}"
    ((path, _),) = refusals(made(match))
    assert path == "spec.match.any[1].not.all[1].field"


def test_everything_wrong_in_a_filter_is_said_at_once() -> None:
    match = "{any: [{field: a, equals: 1}, {field: ip.addr, in: [x, 10.0.0.1, y]}]}"
    found = refusals(made(match, pcapFilter="tpc"))
    assert [path for path, _ in found] == [
        "spec.pcapFilter", "spec.match.any[0].field", "spec.match.any[1].in[0]", "spec.match.any[1].in[2]",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["tpc", "tcp port", "host example.com", "inbound"])
def test_a_pcap_expression_that_does_not_compile_is_refused(text: str) -> None:
    ((path, reason),) = refusals(made(pcapFilter=text))
    assert path == "spec.pcapFilter"
    assert reason.startswith(f"pcap expression {text!r}: ")


def test_a_tree_is_six_levels_deep_at_most() -> None:
    leaf = "{field: port, equals: 1}"
    assert refusals(made("{not: " * 5 + leaf + "}" * 5)) == []
    ((path, reason),) = refusals(made("{not: " * 6 + leaf + "}" * 6))
    assert path == "spec.match"
    assert "deeper than 6" in reason


def test_a_bad_filter_is_refused_alone() -> None:
    good, bad = made("{field: port, equals: 1}"), made("{field: prot, equals: 1}", name="b")
    result = compiled(good, bad, made(pcapFilter="tcp", name="c"))
    assert [each.name for each in result.plan.filters] == ["n/a", "n/c"]
    assert [each.filter for each in result.refused] == ["n/b"]


def test_a_name_is_taken_once() -> None:
    result = compiled(made("{field: port, equals: 1}"), made("{field: port, equals: 2}"))
    assert [each.filter for each in result.refused] == ["n/a"]
    assert len(result.plan.filters) == 1


def test_the_same_pattern_twice_is_two_filters() -> None:
    result = compiled(made("{field: port, equals: 1}"), made("{field: port, equals: 1}", name="b"))
    assert [each.name for each in result.plan.filters] == ["n/a", "n/b"]


def test_the_last_good_version_stays_in_force() -> None:
    before = compiled(made("{field: port, equals: 1}", schedule="{ttl: 1h}")).plan
    result = compiled(made("{field: prot, equals: 1}"), revision=2, now=HOUR // 2, previous=before)
    assert [each.filter for each in result.refused] == ["n/a"]
    assert result.plan.filters == before.filters
    assert result.plan.revision == 2
    late = compiled(made("{field: prot, equals: 1}"), revision=3, now=2 * HOUR, previous=before)
    assert [each.active for each in late.plan.filters] == [False], "its ttl goes on"


def test_a_filter_that_is_gone_is_not_kept() -> None:
    before = compiled(made("{field: port, equals: 1}")).plan
    assert compiled(previous=before).plan.filters == ()


def test_so_many_expressions_and_no_more() -> None:
    filters = [made(name=f"f{i}", pcapFilter=f"tcp port {i + 1}") for i in range(MAX_PCAP + 1)]
    result = compiled(*filters, made(name="same", pcapFilter="tcp port 1"))
    assert [each.filter for each in result.refused] == [f"n/f{MAX_PCAP}"]
    assert len(result.plan.filters) == MAX_PCAP + 1


# scope -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("match", "scope"),
    [
        ("{field: port, equals: 1}", "flow"),
        ("{field: tls.sni, equals: a}", "flow"),
        ("{field: sip.user, equals: a}", "call"),
        ("{field: phone.number, number: '1234567'}", "call"),
        ("{field: rtp.codec, equals: PCMU}", "call"),
        ("{field: rtp.ssrc, equals: 1}", "flow"),
        ("{any: [{field: ip.addr, in: [10.0.0.0/8]}, {not: {field: sip.method, equals: OPTIONS}}]}", "call"),
        (None, "flow"),
    ],
)
def test_the_scope_follows_the_fields(match: str | None, scope: str) -> None:
    spec = {"pcapFilter": "tcp"} if match is None else {}
    result = compiled(made(match, **spec))
    assert result.refused == []
    assert result.plan.filters[0].scope == scope


@pytest.mark.parametrize("scope", ["packet", "flow", "call"])
def test_a_scope_that_is_given_holds(scope: str) -> None:
    assert compiled(made("{field: sip.user, equals: a}", scope=scope)).plan.filters[0].scope == scope


@pytest.mark.parametrize(
    ("match", "scope", "path"),
    [
        ("{any: [{field: sip.user, equals: a}, {field: tls.sni, equals: a}]}", None, "spec.match.any[1].field"),
        ("{field: dns.qname, equals: a}", "call", "spec.match.field"),
        ("{field: flow.bytes, in: [5-9]}", "packet", "spec.match.field"),
        ("{any: [{field: flow.bytes, in: [5-9]}, {field: sip.user, equals: a}]}", None, "spec.match.any[0].field"),
        (None, "call", "spec.scope"),
    ],
)
def test_what_a_scope_never_sees_is_refused(match: str | None, scope: str | None, path: str) -> None:
    spec = {"scope": scope} if scope else {}
    found = refusals(made(match, **spec, **({} if match else {"pcapFilter": "tcp"})))
    assert [where for where, _ in found] == [path]


# time ----------------------------------------------------------------------------------------------------------------


def test_a_suspended_filter_is_in_the_plan_and_wants_nothing() -> None:
    plan = compiled(made(pcapFilter="tcp", suspend="true")).plan
    assert [each.active for each in plan.filters] == [False]
    assert plan.base == frozenset()


def test_a_ttl_runs_from_creation() -> None:
    each = made(pcapFilter="tcp", schedule="{ttl: 1h}")
    plan = compiled(each, now=10 * HOUR, created={"n/a": 10 * HOUR - HOUR // 2}).plan
    assert plan.filters[0].expires_at == 10 * HOUR + HOUR // 2
    assert plan.filters[0].active
    assert at_time(plan, now=10 * HOUR + HOUR // 2 - 1, revision=2).filters[0].active
    late = at_time(plan, now=10 * HOUR + HOUR // 2, revision=2)
    assert not late.filters[0].active
    assert late.revision == 2
    assert not compiled(each, now=10 * HOUR, created={"n/a": 0}).plan.filters[0].active


def test_without_ttl_nothing_expires() -> None:
    plan = compiled(made(pcapFilter="tcp")).plan
    assert plan.filters[0].expires_at is None
    assert at_time(plan, now=1 << 62, revision=2).filters[0].active


# what a plan holds -----------------------------------------------------------------------------------------------------


def test_everything_written_arrives() -> None:
    each = made(
        "{field: sip.user, equals: [a], caseSensitive: true}", pcapFilter="udp", target="{interfaces: [eth0, eth1]}",
        capture="{payload: headers, snaplen: 128, preTrigger: 5s}", sample="{rate: 0.5}",
        actions="{record: {perCall: true}, alert: {severity: high}}", budget="{packetsPerSecond: 7, totalBytes: 1Ki}",
        purpose="x",
    )  # fmt: skip
    found = compiled(each).plan.filters[0]
    assert found.interfaces == ("eth0", "eth1")
    assert (found.payload, found.snaplen, found.pre_trigger_ns, found.sample) == ("headers", 128, 5 * SECOND, 0.5)
    assert (found.record, found.per_call, found.alert_severity) == (True, True, "high")
    assert (found.packets_per_second, found.total_bytes, found.purpose) == (7, 1024, "x")
    assert (found.pcap_filter, found.scope) == ("udp", "call")
    assert found.tree is not None
    assert found.tree.leaf is not None
    assert found.tree.leaf.case


def test_a_filter_without_actions_records_and_one_may_only_alert() -> None:
    assert compiled(made(pcapFilter="tcp")).plan.filters[0].record
    found = compiled(made(pcapFilter="tcp", actions="{record: null, alert: {}}")).plan.filters[0]
    assert not found.record
    assert found.alert_severity == "medium"


def test_equal_plans_have_equal_digests() -> None:
    one, other = (compiled(made("{field: port, equals: 1}"), revision=r).plan for r in (1, 2))
    assert one.digest == other.digest
    assert one.digest != compiled(made("{field: port, equals: 2}")).plan.digest
    assert EMPTY.digest == compiled().plan.digest


def test_a_pcap_filter_alone_is_wanted_from_the_start() -> None:
    plan = compiled(made(pcapFilter="tcp"), made("{field: port, equals: 1}", name="b")).plan
    assert plan.base == frozenset({0})


def test_what_may_surprise_is_noted() -> None:
    selector = made("{field: port, equals: 1}", target="{podSelector: {matchLabels: {a: b}}}")
    (note,) = compiled(selector).notes
    assert path_text(note.path) == "spec.target.podSelector"
    assert "pod" in note.text
