"""SMTP commands and replies (RFC 5321, 3030 CHUNKING, 3207 STARTTLS, 4954 AUTH; LMTP of RFC 2033), one line at a time.

Promise: linear, bounded by `MAX_LINE`, never raises; passwords and tokens are never part of a value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from packhound.net.facts import Fact, Malformed, Value
from packhound.net.mail import MAX_ADDRESS, MAX_TEXT, bare_address
from packhound.net.mail_auth import user_of
from packhound.net.text import decode

MAX_LINE = 4096  # RFC 5321 section 4.5.3.1 asks for 512, AUTH for 12288; the rest of a longer line is dropped
MAX_CHUNK = 1 << 40
VERBS = frozenset({
    "EHLO", "HELO", "LHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "QUIT", "VRFY", "EXPN", "HELP", "STARTTLS",
    "AUTH", "ETRN", "TURN", "ATRN", "SEND", "SOML", "SAML", "BURL", "XCLIENT", "XFORWARD", "X-EXPS", "XEXCH50",
    "X-LINK2STATE",
})  # fmt: skip
_VERB = re.compile(rb"([A-Za-z][A-Za-z0-9-]{1,31})(?:[ \t:]+|$)")
_STRONG = re.compile(
    rb"(?:(?:EHLO|HELO|LHLO)[ \t]+[^ \t]+[ \t]*|MAIL[ \t]+FROM[ \t]*:.*|RCPT[ \t]+TO[ \t]*:.*|DATA|QUIT|RSET|NOOP|"
    rb"STARTTLS|AUTH[ \t]+[A-Z0-9_-]{2,20}(?:[ \t]+[^ \t]+)?|BDAT[ \t]+\d+(?:[ \t]+LAST)?)[ \t]*",
    re.IGNORECASE,
)
_REPLY = re.compile(rb"([2-5]\d\d)(?:([ -])(.*)|$)", re.DOTALL)
_PATH = re.compile(r"\s*(?:FROM|TO)\s*:\s*", re.IGNORECASE)
COMMAND_FIELDS = frozenset({
    "email.command", "email.argument", "email.from", "email.to", "email.auth", "email.user", "smtp.helo",
})  # fmt: skip
REPLY_FIELDS = frozenset({"smtp.status", "smtp.text"})


@dataclass(frozen=True, slots=True)
class Command:
    """`verb` in upper case, `argument` as it came (with secrets, where it holds any)."""

    verb: str
    argument: str


@dataclass(frozen=True, slots=True)
class ReplyLine:
    """One line of a reply; `last` when no other line of it follows."""

    status: int
    text: str
    last: bool


def parse_command(line: bytes) -> Command | Malformed:
    """Read a command line (without its line end)."""
    found = _VERB.match(line)
    if not found:
        return Malformed("SMTP line that is no command")
    return Command(found[1].decode("ascii").upper(), decode(line[found.end() :]).strip())


def is_command(line: bytes) -> bool:
    """Tell whether a line is a whole command that hardly anything else is: what a lost position is found by."""
    return _STRONG.fullmatch(line) is not None


def parse_reply(line: bytes) -> ReplyLine | Malformed:
    """Read one line of a reply (without its line end)."""
    found = _REPLY.match(line)
    if not found:
        return Malformed("SMTP line that is no reply")
    return ReplyLine(int(found[1]), decode(found[3] or b""), found[2] != b"-")


def path_of(argument: str) -> str:
    """Return the mailbox of `FROM:<mailbox> PARAMETERS` or `TO:...`; empty where there is none, and for `<>`."""
    found = _PATH.match(argument)
    if not found:
        return ""
    rest = argument[found.end() :]
    if not rest.startswith("<"):
        return rest.partition(" ")[0].rstrip(",;")[:MAX_ADDRESS]
    inside, quoted, escaped = [], False, False
    for char in rest[1 : 4 * MAX_ADDRESS]:
        if char == ">" and not quoted:
            break
        if char == '"' and not escaped:
            quoted = not quoted
        escaped = char == "\\" and not escaped
        inside.append(char)
    return bare_address("".join(inside))[:MAX_ADDRESS]


def chunk_of(argument: str) -> tuple[int, bool] | None:
    """Return size and whether it is the last, of a BDAT argument (RFC 3030 section 2); None when it is wrong."""
    words = argument.split()
    if not words or len(words) > 2 or not words[0].isascii() or not words[0].isdigit() or len(words[0]) > 13:
        return None
    if len(words) == 2 and words[1].upper() != "LAST":
        return None
    return (int(words[0]), len(words) == 2) if int(words[0]) <= MAX_CHUNK else None


def command_fact(command: Command) -> Fact:
    """Return the `smtp.command` fact; of AUTH the mechanism and the user, of an unknown verb nothing but the verb."""
    fields: dict[str, Value] = {"email.command": command.verb}
    if command.verb not in VERBS:
        return Fact("smtp.command", fields)
    argument = command.argument
    if command.verb in ("AUTH", "X-EXPS"):
        argument, _, token = argument.partition(" ")
        if argument:
            fields["email.auth"] = argument.upper()[:32]
        user = user_of(argument, token.strip().encode("utf-8", "surrogatepass"), turn=0)
        if user:
            fields["email.user"] = user
    if argument:
        fields["email.argument"] = argument[:MAX_TEXT]
    if command.verb in ("EHLO", "HELO", "LHLO") and argument:
        fields["smtp.helo"] = argument.split()[0][:MAX_ADDRESS]
    name = {"MAIL": "email.from", "RCPT": "email.to"}.get(command.verb)
    path = path_of(argument) if name else ""
    if name and path:
        fields[name] = path
    return Fact("smtp.command", fields)


def reply_fact(status: int, text: str) -> Fact:
    """Return the `smtp.reply` fact; challenges of an AUTH exchange are left out."""
    fields: dict[str, Value] = {"smtp.status": status}
    if text.strip() and status != 334:
        fields["smtp.text"] = text.strip()[:MAX_TEXT]
    return Fact("smtp.reply", fields)
