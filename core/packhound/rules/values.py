"""Leaf operators: a test of one value, built once from what the user wrote.

Promise: pure; linear-time regular expressions only (RE2, this is its only door). Building raises BadValue with the index
of the value that is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import re2

from packhound.fields import Type
from packhound.net.facts import Scalar

Test = Callable[[Scalar], bool]
PROTOCOL_NUMBERS = {
    "icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58, "icmp6": 58,
    "eigrp": 88, "ospf": 89, "pim": 103, "sctp": 132,
}  # fmt: skip
MAX_REGEX = 1024


class BadValue(Exception):
    """A value that its operator cannot use: position in the list, and why."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index
        self.reason = reason


def build(
    operator: str, values: Sequence[Scalar], *, kind: Type, field: str = "", case: bool = False, min_digits: int = 7
) -> Test:
    """The test of one leaf: true when any of `values` is met. Raises BadValue."""
    if operator == "number":
        return _numbers([str(v) for v in values], min_digits)
    if kind == Type.ADDRESS:
        return _addresses(values)
    if kind == Type.NUMBER:
        return _ranges(values, field)
    if kind == Type.BOOL:
        return _bools(values)
    texts = [str(v) for v in values]
    if operator == "domain":
        return _domains(texts)
    if operator == "regex":
        return _regexes(texts, case)
    if operator == "glob":
        return _patterns([glob_pattern(t) for t in texts], case)
    return _texts(operator, texts, case)


def _fold(case: bool) -> Callable[[Scalar], str]:
    return str if case else lambda value: str(value).casefold()


def _texts(operator: str, texts: list[str], case: bool) -> Test:
    fold = _fold(case)
    wanted = tuple(dict.fromkeys(fold(t) for t in texts))
    if operator in ("equals", "in"):
        members = frozenset(wanted)
        return lambda value: fold(value) in members
    if operator == "prefix":
        return lambda value: fold(value).startswith(wanted)
    if operator == "suffix":
        return lambda value: fold(value).endswith(wanted)
    if operator == "contains":
        return lambda value: any(t in fold(value) for t in wanted)
    raise BadValue(0, f"no such operator: {operator}")


def glob_tokens(glob: str) -> list[tuple[str, str]]:
    """A glob as ("lit", text), ("any", ""), ("one", "") tokens; `\\` takes the next character as it is."""
    out: list[tuple[str, str]] = []
    at = 0
    while at < len(glob):
        char = glob[at]
        if char == "\\" and at + 1 < len(glob):
            at += 1
            char = glob[at]
        elif char in "*?":
            if not (char == "*" and out and out[-1][0] == "any"):
                out.append(("any" if char == "*" else "one", ""))
            at += 1
            continue
        if out and out[-1][0] == "lit":
            out[-1] = ("lit", out[-1][1] + char)
        else:
            out.append(("lit", char))
        at += 1
    return out


def glob_pattern(glob: str) -> str:
    """RE2 pattern of a glob, for the whole value."""
    parts = {"any": lambda _: ".*", "one": lambda _: ".", "lit": re2.escape}
    return "".join(parts[kind](text) for kind, text in glob_tokens(glob))


def _options(case: bool) -> Any:
    options = re2.Options()
    options.case_sensitive = case
    options.dot_nl = True
    options.log_errors = False
    options.max_mem = 8 << 20
    return options


def _patterns(patterns: list[str], case: bool) -> Test:
    compiled = [re2.compile(p, options=_options(case)) for p in patterns]
    return lambda value: any(each.fullmatch(_clean(value)) for each in compiled)


def _regexes(texts: list[str], case: bool) -> Test:
    compiled = []
    for index, text in enumerate(texts):
        if len(text) > MAX_REGEX:
            raise BadValue(index, f"longer than {MAX_REGEX} characters")
        try:
            compiled.append(re2.compile(text, options=_options(case)))
        except re2.error as error:
            reason = error.args[0] if error.args else error
            reason = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
            raise BadValue(index, f"not a regular expression that RE2 takes: {reason}") from None
    return lambda value: any(each.search(_clean(value)) for each in compiled)


def _clean(value: Scalar) -> str:
    """Text that RE2 takes: lone surrogates (undecodable bytes) become U+FFFD."""
    return str(value).encode("utf-8", "replace").decode("utf-8")


def _domains(texts: list[str]) -> Test:
    exact, below = set(), set()
    for index, text in enumerate(texts):
        name = text.casefold().rstrip(".")
        stem = name.removeprefix("*.") if name.startswith("*.") else name.removeprefix(".")
        if not stem or "*" in stem or "?" in stem or ".." in stem or " " in stem:
            raise BadValue(index, f"{text!r} is not a domain (example.com, .example.com or *.example.com)")
        if not name.startswith("*."):
            exact.add(stem)
        if name.startswith((".", "*.")):
            below.add(stem)

    def test(value: Scalar) -> bool:
        name = str(value).casefold().rstrip(".")
        if name in exact:
            return True
        at = name.find(".")
        while at >= 0:
            if name[at + 1 :] in below:
                return True
            at = name.find(".", at + 1)
        return False

    return test


