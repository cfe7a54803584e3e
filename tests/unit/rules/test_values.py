"""Golden vectors: what each leaf operator says of a value."""

from __future__ import annotations

import time

import pytest

from packhound.fields import Type
from packhound.rules.values import BadValue, build

YES, NO = True, False


def says(kind: Type, operator: str, wanted: object, value: object, **options: object) -> bool:
    values = wanted if isinstance(wanted, list) else [wanted]
    return build(operator, values, kind=kind, **options)(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("glob", "value", "expected"),
    [
        ("alice", "alice", YES), ("alice", "alice2", NO), ("alice", "xalice", NO),
        ("alice*", "alice", YES), ("*alice", "malice", YES), ("a*c", "abbbc", YES), ("a*c", "abbbcd", NO),
        ("*a*b*c*", "xxaxxbxxcxx", YES), ("*a*b*c*", "xxaxxcxxbxx", NO), ("a**b", "ab", YES), ("a***b", "axxb", YES),
        ("+4670*", "+46701234567", YES), ("+4670*", "46701234567", NO),
        ("a?c", "abc", YES), ("a?c", "ac", NO), ("a?c", "abbc", NO), ("???", "abc", YES), ("???", "ab", NO),
        ("?", "\u00e5", YES), ("?*", "", NO), ("*", "", YES), ("*", "anything\nat all", YES), ("**", "", YES),
        (r"a\*c", "a*c", YES), (r"a\*c", "abc", NO), (r"a\?c", "a?c", YES), (r"a\?c", "abc", NO),
        (r"a\\c", "a\\c", YES), (r"a\\*", "a\\xyz", YES), (r"a\bc", "abc", YES), ("a\\", "a\\", YES),
        (r"\**\*", "*x*", YES), (r"\**\*", "*x", NO),
        ("a.c", "abc", NO), ("a.c", "a.c", YES), ("[ab]", "a", NO), ("[ab]", "[ab]", YES), ("(a|b)", "a", NO),
        ("a+", "aa", NO), ("^a$", "a", NO), ("ALICE*", "alice@x", YES), ("alice*", "ALICE@X", YES),
        ("\u00c5ke*", "\u00e5ke lind", YES), ("k*", "\u212aelvin", NO), ("s", "\u017f", NO), ("\u00df", "ss", NO),
    ],
)  # fmt: skip
def test_glob(glob, value, expected):
    assert says(Type.STRING, "glob", glob, value) is expected


def test_a_glob_with_many_stars_is_linear():
    started = time.perf_counter()
    assert says(Type.STRING, "glob", "*a" * 60 + "b", "a" * 20_000) is NO
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("operator", "wanted", "value", "expected"),
    [
        ("equals", "Alice", "aLICE", YES), ("equals", "alice", "alice ", NO), ("equals", ["bob", "alice"], "alice", YES),
        ("equals", 5060, "5060", YES), ("equals", True, "TRUE", YES),
        ("prefix", "sip:", "SIP:alice@x", YES), ("prefix", "sip:", "xsip:", NO), ("prefix", ["a", "b"], "bcd", YES),
        ("suffix", "@Example.com", "sip:a@example.COM", YES), ("suffix", "@example.com", "a@example.com;x", NO),
        ("contains", "LIC", "alice", YES), ("contains", "lic", "alxice", NO), ("contains", ["x", "ice"], "alice", YES),
        ("in", ["INVITE", "REGISTER"], "register", YES), ("in", ["INVITE", "REGISTER"], "reg", NO),
        ("regex", "^a.+e$", "ALICE", YES), ("regex", "lic", "alice", YES), ("regex", "^lic", "alice", NO),
        ("regex", "a$", "a\n", NO), ("regex", "a.b", "a\nb", YES),
        ("equals", "k", "\u212a", NO), ("contains", "ss", "\u00df", NO), ("equals", "\u00c9t\u00e9", "\u00e9T\u00c9", YES),
    ],
)  # fmt: skip
def test_text_operators(operator, wanted, value, expected):
    assert says(Type.STRING, operator, wanted, value) is expected


@pytest.mark.parametrize("operator", ["equals", "in", "prefix", "suffix", "contains", "glob", "regex"])
def test_case_counts_only_when_asked_for(operator):
    assert says(Type.STRING, operator, "Alice", "aLICE") is YES
    assert says(Type.STRING, operator, "Alice", "aLICE", case=True) is NO
    assert says(Type.STRING, operator, "Alice", "Alice", case=True) is YES


@pytest.mark.parametrize(
    ("pattern", "exact", "below", "deep", "other"),
    [("example.com", YES, NO, NO, NO), (".example.com", YES, YES, YES, NO), ("*.example.com", NO, YES, YES, NO)],
)
def test_domain(pattern, exact, below, deep, other):
    for variant in (pattern, pattern.upper(), pattern + "."):
        for final in ("", "."):
            assert says(Type.NAME, "domain", variant, "example.com" + final) is exact
            assert says(Type.NAME, "domain", variant, "Www.Example.COM" + final) is below
            assert says(Type.NAME, "domain", variant, "a.b.example.com" + final) is deep
            for name in ("notexample.com", "example.com.evil.net", "example.co", "com", "", ".", "example.net"):
                assert says(Type.NAME, "domain", variant, name + final) is other


