"""Golden vectors: what every leaf operator says of a value, as written by hand from the meaning of a HuntFilter."""

from __future__ import annotations

import pytest

from packhound.net.facts import Value
from packhound.rules.evaluate import evaluate
from packhound.rules.plan import LeafSpec, Node

KELVIN, LONG_S, DOTTED_I = "\u212a", "\u017f", "\u0130"


def says(field: str, operator: str, written: object, value: Value, **how: object) -> bool:
    """What the leaf `field operator written` says of one value."""
    values = tuple(written) if isinstance(written, list) else (written,)
    leaf = LeafSpec(field, operator, values, **how)  # type: ignore[arg-type]
    return evaluate(Node("leaf", leaf=leaf), {field: value})


TEXT = [
    # equals: exact, without case
    ("equals", "alice", "alice", True),
    ("equals", "alice", "ALICE", True),
    ("equals", "Alice", "alice", True),
    ("equals", "alice", "alice ", False),
    ("equals", "alice", "alic", False),
    ("equals", ["bob", "alice"], "alice", True),
    ("equals", "ÅSA", "åsa", True),
    ("equals", "k", KELVIN, False),  # an ASCII letter is never equal to one that is not
    ("equals", "s", LONG_S, False),
    ("equals", "i", DOTTED_I, False),
    ("equals", "strasse", "straße", False),
    # glob: the whole value, several *, escapes
    ("glob", "alice", "alice", True),
    ("glob", "alice", "alice2", False),
    ("glob", "+4670*", "+46701234567", True),
    ("glob", "+4670*", "0046701234567", False),
    ("glob", "a*b*c", "abc", True),
    ("glob", "a*b*c", "a-b-b-c", True),
    ("glob", "a*b*c", "acb", False),
    ("glob", "*lic*", "ALICE", True),
    ("glob", "**", "", True),
    ("glob", "*a*a*a*a*a*a*a*a*", "a" * 7, False),
    ("glob", "?lice", "alice", True),
    ("glob", "?lice", "lice", False),
    ("glob", "?", "é", True),
    ("glob", r"a\*b", "a*b", True),
    ("glob", r"a\*b", "axb", False),
    ("glob", r"a\?b", "a?b", True),
    ("glob", r"a\\b", "a\\b", True),
    ("glob", "a\\", "a\\", True),
    ("glob", "a.b", "axb", False),
    ("glob", "[ab]", "a", False),
    ("glob", "[ab]", "[ab]", True),
    ("glob", "a*b", "a\r\nb", True),
    # prefix, suffix, contains
    ("prefix", "ali", "Alice", True),
    ("prefix", "lic", "alice", False),
    ("suffix", "ICE", "alice", True),
    ("suffix", "lic", "alice", False),
    ("contains", "LIC", "alice", True),
    ("contains", "ali*", "alice", False),
    ("contains", ["x", "ice"], "alice", True),
    # in: a set of whole texts
    ("in", ["bob", "Carol"], "carol", True),
    ("in", ["bob", "carol"], "car", False),
    ("in", ["a-c"], "b", False),
    # regex: anywhere in the value, linear time
    ("regex", "^al.ce$", "ALICE", True),
    ("regex", "l.c", "alice", True),
    ("regex", "^l", "alice", False),
    ("regex", "(a+)+$", "a" * 5000 + "b", False),
    ("regex", "a.b", "a\nb", True),
    ("regex", "[0-9]{24,}", "x" + "7" * 24, True),
]


@pytest.mark.parametrize(("operator", "written", "value", "expected"), TEXT)
def test_text(operator: str, written: object, value: str, expected: bool) -> None:
    assert says("sip.user", operator, written, value) is expected


@pytest.mark.parametrize("operator", ["equals", "in", "glob", "prefix", "suffix", "contains", "regex"])
def test_text_with_case(operator: str) -> None:
    assert says("sip.user", operator, "Alice", "alice")
    assert not says("sip.user", operator, "Alice", "alice", case=True)
    assert says("sip.user", operator, "Alice", "Alice", case=True)


DOMAINS = [
    ("example.com", "example.com", True),
    ("example.com", "EXAMPLE.com.", True),
    ("example.com", "www.example.com", False),
    ("example.com", "notexample.com", False),
    (".example.com", "example.com", True),
    (".example.com", "www.example.com", True),
    (".example.com", "a.b.example.com.", True),
    (".example.com", "notexample.com", False),
    (".example.com", "example.com.evil.org", False),
    ("*.example.com", "example.com", False),
    ("*.example.com", "www.example.com", True),
    ("*.example.com", "a.b.example.com", True),
    ("*.example.com", ".example.com", False),
    ("*.Example.COM.", "WWW.example.com", True),
    (".com", "example.com", True),
    ("com", "example.com", False),
    ([".a.org", "*.b.org"], "x.b.org", True),
    (".example.com", "", False),
    (".example.com", ".", False),
]


@pytest.mark.parametrize(("written", "value", "expected"), DOMAINS)
@pytest.mark.parametrize("field", ["dns.qname", "tls.sni", "http.host"])
def test_domains(field: str, written: object, value: str, expected: bool) -> None:
    assert says(field, "domain", written, value) is expected


def test_a_final_dot_does_not_count_in_whole_names() -> None:
    assert says("dns.qname", "equals", "Example.com.", "example.COM")
    assert says("dns.qname", "in", ["example.com"], "example.com.")
    assert says("dns.qname", "equals", ".", ".")


