"""IMAP over TCP: commands, status responses, and the mails that FETCH and APPEND carry (RFC 9051, 3501).

Promise: as `SmtpSpeech`: bounded (`MAX_LINE` a direction with the small literals in it, and the head of one mail),
begins anywhere, no password leaves, never raises. Untagged data other than mails and status responses says nothing.
"""

from __future__ import annotations

from packhound.net import imap, mail, mail_auth
from packhound.net.facts import Fact, Malformed
from packhound.net.sessions.mail_lines import Lines, StartTls
from packhound.net.sessions.mail_message import Message
from packhound.net.text import decode

MAX_QUOTED = 1024  # a literal up to this size stands in its line; of a larger one that is no mail nothing is kept
MAX_LITERAL = 1 << 32
MAX_OUTSTANDING = 64


class _Side:
    """One direction: its lines, the front of a line whose literal is being read, and that literal."""

    __slots__ = ("front", "left", "lines", "mail", "quoted")

    def __init__(self) -> None:
        self.lines = Lines(imap.MAX_LINE)
        self.front = b""
        self.left = 0
        self.quoted: bytearray | None = None
        self.mail: Message | None = None

    def lose(self) -> None:
        """Forget the line that was being read."""
        self.front, self.left, self.quoted, self.mail = b"", 0, None, None