def test_domain_leaves_a_port_aside_and_takes_a_top_level_domain():
    assert says(Type.NAME, "domain", ".example.com", "www.example.com:8080") is YES
    assert says(Type.NAME, "domain", "*.arpa", "1.0.0.127.in-addr.arpa") is YES
    assert says(Type.NAME, "domain", "localhost", "localhost") is YES


@pytest.mark.parametrize("bad", ["", ".", "*.", "*", "a..b", "*.*.com", "ex*mple.com", "a b", "..com", "http://x.com", "x?y"])
def test_what_is_no_domain_is_refused(bad):
    with pytest.raises(BadValue, match="is not a domain"):
        build("domain", ["fine.org", bad], kind=Type.NAME)


def test_a_name_equals_with_or_without_the_dot_of_the_root():
    assert says(Type.NAME, "equals", "example.com.", "EXAMPLE.com") is YES
    assert says(Type.NAME, "in", ["example.com"], "example.com.") is YES
    assert says(Type.NAME, "equals", ".", ".") is YES
    assert says(Type.STRING, "equals", "example.com.", "example.com") is NO


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        ("10.1.0.0/16", "10.1.255.255", YES), ("10.1.0.0/16", "10.2.0.0", NO), ("10.1.2.3/16", "10.1.9.9", YES),
        ("10.1.2.3", "10.1.2.3", YES), ("10.1.2.3", "::ffff:10.1.2.3", YES), ("::ffff:10.1.2.3", "10.1.2.3", YES),
        ("::ffff:10.1.0.0/112", "10.1.77.1", YES), ("::ffff:10.1.0.0/112", "10.2.0.1", NO),
        ("10.0.0.0/8", "::ffff:a01:203", YES), ("0.0.0.0/0", "::ffff:1.2.3.4", YES), ("0.0.0.0/0", "2001:db8::1", NO),
        ("::/0", "2001:db8::1", YES), ("::/0", "10.1.2.3", NO), ("::10.1.2.3", "10.1.2.3", NO),
        ("2001:db8::/32", "2001:db8:ffff::1", YES), ("2001:db8::/32", "2001:db9::1", NO),
        ("2001:db8::/127", "2001:db8::1", YES), ("2001:db8::/127", "2001:db8::2", NO),
        ("2001:0DB8:0:0::1", "2001:db8::1", YES), ("fe80::1", "fe80::1%eth0", YES),
        (["192.0.2.1", "10.0.0.0/8"], "10.9.9.9", YES), ("10.0.0.0/8", "not an address", NO), ("10.0.0.0/8", 10, NO),
    ],
)  # fmt: skip
def test_addresses(wanted, value, expected):
    assert says(Type.ADDRESS, "in", wanted, value) is expected


@pytest.mark.parametrize("bad", ["10.0.0.0/33", "10.0.0", "300.1.1.1", "2001:db8::/129", "example.com", "", 42, "10.0.0.1-9"])
def test_what_is_no_address_is_refused(bad):
    with pytest.raises(BadValue, match="is not an IP address or CIDR") as caught:
        build("in", ["10.0.0.1", bad], kind=Type.ADDRESS)
    assert caught.value.index == 1


def test_equals_takes_an_address_and_no_network():
    assert says(Type.ADDRESS, "equals", "2001:db8::1", "2001:DB8:0::1") is YES
    with pytest.raises(BadValue, match="use in"):
        build("equals", ["10.0.0.0/8"], kind=Type.ADDRESS)


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        ("80-90", 80, YES), ("80-90", 90, YES), ("80-90", 79, NO), ("80-90", 91, NO), (443, 443, YES), ("443", 443, YES),
        ([1, "5-7"], 6, YES), ([1, "5-7"], 4, NO), ("0x10-0x1f", 17, YES), ("0x1301", 0x1301, YES), (" 5 - 7 ", 5, YES),
    ],
)  # fmt: skip
def test_numbers(wanted, value, expected):
    assert says(Type.NUMBER, "in", wanted, value, field="rtp.ssrc") is expected


@pytest.mark.parametrize(
    ("field", "wanted", "value", "expected"),
    [
        ("ip.proto", "UDP", 17, YES), ("ip.proto", "tcp", 17, NO), ("ip.proto", 17, "udp", YES),
        ("dns.qtype", "AAAA", 28, YES), ("dns.rcode", "NXDOMAIN", 3, YES), ("dns.rcode", "nxdomain", 0, NO),
    ],
)  # fmt: skip
def test_numbers_that_have_names(field, wanted, value, expected):
    assert says(Type.NUMBER, "equals", wanted, value, field=field) is expected


