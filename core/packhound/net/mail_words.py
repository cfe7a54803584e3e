r"""Encoded words of mail headers (RFC 2047) and of parameters (RFC 2231), as text.

Promise: linear in the value, never raises; only character sets of `_CHARSET` are decoded (a name from the wire never
picks a codec of another kind); what cannot be decoded stays as it was written.

>>> words("=?iso-8859-1?Q?caf=E9?= =?utf-8?B?4piV?=")
'caf\xe9\u2615'
"""

from __future__ import annotations

import binascii
import re

from packhound.net.text import decode

MAX_VALUE = 16 * 1024
_WORD = re.compile(r"=\?([!->@-~]{1,40})\?([bBqQ])\?([^? \t\r\n]*(?: [^?\r\n]*)?)\?=")
_CHARSET = re.compile(
    r"utf-?8|utf-?16(?:le|be)?|us-ascii|ascii|iso-?8859-?\d{1,2}(?:-[ei])?|latin-?1|windows-\d{3,4}|cp\d{3,4}|koi8-[rut]"
    r"|gb2312|gbk|gb18030|hz-gb-2312|big5(?:-hkscs)?|euc-(?:jp|kr)|shift[_-]jis|iso-2022-(?:jp|kr)(?:-\d)?"
    r"|ks_c_5601-1987|tis-620|viscii|macintosh"
)
_ALIASES = {"gb2312": "gb18030", "gbk": "gb18030", "ks_c_5601-1987": "cp949", "euc-kr": "cp949",
            "iso-8859-8-i": "iso-8859-8", "iso-8859-8-e": "iso-8859-8", "iso-8859-6-i": "iso-8859-6",
            "hz-gb-2312": "hz", "macintosh": "mac-roman", "shift_jis": "cp932", "shift-jis": "cp932"}  # fmt: skip
_HEX = re.compile(rb"=([0-9A-Fa-f]{2})")
_PERCENT = re.compile(rb"%([0-9A-Fa-f]{2})")


def words(text: str) -> str:
    """Decode every encoded word of a header's value; blanks between two of them vanish (RFC 2047 section 6.2)."""
    text = text[:MAX_VALUE]
    if "=?" not in text:
        return text
    out: list[str] = []
    held, charset = b"", ""  # neighbours of one character set are joined first: senders cut inside characters
    at = 0
    for word in _WORD.finditer(text):
        between = text[at : word.start()]
        data = _bytes_of(word[2], word[3])
        name = word[1].partition("*")[0].lower()  # RFC 2231: a language may follow
        at = word.end()
        if data is None or not _CHARSET.fullmatch(name):
            out += (in_charset(held, charset), between, word[0])
            held, charset = b"", ""
            continue
        if (between.strip() or name != charset) and (held or between):
            out.append(in_charset(held, charset))
            out.append("" if charset and not between.strip() else between)
            held = b""
        held, charset = held + data, name
    out += (in_charset(held, charset), text[at:])
    return "".join(out)


def in_charset(data: bytes, charset: str) -> str:
    """Decode by a character set that mail uses; any other name, as UTF-8 or ISO 8859-1."""
    name = charset.lower()
    if not data or not _CHARSET.fullmatch(name):
        return decode(data)
    try:
        return data.decode(_ALIASES.get(name, name), "replace")
    except (LookupError, UnicodeError):
        return decode(data)


def extended(value: str) -> str:
    """Decode an extended parameter value, `charset'language'percent-encoded` (RFC 2231 section 4)."""
    charset, one, rest = value.partition("'")
    _, two, text = rest.partition("'")
    if not one or not two:
        return percent(value, "")
    return percent(text, charset)


def percent(text: str, charset: str) -> str:
    """Decode percent-encoded bytes of a character set."""
    return in_charset(_PERCENT.sub(_octet, text[:MAX_VALUE].encode("utf-8", "surrogatepass")), charset)


def base64(text: bytes, *, limit: int = MAX_VALUE) -> bytes | None:
    """Decode base64, padded or not; None when it is none."""
    text = text[:limit].strip()
    if not text or text.strip(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/= \r\n\t"):
        return None
    bare = text.rstrip(b"=")
    try:
        return binascii.a2b_base64(bare + b"=" * (-len(bare) % 4))
    except binascii.Error:
        return None


def _bytes_of(encoding: str, text: str) -> bytes | None:
    raw = text.encode("utf-8", "surrogatepass")
    if encoding in "bB":
        return base64(raw) if raw else b""
    return _HEX.sub(_octet, raw.replace(b"_", b" "))


def _octet(found: re.Match[bytes]) -> bytes:
    return bytes([int(found[1], 16)])
