"""SIP messages (RFC 3261): start line, headers, body, and the SDP in it.

Promise: accepts what real senders send (compact forms, folded headers, bare LF, a message that the snap length cut);
linear; bounded by `MAX_HEADERS`; never raises. What the message means for a hunt is in `packhound.net.sip_fields`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from packhound.net import sdp
from packhound.net.facts import Malformed
from packhound.net.text import decode, to_number

MAX_HEADERS = 512
MAX_HEADER_BYTES = 64 * 1024
MAX_PARTS = 16
COMPACT = {
    "a": "accept-contact", "b": "referred-by", "c": "content-type", "d": "request-disposition", "e": "content-encoding",
    "f": "from", "i": "call-id", "j": "reject-contact", "k": "supported", "l": "content-length", "m": "contact",
    "o": "event", "r": "refer-to", "s": "subject", "t": "to", "u": "allow-events", "v": "via", "x": "session-expires",
    "y": "identity",
}  # fmt: skip
_START = rb"(?:SIP/\d\.\d [1-6]\d\d(?:[ \t][^\r\n]*)?|[A-Z][A-Z_.!%*+`'~-]{1,31} [^\s]{1,4096} SIP/\d\.\d[ \t]*)\r?\n"
START = re.compile(_START)
_LATER_START = re.compile(rb"\n(" + _START + rb")")
_BLANK = re.compile(rb"\n\r?\n")
_BOUNDARY = re.compile(r"boundary\s*=\s*(?:\"([^\"]{1,200})\"|([^\s;\"]{1,200}))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SipMessage:
    """One request or response.

    `method` is that of the start line, or of CSeq in a response (empty where a response has no CSeq); `status` is 0
    in a request. `headers` keeps order and repetition; names are lower case and never compact. `complete` is False
    when the bytes ended inside the headers or the body.
    """

    is_request: bool
    method: str
    uri: str
    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    sdp: sdp.SdpSession | None
    complete: bool

    def header(self, name: str) -> str:
        """Return the first value of a header by its lower-case name; empty when absent."""
        return next((value for key, value in self.headers if key == name), "")

    def values(self, name: str) -> tuple[str, ...]:
        """Return every value of a header by its lower-case name, in order."""
        return tuple(value for key, value in self.headers if key == name)

    @property
    def call_id(self) -> str:
        """The Call-ID; empty when the message has none."""
        return self.header("call-id")

    @property
    def cseq(self) -> tuple[int, str]:
        """Number (-1 when absent or no number) and method of CSeq."""
        number, _, method = self.header("cseq").partition(" ")
        value = to_number(number, limit=(1 << 32) - 1)
        return (-1 if value is None else value, method.strip())


def starts_message(data: bytes | bytearray) -> bool:
    """Tell whether the bytes start with a whole SIP request or status line."""
    return START.match(data) is not None


def head_size(data: bytes | bytearray, start: int = 0) -> int:
    """Return the offset behind the blank line that ends the headers, -1 when it is not there (yet)."""
    found = _BLANK.search(data, start)
    return found.end() if found else -1


def parse(data: bytes) -> SipMessage | Malformed:
    """Read one message from the start of `data`; bytes behind its Content-Length are left alone."""
    if not starts_message(data):
        return Malformed("no SIP start line")
    end = head_size(data)
    complete = end >= 0
    head = data[: end if complete else len(data)]
    if len(head) > MAX_HEADER_BYTES:
        return Malformed("SIP headers are larger than 64 KiB", MAX_HEADER_BYTES)
    start_line, headers = _headers(head)
    body = data[end:] if complete else b""
    length = _content_length(headers)
    if length is not None:
        complete = complete and len(body) >= length
        body = body[:length]
    content_type = next((value for key, value in headers if key == "content-type"), "")
    return _message(start_line, headers, body, _find_sdp(body, content_type, depth=2), complete=complete)


def body_length(head: bytes) -> int:
    """Return the Content-Length of a whole message head; 0 without the header, which streams demand (section 18.3)."""
    return _content_length(_headers(head)[1]) or 0


def message_size(data: bytes) -> int | None:
    """Return how many bytes the first message of `data` takes; None until its headers are whole."""
    end = head_size(data)
    return None if end < 0 else end + body_length(data[:end])


def find_start(data: bytes | bytearray) -> int:
    """Return the offset of the first start line behind the first line of `data`, -1 when there is none."""
    found = _LATER_START.search(data, 1)
    return found.start(1) if found else -1


def _headers(head: bytes) -> tuple[str, tuple[tuple[str, str], ...]]:
    lines = decode(head).split("\n")
    found: list[tuple[str, str]] = []
    folded: list[str] = []
    for raw in lines[1:]:
        line = raw.rstrip("\r")
        if not line:
            break
        if line[0] in " \t" and folded:
            folded.append(line.strip())
            continue
        _close(found, folded)
        if len(found) >= MAX_HEADERS:
            break
        folded = [line]
    _close(found, folded)
    return lines[0].strip(), tuple(found)


def _close(found: list[tuple[str, str]], folded: list[str]) -> None:
    """Add the header whose (folded) lines are in `folded`."""
    name, colon, value = " ".join(folded).partition(":")
    folded.clear()
    if colon:
        key = name.strip().lower()
        found.append((COMPACT.get(key, key), value.strip()))


def _content_length(headers: tuple[tuple[str, str], ...]) -> int | None:
    value = next((value for key, value in headers if key == "content-length"), "")
    return to_number(value, limit=1 << 31)


def _message(
    start_line: str,
    headers: tuple[tuple[str, str], ...],
    body: bytes,
    session: sdp.SdpSession | None,
    *,
    complete: bool,
) -> SipMessage:
    words = start_line.split(" ", 2)
    is_request = not start_line.startswith("SIP/")
    method, uri, status, reason = "", "", 0, ""
    if is_request:
        method, uri = words[0], words[1]
    else:
        status = int(start_line[8:11])  # START has seen to it; a tab may follow
        reason = start_line[11:].strip()
        cseq = next((value for key, value in headers if key == "cseq"), "")
        method = cseq.partition(" ")[2].strip()
    return SipMessage(is_request, method, uri, status, reason, headers, body, session, complete)


def _find_sdp(body: bytes, content_type: str, *, depth: int) -> sdp.SdpSession | None:
    """Return the SDP of a body: the body itself, or the first such part of a multipart one (RFC 5621)."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/sdp" or (not kind and body.startswith(b"v=0")):
        found = sdp.parse(body)
        return None if isinstance(found, Malformed) else found
    boundary = _BOUNDARY.search(content_type) if kind.startswith("multipart/") else None
    if not boundary or not depth:
        return None
    mark = b"--" + (boundary[1] or boundary[2]).encode("utf-8", "replace")
    for part in body.split(mark, MAX_PARTS)[1:]:
        head, _, rest = part.lstrip(b"\r\n").replace(b"\r\n", b"\n").partition(b"\n\n")
        _, headers = _headers(b"\n" + head + b"\n")
        kind = next((value for key, value in headers if key == "content-type"), "")
        found_part = _find_sdp(rest, kind, depth=depth - 1)
        if found_part:
            return found_part
    return None