@pytest.mark.parametrize(
    ("field", "bad", "reason"),
    [
        ("port", 65536, "outside 0-65535"), ("port", -1, "outside"), ("vlan.id", "1-5000", "outside 0-4095"),
        ("ip.proto", 256, "outside 0-255"), ("port", "90-80", "ends before it begins"), ("port", "http", "not a number"),
        ("port", "80,90", "not a number"), ("port", True, "not a whole number"), ("ip.proto", "upd", "number or name"),
        ("rtp.ssrc", 1 << 65, "outside"), ("port", "\u0661", "not a number"),
    ],
)  # fmt: skip
def test_what_is_no_number_is_refused(field, bad, reason):
    with pytest.raises(BadValue, match=reason):
        build("in", [bad], kind=Type.NUMBER, field=field)


def test_equals_takes_a_number_and_no_range():
    with pytest.raises(BadValue, match="use in"):
        build("equals", ["80-90"], kind=Type.NUMBER, field="port")


@pytest.mark.parametrize("spelling", [
    "+46 70 123 45 67", "0046701234567", "01146701234567", "46701234567", "+46-70-123.45/67", "(+46) 70 123 45 67",
    "tel:+46701234567", "tel:+46-70-123-45-67;phone-context=x", "sip:+46701234567@example.com", "TEL:0046701234567",
    "sips:46701234567:pw@example.com;user=phone", "sip:%2B46701234567@h", '"A" <sip:+46701234567@h>;tag=1',
])  # fmt: skip
def test_one_number_in_every_spelling(spelling):
    for other in ("+46 70 123 45 67", "0046701234567", "46701234567", "tel:+46701234567"):
        spelled_alike = says(Type.PHONE, "number", other, spelling.replace(":pw", ""))
        assert spelled_alike is YES
        assert says(Type.PHONE, "number", spelling.replace(":pw", ""), other) is YES


@pytest.mark.parametrize(
    ("wanted", "value", "digits", "expected"),
    [
        ("701234567", "+46701234567", 7, YES), ("+46701234567", "701234567", 7, YES), ("1234567", "46701234567", 7, YES),
        ("234567", "46701234567", 7, NO), ("234567", "46701234567", 6, YES), ("701234568", "46701234567", 7, NO),
        ("112", "112", 7, YES), ("112", "+112", 7, YES), ("112", "46112", 7, NO), ("112", "46112", 3, YES),
        ("555-1234", "5551234", 7, YES), ("555-1234", "12125551234", 7, YES), ("555-123", "1212555123", 7, NO),
        ("0042", "42", 7, NO), ("0042", "+42", 7, YES), ("+42", "0042", 7, YES), ("01142", "+42", 7, YES),
        ("42", "42", 7, YES), ("46701234567", "alice", 7, NO), ("46701234567", "", 7, NO), ("112", "*112#", 7, NO),
        ("1234567", "1234567890", 7, NO),
    ],
)  # fmt: skip
def test_numbers_of_different_length(wanted, value, digits, expected):
    assert says(Type.PHONE, "number", wanted, value, min_digits=digits) is expected


@pytest.mark.parametrize("bad", ["alice", "", "+", "12a4567", "tel:", "\u0661\u0662\u0663", "1" * 300])
def test_what_is_no_phone_number_is_refused(bad):
    with pytest.raises(BadValue, match="is not a phone number"):
        build("number", [bad], kind=Type.PHONE)


def test_a_phone_equals_only_as_it_is_written():
    assert says(Type.PHONE, "equals", "+46701234567", "+46701234567") is YES
    assert says(Type.PHONE, "equals", "+46701234567", "46701234567") is NO


def test_booleans():
    assert says(Type.BOOL, "equals", True, True) is YES
    assert says(Type.BOOL, "equals", "false", False) is YES
    assert says(Type.BOOL, "equals", True, False) is NO
    with pytest.raises(BadValue, match="neither true nor false"):
        build("equals", ["yes"], kind=Type.BOOL)


@pytest.mark.parametrize("bad", ["(", "a{2000}", r"(?=a)", r"(a)\1", "[z-a]", "*", "a" * 1025, "(a{999}){999}"])
def test_a_regex_that_re2_does_not_take_is_refused(bad):
    with pytest.raises(BadValue) as caught:
        build("regex", ["fine", bad], kind=Type.STRING)
    assert caught.value.index == 1
    assert caught.value.reason


def test_a_regex_is_linear():
    started = time.perf_counter()
    assert says(Type.STRING, "regex", "(a+)+$", "a" * 30_000 + "b") is NO
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("operator", ["equals", "glob", "prefix", "suffix", "contains", "regex", "domain", "in"])
def test_no_value_makes_a_test_fail(operator):
    test = build(operator, ["a.b"], kind=Type.NAME)
    for value in ("", "\0", "\ud800", "\U0010ffff" * 10, ":1", ".", "..", 5, True, -1.5):
        assert test(value) in (True, False)