class ImapSpeech:
    """Both directions of one IMAP connection before TLS."""

    __slots__ = ("_auth", "_client", "_sides", "_sure", "_tls", "_turn", "done", "upgraded")

    def __init__(self) -> None:
        self._sides = (_Side(), _Side())
        self._client: int | None = None
        self._sure = False
        self._auth: tuple[str, str] | None = None  # tag and mechanism of the exchange that goes on
        self._turn = 0
        self._tls: dict[str, str] = {}  # tags of STARTTLS and COMPRESS without their response
        self.done = False
        self.upgraded = False

    def feed(self, direction: int, data: bytes) -> list[Fact | Malformed]:
        """Read the next bytes of one direction."""
        found: list[Fact | Malformed] = []
        side = self._sides[direction]
        side.lines.push(data)
        while len(side.lines) and not self.upgraded and not self.done and self._step(direction, side, found):
            pass
        return found

    def gap(self, direction: int, size: int) -> None:
        """Go on with the literal when its bytes were lost; else wait for a line that is sure."""
        side = self._sides[direction]
        if side.left and size <= side.left and not len(side.lines):
            side.left -= size
            side.quoted = None if side.quoted is None else side.quoted + b"?" * min(size, MAX_QUOTED)
            if side.mail is not None:
                side.mail.torn()
            return
        side.lose()
        side.lines.torn()
        if direction == self._client:
            self._sure, self._auth = False, None

    def between_lines(self, direction: int) -> bool:
        """Tell whether a command or response may start here."""
        side = self._sides[direction]
        return not side.left and not side.front and not len(side.lines)

    def rest(self, direction: int) -> bytes:
        """Hand over the bytes that were not read."""
        return self._sides[direction].lines.take()

    def returns(self, direction: int, data: bytes) -> bool:
        """Say no: TLS lasts until the end."""
        return False

    def _step(self, direction: int, side: _Side, found: list[Fact | Malformed]) -> bool:
        """Read the next thing; False when it waits for more bytes."""
        if side.left:
            self._literal(side, found)
            return not side.left
        if side.mail is not None or side.quoted is not None:
            self._end_literal(side, found)
        line = side.lines.line()
        if line is None:
            return False
        if self._client is None and not side.front:
            if line.startswith((b"* ", b"+ ")) or imap.parse_response(line):
                self._client = 1 - direction
            elif _is_command(line):
                self._client = direction
        if self._client is None or not self._opens_literal(direction, side, line):
            whole = side.front + line
            side.front = b""
            if self._client == direction:
                self._command(whole[: imap.MAX_LINE], found)
            elif self._client is not None:
                self._response(whole[: imap.MAX_LINE], found)
        return True

    # literals ----------------------------------------------------------------------------------------------------

    def _opens_literal(self, direction: int, side: _Side, line: bytes) -> bool:
        opened = imap.literal_of(line)
        if opened is None or opened[1] > MAX_LITERAL or not (side.front or self._may_open(direction, line)):
            return False
        before, size = opened
        side.front = (side.front + before)[: imap.MAX_LINE]
        side.left = size
        if self._holds_mail(direction, side.front):
            side.mail = Message()
        elif size <= MAX_QUOTED:
            side.quoted = bytearray()
        return True

    def _may_open(self, direction: int, line: bytes) -> bool:
        """Tell whether a line is one that a literal can stand in: anything else may be a line of a mail."""
        if direction == self._client:
            return self._auth is None and _is_command(line)
        return line.startswith(b"* ")

    def _holds_mail(self, direction: int, front: bytes) -> bool:
        if direction != self._client:
            return front.startswith(b"* ") and imap.names_head(front)
        command = imap.parse_command(front)
        return isinstance(command, imap.Command) and command.verb in ("APPEND", "REPLACE") and b" " in command.argument

    def _literal(self, side: _Side, found: list[Fact | Malformed]) -> None:
        data = side.lines.take(side.left)
        side.left -= len(data)
        if side.mail is not None:
            found.extend(side.mail.feed(data))
        elif side.quoted is not None:
            side.quoted += data
        if not side.left:
            self._end_literal(side, found)

    def _end_literal(self, side: _Side, found: list[Fact | Malformed]) -> None:
        if side.mail is not None:
            found.extend(side.mail.end())
        side.front = (side.front + imap.quoted(bytes(side.quoted or b"")))[: imap.MAX_LINE]
        side.mail = side.quoted = None

    # lines -------------------------------------------------------------------------------------------------------

    def _command(self, line: bytes, found: list[Fact | Malformed]) -> None:
        known = _is_command(line)
        if self._auth and not known:
            user = mail_auth.user_of(self._auth[1], line, turn=self._turn)
            self._turn += 1
            if user:
                found.append(Fact("email.login", {"email.auth": self._auth[1], "email.user": user}))
            return
        self._auth = None
        command = imap.parse_command(line)
        if isinstance(command, Malformed):
            if self._sure and line.strip() and line.strip().upper() != b"DONE":  # DONE ends an IDLE (RFC 2177)
                found.append(command)
            return
        if not known and not self._sure:
            return
        self._sure = True
        found.append(imap.command_fact(command))
        if command.verb == "AUTHENTICATE":
            mechanism, _, token = command.argument.strip().partition(b" ")
            self._auth, self._turn = (command.tag, decode(mechanism).upper()[:32]), int(bool(token))
            self._sure = False
        elif command.verb in ("STARTTLS", "COMPRESS") and len(self._tls) < MAX_OUTSTANDING:
            self._tls[command.tag] = command.verb

    def _response(self, line: bytes, found: list[Fact | Malformed]) -> None:
        response = imap.parse_response(line)
        if response is None:
            envelope = imap.envelope_of(line) if line.startswith(b"* ") else None
            if envelope is not None:
                found.append(mail.email_fact(envelope))
            return
        found.append(imap.response_fact(response))
        if not response.tag:
            self._sure = self._sure or response.status == "PREAUTH" or "IMAP" in response.text.upper()
            return
        if self._auth and response.tag == self._auth[0]:
            self._auth = None
        switch = self._tls.pop(response.tag, "")
        if switch and response.status == "OK":
            self.upgraded = switch == "STARTTLS"
            self.done = switch == "COMPRESS"  # what follows is deflated (RFC 4978)


def _is_command(line: bytes) -> bool:
    command = imap.parse_command(line)
    return isinstance(command, imap.Command) and command.verb in imap.VERBS


def imap_stream(cap: int) -> StartTls:
    """Return a session for IMAP over TCP."""
    return StartTls(ImapSpeech(), max_bytes=cap)
