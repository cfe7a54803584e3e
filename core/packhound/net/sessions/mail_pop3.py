"""POP3 over TCP: commands, responses, and the mails that RETR and TOP fetch, in any cut, pipelined or not (RFC 1939).

Promise: as `SmtpSpeech`: bounded, begins anywhere, no password leaves, never raises. Which response has several lines
is known from its command; where that was not seen, lines that are no response are passed over.
"""

from __future__ import annotations

from collections import deque

from packhound.net import mail, mail_auth, pop3
from packhound.net.facts import Fact, Malformed
from packhound.net.sessions.mail_lines import Dotted, Lines, StartTls
from packhound.net.sessions.mail_message import Message

MAX_OUTSTANDING = 256


class Pop3Speech:
    """Both directions of one POP3 connection before TLS."""

    __slots__ = (
        "_asked", "_auth", "_client", "_dotted", "_greeted", "_in_auth", "_lines", "_mail", "_orphan", "_sure",
        "_torn", "_turn", "done", "upgraded",
    )  # fmt: skip

    def __init__(self) -> None:
        self._lines = (Lines(pop3.MAX_LINE), Lines(pop3.MAX_LINE))
        self._client: int | None = None
        self._asked: deque[pop3.Command] = deque(maxlen=MAX_OUTSTANDING)
        self._greeted = False
        self._dotted: Dotted | None = None  # lines of a response follow, until the dot
        self._mail: Message | None = None
        self._torn = False  # bytes of them were lost: the dot may have been among them
        self._orphan = False  # a +OK whose command was not seen came last: lines may follow
        self._sure = False
        self._auth, self._turn, self._in_auth = "", 0, False
        self.done = False
        self.upgraded = False

    def feed(self, direction: int, data: bytes) -> list[Fact | Malformed]:
        """Read the next bytes of one direction."""
        found: list[Fact | Malformed] = []
        lines = self._lines[direction]
        lines.push(data)
        while len(lines) and not self.upgraded and self._step(direction, lines, found):
            pass
        return found

    def gap(self, direction: int, size: int) -> None:
        """Go on with the lines of a response when they were lost; else wait for a line that is sure."""
        lines = self._lines[direction]
        if direction == self._client:
            self._sure = self._in_auth = False
            self._asked.clear()
            lines.torn()
        elif self._dotted is not None:
            self._dotted.lost()
            self._torn = True
            if self._mail is not None:
                self._mail.torn()
        else:
            self._asked.clear()
            lines.torn()

    def between_lines(self, direction: int) -> bool:
        """Tell whether a command or response may start here."""
        return not len(self._lines[direction]) and (direction == self._client or self._dotted is None)

    def rest(self, direction: int) -> bytes:
        """Hand over the bytes that were not read."""
        return self._lines[direction].take()

    def returns(self, direction: int, data: bytes) -> bool:
        """Say no: TLS lasts until the end."""
        return False

    def _step(self, direction: int, lines: Lines, found: list[Fact | Malformed]) -> bool:
        """Read the next thing; False when it waits for more bytes."""
        if direction != self._client and self._dotted is not None:
            return self._text(lines, found)
        if direction != self._client and self._orphan and self._adopts(lines):
            return True
        line = lines.line()
        if line is None:
            return False
        if self._client is None:
            if isinstance(pop3.parse_response(line), pop3.Response):
                self._client = 1 - direction
            elif pop3.is_command(line):
                self._client = direction
        if self._client == direction:
            self._command(line, found)
        elif self._client is not None:
            self._response(line, lines, found)
        return True

    def _adopts(self, lines: Lines) -> bool:
        """Take text that follows a +OK without its command as a mail when it starts with a header."""
        self._orphan = False
        if not mail.starts_head(lines.peek(100)):
            return False
        self._dotted, self._mail = Dotted(cr=lines.cr), Message()
        return True

    def _text(self, lines: Lines, found: list[Fact | Malformed]) -> bool:
        assert self._dotted is not None
        if self._torn and self._asked and isinstance(pop3.parse_response(lines.peek(8)), pop3.Response):
            self._dotted = self._mail = None
            self._torn = False
            return True
        text, rest = self._dotted.feed(lines.take())
        if self._mail is not None:
            found.extend(self._mail.feed(text))
        if rest is None:
            return False
        if self._mail is not None:
            found.extend(self._mail.end())
        self._dotted = self._mail = None
        self._torn = False
        lines.push(rest)
        return True

    def _command(self, line: bytes, found: list[Fact | Malformed]) -> None:
        known = pop3.is_command(line)
        if self._in_auth and not known:
            user = mail_auth.user_of(self._auth, line, turn=self._turn)
            self._turn += 1
            if user:
                found.append(Fact("email.login", {"email.auth": self._auth, "email.user": user}))
            return
        self._in_auth = False
        command = pop3.parse_command(line)
        if isinstance(command, Malformed):
            if self._sure and line.strip():
                found.append(command)
            return
        if not known and not self._sure:
            return
        self._sure = command.verb != "AUTH" or not command.argument
        self._asked.append(command)
        found.append(pop3.command_fact(command))
        if command.verb == "AUTH" and command.argument:
            mechanism, _, token = command.argument.partition(" ")
            self._in_auth = True
            self._auth, self._turn = mechanism.upper()[:32], int(bool(token.strip()))

    def _response(self, line: bytes, lines: Lines, found: list[Fact | Malformed]) -> None:
        response = pop3.parse_response(line)
        if isinstance(response, Malformed):
            if self._sure and self._asked:
                found.append(response)
            return
        found.append(pop3.response_fact(response))
        if response.status == "+":
            return
        if not self._greeted and response.status == "+OK" and self._begins(response):
            self._orphan = not self._asked  # or the capture begins here
            return
        self._greeted = True
        command = self._asked.popleft() if self._asked else None
        self._orphan = command is None and response.status == "+OK"
        if command is None:
            return
        if command.verb == "AUTH":
            self._in_auth = False
        if response.status != "+OK":
            return
        if command.verb == "STLS":
            self.upgraded = True
        elif command.multiline:
            self._dotted = Dotted(cr=lines.cr)
            self._mail = Message() if command.verb in pop3.MESSAGES else None

    def _begins(self, response: pop3.Response) -> bool:
        """Tell whether the first +OK is a greeting: it answers no command."""
        self._greeted = True
        if self._asked and self._asked[0].verb not in ("USER", "CAPA", "APOP", "AUTH", "STLS"):
            return False
        self._sure = True
        return not self._asked or "POP" in response.text.upper()


def pop3_stream(cap: int) -> StartTls:
    """Return a session for POP3 over TCP."""
    return StartTls(Pop3Speech(), max_bytes=cap)
