r"""The one sanitiser: text from the wire on its way to a terminal, log, file name, comment, SQL or JSON.

Promise: pure, linear, bounded by `limit`, never raises on any `str`. What comes out holds no control, format,
bidirectional, private or unassigned character and no lone surrogate, so it cannot move a cursor, end a line, hide
itself or leave its quotes. Escapes are readable and the backslash is escaped too, so two texts stay two.

>>> printable("alice\x1b[2J\u202etxt")
'alice\\x1b[2J\\u202etxt'
>>> file_name("../../etc/passwd")
'etc_passwd'
>>> identifier('a"; DROP')
'"a""; DROP"'
"""

from __future__ import annotations

import json
import re
from typing import Any

LIMIT = 4096
"""Most characters of one text that are shown, when the caller says nothing."""

MORE = "..."
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9+@=-]+")
_TOKEN_BREAKS = re.compile(r"[ ,;=\"']")


def printable(text: str, *, limit: int = LIMIT) -> str:
    r"""Return `text` on one line for a terminal or log: anything not printable as `\x1b`, `\u202e`, `\U000e0001`;
    at most `limit` characters of `text`, then `...`.
    """
    cut = text[:limit]
    if not cut.isprintable() or "\\" in cut:
        cut = "".join(c if c.isprintable() and c != "\\" else _escape(c) for c in cut)
    return cut + MORE if len(text) > limit else cut


def token(text: str, *, limit: int = 256) -> str:
    r"""Return `text` as one word of a comment such as `call=... flow=...`: printable, and blanks, commas, semicolons,
    equals signs and quotes escaped (`\x20`).
    """
    return _TOKEN_BREAKS.sub(lambda found: _escape(found[0]), printable(text, limit=limit))


def file_name(text: str, *, limit: int = 64) -> str:
    """Return `text` as one part of a path: ASCII letters, digits and `+@=-_` only, never empty, never hidden, never an
    option. Not unique: put a digest beside it where two texts must not meet.
    """
    name = _NOT_A_NAME.sub("_", text[: 4 * limit]).strip("_-")[:limit]
    return name or "_"


def identifier(name: str) -> str:
    """Return `name` as a quoted SQL identifier."""
    return '"' + well_formed(name).replace("\0", "").replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return `text` as a quoted SQL string."""
    return "'" + well_formed(text).replace("\0", "").replace("'", "''") + "'"


def well_formed(text: str) -> str:
    """Return `text` with lone surrogates as U+FFFD: what can be stored as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def json_line(value: Any) -> str:
    """Return `value` as one line of ASCII JSON: safe on a terminal as it is, and nothing of it is lost.

    Raises TypeError on what JSON cannot hold.
    """
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False).replace("\x7f", "\\u007f")


def _escape(char: str) -> str:
    code = ord(char)
    if char == "\\":
        return "\\\\"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
