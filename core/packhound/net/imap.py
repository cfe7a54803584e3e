r"""IMAP commands and responses (RFC 9051, 3501), one line at a time; literals stand in them as quoted strings.

Promise: linear, bounded by `MAX_LINE` and `MAX_DEPTH`, never raises; passwords and tokens are never part of a fact.

>>> mailbox_name("Entw&APw-rfe")
'Entw\xfcrfe'
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from packhound.net.facts import Fact, Malformed, Value
from packhound.net.mail import MAX_TEXT, Head
from packhound.net.mail_auth import user_of
from packhound.net.mail_words import base64
from packhound.net.text import decode

MAX_LINE = 16 * 1024
MAX_DEPTH = 8
MAX_ITEMS = 1024
MAX_NAME = 512
VERBS = frozenset({
    "CAPABILITY", "NOOP", "LOGOUT", "STARTTLS", "AUTHENTICATE", "LOGIN", "ENABLE", "SELECT", "EXAMINE", "CREATE",
    "DELETE", "RENAME", "SUBSCRIBE", "UNSUBSCRIBE", "LIST", "LSUB", "XLIST", "NAMESPACE", "STATUS", "APPEND", "IDLE",
    "CHECK", "CLOSE", "UNSELECT", "EXPUNGE", "SEARCH", "FETCH", "STORE", "COPY", "MOVE", "SORT", "THREAD", "ID",
    "GETQUOTA", "GETQUOTAROOT", "SETQUOTA", "GETACL", "SETACL", "DELETEACL", "LISTRIGHTS", "MYRIGHTS", "COMPRESS",
    "GETMETADATA", "SETMETADATA", "NOTIFY", "GENURLAUTH", "RESETKEY", "URLFETCH", "CANCELUPDATE", "UID", "PROXYAUTH",
    "UNAUTHENTICATE", "LANGUAGE", "COMPARATOR", "CONVERT", "REPLACE", "X-GM-RAW", "XAPPLEPUSHSERVICE",
})  # fmt: skip
_COMMAND = re.compile(
    rb"([^\x00-\x20(){%*\"\\\]+]{1,64}) (?:(UID) )?([A-Za-z][A-Za-z0-9.-]{0,31})(?: |$)", re.IGNORECASE
)
_STATUS = re.compile(rb"(\*|[^\x00-\x20(){%*\"\\+]{1,64}) (OK|NO|BAD|BYE|PREAUTH)(?: |$)", re.IGNORECASE)
_LITERAL = re.compile(rb"~?\{(\d{1,10})\+?\}$")
_HEADS = re.compile(
    rb"(?:RFC822(?:\.HEADER)?|(?:BODY|BINARY)\[(?:HEADER(?:\.FIELDS(?:\.NOT)? \([^)]{0,2048}\))?)?\](?:<0>)?) $",
    re.IGNORECASE,
)
_ENVELOPE = re.compile(rb"[( ]ENVELOPE \(", re.IGNORECASE)
_SHIFTED = re.compile(r"&([A-Za-z0-9+,]{0,512})-")
_FIRST = frozenset({
    "SELECT", "EXAMINE", "CREATE", "DELETE", "SUBSCRIBE", "UNSUBSCRIBE", "STATUS", "APPEND", "GETQUOTAROOT", "GETACL",
    "SETACL", "DELETEACL", "LISTRIGHTS", "MYRIGHTS", "LOGIN",
})  # fmt: skip
_SECOND = frozenset({"COPY", "MOVE"})
COMMAND_FIELDS = frozenset({
    "email.command", "email.argument", "email.mailbox", "email.auth", "email.user", "imap.tag",
})  # fmt: skip
RESPONSE_FIELDS = frozenset({"imap.tag", "imap.status", "imap.text"})


@dataclass(frozen=True, slots=True)
class Command:
    """`verb` in upper case, behind UID too (`by_uid`); `argument` with secrets, where it holds any."""

    tag: str
    verb: str
    by_uid: bool
    argument: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """A status response: `tag` is empty of an untagged one."""

    tag: str
    status: str
    text: str


def parse_command(line: bytes) -> Command | Malformed:
    """Read a command line (without its line end)."""
    found = _COMMAND.match(line)
    if not found:
        return Malformed("IMAP line that is no command")
    return Command(decode(found[1]), found[3].decode("ascii").upper(), found[2] is not None, line[found.end() :])


def parse_response(line: bytes) -> Response | None:
    """Read a status response (OK, NO, BAD, BYE, PREAUTH); None of any other."""
    found = _STATUS.match(line)
    if not found:
        return None
    tag = "" if found[1] == b"*" else decode(found[1])
    return Response(tag, found[2].decode("ascii").upper(), decode(line[found.end() :]))


def literal_of(line: bytes) -> tuple[bytes, int] | None:
    """Return what stands before a literal at the end of a line, and its size; None when there is no literal."""
    found = _LITERAL.search(line[-16:])
    if not found:
        return None
    return line[: len(line) - len(found[0])], int(found[1])


def names_head(before: bytes) -> bool:
    """Tell whether a literal of a FETCH response, by what stands before it, starts with the head of a message."""
    return _HEADS.search(before[-2200:]) is not None


def quoted(data: bytes) -> bytes:
    """Write the bytes of a literal as a quoted string."""
    return b'"' + data.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def command_fact(command: Command) -> Fact:
    """Return the `imap.command` fact; of LOGIN the user, of AUTHENTICATE the mechanism and the user, of an unknown verb
    nothing but tag and verb. `email.mailbox` holds the mailboxes that the command names, or the user's."""
    fields: dict[str, Value] = {"imap.tag": command.tag, "email.command": command.verb}
    if command.verb not in VERBS:
        return Fact("imap.command", fields)
    words = [decode(each) for each in _strings(command.argument)]
    argument = decode(command.argument)
    if command.verb == "LOGIN":
        argument = words[0] if words else ""
        if argument:
            fields["email.user"] = argument[:MAX_NAME]
    elif command.verb in ("AUTHENTICATE", "PROXYAUTH"):
        argument, token = words[0] if words else "", command.argument.partition(b" ")[2]
        if argument and command.verb == "AUTHENTICATE":
            fields["email.auth"] = argument.upper()[:32]
            user = user_of(argument, token, turn=0)
            if user:
                fields["email.user"] = user
    if argument:
        fields["email.argument"] = argument[:MAX_TEXT]
    named = words[:1] if command.verb in _FIRST else words[1:2] if command.verb in _SECOND else []
    if command.verb == "RENAME":
        named = words[:2]
    boxes = tuple(mailbox_name(each)[:MAX_NAME] for each in named if each)
    if boxes:
        fields["email.mailbox"] = boxes
    return Fact("imap.command", fields)