def plain_address(text: str) -> IPv4Address | IPv6Address | None:
    """An address, v4-mapped IPv6 as IPv4; None when it is none."""
    try:
        found = ip_address(text.split("%", 1)[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def network_of(value: Scalar, index: int = 0) -> IPv4Network | IPv6Network:
    """The network of an address or CIDR, v4-mapped as IPv4. Raises BadValue."""
    try:
        found = ip_network(str(value), strict=False)
    except ValueError:
        raise BadValue(index, f"{str(value)!r} is not an IP address or CIDR") from None
    if isinstance(found, IPv6Network) and found.prefixlen >= 96 and found.network_address.ipv4_mapped is not None:
        return IPv4Network((found.network_address.ipv4_mapped, found.prefixlen - 96))
    return found


def _addresses(values: Sequence[Scalar]) -> Test:
    networks = [network_of(v, i) for i, v in enumerate(values)]
    hosts = frozenset(n.network_address for n in networks if n.prefixlen == n.max_prefixlen)
    wide = [n for n in networks if n.prefixlen != n.max_prefixlen]

    def test(value: Scalar) -> bool:
        address = plain_address(str(value))
        return address is not None and (address in hosts or any(address in n for n in wide))

    return test


def range_of(value: Scalar, field: str, index: int = 0) -> tuple[int, int]:
    """Both ends of a number or `a-b` range; protocol names where the field is `ip.proto`. Raises BadValue."""
    if isinstance(value, bool):
        raise BadValue(index, "true and false are not numbers")
    if isinstance(value, int):
        return value, value
    text = str(value).strip()
    if field == "ip.proto" and text.casefold() in PROTOCOL_NUMBERS:
        number = PROTOCOL_NUMBERS[text.casefold()]
        return number, number
    found = re.fullmatch(r"(\d{1,20}|0[xX][0-9a-fA-F]{1,16})(?:-(\d{1,20}|0[xX][0-9a-fA-F]{1,16}))?", text)
    if found is None:
        raise BadValue(index, f"{text!r} is not a number or a range such as 80-90")
    low = int(found[1], 0) if found[1][:2].lower() == "0x" else int(found[1])
    high = low if found[2] is None else int(found[2], 0) if found[2][:2].lower() == "0x" else int(found[2])
    if high < low:
        raise BadValue(index, f"{text!r} ends before it begins")
    return low, high


def _ranges(values: Sequence[Scalar], field: str) -> Test:
    ranges = [range_of(v, field, i) for i, v in enumerate(values)]
    single = frozenset(low for low, high in ranges if low == high)
    wide = [(low, high) for low, high in ranges if low != high]

    def test(value: Scalar) -> bool:
        if isinstance(value, str):
            number = PROTOCOL_NUMBERS.get(value.casefold(), -1) if field == "ip.proto" else -1
            if number < 0:
                try:
                    number = int(value, 0)
                except ValueError:
                    return False
        else:
            number = int(value)
        return number in single or any(low <= number <= high for low, high in wide)

    return test


def _bools(values: Sequence[Scalar]) -> Test:
    wanted = set()
    for index, value in enumerate(values):
        if str(value).casefold() not in ("true", "false"):
            raise BadValue(index, f"{value!r} is neither true nor false")
        wanted.add(str(value).casefold() == "true")
    return lambda value: bool(value) in wanted


_SCHEME = re.compile(r"^(?:sips?|tel):", re.IGNORECASE)


def phone_digits(value: str) -> str:
    """Digits of a phone number without its international prefix (+, 00, 011); empty when it is none."""
    text = _SCHEME.sub("", value.strip())
    text = text.split("@", 1)[0].split(";", 1)[0]
    plus = text.lstrip(" (").startswith("+")
    digits = re.sub(r"[\s().\-/+]", "", text)
    if not digits.isascii() or not digits.isdecimal():
        return ""
    if not plus:
        for prefix in ("011", "00"):
            if digits.startswith(prefix) and len(digits) > len(prefix) + 6:
                return digits[len(prefix) :]
    return digits


def _numbers(texts: list[str], min_digits: int) -> Test:
    wanted = []
    for index, text in enumerate(texts):
        digits = phone_digits(text)
        if not digits:
            raise BadValue(index, f"{text!r} is not a phone number")
        wanted.append(digits)

    def test(value: Scalar) -> bool:
        digits = phone_digits(str(value))
        return bool(digits) and any(_same_number(digits, each, min_digits) for each in wanted)

    return test


def _same_number(one: str, other: str, min_digits: int) -> bool:
    if one == other:
        return True
    if min(len(one), len(other)) < min_digits:
        return False
    return one.endswith(other) or other.endswith(one)
