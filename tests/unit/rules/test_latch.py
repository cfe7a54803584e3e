"""What is known of a flow or call decides, no more and no less; once wanted stays wanted."""

from __future__ import annotations

import time

import pytest

from packhound.rules.latch import Matcher
from tests.support.hunts import hunt, plan_for

SNI = {"field": "tls.sni", "equals": "a.com"}
ALPN = {"field": "tls.alpn", "equals": "h2"}
ADDRESS = {"field": "ip.addr", "in": "10.0.0.0/8"}
HEADER = {"ip.src": "10.0.0.1", "ip.dst": "192.0.2.1", "ip.addr": ("10.0.0.1", "192.0.2.1"), "ip.proto": 6}


def opened(*matches, scope="flow"):
    return Matcher(plan_for(*matches, scope=scope)).open(scope)


def verdict(latch):
    found = latch.verdict()
    return set(found.wanted), set(found.undecided)


def test_a_leaf_is_unknown_until_its_field_is_seen():
    latch = opened(SNI)
    assert verdict(latch) == (set(), {0})
    latch.learn(HEADER)
    assert verdict(latch) == (set(), {0})
    latch.learn({"tls.sni": "A.com"})
    assert verdict(latch) == ({0}, set())


def test_a_field_that_was_seen_and_does_not_match_decides():
    latch = opened(SNI)
    latch.learn({"tls.sni": "b.com"})
    assert verdict(latch) == (set(), set())
    latch.learn({"tls.sni": ("c.com", "a.com")})
    assert verdict(latch) == ({0}, set())


def test_once_wanted_stays_wanted():
    latch = opened({"not": SNI})
    latch.learn({"tls.sni": "b.com"})
    assert verdict(latch) == ({0}, set())
    latch.learn({"tls.sni": "a.com"})
    assert verdict(latch) == ({0}, set())


def test_a_protocol_rules_out_the_fields_of_others():
    latch = opened(SNI, {"not": SNI}, {"field": "app.protocol", "equals": "ssh"})
    latch.close("ssh")
    assert verdict(latch) == ({1, 2}, set())


def test_a_protocol_leaves_its_own_fields_open():
    latch = opened(SNI, {"not": SNI}, {"field": "app.protocol", "in": ["ssh", "quic"]})
    latch.close("quic")
    assert verdict(latch) == ({2}, {0, 1})
    latch.finish()
    assert verdict(latch) == ({1, 2}, set())


def test_kleene():
    both, either = {"all": [SNI, ADDRESS]}, {"any": [SNI, ADDRESS]}
    latch = opened(both, either)
    latch.learn(HEADER)
    assert verdict(latch) == ({1}, {0})
    latch.learn({"tls.sni": "x"})
    assert verdict(latch) == ({1}, set())
    elsewhere = opened(both, either)
    elsewhere.learn(HEADER | {"ip.addr": ("192.0.2.2", "192.0.2.1")})
    assert verdict(elsewhere) == (set(), {1})


def test_leaves_add_up_over_messages():
    latch = opened({"all": [SNI, ALPN]})
    latch.learn({"tls.sni": "a.com"})
    assert verdict(latch) == (set(), {0})
    latch.learn({"tls.alpn": ("http/1.1", "h2")})
    assert verdict(latch) == ({0}, set())


def test_a_header_says_everything_a_header_can_say():
    tagged = {"all": [{"field": "vlan.id", "equals": 5}, SNI]}
    latch = opened(tagged, {"not": {"field": "port", "equals": 80}})
    latch.learn(HEADER)
    assert verdict(latch) == ({1}, set())


def test_bytes_of_a_flow_count_as_they_are_now():
    big, small, never = ({"field": "flow.bytes", "in": each} for each in ("100-200", "0-10", "0-5"))
    latch = opened(big, small, {"not": big}, {"all": [never, SNI]})
    assert verdict(latch) == (set(), {0, 1, 2, 3})
    latch.learn({"flow.bytes": 10})
    assert verdict(latch) == ({1}, {0, 2})
    latch.learn({"flow.bytes": 100})
    assert verdict(latch) == ({0, 1}, set())
    latch.learn({"flow.bytes": 201})
    assert verdict(latch) == ({0, 1, 2}, set())