PHONES = [
    ("+46 70 123 45 67", "+46701234567", True),
    ("+46701234567", "0046701234567", True),
    ("+46701234567", "01146701234567", True),
    ("0046-70-1234567", "+46 (70) 123.45.67", True),
    ("+46701234567", "tel:+46-70-123-45-67", True),
    ("+46701234567", "sip:+46701234567@example.com;user=phone", True),
    ("+46701234567", "sips:0046701234567@10.0.0.1", True),
    ("tel:+46701234567", "46701234567", True),
    ("sip:+46701234567@example.com", "tel:+46701234567;phone-context=x", True),
    ("+46701234567", "701234567", True),  # the longer ends with the shorter
    ("1234567", "+46701234567", True),
    ("234567", "+46701234567", False),  # shorter than minDigits: only when equal
    ("234567", "234567", True),
    ("112", "112", True),
    ("112", "tel:112", True),
    ("112", "+46112112112", False),
    ("112", "0112", False),
    ("112", "00112", False),
    ("1234567", "7654321", False),
    ("+46701234567", "+46701234568", False),
    ("+46701234567", "alice", False),
    ("+46701234567", "sip:alice@example.com", False),
    ("+46701234567", "", False),
    ("0701234567", "0701234567", True),
]


@pytest.mark.parametrize(("written", "value", "expected"), PHONES)
def test_phone_numbers(written: str, value: str, expected: bool) -> None:
    assert says("phone.number", "number", written, value) is expected
    if "alice" not in value and value:
        assert says("phone.number", "number", value, written) is expected, "either may be the longer one"


def test_fewest_digits_may_be_set() -> None:
    assert not says("phone.number", "number", "4567", "+46701234567")
    assert says("phone.number", "number", "4567", "+46701234567", min_digits=4)
    assert not says("phone.number", "number", "1234567", "+46701234567", min_digits=8)


ADDRESSES = [
    ("in", "10.1.0.0/16", "10.1.2.3", True),
    ("in", "10.1.0.0/16", "10.2.2.3", False),
    ("in", "10.1.2.3/16", "10.1.9.9", True),  # host bits do not count
    ("in", "10.1.2.3", "10.1.2.3", True),
    ("in", "10.1.2.3", "::ffff:10.1.2.3", True),  # v4-mapped is v4, both ways
    ("in", "::ffff:10.1.2.3", "10.1.2.3", True),
    ("in", "::ffff:10.1.0.0/112", "10.1.2.3", True),
    ("in", "10.0.0.0/8", "::ffff:10.1.2.3", True),
    ("in", "::/0", "10.1.2.3", False),
    ("in", "0.0.0.0/0", "2001:db8::1", False),
    ("in", "2001:db8::/32", "2001:DB8:0:1::5", True),
    ("in", "2001:db8::/32", "2001:db9::", False),
    ("in", "2001:db8:0:0:0:0:0:1", "2001:db8::1", True),
    ("in", "fe80::/10", "fe80::1%eth0", True),
    ("in", ["192.0.2.1", "10.0.0.0/8"], "10.255.255.255", True),
    ("equals", "10.1.2.3", "10.1.2.3", True),
    ("equals", "10.1.2.3", "::ffff:a01:203", True),
    ("equals", "2001:db8::1", "2001:0db8::0001", True),
    ("equals", "10.1.2.3", "10.1.2.4", False),
    ("equals", "10.1.2.3", "not an address", False),
]


@pytest.mark.parametrize(("operator", "written", "value", "expected"), ADDRESSES)
def test_addresses(operator: str, written: object, value: str, expected: bool) -> None:
    assert says("ip.addr", operator, written, value) is expected


NUMBERS = [
    ("equals", 200, 200, True),
    ("equals", "200", 200, True),
    ("equals", [100, 200], 200, True),
    ("equals", 200, 201, False),
    ("in", "400-499", 404, True),
    ("in", "400-499", 400, True),
    ("in", "400-499", 499, True),
    ("in", "400-499", 500, False),
    ("in", "400 - 499", 404, True),
    ("in", [180, "400-499", "0x1f4"], 500, True),
    ("in", "0-18446744073709551615", 1 << 63, True),
]


@pytest.mark.parametrize(("operator", "written", "value", "expected"), NUMBERS)
def test_numbers(operator: str, written: object, value: int, expected: bool) -> None:
    assert says("sip.status", operator, written, value) is expected


@pytest.mark.parametrize(
    ("field", "written", "value"),
    [("ip.proto", "UDP", 17), ("ip.proto", "icmp6", 58), ("dns.qtype", "aaaa", 28), ("dns.rcode", "NXDOMAIN", 3)],
)
def test_names_of_numbers(field: str, written: str, value: int) -> None:
    assert says(field, "equals", written, value)
    assert not says(field, "equals", written, value + 1)


def test_booleans() -> None:
    assert says("dns.response", "equals", True, True)
    assert not says("dns.response", "equals", True, False)
    assert says("dns.response", "equals", "false", False)
    assert says("dns.response", "equals", [True, False], False)


def test_any_value_of_several_may_satisfy_a_leaf() -> None:
    assert says("sip.user", "equals", "bob", ("alice", "bob"))
    assert says("ip.addr", "in", "10.0.0.0/8", ("192.0.2.1", "10.0.0.1"))
    assert not says("sip.user", "equals", "bob", ())


def test_a_field_that_is_absent_makes_its_leaf_false_and_not_of_it_true() -> None:
    leaf = Node("leaf", leaf=LeafSpec("sip.user", "glob", ("*",)))
    assert not evaluate(leaf, {})
    assert evaluate(Node("not", (leaf,)), {})
    assert evaluate(Node("all", (Node("not", (leaf,)), Node("any", (Node("not", (leaf,)), leaf)))), {})
