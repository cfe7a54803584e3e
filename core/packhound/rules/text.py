"""How text is compared: case, globs, domain names.

Promise: pure and linear. An ASCII letter is never equal to a non-ASCII one, so what is searched for in raw bytes is
found whenever the text made of those bytes matches.
"""

from __future__ import annotations

import re

_PORT = re.compile(r":[0-9]{1,5}$")


def fold(text: str) -> str:
    """Text without case: one character stays one character, and ASCII stays apart from the rest.

    (U+212A, the Kelvin sign, would else be a `k` that no search for the byte `k` finds.)
    """
    return text.lower() if text.isascii() else "".join(map(_fold_character, text))


def _fold_character(char: str) -> str:
    low = char.lower()
    if char.isascii():
        return low
    return low if len(low) == 1 and not low.isascii() else char


def glob_tokens(glob: str) -> list[tuple[str, str]]:
    r"""A glob as ("lit", text), ("any", ""), ("one", "") tokens; `\` takes the next character as it is.

    >>> glob_tokens(r"a*\*?")
    [('lit', 'a'), ('any', ''), ('lit', '*'), ('one', '')]
    """
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


def absolute(name: str) -> str:
    """A domain name without the dot of the root (which alone stays)."""
    return name.rstrip(".") or name


def domain_of(value: str) -> str:
    """A name as the domain operator sees it: without case, final dot and port."""
    name = fold(value)
    if name[-1:].isdigit():
        name = _PORT.sub("", name)
    return absolute(name)


def domain_stem(pattern: str) -> tuple[str, bool, bool] | None:
    """A domain pattern as (name, the name itself counts, what is below counts); None when it is none.

    >>> domain_stem("*.Example.com")
    ('example.com', False, True)
    """
    text = absolute(fold(pattern))
    below_only = text.startswith("*.")
    with_below = below_only or text.startswith(".")
    stem = text[2 if below_only else 1 if with_below else 0 :]
    if not stem or stem.startswith(".") or ".." in stem or any(char in "*?/: \t" for char in stem):
        return None
    return stem, not below_only, with_below
