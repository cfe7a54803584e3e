"""HTTP/2 frames and what their header lists say (RFC 9113); HPACK is in `packhound.net.hpack`.

Promise: pure, bounded by the frame, never raises. Streams are kept by `packhound.net.sessions.http2`.
"""

from __future__ import annotations

from typing import NamedTuple

from packhound.net.facts import Fact, Malformed, Value
from packhound.net.hpack import HeaderList
from packhound.net.http1 import without_port
from packhound.net.http_headers import put, request_fields, response_fields
from packhound.net.text import to_number

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER = 9
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY = 0x01, 0x04, 0x08, 0x20
_SIZES = {PRIORITY: 5, RST_STREAM: 4, PING: 8, WINDOW_UPDATE: 4}
_OF_CONNECTION = (SETTINGS, PING, GOAWAY)  # on stream 0 alone
_OF_STREAM = (DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, CONTINUATION)
_USUAL = 16_384  # bytes of a frame unless a peer allows more


class FrameHeader(NamedTuple):
    """Length of the payload, type, flags, stream."""

    size: int
    type: int
    flags: int
    stream: int


def frame_header(data: bytes | bytearray, at: int = 0) -> FrameHeader | None:
    """Read the nine bytes of a frame header; None when they are not all there."""
    if len(data) - at < HEADER:
        return None
    return FrameHeader(
        int.from_bytes(data[at : at + 3], "big"), data[at + 3], data[at + 4],
        int.from_bytes(data[at + 5 : at + 9], "big") & 0x7FFFFFFF,
    )  # fmt: skip


def is_sound(header: FrameHeader) -> bool:
    """Tell whether size, type and stream go together (types not known are allowed, section 4.1)."""
    if header.type in _SIZES and header.size != _SIZES[header.type]:
        return False
    if header.type == SETTINGS and header.size % 6:
        return False
    return header.type not in (_OF_STREAM if header.stream == 0 else _OF_CONNECTION)


def starts_frames(data: bytes) -> bool:
    """Tell whether bytes, whose past is lost, start with frames: known ones, one after the other to the end."""
    at, frames = 0, 0
    while at < len(data) and frames < 8:
        header = frame_header(data, at)
        if header is None:
            break
        if header.type > CONTINUATION or header.size > _USUAL or not is_sound(header) or data[at + 5] & 0x80:
            return False
        at += HEADER + header.size
        frames += 1
    return frames > 0


def fragment(header: FrameHeader, payload: bytes) -> bytes | Malformed:
    """Return the header block fragment of a HEADERS or PUSH_PROMISE frame, without padding, weight and promise."""
    start = end = 0
    if header.flags & PADDED:
        if not payload:
            return Malformed("HTTP/2 frame is cut short")
        start, end = 1, payload[0]
    if header.type == PUSH_PROMISE:
        start += 4
    elif header.flags & WITH_PRIORITY:
        start += 5
    if start + end > len(payload):
        return Malformed("HTTP/2 padding is longer than its frame")
    return payload[start : len(payload) - end]


def request_fact(headers: HeaderList, *, stream: int) -> Fact:
    """Return the `http.request` fact of a header list that has a `:method`."""
    host = headers.get(":authority") or headers.get("host")
    target = headers.get(":path")
    path = target.partition("#")[0].partition("?")[0]
    scheme = headers.get(":scheme") or "http"
    fields: dict[str, Value] = {"http.version": "2", "http2.stream": stream, "http.method": headers.get(":method")}
    put(fields, "http.host", without_port(host))
    put(fields, "http.path", path)
    put(fields, "http.url", f"{scheme}://{host}{target}" if host and target.startswith("/") else target or host)
    return Fact("http.request", fields | request_fields(headers.get, path=path))


def response_fact(headers: HeaderList, *, stream: int, response_time: int = -1) -> Fact | Malformed:
    """Return the `http.response` fact of a header list that has a `:status`; `response_time` in ns, -1: not known."""
    status = to_number(headers.get(":status"), limit=999)
    if status is None:
        return Malformed("HTTP/2 status is no number")
    fields: dict[str, Value] = {"http.version": "2", "http2.stream": stream, "http.status": status}
    if response_time >= 0:
        fields["http.response_time"] = response_time
    return Fact("http.response", fields | response_fields(headers.get))
