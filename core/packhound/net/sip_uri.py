"""SIP addresses: name-addr lists, and the parts of sip:, sips:, tel: and urn: URIs (RFC 3261 section 25, RFC 3966).

Promise: linear, tolerant, never raises; what cannot be read as a URI yields nothing.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

MAX_ADDRESSES = 32  # of one header
_SCHEME = re.compile(r"(?:sips?|tel|urn|im|pres|xmpp|h323|https?):", re.IGNORECASE)
_NUMBER = re.compile(r"\+?[0-9][0-9*#]*")
_SEPARATORS = str.maketrans("", "", "-.() ")


class Address(NamedTuple):
    """A URI as written, its scheme in lower case, its unescaped user part without parameters or password, its host."""

    uri: str
    scheme: str
    user: str
    host: str

    @property
    def number(self) -> str:
        """The user part when it can be dialled (digits, `*`, `#`, visual separators, one leading `+`), else empty."""
        compact = self.user.translate(_SEPARATORS)
        return self.user if _NUMBER.fullmatch(compact) else ""


def read_uri(text: str) -> Address | None:
    """Read one URI without brackets; None when its scheme is not one that SIP carries."""
    text = text.strip()
    if not _SCHEME.match(text):
        return None
    scheme, _, rest = text.partition(":")
    scheme = scheme.lower()
    if scheme == "tel":
        return Address(text, scheme, unquote(rest.partition(";")[0].partition("?")[0]), "")
    if scheme == "urn":
        return Address(text, scheme, "", "")
    plain = rest.partition("?")[0] if "@" not in rest else rest
    user, at, host = plain.rpartition("@")
    if not at and scheme in {"sip", "sips"}:
        user, host = "", plain
    if "@" in host or ("?" in user and "@" in user):  # an @ in the headers part: the first one ends the user
        user, _, host = rest.partition("@")
    name = re.split("[;:]", user, maxsplit=1)[0]
    return Address(text, scheme, unquote(name), _host(host))


def read_addresses(value: str) -> list[Address]:
    """Read a header that holds a comma-separated list of name-addr or addr-spec (From, Contact, Diversion, ...)."""
    found = []
    for part in _split(value)[:MAX_ADDRESSES]:
        bracket = _unquoted_bracket(part)
        # parameters behind a bare URI belong to the header (section 20)
        inside = part[bracket + 1 :].partition(">") if bracket >= 0 else part.partition(";")
        address = read_uri(inside[0])
        if address:
            found.append(address)
    return found


def _host(text: str) -> str:
    text = re.split("[;?]", text, maxsplit=1)[0]
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def _unquoted_bracket(part: str) -> int:
    """Return where `<` opens the URI, jumping over a quoted display name; -1 when there is none."""
    at = 0
    stripped = len(part) - len(part.lstrip())
    if part[stripped : stripped + 1] == '"':
        at = stripped + 1
        while at < len(part) and part[at] != '"':
            at += 2 if part[at] == "\\" else 1
    return part.find("<", at)


def _split(value: str) -> list[str]:
    """Split at commas that are neither quoted nor inside angle brackets."""
    parts: list[str] = []
    start = at = 0
    quoted = angled = False
    while at < len(value):
        char = value[at]
        if quoted:
            if char == "\\":
                at += 1
            elif char == '"':
                quoted = False
        elif char == '"' and not angled:
            quoted = True
        elif char == "<":
            angled = True
        elif char == ">":
            angled = False
        elif char == "," and not angled:
            parts.append(value[start:at])
            start = at + 1
        at += 1
    parts.append(value[start:])
    return parts