def response_fact(response: Response) -> Fact:
    """Return the `imap.response` fact."""
    fields: dict[str, Value] = {"imap.status": response.status}
    if response.tag:
        fields["imap.tag"] = response.tag
    if response.text.strip():
        fields["imap.text"] = response.text.strip()[:MAX_TEXT]
    return Fact("imap.response", fields)


def mailbox_name(name: str) -> str:
    """Decode a mailbox name in modified UTF-7 (RFC 3501 section 5.1.3); INBOX is the same in any case."""
    if name.upper() == "INBOX":
        return "INBOX"
    return _SHIFTED.sub(_unshift, name) if "&" in name else name


def _unshift(found: re.Match[str]) -> str:
    if not found[1]:
        return "&"
    data = base64(found[1].replace(",", "/").encode("ascii"))
    return found[0] if data is None else data[: len(data) & ~1].decode("utf-16-be", "replace")


def _strings(data: bytes) -> list[bytes]:
    """Words and quoted strings at the front of a command's arguments."""
    found: list[bytes] = []
    for kind, text in _tokens(data, 0):
        if kind not in (b"a", b"s") or len(found) >= 8:
            break
        found.append(text)
    return found


def _tokens(data: bytes, at: int) -> Iterator[tuple[bytes, bytes]]:
    """Cut into (kind, text): `(`, `)`, `s` a quoted string, `a` an atom."""
    end = len(data)
    while at < end:
        char = data[at : at + 1]
        if char == b" ":
            at += 1
        elif char in b"()":
            at += 1
            yield char, b""
        elif char == b'"':
            out = bytearray()
            at += 1
            while at < end and data[at] != 0x22:
                at += data[at] == 0x5C
                out += data[at : at + 1]
                at += 1
            at += 1
            yield b"s", bytes(out)
        else:
            stop = at
            while stop < end and data[stop] not in b' ()"':
                stop += 1
            yield b"a", data[at:stop]
            at = stop


def envelope_of(line: bytes) -> Head | None:
    """Read the ENVELOPE of a FETCH response (RFC 9051 section 7.5.2) as the headers it was made of."""
    found = _ENVELOPE.search(line)
    parts = _list(line, found.end() - 1) if found else None
    if parts is None or len(parts) < 10:
        return None
    names = ("date", "subject", "from", "sender", "reply-to", "to", "cc", "bcc", "in-reply-to", "message-id")
    headers = []
    for name, part in zip(names, parts, strict=False):
        value = decode(part) if isinstance(part, bytes) else ", ".join(_addresses(part))
        if value:
            headers.append((name, value))
    return Head(tuple(headers)) if headers else None


Nested = bytes | list["Nested"]


def _addresses(people: list[Nested]) -> Iterator[str]:
    for person in people:
        if isinstance(person, list) and len(person) == 4:
            name, _, mailbox, host = (decode(each) if isinstance(each, bytes) else "" for each in person)
            if mailbox and host:
                phrase = name.replace("\\", "\\\\").replace('"', '\\"')
                yield f'"{phrase}" <{mailbox}@{host}>' if name else f"<{mailbox}@{host}>"


def _list(data: bytes, at: int) -> list[Nested] | None:
    """Read one parenthesised list; NIL is empty. None when it does not end, or is too deep or too long."""
    stack: list[list[Nested]] = []
    for count, (kind, text) in enumerate(_tokens(data, at)):
        if count > MAX_ITEMS:
            break
        if kind == b"(":
            if len(stack) >= MAX_DEPTH:
                break
            fresh: list[Nested] = []
            if stack:
                stack[-1].append(fresh)
            stack.append(fresh)
        elif kind == b")":
            closed = stack.pop()
            if not stack:
                return closed
        elif stack:
            stack[-1].append(b"" if kind == b"a" and text.upper() == b"NIL" else text)
    return None
