"""Signatures of what speaks in lines and decides with its first one: SSH, SIP, RTSP, HTTP, SSDP, MGCP, Megaco, XMPP,
VNC, Redis, HTTP/2, syslog (RFC 4253, 3261, 7826, 9112, 9113, 3435, 3525, 6120, 6143, 3164)."""

from __future__ import annotations

from packhound.net.signatures.apps import App
from packhound.net.signatures.look import FIRST_LINE, Found, Look, first_line, printable

_METHODS = (b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE ")
_TARGETS = (b"/", b"http://", b"*")
_MGCP_VERBS = (
    b"EPCF ", b"CRCX ", b"MDCX ", b"DLCX ", b"RQNT ", b"NTFY ", b"AUEP ", b"AUCX ", b"RSIP ",
)  # fmt: skip


def token_size(line: bytes) -> int:
    """Length of the word of capitals (`-` and `_` too) that starts the line; 0 when no space follows or too long."""
    n = 0
    while n < len(line) and n < 24 and (65 <= line[n] <= 90 or line[n] in {45, 95}):
        n += 1
    return n if 0 < n < len(line) and line[n] == 32 else 0


def _request_line(p: bytes, ending: bytes) -> bool:
    if not 65 <= p[0] <= 90:
        return False
    line, whole = first_line(p)
    return whole and token_size(line) > 0 and line.endswith(ending)


def ssh(look: Look) -> Found | None:
    """RFC 4253 section 4.2: the identification string."""
    return Found(App.SSH, 95) if look.p.startswith((b"SSH-2.", b"SSH-1.")) else None


def sip(look: Look) -> Found | None:
    """RFC 3261 section 7: a status line, or a request line that ends in the version."""
    if look.p.startswith(b"SIP/2.0 ") or _request_line(look.p, b" SIP/2.0"):
        return Found(App.SIP, 95)
    return None


def rtsp(look: Look) -> Found | None:
    """RFC 7826 section 8 and 2326: as HTTP, but for the version; must be asked before HTTP."""
    if look.p.startswith((b"RTSP/1.0 ", b"RTSP/2.0 ")):
        return Found(App.RTSP, 95)
    if _request_line(look.p, b" RTSP/1.0") or _request_line(look.p, b" RTSP/2.0"):
        return Found(App.RTSP, 95)
    return None


def http(look: Look) -> Found | None:
    """RFC 9112 section 3 and 4; a request line that the packet cuts needs a known method and a target."""
    p = look.p
    if p.startswith(b"HTTP/1."):
        return Found(App.HTTP, 95)
    if not 65 <= p[0] <= 90:
        return None
    line, whole = first_line(p)
    size = token_size(line)
    if not size:
        return None
    if whole and len(line) >= 9 and line[-9:-1] == b" HTTP/1.":
        return Found(App.HTTP, 95)
    known = p.startswith(_METHODS) and line[size + 1 :].startswith(_TARGETS)
    if not known:
        return None
    if not whole:
        return Found(App.HTTP, 80)
    return Found(App.HTTP, 80) if b" HTTP/" in line else None


def http2(look: Look) -> Found | None:
    """RFC 9113 section 3.4: the client's connection preface, or the server's, which is a SETTINGS frame."""
    p = look.p
    if p.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n"):
        return Found(App.HTTP2, 95)
    n = len(p)
    if n < 15 or p[0] or p[1] or p[3] != 4 or any(p[4:9]) or not p[2] or p[2] > 96 or p[2] % 6:
        return None
    end = 9 + p[2]
    if end != n and not (end + 9 <= n and p[end + 3] in {4, 8}):  # the acknowledgment of the client's, a larger window
        return None
    known = all(p[at] == 0 and 1 <= p[at + 1] <= 9 for at in range(9, end, 6))
    return Found(App.HTTP2, 85) if known else None


def ssdp(look: Look) -> Found | None:
    """UPnP Device Architecture section 1: HTTP over multicast; an answer is told by its port or its unique name."""
    p = look.p
    if p.startswith((b"M-SEARCH * HTTP/1.", b"NOTIFY * HTTP/1.")):
        return Found(App.SSDP, 95)
    if p.startswith(b"HTTP/1.1 200 OK\r\n") and (look.port(1900) or b"\nUSN:" in p[:FIRST_LINE].upper()):
        return Found(App.SSDP, 95)
    return None


def mgcp(look: Look) -> Found | None:
    """RFC 3435 section 3.2: a command line that ends in the version."""
    p = look.p
    if p.startswith(_MGCP_VERBS):
        line, _ = first_line(p)
        if b" MGCP 1.0" in line:
            return Found(App.MGCP, 95)
    return None


def megaco(look: Look) -> Found | None:
    """RFC 3525 annex B: the text encoding, long and short."""
    return Found(App.MEGACO, 95) if look.p.startswith((b"MEGACO/", b"!/1 [", b"!/2 [", b"!/3 [")) else None


def xmpp(look: Look) -> Found | None:
    """RFC 6120 section 4.2: the opening of a stream."""
    if not look.p.startswith((b"<?xml", b"<stream:stream")):
        return None
    head = look.p[:256]
    return Found(App.XMPP, 95) if b"<stream:stream" in head or b"jabber:" in head else None


def vnc(look: Look) -> Found | None:
    """RFC 6143 section 7.1.1: the version message of either side."""
    p = look.p
    if len(p) >= 12 and p.startswith(b"RFB ") and p[7] == 46 and p[11] == 10 and p[4:7].isdigit() and p[8:11].isdigit():
        return Found(App.VNC, 95)
    return None


def redis(look: Look) -> Found | None:
    """RESP: an array of bulk strings, as every client library sends its commands, or the answer to a ping."""
    p = look.p
    if p.startswith(b"+PONG\r\n"):
        return Found(App.REDIS, 80)
    if p[0] != 42:
        return None
    at = 1
    while at < len(p) and at < 6 and 48 <= p[at] <= 57:
        at += 1
    if at == 1 or p[at : at + 3] != b"\r\n$":
        return None
    return Found(App.REDIS, 90) if at + 3 < len(p) and 48 <= p[at + 3] <= 57 else None


def syslog(look: Look) -> Found | None:
    """RFC 3164 and 5424: a priority of at most 191, then text."""
    p = look.p
    if p[0] != 60:
        return None
    at, priority = 1, 0
    while at < len(p) and at < 4 and 48 <= p[at] <= 57:
        priority = priority * 10 + p[at] - 48
        at += 1
    if at == 1 or priority > 191 or at + 16 > len(p) or p[at] != 62 or not printable(p, at + 1, at + 16):
        return None
    return Found(App.SYSLOG, 95 if look.port(514) else 70)
