"""Leaf operators: a test of one value, built once from what the user wrote.

Promise: pure; linear-time regular expressions only (RE2, this is its only door). Building raises BadValue with the
index of the value that is wrong; testing never raises, whatever the value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import re2

from packhound.fields import Type
from packhound.net.facts import Scalar
from packhound.rules.phone import Phone, phone_of, same_number
from packhound.rules.ranges import Network, network_of, number_in, plain_address, range_of
from packhound.rules.text import absolute, domain_of, domain_stem, fold, glob_tokens

Test = Callable[[Scalar], bool]
MAX_REGEX = 1024
REGEX_MEMORY = 8 << 20  # bytes per expression


class BadValue(Exception):  # it is a value of the user that is bad
    """A value that its operator cannot use: position in the list, and why."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index
        self.reason = reason


def build(
    operator: str, values: Sequence[Scalar], *, kind: Type, field: str = "", case: bool = False, min_digits: int = 7
) -> Test:
    """The test of one leaf: true when any of `values` is met. Raises BadValue."""
    if kind == Type.ADDRESS:
        return _addresses(operator, values)
    if kind == Type.NUMBER:
        return _numbers(operator, values, field)
    if kind == Type.BOOL:
        return _bools(values)
    texts = [text_of(value) for value in values]
    if operator == "number":
        return _phones(texts, min_digits)
    if operator == "domain":
        return _domains(texts)
    if operator == "regex":
        return _regexes(texts, case)
    if operator == "glob":
        return _globs(texts, case)
    return _texts(operator, texts, case, name=kind == Type.NAME)


def text_of(value: Scalar) -> str:
    """A value as text; a YAML boolean as it was written."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _texts(operator: str, texts: list[str], case: bool, *, name: bool) -> Test:
    folded: Callable[[str], str] = str if case else fold
    if operator in ("equals", "in"):
        whole: Callable[[str], str] = absolute if name else str
        members = frozenset(whole(folded(each)) for each in texts)
        return lambda value: whole(folded(text_of(value))) in members
    wanted = tuple(dict.fromkeys(map(folded, texts)))
    if operator == "prefix":
        return lambda value: folded(text_of(value)).startswith(wanted)
    if operator == "suffix":
        return lambda value: folded(text_of(value)).endswith(wanted)
    if operator != "contains":
        raise BadValue(0, f"no such operator: {operator}")

    def contains(value: Scalar) -> bool:
        text = folded(text_of(value))
        return any(each in text for each in wanted)

    return contains


def _options(case: bool) -> Any:
    options = re2.Options()
    options.case_sensitive = case
    options.dot_nl = True
    options.log_errors = False
    options.max_mem = REGEX_MEMORY
    return options


def glob_pattern(glob: str) -> str:
    """RE2 pattern of a glob, for the whole value."""
    parts = {"any": lambda _: ".*", "one": lambda _: ".", "lit": re2.escape}
    return "".join(parts[kind](text) for kind, text in glob_tokens(glob))


def _globs(texts: list[str], case: bool) -> Test:
    folded: Callable[[str], str] = str if case else fold
    compiled = [_compiled(glob_pattern(folded(_clean(each))), index, True) for index, each in enumerate(texts)]

    def test(value: Scalar) -> bool:
        text = _clean(folded(text_of(value)))
        return any(each.fullmatch(text) for each in compiled)

    return test


def _regexes(texts: list[str], case: bool) -> Test:
    for index, each in enumerate(texts):
        if len(each) > MAX_REGEX:
            raise BadValue(index, f"longer than {MAX_REGEX} characters")
    compiled = [_compiled(_clean(each), index, case) for index, each in enumerate(texts)]

    def test(value: Scalar) -> bool:
        text = _clean(text_of(value))
        return any(each.search(text) for each in compiled)

    return test


def _compiled(pattern: str, index: int, case: bool) -> Any:
    try:
        return re2.compile(pattern, options=_options(case))
    except re2.error as error:
        reason = error.args[0] if error.args else "?"
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise BadValue(index, f"not a regular expression that RE2 takes: {text}") from None


def _clean(text: str) -> str:
    """Text that RE2 takes: lone surrogates become `?`."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _domains(texts: list[str]) -> Test:
    exact, below = set(), set()
    for index, text in enumerate(texts):
        found = domain_stem(text)
        if found is None:
            raise BadValue(index, f"{text!r} is not a domain (example.com, .example.com or *.example.com)")
        stem, itself, lower = found
        if itself:
            exact.add(stem)
        if lower:
            below.add(stem)

    def test(value: Scalar) -> bool:
        name = domain_of(text_of(value))
        if name in exact:
            return True
        at = name.find(".")
        while at >= 0 and below:
            if at and name[at + 1 :] in below:
                return True
            at = name.find(".", at + 1)
        return False

    return test


def _addresses(operator: str, values: Sequence[Scalar]) -> Test:
    networks = [_network(operator, value, index) for index, value in enumerate(values)]
    hosts = frozenset(each.network_address for each in networks if each.prefixlen == each.max_prefixlen)
    wide = [each for each in networks if each.prefixlen != each.max_prefixlen]

    def test(value: Scalar) -> bool:
        address = plain_address(value) if isinstance(value, str) else None
        return address is not None and (address in hosts or any(address in each for each in wide))

    return test


def _network(operator: str, value: Scalar, index: int) -> Network:
    try:
        found = network_of(value)
    except ValueError as error:
        raise BadValue(index, str(error)) from None
    if operator == "equals" and found.prefixlen != found.max_prefixlen:
        raise BadValue(index, f"{value!r} is a network: use in")
    return found


def _numbers(operator: str, values: Sequence[Scalar], field: str) -> Test:
    ranges = []
    for index, value in enumerate(values):
        try:
            ranges.append(range_of(value, field))
        except ValueError as error:
            raise BadValue(index, str(error)) from None
        if operator == "equals" and ranges[-1][0] != ranges[-1][1]:
            raise BadValue(index, f"{value!r} is a range: use in")
    single = frozenset(low for low, high in ranges if low == high)
    wide = [(low, high) for low, high in ranges if low != high]

    def test(value: Scalar) -> bool:
        number = number_in(value, field)
        return number is not None and (number in single or any(low <= number <= high for low, high in wide))

    return test


def _bools(values: Sequence[Scalar]) -> Test:
    wanted = set()
    for index, value in enumerate(values):
        if text_of(value).lower() not in ("true", "false"):
            raise BadValue(index, f"{value!r} is neither true nor false")
        wanted.add(text_of(value).lower() == "true")
    return lambda value: bool(value) in wanted


def _phones(texts: list[str], min_digits: int) -> Test:
    wanted: list[Phone] = []
    for index, text in enumerate(texts):
        found = phone_of(text)
        if found is None:
            raise BadValue(index, f"{text!r} is not a phone number")
        wanted.append(found)

    def test(value: Scalar) -> bool:
        number = phone_of(text_of(value))
        return number is not None and any(same_number(number, each, min_digits) for each in wanted)

    return test
