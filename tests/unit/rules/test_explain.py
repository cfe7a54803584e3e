"""A filter is explained to the person who wrote it."""

from __future__ import annotations

from packhound.rules.explain import explain, text_of_tree
from tests.support.hunts import hunt, plan_for


def one(match, **spec):
    return explain(plan_for(hunt(match, **spec)))[0]


def test_a_server_name_is_found_by_a_literal_and_read_from_the_message():
    found = one({"all": [{"field": "tls.sni", "domain": ".example.com"}, {"field": "ip.addr", "in": "10.0.0.0/8"}]})
    assert "tls: only messages that hold 'example.com' are dissected" in found.engine
    assert "quic: every message is dissected" in found.engine
    assert "ip.addr in 10.0.0.0/8: once a flow, by table" in found.engine
    (fields,) = found.fields
    assert fields.startswith("tls.sni domain .example.com of tls, dtls, quic, smtp, imap, pop3, ftp, ")
    assert (found.kernel, found.warnings, found.scope) == ((), (), "flow")
    assert found.match == "(tls.sni domain .example.com) and (ip.addr in 10.0.0.0/8)"


def test_why_every_message_is_dissected():
    for leaf, reason in (
        ({"field": "tls.sni", "regex": "a"}, "regular expression"), ({"field": "tls.sni", "equals": "ab"}, "3 characters"),
        ({"field": "http.status", "equals": 404}, "no one spelling"), ({"field": "sip.user", "equals": "alice"}, "escaped"),
        ({"not": {"field": "tls.sni", "equals": "example.com"}}, "absent"),
    ):  # fmt: skip
        assert reason in one(leaf).fields[0]


def test_a_pcap_filter_alone_takes_packets():
    found = explain(plan_for(hunt(None, name="a", pcapFilter="udp")))[0]
    assert found.kernel[0].startswith("pcapFilter 'udp': ")
    assert (found.takes, found.match, found.engine, found.fields) == ("each packet that passes pcapFilter", "", (), ())


def test_warnings():
    assert "suspended: it matches nothing" in one({"field": "port", "equals": 1}, suspend=True).warnings
    assert any("10.00%" in each for each in one({"field": "port", "equals": 1}, sample={"rate": 0.1}).warnings)
    assert any("true of any value" in each for each in one({"field": "sip.user", "glob": "*"}).warnings)
    assert any(each.startswith("not:") for each in one({"not": {"field": "port", "equals": 1}}).warnings)
    plan = plan_for({"field": "port", "equals": 1})
    assert explain(plan, notes=lambda name: [f"about {name}"])[0].warnings == ("about f0",)


def test_a_long_tree_stays_readable():
    tree = plan_for({"any": [{"not": {"field": "port", "in": list(range(50))}}] * 9}).filters[0].tree
    text = text_of_tree(tree)
    assert "not (port in 0, 1, 2, 3 and 46 more)" in text
    assert text.endswith("(5 more)")
