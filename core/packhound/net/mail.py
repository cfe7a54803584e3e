"""Internet messages (RFC 5322): the head of a mail -> fact, addresses, parameters of MIME headers (RFC 2045).

Promise: one pass over at most `MAX_HEAD` bytes, `MAX_HEADERS` headers and `MAX_ADDRESSES` addresses a header; accepts
what mail programs accept (bare LF, 8-bit headers, folded lines, obsolete routes); never raises. Bodies are not read
here (see `packhound.net.sessions.mail_message`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from packhound.net.facts import Fact, Malformed, Value
from packhound.net.mail_words import extended, percent, words
from packhound.net.text import decode

MAX_HEAD = 64 * 1024
MAX_HEADERS = 512
MAX_ADDRESSES = 256
MAX_ADDRESS = 320  # RFC 5321 section 4.5.3.1: 64 + 1 + 255
MAX_TEXT = 4096
MAX_PARAMETERS = 32
_NAME = re.compile(rb"[!-9;-~]{1,80}[ \t]*:")
_PARAMETER = re.compile(
    r';\s{0,64}([^\s=;"*]{1,40})(\*?\d{0,2}\*?)\s{0,16}=\s{0,64}'
    r'(?:"((?:\\.|[^"\\]){0,4096})"|([^\s;"]{0,1024}))'
)
_QUOTED_PAIR = re.compile(r"\\(.)")
_TEXTS = (
    ("subject", "email.subject"), ("date", "email.date"), ("user-agent", "email.user_agent"),
    ("x-mailer", "email.user_agent"), ("content-type", "email.content_type"), ("x-originating-ip", "email.origin"),
)  # fmt: skip
FIELDS = frozenset({
    "email.from", "email.from.name", "email.to", "email.reply_to", "email.message_id", "email.in_reply_to",
    "email.attachment", *(name for _, name in _TEXTS),
})  # fmt: skip
PART_FIELDS = frozenset({"email.attachment", "email.content_type"})


@dataclass(frozen=True, slots=True)
class Head:
    """Headers of a message or of a part of one: (name in lower case, value as text, unfolded), in their order."""

    headers: tuple[tuple[str, str], ...]

    def value(self, name: str) -> str:
        """Return the first value of a header by its lower-case name; empty when absent."""
        return next((value for key, value in self.headers if key == name), "")

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for key, value in self.headers if key == name]


def starts_head(data: bytes | bytearray) -> bool:
    """Tell whether the bytes start with a header line."""
    return _NAME.match(data) is not None


def parse(data: bytes) -> Head | Malformed:
    """Read a head, with or without the blank line that ends it."""
    lines: list[tuple[bytes, list[bytes]]] = []
    for raw in data[:MAX_HEAD].split(b"\n"):
        line = raw.rstrip(b"\r")
        if not line:
            break
        if line[:1] in (b" ", b"\t"):
            if lines:
                lines[-1][1].append(b" " + line[1:])
            continue
        if _NAME.match(line):
            if len(lines) >= MAX_HEADERS:
                break
            name, _, value = line.partition(b":")
            lines.append((name.strip().lower(), [value.strip()]))
        # else: the From line of a mailbox, or rubbish between headers: mail programs pass over it
    if not lines:
        return Malformed("no mail header where a message starts")
    return Head(tuple((name.decode("ascii", "replace"), decode(b"".join(parts))) for name, parts in lines))


def email_fact(head: Head) -> Fact:
    """Return the `email` fact of a message's head."""
    fields: dict[str, Value] = {}
    senders = mailboxes(head.all("from") + head.all("sender"))
    _put(fields, "email.from", (address for _, address in senders))
    _put(fields, "email.from.name", (name for name, _ in senders))
    receivers = mailboxes(head.all("to") + head.all("cc") + head.all("bcc"))
    _put(fields, "email.to", (address for _, address in receivers))
    _put(fields, "email.reply_to", (address for _, address in mailboxes(head.all("reply-to"))))
    for header, name in _TEXTS:
        value = words(head.value(header))
        if header != "subject":  # whose blanks its writer meant
            value = " ".join(value.split())
        if value.strip() and name not in fields:
            fields[name] = value.strip()[:MAX_TEXT]
    for header, name in (("message-id", "email.message_id"), ("in-reply-to", "email.in_reply_to")):
        value = head.value(header).strip()[:MAX_TEXT]
        if value:
            fields[name] = value.removeprefix("<").removesuffix(">")
    attachment = attachment_of(head)
    if attachment:
        fields["email.attachment"] = attachment
    return Fact("email", fields)


