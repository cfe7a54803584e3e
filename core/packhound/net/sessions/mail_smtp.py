"""SMTP over TCP: commands, replies, and the mails of DATA and BDAT, in any cut, pipelined or not (RFC 5321, 2920).

Promise: holds a line a direction and the head of one mail, whatever the size of mails; which side is the client is told
by what it says, so a capture may begin anywhere; after a gap the next sure command or reply counts; never raises.
No password leaves: the tokens of an AUTH exchange are read for the user alone, and while it is not certain that a line
is no such token, only commands that are known are reported.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from packhound.net import mail_auth, smtp
from packhound.net.facts import Fact, Malformed
from packhound.net.sessions.mail_lines import Dotted, Lines, StartTls
from packhound.net.sessions.mail_message import Message

MAX_OUTSTANDING = 256
MAX_REPLY_TEXT = 1024
_END = "."  # stands among the commands for the end of a mail, which has a reply of its own


class _At(Enum):
    COMMAND = 0
    DATA = 1  # a mail, until its lone dot
    CHUNK = 2  # `left` bytes of a mail to go
    AUTH = 3  # tokens of an AUTH exchange


class SmtpSpeech:
    """Both directions of one SMTP connection before TLS."""

    __slots__ = (
        "_asked", "_at", "_auth", "_client", "_dotted", "_granted", "_left", "_lines", "_mail", "_prompt", "_reply",
        "_sure", "_torn_mail", "_turn", "done", "upgraded",
    )  # fmt: skip

    def __init__(self) -> None:
        self._lines = (Lines(smtp.MAX_LINE), Lines(smtp.MAX_LINE))
        self._client: int | None = None
        self._at = _At.COMMAND
        self._asked: deque[str] = deque(maxlen=MAX_OUTSTANDING)  # commands without their reply
        self._granted = True  # a reply has let the mail begin
        self._mail: Message | None = None
        self._dotted = Dotted(cr=True)
        self._left = 0
        self._torn_mail = False  # bytes of the mail were lost: its end may have been among them
        self._sure = False  # a line that is no known command is no secret either
        self._auth, self._turn, self._prompt = "", 0, b""
        self._reply: tuple[int, str] | None = None  # the first line of one that goes on
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
        """Go on with the mail when its bytes were lost; else wait for a line that is sure."""
        lines = self._lines[direction]
        if direction != self._client:
            self._reply = None
            self._asked.clear()
            lines.torn()
            return
        self._sure = False
        if self._at is _At.CHUNK and size <= self._left:
            self._left -= size
            lines.fresh()
        elif self._at is _At.DATA:
            self._dotted.lost()
            lines.fresh()
            self._torn_mail = True
        else:
            self._at = _At.COMMAND
            lines.torn()
        if self._mail is not None:
            self._mail.torn()

    def between_lines(self, direction: int) -> bool:
        """Tell whether a command or reply may start here."""
        in_mail = direction == self._client and self._at in (_At.DATA, _At.CHUNK)
        return not in_mail and not len(self._lines[direction])

    def rest(self, direction: int) -> bytes:
        """Hand over the bytes that were not read."""
        return self._lines[direction].take()

    def returns(self, direction: int, data: bytes) -> bool:
        """Say no: TLS lasts until the end."""
        return False

    def _step(self, direction: int, lines: Lines, found: list[Fact | Malformed]) -> bool:
        """Read the next thing; False when it waits for more bytes."""
        if direction == self._client and self._at is _At.DATA:
            return self._data(lines, found)
        if direction == self._client and self._at is _At.CHUNK:
            return self._chunk(lines, found)
        line = lines.line()
        if line is None:
            return False
        if self._client is None:
            if isinstance(smtp.parse_reply(line), smtp.ReplyLine):
                self._client = 1 - direction
            elif smtp.is_command(line):
                self._client = direction
        if self._client == direction:
            self._command(line, lines, found)
        elif self._client is not None:
            self._reply_line(line, found)
        return True

    # the client --------------------------------------------------------------------------------------------------

    def _command(self, line: bytes, lines: Lines, found: list[Fact | Malformed]) -> None:
        known = smtp.is_command(line)
        if self._at is _At.AUTH and not known:
            self._token(line, found)
            return
        self._at = _At.COMMAND
        command = smtp.parse_command(line)
        if isinstance(command, Malformed):
            if self._sure and line.strip():
                found.append(command)
            return
        if not known and not self._sure:
            return
        self._sure = True
        self._asked.append(command.verb)
        found.append(smtp.command_fact(command))
        if command.verb in ("AUTH", "X-EXPS"):
            self._begin_auth(command)
        elif command.verb == "DATA" and not command.argument:
            self._begin_data(lines)
        elif command.verb == "BDAT":
            self._begin_chunk(command, found)
        elif command.verb in ("MAIL", "RSET", "EHLO", "HELO", "LHLO"):
            self._mail = None

    def _begin_auth(self, command: smtp.Command) -> None:
        mechanism, _, token = command.argument.partition(" ")
        self._at, self._sure = _At.AUTH, False
        self._auth, self._turn, self._prompt = mechanism.upper()[:32], int(bool(token.strip())), b""

    def _token(self, line: bytes, found: list[Fact | Malformed]) -> None:
        user = mail_auth.user_of(self._auth, line, turn=self._turn, prompt=self._prompt)
        self._turn += 1
        if user:
            found.append(Fact("email.login", {"email.auth": self._auth, "email.user": user}))

    def _begin_data(self, lines: Lines) -> None:
        """Take what follows as the mail; a refusal that comes first, or a command in its place, says it is none."""
        self._at, self._granted, self._torn_mail = _At.DATA, False, False
        self._mail = Message()
        self._dotted = Dotted(cr=lines.cr)

    def _begin_chunk(self, command: smtp.Command, found: list[Fact | Malformed]) -> None:
        chunk = smtp.chunk_of(command.argument)
        if chunk is None:
            found.append(Malformed("BDAT without a size that can be"))
            return
        self._mail = self._mail or Message()
        self._left, last = chunk
        self._torn_mail = False
        self._at = _At.CHUNK
        self._granted = last
        if not self._left:
            self._end_chunk(found)

    def _data(self, lines: Lines, found: list[Fact | Malformed]) -> bool:
        if not self._granted:
            end = lines.peek(smtp.MAX_LINE).find(b"\n")
            first = lines.peek(max(end, 0)).removesuffix(b"\r")
            if smtp.is_command(first):  # it did not wait for the reply, or the reply was lost
                self._at, self._mail = _At.COMMAND, None
                return True
            if end >= 0:
                self._granted = True
            elif len(lines) < smtp.MAX_LINE:
                return False
        text, rest = self._dotted.feed(lines.take())
        if self._mail is not None:
            found.extend(self._mail.feed(text))
        if rest is None:
            return False
        self._end_mail(found)
        self._asked.append(_END)
        lines.push(rest)
        return True

    def _chunk(self, lines: Lines, found: list[Fact | Malformed]) -> bool:
        data = lines.take(self._left)
        self._left -= len(data)
        if self._mail is not None:
            found.extend(self._mail.feed(data))
        if not self._left:
            self._end_chunk(found)
        return not self._left

    def _end_chunk(self, found: list[Fact | Malformed]) -> None:
        if self._granted:
            self._end_mail(found)
        self._at = _At.COMMAND

    def _end_mail(self, found: list[Fact | Malformed]) -> None:
        if self._mail is not None:
            found.extend(self._mail.end())
        self._mail = None
        self._at = _At.COMMAND

    # the server --------------------------------------------------------------------------------------------------

    def _reply_line(self, line: bytes, found: list[Fact | Malformed]) -> None:
        reply = smtp.parse_reply(line)
        if isinstance(reply, Malformed):
            if self._reply is None:
                found.append(reply)
            return
        status, text = self._reply or (reply.status, "")
        if len(text) < MAX_REPLY_TEXT:
            text = f"{text}\n{reply.text}" if text else reply.text
        self._reply = None if reply.last else (status, text)
        if reply.last:
            found.append(smtp.reply_fact(status, text))
            self._answered(status, reply.text)

    def _answered(self, status: int, text: str) -> None:
        """Match a reply to the command it answers, and do what it says."""
        if status == 334:
            self._prompt = text.encode("utf-8", "surrogatepass")[:256]
            if self._at is _At.COMMAND and self._asked and self._asked[0] in ("AUTH", "X-EXPS"):
                self._at = _At.AUTH
            return
        if status == 354:
            self._go_ahead()
            return
        if status == 220 and (not self._asked or self._asked[0] != "STARTTLS"):
            self._sure = True  # the greeting: a session begins
            return
        command = self._asked.popleft() if self._asked else ""
        if command == "STARTTLS" and status == 220:
            self.upgraded = True
        elif command in ("AUTH", "X-EXPS") and self._at is _At.AUTH:
            self._at = _At.COMMAND
        elif command == "DATA" and self._at is _At.DATA:
            self._at, self._mail = _At.COMMAND, None
        elif not command and self._at is _At.DATA and self._torn_mail:
            self._at, self._mail = _At.COMMAND, None  # it answers the mail, whose end was lost
            if self._client is not None:
                self._lines[self._client].torn()

    def _go_ahead(self) -> None:
        while self._asked and self._asked.popleft() != "DATA":
            pass
        if self._at is _At.DATA:
            self._granted = True
        elif self._at is not _At.CHUNK and self._client is not None:  # the command was lost
            self._at, self._granted, self._torn_mail = _At.DATA, True, True
            self._mail = Message()
            self._dotted = Dotted(cr=True)
            self._lines[self._client].fresh()


def smtp_stream(cap: int) -> StartTls:
    """Return a session for SMTP over TCP."""
    return StartTls(SmtpSpeech(), max_bytes=cap)
