"""POP3 commands and responses (RFC 1939, 2449 CAPA, 2595 STLS, 5034 AUTH), one line at a time.

Promise: linear, bounded by `MAX_LINE`, never raises; passwords, digests and tokens are never part of a fact.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from packhound.net.facts import Fact, Malformed, Value
from packhound.net.mail import MAX_TEXT
from packhound.net.mail_auth import user_of
from packhound.net.text import decode

MAX_LINE = 4096
VERBS = frozenset({
    "USER", "PASS", "APOP", "AUTH", "STLS", "CAPA", "STAT", "LIST", "RETR", "DELE", "NOOP", "RSET", "QUIT", "TOP",
    "UIDL", "UTF8", "LANG", "XTND", "LAST", "RPOP", "XLST", "XSENDER", "MSG", "REFERENCE",
})  # fmt: skip
SECRET = frozenset({"PASS", "RPOP"})
#: Commands whose +OK is followed by lines until a lone dot; LIST and UIDL of one message are not.
MULTILINE = frozenset({"CAPA", "RETR", "TOP", "XTND", "LIST", "UIDL", "AUTH", "LANG"})
WITHOUT_ARGUMENT = frozenset({"LIST", "UIDL", "AUTH", "LANG"})
MESSAGES = frozenset({"RETR", "TOP"})
_VERB = re.compile(rb"([A-Za-z][A-Za-z0-9]{1,15})(?: +|$)")
_STRONG = re.compile(
    rb"(?:(?:USER|APOP) .+|PASS.*|(?:RETR|DELE) \d+|TOP \d+ \d+|(?:LIST|UIDL)(?: \d+)?|STAT|CAPA|STLS|QUIT|NOOP|RSET|"
    rb"UTF8|AUTH(?: [A-Z0-9_-]{2,20}(?: \S+)?)?)\s*",
    re.IGNORECASE,
)
_RESPONSE = re.compile(rb"(\+OK|-ERR|\+(?= |$))[ \t]*", re.IGNORECASE)
COMMAND_FIELDS = frozenset({"email.command", "email.argument", "email.mailbox", "email.auth", "email.user"})
RESPONSE_FIELDS = frozenset({"pop3.status", "pop3.text"})


@dataclass(frozen=True, slots=True)
class Command:
    """`verb` in upper case, `argument` as it came (with secrets, where it holds any)."""

    verb: str
    argument: str

    @property
    def multiline(self) -> bool:
        """True when lines follow its +OK."""
        return self.verb in MULTILINE and not (self.verb in WITHOUT_ARGUMENT and self.argument)


@dataclass(frozen=True, slots=True)
class Response:
    """First line of a response: `+OK`, `-ERR` or `+` (go on) and its text."""

    status: str
    text: str


def parse_command(line: bytes) -> Command | Malformed:
    """Read a command line (without its line end)."""
    found = _VERB.match(line)
    if not found:
        return Malformed("POP3 line that is no command")
    return Command(found[1].decode("ascii").upper(), decode(line[found.end() :]).strip())


def is_command(line: bytes) -> bool:
    """Tell whether a line is a whole command that hardly anything else is."""
    return _STRONG.fullmatch(line) is not None


def parse_response(line: bytes) -> Response | Malformed:
    """Read the first line of a response (without its line end)."""
    found = _RESPONSE.match(line)
    if not found:
        return Malformed("POP3 line that is no response")
    return Response(found[1].decode("ascii").upper(), decode(line[found.end() :]))


def command_fact(command: Command) -> Fact:
    """Return the `pop3.command` fact; of an unknown verb nothing but the verb."""
    fields: dict[str, Value] = {"email.command": command.verb}
    argument = command.argument
    if command.verb not in VERBS or command.verb in SECRET:
        return Fact("pop3.command", fields)
    if command.verb == "APOP":
        argument = argument.rpartition(" ")[0] or argument
    elif command.verb == "AUTH":
        argument, _, token = argument.partition(" ")
        if argument:
            fields["email.auth"] = argument.upper()[:32]
        user = user_of(argument, token.encode("utf-8", "surrogatepass"), turn=0)
        if user:
            fields["email.user"] = user
    if argument:
        fields["email.argument"] = argument[:MAX_TEXT]
        if command.verb in ("USER", "APOP"):
            fields["email.user"] = fields["email.mailbox"] = argument[:MAX_TEXT]
    return Fact("pop3.command", fields)


def response_fact(response: Response) -> Fact:
    """Return the `pop3.response` fact; the challenge of a `+` is left out."""
    fields: dict[str, Value] = {"pop3.status": response.status}
    if response.text.strip() and response.status != "+":
        fields["pop3.text"] = response.text.strip()[:MAX_TEXT]
    return Fact("pop3.response", fields)
