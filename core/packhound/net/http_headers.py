"""What the header fields of a request or a response say, in HTTP/1 and HTTP/2 alike (RFC 9110).

Promise: pure, linear, never raises. Passwords and tokens are never a value: of Authorization the scheme and the user.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from packhound.net import grpc_facts
from packhound.net.facts import Value
from packhound.net.mail_auth import user_of
from packhound.net.mail_words import base64
from packhound.net.text import decode, is_digits, to_number

Header = Callable[[str], str]  # the first value of a header by its lower-case name, empty when absent
MAX_LENGTH = 1 << 62
MAX_TOKEN = 16 * 1024
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_DIGEST = re.compile(r'\busername="([^"\\]{1,256})"')
_DNS_MESSAGE = "application/dns-message"  # RFC 8484 section 6
_DNS_PATH = "/dns-query"  # what RFC 8484 uses in its examples, and every public resolver since
REQUEST_FIELDS = frozenset({
    "http.method", "http.path", "http.host", "http.url", "http.version", "http.user_agent", "http.referer",
    "http.content_type", "http.content_length", "http.forwarded_for", "http.upgrade", "http.auth", "http.user",
    "http2.stream", "grpc.service", "grpc.method", "dns.encrypted",
})  # fmt: skip
RESPONSE_FIELDS = frozenset({
    "http.status", "http.version", "http.content_type", "http.content_length", "http.server", "http.location",
    "http.upgrade", "http.response_time", "http2.stream",
})  # fmt: skip


def request_fields(header: Header, *, path: str) -> dict[str, Value]:
    """Return the fields that the headers of a request give; `path` is the target without its query."""
    fields: dict[str, Value] = {}
    put(fields, "http.user_agent", header("user-agent"))
    put(fields, "http.referer", header("referer"))
    put(fields, "http.forwarded_for", header("x-forwarded-for"))
    _both(fields, header)
    scheme, user = login(header("authorization"))
    put(fields, "http.auth", scheme)
    put(fields, "http.user", user)
    if asks_dns(header, path):
        fields["dns.encrypted"] = "doh"
    if grpc_facts.is_grpc(header("content-type")):
        service, method = grpc_facts.call_of(path)
        put(fields, "grpc.service", service)
        put(fields, "grpc.method", method)
    return fields


def response_fields(header: Header) -> dict[str, Value]:
    """Return the fields that the headers of a response give."""
    fields: dict[str, Value] = {}
    put(fields, "http.server", header("server"))
    put(fields, "http.location", header("location"))
    _both(fields, header)
    return fields


def asks_dns(header: Header, path: str) -> bool:
    """Tell DNS over HTTPS: by the media type, or the path together with a query in the way of RFC 8484."""
    if _DNS_MESSAGE in (header("content-type").lower(), header("accept").lower()):
        return True
    return path.endswith(_DNS_PATH)


def login(value: str) -> tuple[str, str]:
    """Return scheme and user of an Authorization header (RFC 7617, RFC 7616, NTLM); either may be empty."""
    scheme, _, rest = value.partition(" ")
    if not _SCHEME.fullmatch(scheme):
        return "", ""
    token, kind = rest.strip().encode("utf-8", "replace"), scheme.lower()
    if kind == "basic":
        data = base64(token, limit=MAX_TOKEN) or b""
        name, colon, _ = data.partition(b":")
        return scheme, decode(name)[:256] if colon else ""
    if kind == "digest":
        found = _DIGEST.search(rest[:MAX_TOKEN])
        return scheme, found[1] if found else ""
    if kind in ("ntlm", "negotiate"):
        return scheme, user_of("NTLM", token, turn=0)
    return scheme, ""


def put(fields: dict[str, Value], name: str, value: str) -> None:
    """Set a field unless its value is empty."""
    if value:
        fields[name] = value


def _both(fields: dict[str, Value], header: Header) -> None:
    put(fields, "http.content_type", header("content-type"))
    put(fields, "http.upgrade", header("upgrade"))
    length = header("content-length").partition(",")[0].strip()
    size = to_number(length, limit=MAX_LENGTH) if is_digits(length) else None
    if size is not None:
        fields["http.content_length"] = size
