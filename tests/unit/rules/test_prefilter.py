"""What a plan lets the kernel pass over."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from packhound.rules.plan import Mode
from packhound.rules.prefilter import SWITCHES, touches
from tests.support.hunts import hunt, plan_for


def looked_for(field, operator, values, app):
    plan = plan_for({"field": field, operator: values}, scope="flow")
    return plan.modes.get(app, Mode.NONE), plan.literals.get(app)


@pytest.mark.parametrize(
    ("field", "operator", "values", "app", "expected"),
    [
        ("tls.sni", "domain", [".Example.com"], "tls", {b"example.com"}),
        ("tls.sni", "domain", ["*.example.com", "b.org"], "tls", {b"example.com", b"b.org"}),
        ("tls.sni", "equals", ["Example.com."], "tls", {b"example.com"}),
        ("tls.sni", "glob", ["www?.ex*ample.com"], "tls", {b"ample.com"}),
        ("tls.sni", "glob", [r"a\*bcd?"], "tls", {b"a*bcd"}),
        ("tls.sni", "equals", ["b\u00fccher.example"], "tls", {b"cher.example"}),
        ("dns.qname", "domain", [".mail.example.com"], "dns", {b"example"}),
        ("dns.qname", "contains", [r"ab\.cdef"], "mdns", {b"cdef"}),
        ("http.url", "prefix", ["http://host/index"], "http", {b"index"}),
        ("http.url", "prefix", ["http://ab.c/"], "http", {b"ab.c"}),
        ("http.user_agent", "contains", ["curl on linux"], "http", {b"linux"}),
    ],
)  # fmt: skip
def test_literals(field, operator, values, app, expected):
    assert looked_for(field, operator, values, app) == (Mode.PREFILTER, expected | SWITCHES.get(app, frozenset()))


@pytest.mark.parametrize(
    ("field", "operator", "values", "app"),
    [
        ("tls.sni", "regex", ["example"], "tls"), ("tls.sni", "glob", ["*ab*"], "tls"), ("tls.sni", "glob", ["*"], "tls"),
        ("tls.sni", "equals", ["example.com", "ab"], "tls"), ("tls.sni", "equals", ["\u00e5\u00e4\u00f6"], "tls"),
        ("tls.sni", "equals", ["example.com"], "quic"), ("tls.sni", "equals", ["example.com"], "dtls"),
        ("tls.ja4", "equals", ["t13d1516h2_8daaf6152771_e5627efa2ab1"], "tls"), ("dns.qname", "equals", ["a.b.cd"], "dns"),
        ("dns.answer", "equals", ["example.com"], "dns"), ("http.url", "prefix", ["http://"], "http"),
        ("http.url", "contains", ["ttp:"], "http"), ("http.status", "equals", [404], "http"),
        ("sip.user", "equals", ["alice"], "sip"), ("phone.number", "number", ["+46701234567"], "sip"),
    ],
)  # fmt: skip
def test_what_names_no_literal_needs_every_message(field, operator, values, app):
    assert looked_for(field, operator, values, app) == (Mode.ALWAYS, None)


def test_a_negated_message_leaf_needs_every_message_and_a_negated_address_does_not():
    sni = {"field": "tls.sni", "equals": "example.com"}
    address = {"field": "ip.addr", "in": "10.0.0.1"}
    assert plan_for({"not": sni}, scope="flow").modes["tls"] == Mode.ALWAYS
    assert plan_for({"not": {"not": sni}}, scope="flow").modes["tls"] == Mode.PREFILTER
    assert plan_for({"all": [sni, {"not": address}]}, scope="flow").modes["tls"] == Mode.PREFILTER


def test_one_filter_that_needs_every_message_outweighs_the_others():
    plan = plan_for({"field": "tls.sni", "equals": "a.com"}, {"field": "tls.alpn", "equals": "h2"}, scope="flow")
    assert plan.modes["tls"] == Mode.ALWAYS
    assert "tls" not in plan.literals


def test_nothing_is_looked_at_for_addresses_and_pcap_filters():
    plan = plan_for(hunt({"field": "ip.addr", "in": "10.0.0.0/8"}, name="a"), hunt(None, pcapFilter="udp", name="b"))
    assert (plan.modes, plan.literals, plan.holds, plan.on_detect) == ({}, {}, False, False)


def test_header_sets():
    plan = plan_for(
        {
            "any": [
                {"field": "ip.src", "in": ["10.0.0.0/24", "10.0.1.0/24", "::ffff:192.0.2.1", "2001:db8::/127"]},
                {"field": "port.dst", "in": [80, "81-90", 443]}, {"field": "ip.proto", "equals": "sctp"},
                {"field": "vlan.id", "equals": 7},
            ]
        },
        scope="flow",
    )  # fmt: skip
    base, v6 = int(ip_address("10.0.0.0")), int(ip_address("2001:db8::"))
    mapped = int(ip_address("192.0.2.1"))
    assert plan.headers.v4 == ((base, base + 511), (mapped, mapped))
    assert plan.headers.v6 == ((v6, v6 + 1),)
    assert (plan.headers.ports, plan.headers.protos) == (((80, 90), (443, 443)), ((132, 132),))
    assert (plan.headers.vlans, plan.headers.always) == (((7, 7),), False)
    nowhere = {"addresses": [ip_address("8.8.8.8")], "ports": (1, 2), "proto": 6, "vlan": 0}
    assert not touches(plan.headers, **nowhere)
    for change in ({"vlan": 7}, {"proto": 132}, {"ports": (1, 85)}, {"addresses": [ip_address("10.0.1.255")]}):
        assert touches(plan.headers, **(nowhere | change))


def test_a_negated_header_leaf_is_touched_by_everything():
    leaf = {"field": "port", "equals": 80}
    assert plan_for({"not": leaf}, scope="flow").headers.always
    assert plan_for({"not": {"field": "tls.sni", "equals": "a"}}, scope="packet").headers.always
    assert not plan_for({"not": {"field": "tls.sni", "equals": "a"}}, scope="flow").headers.always


def test_byte_marks_and_when_a_verdict_may_turn():
    plan = plan_for({"field": "flow.bytes", "in": ["100-199", 300]}, scope="flow")
    assert plan.byte_marks == (100, 200, 300, 301)
    assert plan.holds
    assert plan_for({"field": "app.protocol", "equals": "tls"}, scope="flow").on_detect
    assert plan_for({"not": {"field": "tls.sni", "equals": "a.b"}}, scope="flow").on_detect
    assert not plan_for({"field": "tls.sni", "equals": "a.b"}, scope="flow").on_detect
    assert plan_for({"field": "tls.sni", "equals": "a.b"}, scope="flow").client_hello_only
    assert not plan_for({"field": "tls.cert.subject", "contains": "abc"}, scope="flow").client_hello_only
    assert not plan_for({"field": "tls.sni", "equals": "a.b"}, scope="packet").holds
