"""Who logs in, from a SASL exchange (RFC 4422) of a mail session. Passwords and tokens are never returned.

Promise: pure, bounded by `MAX_TOKEN`, never raises. Mechanisms: PLAIN (RFC 4616), LOGIN, CRAM-MD5 (RFC 2195),
DIGEST-MD5 (RFC 2831), SCRAM (RFC 5802), XOAUTH2, OAUTHBEARER (RFC 7628), NTLM (MS-NLMP), EXTERNAL, ANONYMOUS.
"""

from __future__ import annotations

import re

from packhound.net.mail_words import base64
from packhound.net.text import decode

MAX_TOKEN = 16 * 1024
MAX_USER = 256
_XOAUTH = re.compile(rb"(?:^|\x01)user=([^\x01]{1,256})")
_GS2 = re.compile(rb"^[nyp][^,]{0,64},(?:a=([^,]{1,256}))?,")
_SCRAM = re.compile(rb"^[nyp][^,]{0,64},[^,]{0,256},n=([^,]{1,256})")
_DIGEST = re.compile(rb'(?:^|[, ])username="([^"\\]{1,256})"')
_CRAM = re.compile(rb"^(.{1,256}) [0-9a-fA-F]{32}$", re.DOTALL)
_NTLM_UNICODE = 1


def user_of(mechanism: str, token: bytes, *, turn: int, prompt: bytes = b"") -> str:
    """Return the user that one base64 token of the client names; empty when it names none.

    `turn`: which of the client's tokens it is, from 0. `prompt`: the server's text before it, in base64.
    """
    data = base64(token, limit=MAX_TOKEN)
    if not data:
        return ""
    name = mechanism.upper()
    if name == "PLAIN":
        parts = data.split(b"\0")
        return _text(parts[1] or parts[0]) if len(parts) == 3 else ""
    if name == "LOGIN":
        asked = base64(prompt) or b""
        return _text(data) if turn == 0 and b"assword" not in asked else ""
    if name == "NTLM":
        return _ntlm(data)
    if name in ("EXTERNAL", "ANONYMOUS"):
        return _text(data) if turn == 0 else ""
    pattern = _DIGEST if name == "DIGEST-MD5" else _CRAM if name.startswith("CRAM-") else None
    if name.startswith("SCRAM-"):
        pattern = _SCRAM
    elif name.startswith(("XOAUTH", "OAUTH")):
        pattern = _XOAUTH if data[:5] == b"user=" else _GS2
    found = pattern.search(data) if pattern else None
    return _text((found[1] or b"").replace(b"=2C", b",").replace(b"=3D", b"=")) if found else ""


def _ntlm(data: bytes) -> str:
    """User name of an AUTHENTICATE message (MS-NLMP section 2.2.1.3)."""
    if data[:12] != b"NTLMSSP\0\x03\0\0\0" or len(data) < 64:
        return ""
    size, start = int.from_bytes(data[36:38], "little"), int.from_bytes(data[40:44], "little")
    raw = data[start : start + size]
    if len(raw) != size:
        return ""
    return raw.decode("utf-16-le", "replace")[:MAX_USER] if data[60] & _NTLM_UNICODE else _text(raw)


def _text(data: bytes) -> str:
    return decode(data)[:MAX_USER].strip("\0\r\n")
