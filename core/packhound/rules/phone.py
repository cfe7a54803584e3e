"""Phone numbers as people and switches write them: when are two of them the same?

Promise: pure and linear.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

MAX_LENGTH = 256
_SCHEME = re.compile(r"\s*(?:sips?|tel):", re.IGNORECASE)
_SEPARATORS = str.maketrans("", "", " \t().-/\u2010\u2011\u00a0")
INTERNATIONAL = ("011", "00")
SUBSCRIBER = 7  # a prefix in front of fewer digits is more likely part of a short number


class Phone(NamedTuple):
    """A number: its digits without international prefix, and every spelling under which it equals another."""

    digits: str
    spellings: frozenset[str]


def phone_of(text: str) -> Phone | None:
    """Read a number, or the user part of a `sip:`, `sips:` or `tel:` URI; None when it is no number.

    >>> phone_of("tel:+46-70-123 45 67").digits
    '46701234567'
    """
    if len(text) > MAX_LENGTH:
        return None
    if "<" in text:
        text = text.partition("<")[2].partition(">")[0]
    scheme = _SCHEME.match(text)
    if scheme:
        text = unquote(re.split("[@;?]", text[scheme.end() :], maxsplit=1)[0])
    text = re.split("[@;]", text, maxsplit=1)[0].translate(_SEPARATORS)
    digits = text.removeprefix("+")
    if not digits.isascii() or not digits.isdigit():
        return None
    if text.startswith("+"):
        return Phone(digits, frozenset({digits, text}))
    for prefix in INTERNATIONAL:
        rest = digits.removeprefix(prefix)
        if rest and rest != digits:
            return Phone(rest if len(rest) >= SUBSCRIBER else digits, frozenset({digits, "+" + rest}))
    return Phone(digits, frozenset({digits}))


def same_number(one: Phone, other: Phone, min_digits: int) -> bool:
    """Equal, or the longer ends with the shorter and both have at least `min_digits`."""
    if one.spellings & other.spellings or one.digits == other.digits:
        return True
    if min(len(one.digits), len(other.digits)) < min_digits:
        return False
    return one.digits.endswith(other.digits) or other.digits.endswith(one.digits)
