"""Where a message of a protocol starts and whether it is whole: what the prefilter needs to know, no more.

Promise: pure; the portable side of `_messages.pxi`.
"""

from __future__ import annotations

from packhound.net.detect import App

TCP = 6
_METHODS = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE ", b"HTTP/")


def starts_message(app: int, payload: bytes) -> bool:
    """Tell whether `payload` begins a message that the literals of `app` could be in."""
    if app == App.TLS:
        return payload[0] == 0x16
    if app == App.QUIC:  # long header (RFC 9000), or a Google QUIC packet with its version
        return bool(payload[0] & 0x80) or payload[0] & 0x09 == 0x09
    if app == App.HTTP:
        return payload.startswith(_METHODS)
    return True


def torn(app: int, payload: bytes, proto: int) -> bool:
    """Tell whether the message goes on in a later packet, so that its literals may be there."""
    if app == App.TLS:
        if len(payload) < 9:
            return True
        record_end = 5 + int.from_bytes(payload[3:5], "big")
        message_end = 9 + int.from_bytes(payload[6:9], "big")
        return record_end > len(payload) or message_end > record_end
    if app == App.HTTP:
        return b"\r\n\r\n" not in payload
    if proto != TCP:
        return False
    if app == App.DNS:
        return len(payload) < 2 or 2 + int.from_bytes(payload[:2], "big") > len(payload)
    return True
