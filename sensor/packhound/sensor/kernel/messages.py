"""Where a message of a protocol starts and whether it is whole: what the prefilter needs to know, no more.

Promise: pure; the portable side of `_messages.pxi`.
"""

from __future__ import annotations

from typing import Any

from packhound.net.detect import App
from packhound.net.frame import Frame
from packhound.sensor.kernel.events import F_EARLY

TCP, SYN = 6, 2
MAX_METHOD = 20


def starts_message(app: int, payload: bytes) -> bool:
    """Tell whether `payload` begins a message that the literals of `app` could be in."""
    if app == App.TLS:
        return payload[0] == 0x16
    if app == App.QUIC:  # long header (RFC 9000), or a Google QUIC packet with its version
        return bool(payload[0] & 0x80) or payload[0] & 0x09 == 0x09
    if app == App.HTTP:
        return payload.startswith(b"HTTP/") or _is_request(payload)
    return True


def _is_request(payload: bytes) -> bool:
    """A method of any name, a blank, and what a request target begins with (RFC 9112 section 3.2)."""
    end = 0
    while end < len(payload) and end < MAX_METHOD and (65 <= payload[end] <= 90 or payload[end] == 0x2D):
        end += 1
    if end < 3 or end + 1 >= len(payload) or payload[end] != 0x20:
        return False
    target = payload[end + 1]
    return target in b"/*" or 48 <= target <= 57 or 65 <= target <= 90 or 97 <= target <= 122


def torn(app: int, payload: bytes, proto: int) -> bool:
    """Tell whether the message, or another one behind it, goes on in a later packet, so that literals may be there."""
    if app == App.TLS:
        if len(payload) < 9:
            return True
        record_end = 5 + int.from_bytes(payload[3:5], "big")
        message_end = 9 + int.from_bytes(payload[6:9], "big")
        return record_end > len(payload) or message_end > record_end
    if app == App.HTTP:
        if payload[:5] == b"HTTP/":
            return b"\r\n\r\n" not in payload
        return not payload.endswith(b"\r\n\r\n")
    if proto != TCP:
        return False
    if app == App.DNS:
        return len(payload) < 2 or 2 + int.from_bytes(payload[:2], "big") != len(payload)
    return True


def is_early(f: Frame, direction: int, row: Any) -> bool:
    """Tell whether TCP data of a flow without verdict lies behind data of its direction that has not come yet; `row`
    remembers that it began so."""
    ahead = (f.seq + bool(f.tcp_flags & SYN) - int(row["isn"][direction]) - 1) % (1 << 32)
    if f.proto != TCP or not row["has_isn"][direction] or not 0 < ahead < 1 << 31:
        return False
    if row["payload_packets"][direction] == 1:
        row["flags"] |= F_EARLY << direction
    return bool(int(row["flags"]) & F_EARLY << direction)