def test_a_flow_that_stays_small_is_decided_when_it_ends():
    latch = opened({"field": "flow.bytes", "in": "100-200"}, {"not": {"field": "flow.bytes", "in": "100-200"}})
    latch.learn({"flow.bytes": 10})
    latch.finish()
    assert verdict(latch) == ({1}, set())


def test_scopes_are_apart():
    plan = plan_for(
        hunt(ADDRESS, name="p", scope="packet"), hunt(ADDRESS, name="f", scope="flow"),
        hunt({"all": [ADDRESS, {"field": "sip.user", "equals": "a"}]}, name="c", scope="call"),
    )  # fmt: skip
    matcher = Matcher(plan)
    assert matcher.packet(HEADER) == {0}
    for scope, expected in (("flow", ({1}, set())), ("call", (set(), {2}))):
        latch = matcher.open(scope)
        latch.learn(HEADER)
        assert verdict(latch) == expected


def test_an_inactive_filter_never_wants_anything():
    matcher = Matcher(plan_for(hunt(ADDRESS, scope="packet", suspend=True)))
    assert matcher.packet(HEADER) == set()
    assert verdict(matcher.open("flow")) == (set(), set())


def test_a_packet_without_any_field_may_match_a_not():
    matcher = Matcher(plan_for({"not": ADDRESS}, ADDRESS, scope="packet"))
    assert matcher.packet({}) == {0}
    assert matcher.packet(HEADER) == {1}


@pytest.mark.parametrize(
    ("leaf", "fields", "expected"),
    [
        (lambda i: {"field": "tls.sni", "domain": f"*.site{i}.example.com"}, {"tls.sni": "www.site7.example.com"}, {7}),
        (lambda i: {"field": "http.url", "contains": f"/path-{i:04}/"}, {"http.url": "http://a/x/path-0007/y"}, {7}),
        (lambda i: {"field": "ip.addr", "in": f"10.{i // 250}.{i % 250}.0/24"}, {"ip.addr": "10.0.7.9"}, {7}),
        (lambda i: {"field": "port", "in": f"{i * 10}-{i * 10 + 9}"}, {"port": (75, 60000)}, {7}),
        (lambda i: {"field": "phone.number", "number": f"+4670{1000000 + i}"}, {"phone.number": "00467001000007"}, set()),
        (lambda i: {"field": "phone.number", "number": f"+4670{1000000 + i}"}, {"phone.number": "0046701000007"}, {7}),
        (lambda i: {"field": "sip.user", "glob": f"user{i:04}*"}, {"sip.user": "user0007-x"}, {7}),
    ],
)  # fmt: skip
def test_a_thousand_filters_cost_a_message_little(leaf, fields, expected):
    matcher = Matcher(plan_for(*(leaf(i) for i in range(1000)), scope="packet"))
    assert matcher.packet(fields) == expected
    best = min(_timed(matcher, fields) for _ in range(5))
    assert best < 0.002, f"{best * 1e6:.0f} us a message"


def _timed(matcher, fields):
    started = time.perf_counter()
    for _ in range(20):
        matcher.packet(fields)
    return (time.perf_counter() - started) / 20


def test_a_thousand_filters_cost_a_flow_little():
    matcher = Matcher(plan_for(*({"all": [ADDRESS, {"field": "tls.sni", "equals": f"s{i}.com"}]} for i in range(1000)), scope="flow"))
    started = time.perf_counter()
    for _ in range(20):
        latch = matcher.open("flow")
        latch.learn(HEADER | {"ip.addr": "192.0.2.1"})
        latch.verdict()
        latch.learn({"tls.sni": "s5.com"})
        latch.verdict()
    assert (time.perf_counter() - started) / 20 < 0.005


@pytest.mark.parametrize(("wanted", "value"), [("0042", "+42"), ("+42", "0042"), ("01142", "0042"), ("+42", "42")])
def test_a_short_phone_number_is_selected_in_every_spelling(wanted, value):
    matcher = Matcher(plan_for({"field": "phone.number", "number": wanted}, scope="packet"))
    assert matcher.packet({"phone.number": value}) == {0}