def part_fact(head: Head) -> Fact | None:
    """Return the `email.part` fact of the head of a MIME part that has a file name; None of any other."""
    name = attachment_of(head)
    if not name:
        return None
    fields: dict[str, Value] = {"email.attachment": name}
    kind = head.value("content-type").partition(";")[0].strip().lower()[:MAX_TEXT]
    if kind:
        fields["email.content_type"] = kind
    return Fact("email.part", fields)


def attachment_of(head: Head) -> str:
    """Return the file name that a part states (RFC 2183 section 2.3, or the older `name` of its type)."""
    for header, key in (("content-disposition", "filename"), ("content-type", "name")):
        found = parameters(head.value(header)).get(key, "")
        if found:
            return found[:MAX_TEXT]
    return ""


def boundary_of(head: Head) -> bytes:
    """Return the boundary of a multipart body; empty when the body is not one."""
    value = head.value("content-type")
    if not value.lstrip().lower().startswith("multipart/"):
        return b""
    return parameters(value).get("boundary", "")[:200].encode("utf-8", "surrogatepass")


def parameters(value: str) -> dict[str, str]:
    """Read the parameters of a MIME header, pieces of one joined and decoded (RFC 2231)."""
    found: dict[str, str] = {}
    pieces: dict[str, list[tuple[str, str]]] = {}
    for count, each in enumerate(_PARAMETER.finditer(value[: 4 * MAX_TEXT])):
        if count >= MAX_PARAMETERS:
            break
        text = _QUOTED_PAIR.sub(r"\1", each[3]) if each[3] is not None else each[4]
        if each[2]:
            pieces.setdefault(each[1].lower(), []).append((each[2], text))
        else:
            found.setdefault(each[1].lower(), words(text))
    for name, parts in pieces.items():
        parts.sort(key=lambda part: int(part[0].strip("*") or 0))
        found[name] = _joined(parts)
    return found


def _joined(parts: list[tuple[str, str]]) -> str:
    first = parts[0][1]
    if not parts[0][0].endswith("*"):
        return "".join(percent(text, "") if mark.endswith("*") else text for mark, text in parts)
    charset = first.partition("'")[0]
    rest = (percent(text, charset) if mark.endswith("*") else text for mark, text in parts[1:])
    return extended(first) + "".join(rest)


def mailboxes(values: Iterable[str]) -> list[tuple[str, str]]:
    """Read address lists (RFC 5322 section 3.4) into (display name, address), groups opened, names decoded."""
    found: list[tuple[str, str]] = []
    for value in values:
        for name, address in _split(value):
            if address and len(found) < MAX_ADDRESSES:
                found.append((" ".join(words(name).split())[:MAX_TEXT], address[:MAX_ADDRESS]))
    return found


def _split(value: str) -> Iterable[tuple[str, str]]:
    """Cut an address list into (phrase, address); one pass, quotes, comments and angles respected."""
    phrase: list[str] = []
    angle: list[str] | None = None
    address, quoted, depth, escaped = "", False, 0, False
    for char in value[: 4 * MAX_HEAD]:
        target = phrase if angle is None else angle
        if escaped or (char == "\\" and (quoted or depth)):
            if escaped and not depth:
                target.append(char)
            escaped = not escaped
        elif quoted:
            quoted = char != '"'
            if quoted or angle is not None:
                target.append(char)
        elif depth:
            depth += (char == "(") - (char == ")")
        elif char == '"':
            quoted = True
            if angle is not None:
                angle.append(char)
        elif char == "(":
            depth = 1
        elif char == "<" and angle is None:
            angle = []
        elif char == ">" and angle is not None:
            address, angle = "".join(angle), None
        elif char in ",;" and angle is None:
            yield _mailbox("".join(phrase), address)
            phrase, address = [], ""
        elif char == ":" and angle is None and not address:
            phrase = []  # the name of a group
        else:
            target.append(char)
    yield _mailbox("".join(phrase), address or "".join(angle or ()))


def _mailbox(phrase: str, address: str) -> tuple[str, str]:
    phrase = phrase.strip()
    if address:
        return phrase, bare_address(address)
    return ("", phrase) if "@" in phrase else ("", "")


def bare_address(address: str) -> str:
    """Return an address without the route that may stand before it (RFC 5321 section 4.1.2)."""
    address = address.strip()
    if address.startswith("@"):
        address = address.partition(":")[2]
    return address.strip()


def _put(fields: dict[str, Value], name: str, values: Iterable[str]) -> None:
    kept = tuple(dict.fromkeys(value for value in values if value))
    if kept:
        fields[name] = kept
