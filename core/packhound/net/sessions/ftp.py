"""FTP control connections over TCP: commands and replies, in any cut, pipelined or not (RFC 959, 4217).

Promise: holds one line a direction; which side is the client is told by what it says, so a capture may begin anywhere;
after a gap it goes on at the next line; never raises. Behind AUTH TLS the hellos are read, and the lines of a channel
that is cleared again (CCC, RFC 4217 section 12.3).
"""

from __future__ import annotations

from collections import deque

from packhound.net import ftp
from packhound.net.facts import Fact, Malformed
from packhound.net.sessions.mail_lines import Lines, StartTls
from packhound.net.text import decode

MAX_OUTSTANDING = 256
MAX_REPLY_TEXT = 1024


class FtpSpeech:
    """Both directions of one FTP control connection before TLS."""

    __slots__ = ("_client", "_lines", "_reply", "_stale", "_sure", "_switches", "_waiting", "done", "upgraded")

    def __init__(self) -> None:
        self._lines = (Lines(ftp.MAX_LINE), Lines(ftp.MAX_LINE))
        self._client: int | None = None
        self._waiting: deque[str] = deque(maxlen=MAX_OUTSTANDING)  # AUTH commands without their reply
        self._reply: tuple[int, str] | None = None  # the first line of one that goes on
        self._stale = False  # a command came before its last line: that may never come
        self._sure = False  # a line that is no known command is not the rest of one that holds a password either
        self._switches = False
        self.done = False
        self.upgraded = False

    def feed(self, direction: int, data: bytes) -> list[Fact | Malformed]:
        """Read the next bytes of one direction."""
        found: list[Fact | Malformed] = []
        lines = self._lines[direction]
        lines.push(data)
        while len(lines):
            line = lines.line()
            if line is None:
                break
            self._line(direction, line, found)
            if self._switches:
                self._switches, self.upgraded = False, True
                break
        return found

    def gap(self, direction: int, size: int) -> None:
        """Go on at the next line."""
        self._lines[direction].torn()
        if direction == self._client:
            self._sure = False
        else:
            self._reply = None

    def between_lines(self, direction: int) -> bool:
        """Tell whether a command or reply may start here."""
        return not len(self._lines[direction])

    def rest(self, direction: int) -> bytes:
        """Hand over the bytes that were not read."""
        return self._lines[direction].take()

    def returns(self, direction: int, data: bytes) -> bool:
        """Tell whether bytes behind the switch are one command or reply in the clear."""
        if len(data) > ftp.MAX_LINE or not data.endswith(b"\n"):
            return False
        line, _, more = data.partition(b"\n")
        line = line.removesuffix(b"\r")
        if more or not decode(line).isprintable():
            return False
        return ftp.is_command(line) if direction == self._client else isinstance(ftp.parse_reply(line), ftp.ReplyLine)

    def _line(self, direction: int, line: bytes, found: list[Fact | Malformed]) -> None:
        if self._client is None:
            if isinstance(ftp.parse_reply(line), ftp.ReplyLine):
                self._client = 1 - direction
            elif ftp.is_command(line):
                self._client = direction
        if self._client == direction:
            self._command(line, found)
        elif self._client is not None:
            self._reply_line(line, found)

    def _command(self, line: bytes, found: list[Fact | Malformed]) -> None:
        command = ftp.parse_command(line)
        if isinstance(command, Malformed):
            if line.strip() and self._sure:
                found.append(command)
            return
        known = ftp.is_command(line)
        if not known and not self._sure:
            return
        self._sure = True
        self._stale = self._reply is not None
        found.append(ftp.command_fact(command))
        if command.verb == "AUTH":
            self._waiting.append(command.argument.upper())

    def _reply_line(self, line: bytes, found: list[Fact | Malformed]) -> None:
        reply = ftp.parse_reply(line)
        if self._reply is not None:
            status, text = self._reply
            mine = isinstance(reply, ftp.ReplyLine) and reply.status == status
            if isinstance(reply, ftp.ReplyLine) and not mine and self._stale:
                self._reply, self._stale = None, False
                self._done(status, text, found)
                self._reply_line(line, found)
                return
            if len(text) < MAX_REPLY_TEXT:
                text = f"{text}\n{(reply.text if isinstance(reply, ftp.ReplyLine) and mine else decode(line)).strip()}"
            ends = isinstance(reply, ftp.ReplyLine) and mine and not reply.more
            self._reply = None if ends else (status, text)
            if ends:
                self._done(status, text, found)
        elif isinstance(reply, Malformed):
            if line.strip():
                found.append(reply)
        elif reply.more:
            self._reply, self._stale = (reply.status, reply.text), False
        else:
            self._done(reply.status, reply.text, found)

    def _done(self, status: int, text: str, found: list[Fact | Malformed]) -> None:
        found.append(ftp.reply_fact(status, text))
        self._sure = self._sure or status == 220
        if status == 234 and self._waiting:
            self._switches = self._waiting.popleft().startswith(("TLS", "SSL"))
        elif status in (334, 431, 500, 502, 503, 504, 534) and self._waiting:
            self._waiting.popleft()


def ftp_stream(cap: int) -> StartTls:
    """Return a session for an FTP control connection."""
    return StartTls(FtpSpeech(), max_bytes=cap, reverts=True)
