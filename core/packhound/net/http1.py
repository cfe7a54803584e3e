"""HTTP/1 messages (RFC 9112): start line and headers -> fact, and how the body behind them is delimited.

Promise: accepts what servers accept (bare LF, folded headers, absolute-form targets); linear; bounded by
`MAX_HEAD` and `MAX_HEADERS`; never raises. Streams and bodies are walked by `packhound.net.sessions.http1`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from packhound.net.facts import Fact, Malformed, Value
from packhound.net.http_headers import MAX_LENGTH, put, request_fields, response_fields
from packhound.net.text import decode, is_digits, to_number

MAX_HEAD = 64 * 1024
MAX_HEADERS = 256
MAX_START_LINE = 16_384 + 64
REQUEST_LINE = re.compile(rb"([A-Za-z][A-Za-z0-9_.!#$%&'*+^`|~-]{0,31}) ([^\r\n]{0,16384}?) ?HTTP/(\d\.\d)[ \t]*\r?\n")
STATUS_LINE = re.compile(rb"HTTP/(\d\.\d) +([1-9]\d\d)(?:[ \t]([^\r\n]*))?\r?\n")
_BLANK = re.compile(rb"\n\r?\n")
_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,15}://([^/?#]{0,512})")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request head. `target` as written; `headers` keep order, names lower case."""

    method: str
    target: str
    version: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        """Return the first value of a header by its lower-case name; empty when absent."""
        return next((value for key, value in self.headers if key == name), "")


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A response head; `headers` as in a request."""

    status: int
    reason: str
    version: str
    headers: tuple[tuple[str, str], ...]

    def header(self, name: str) -> str:
        """Return the first value of a header by its lower-case name; empty when absent."""
        return next((value for key, value in self.headers if key == name), "")


def head_size(data: bytes | bytearray, start: int = 0) -> int:
    """Return the offset behind the blank line that ends the head, -1 when it is not there (yet)."""
    found = _BLANK.search(data, start)
    return found.end() if found else -1


def starts_message(data: bytes | bytearray) -> bool:
    """Tell whether the bytes start with a whole request or status line."""
    return STATUS_LINE.match(data) is not None or REQUEST_LINE.match(data) is not None


def parse(head: bytes) -> HttpRequest | HttpResponse | Malformed:
    """Read a message head; it may lack its blank line (cut by the snap length)."""
    status = STATUS_LINE.match(head)
    if status:
        return HttpResponse(
            status=int(status[2]),
            reason=decode(status[3] or b"").strip(),
            version=status[1].decode("ascii"),
            headers=_headers(head[status.end() :]),
        )
    request = REQUEST_LINE.match(head)
    if not request:
        return Malformed("no HTTP start line")
    return HttpRequest(
        method=request[1].decode("ascii"),
        target=decode(request[2]).strip(),
        version=request[3].decode("ascii"),
        headers=_headers(head[request.end() :]),
    )


def http_fact(message: HttpRequest | HttpResponse, *, response_time: int = -1) -> Fact:
    """Return the `http.request` or `http.response` fact; `response_time` in ns from the request, -1 where not known.

    `http.host` is without port, `http.path` without query; `http.url` is the whole `http://host:port/path?query` (as
    written in absolute form, `host:port` for CONNECT).
    """
    fields: dict[str, Value] = {"http.version": message.version}
    if isinstance(message, HttpResponse):
        fields["http.status"] = message.status
        fields |= response_fields(message.header)
        if response_time >= 0:
            fields["http.response_time"] = response_time
        return Fact("http.response", fields)
    host, path, url = target_of(message)
    fields["http.method"] = message.method
    put(fields, "http.path", path)
    put(fields, "http.host", without_port(host))
    put(fields, "http.url", url)
    return Fact("http.request", fields | request_fields(message.header, path=path))


def body_size(message: HttpRequest | HttpResponse, *, method: str = "") -> int | None:
    """Return how many body bytes follow (RFC 9112 section 6.3): -1 chunked, None until the connection closes.

    `method` is that of the request a response answers.
    """
    if isinstance(message, HttpResponse) and (method == "HEAD" or message.status in (204, 304) or message.status < 200):
        return 0
    if "chunked" in message.header("transfer-encoding").lower():
        return -1
    length = message.header("content-length").partition(",")[0].strip()
    if is_digits(length):
        return to_number(length, limit=MAX_LENGTH)
    return None if isinstance(message, HttpResponse) else 0


def target_of(message: HttpRequest) -> tuple[str, str, str]:
    """Return host, path and URL of a request, whichever form its target has (RFC 9112 section 3.2)."""
    host, target = message.header("host"), message.target
    if message.method.upper() == "CONNECT":
        target = target.partition(" ")[0]
        return host or target, "", target
    absolute = _AUTHORITY.match(target)
    if absolute:
        authority = absolute[1].rpartition("@")[2]
        rest = target[absolute.end() :]
        return authority or host, _path(rest) or "/", target
    path = _path(target)
    return host, path, f"http://{host}{target}" if host and target.startswith("/") else target


def without_port(host: str) -> str:
    """Return the host of an authority."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    name, _, port = host.partition(":")
    return host if ":" in port else name


def _path(target: str) -> str:
    return target.partition("#")[0].partition("?")[0]


def _headers(data: bytes) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    folded: list[str] = []
    for raw in decode(data).split("\n"):
        line = raw.rstrip("\r")
        if line[:1] in (" ", "\t") and folded:
            folded.append(line.strip())
            continue
        if folded:
            name, colon, value = " ".join(folded).partition(":")
            if colon:
                found.append((name.strip().lower(), value.strip()))
        if not line or len(found) >= MAX_HEADERS:
            folded = []
            break
        folded = [line]
    if folded:  # cut before the blank line: the last header may be torn, but it is what there is
        name, colon, value = " ".join(folded).partition(":")
        if colon:
            found.append((name.strip().lower(), value.strip()))
    return tuple(found)
