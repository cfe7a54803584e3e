"""Signatures of protocols that speak in lines: HTTP, SIP, RTSP, SSH, SMTP, FTP, IMAP, POP3, SSDP.

Promise: pure, reads at most `FIRST_LINE` bytes for the first line. Portable side of kernel/_detect_text.pxi.
"""

from __future__ import annotations

FIRST_LINE = 1024
HTTP, SIP, RTSP, SSH, SMTP, FTP, IMAP, POP3, SSDP = 8, 9, 12, 13, 14, 15, 16, 17, 21
CONTENT, TWO_PACKETS = 1, 2
BANNER_220, BANNER_OK = 1, 2  # scratch[0]: what the responder greeted with

Found = tuple[int, int, int]
_METHODS = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE ")
_SMTP_COMMANDS = (b"EHLO ", b"HELO ", b"MAIL FROM:", b"RCPT TO:")
_FTP_COMMANDS = (b"USER ", b"AUTH ", b"FEAT\r", b"SYST\r", b"OPTS ")
_POP3_COMMANDS = (b"USER ", b"CAPA\r", b"APOP ", b"AUTH ", b"STLS\r", b"AUTH\r", b"QUIT\r")


def first_line(payload: bytes) -> tuple[bytes, bool]:
    """The first line without its end, and whether the end is there (within `FIRST_LINE` bytes)."""
    head = payload[:FIRST_LINE]
    end = head.find(b"\n")
    if end < 0:
        return head, False
    return head[: end - 1 if end and head[end - 1] == 13 else end], True


def _token(line: bytes) -> int:
    """Length of the run of capital letters that starts the line, 0 when it is not followed by a space or too long."""
    n = 0
    while n < len(line) and n < 20 and 65 <= line[n] <= 90:
        n += 1
    return n if 0 < n < len(line) and line[n] == 32 else 0


def _request_or_status(payload: bytes) -> Found | None:
    """SIP and RTSP: a status line, or a request line that ends in the version."""
    if payload.startswith(b"SIP/2.0 "):
        return SIP, 95, CONTENT
    if payload.startswith(b"RTSP/1.0 "):
        return RTSP, 95, CONTENT
    line, whole = first_line(payload)
    if not whole or not _token(line):
        return None
    if line.endswith(b" SIP/2.0"):
        return SIP, 95, CONTENT
    if line.endswith(b" RTSP/1.0"):
        return RTSP, 95, CONTENT
    return None


def _http(payload: bytes) -> Found | None:
    if payload.startswith(b"HTTP/1."):
        return HTTP, 95, CONTENT
    if not payload.startswith(_METHODS):
        return None
    line, whole = first_line(payload)
    if whole:
        return (HTTP, 95, CONTENT) if b" HTTP/1." in line else None
    target = line[_token(line) + 1 :]
    return (HTTP, 80, CONTENT) if target.startswith((b"/", b"http://", b"*")) else None


def over_udp(payload: bytes) -> Found | None:
    """SIP and SSDP."""
    if payload.startswith((b"M-SEARCH * HTTP/1.1", b"NOTIFY * HTTP/1.1")):
        return SSDP, 95, CONTENT
    found = _request_or_status(payload)
    return found if found is None or found[0] == SIP else None


def over_tcp(payload: bytes, direction: int, scratch: list[int]) -> Found | None:
    """Everything that speaks in lines over TCP; `scratch[0]` remembers an ambiguous greeting of the responder."""
    if payload.startswith(b"SSH-") and payload[4:6] in (b"2.", b"1."):
        return SSH, 95, CONTENT
    return _request_or_status(payload) or _http(payload) or _mail(payload, direction, scratch)


def _mail(payload: bytes, direction: int, scratch: list[int]) -> Found | None:
    if direction == 1:
        return _greeting(payload, scratch)
    upper = payload[:16].upper()
    if upper.startswith(_SMTP_COMMANDS):
        return SMTP, 95, TWO_PACKETS if scratch[0] == BANNER_220 else CONTENT
    if scratch[0] == BANNER_220 and upper.startswith(_FTP_COMMANDS):
        return FTP, 95, TWO_PACKETS
    if scratch[0] == BANNER_OK and upper.startswith(_POP3_COMMANDS):
        return POP3, 95, TWO_PACKETS
    return None


def _greeting(payload: bytes, scratch: list[int]) -> Found | None:
    if payload.startswith((b"220 ", b"220-")):
        line, _ = first_line(payload)
        upper = line.upper()
        if b"SMTP" in upper:
            return SMTP, 90, CONTENT
        if b"FTP" in upper:
            return FTP, 90, CONTENT
        scratch[0] = BANNER_220
    elif payload.startswith(b"+OK"):
        scratch[0] = BANNER_OK
    elif payload.startswith((b"* OK ", b"* PREAUTH ")):
        return IMAP, 90, CONTENT
    return None
