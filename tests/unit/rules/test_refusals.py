"""Every leaf that could never be true is refused: where it stands in the file, and with a reason to act on."""

from __future__ import annotations

from typing import Any

import pytest

from packhound.api import HuntFilter, load_text
from packhound.api.load import line_of, path_text
from packhound.rules import bpf
from packhound.rules.compile import CompileResult, compile_plan
from packhound.rules.plan import HuntPlan

HEAD = "kind: HuntFilter\nmetadata: {name: a, namespace: n}\nspec:\n"


def check_pcap(text: str) -> str | None:
    found = bpf.compile_expression(text)
    return found.reason if isinstance(found, bpf.BadExpression) else None


def made(body: str) -> HuntFilter:
    found = load_text(HEAD + body)
    assert not found.bad, [str(each) for each in found.bad]
    assert isinstance(found.objects[0], HuntFilter)
    return found.objects[0]


def compiled(*bodies: str, previous: HuntPlan | None = None) -> CompileResult:
    filters = [made(each) for each in bodies]
    return compile_plan(filters, revision=1, now=0, check_pcap=check_pcap, previous=previous)


def refusals(body: str) -> list[tuple[str, str]]:
    return [(path_text(each.path), each.reason) for each in compiled(body).refused]


@pytest.mark.parametrize(
    ("match", "path", "reason"),
    [
        ("{field: sip.usr, equals: a}", "field", "no such field: 'sip.usr'; did you mean sip.user?"),
        ("{field: '', equals: a}", "field", "no such field"),
        ("{field: flow.id, equals: 1}", "field", "output column"),
        ("{field: process.name, equals: a}", "field", "not filled by this version"),
        ("{field: sip.user, domain: a.b}", "domain", "sip.user has no operator domain; it has equals, glob"),
        ("{field: port, glob: '8*'}", "glob", "port has no operator glob"),
        ("{field: ip.addr, in: [10.0.0.0/33]}", "in[0]", "'10.0.0.0/33' is not an IP address or CIDR"),
        ("{field: ip.addr, in: [10.0.0.0/8, 5]}", "in[1]", "is not an IP address or CIDR"),
        ("{field: ip.addr, equals: [10.0.0.0/8]}", "equals[0]", "is a network: use in"),
        ("{field: port, in: [80-]}", "in[0]", "not a number or a range"),
        ("{field: port, in: [90-80]}", "in[0]", "ends before it begins"),
        ("{field: port, in: [70000]}", "in[0]", "outside 0-65535"),
        ("{field: port, equals: 80-90}", "equals[0]", "is a range: use in"),
        ("{field: port, equals: true}", "equals[0]", "not a whole number"),
        ("{field: ip.proto, equals: tpc}", "equals[0]", "not a number or name"),
        ("{field: vlan.id, in: [1, 5000]}", "in[1]", "outside 0-4095"),
        ("{field: dns.response, equals: 1}", "equals[0]", "neither true nor false"),
        ("{field: sip.user, regex: ['a(']}", "regex[0]", "not a regular expression that RE2 takes"),
        ("{field: sip.user, regex: ['(?=a)b']}", "regex[0]", "not a regular expression that RE2 takes"),
        ("{field: sip.user, regex: ['((a{100}){100}){100}']}", "regex[0]", "not a regular expression"),
        ("{field: tls.sni, domain: ['exa*mple.com']}", "domain[0]", "is not a domain"),
        ("{field: tls.sni, domain: ['*.a', 'a..b']}", "domain[1]", "is not a domain"),
        ("{field: phone.number, number: [alice]}", "number[0]", "is not a phone number"),
        ("{field: app.protocol, equals: htpp}", "equals[0]", "no such protocol"),
    ],
)
def test_a_leaf_that_could_never_be_true(match: str, path: str, reason: str) -> None:
    ((where, why),) = refusals(f"  match: {match}\n")
    assert where == f"spec.match.{path}"
    assert reason in why


def test_the_path_leads_to_the_line() -> None:
    body = "  match:\n    any:\n    - {field: port, equals: 1}\n    - not:\n        all:\n        - {field: port, equals: 2}\n"
    found = load_text(HEAD + body + "        - field: tls.sni\n          regex:\n          - ok\n          - '['\n")
    (refused,) = compile_plan([made(body + "        - field: tls.sni\n          regex: [ok, '[']\n")],
                                revision=1, now=0, check_pcap=check_pcap).refused  # fmt: skip
    assert path_text(refused.path) == "spec.match.any[1].not.all[1].regex[1]"
    assert line_of(found.lines[0], refused.path) == 13


@pytest.mark.parametrize("text", ["tpc", "tcp port", "host example.com", "inbound"])
def test_a_pcap_expression_that_does_not_compile(text: str) -> None:
    ((path, reason),) = refusals(f"  pcapFilter: {text}\n")
    assert path == "spec.pcapFilter"
    assert reason.startswith(f"pcap expression {text!r}: ")


def test_a_tree_is_six_levels_deep_at_most() -> None:
    leaf = "{field: port, equals: 1}"
    assert refusals("  match: " + "{not: " * 5 + leaf + "}" * 5 + "\n") == []
    ((path, reason),) = refusals("  match: " + "{not: " * 6 + leaf + "}" * 6 + "\n")
    assert path == "spec.match"
    assert "deeper than 6" in reason


def test_a_filter_that_is_gone_is_not_kept() -> None:
    before = compiled("  pcapFilter: tcp\n").plan
    assert compiled(previous=before).plan.filters == ()


@pytest.mark.parametrize("scope", ["packet", "flow", "call"])
def test_a_scope_that_is_given_holds(scope: str) -> None:
    result: Any = compiled(f"  scope: {scope}\n  match: {{field: sip.user, equals: a}}\n")
    assert [each.scope for each in result.plan.filters] == [scope]
