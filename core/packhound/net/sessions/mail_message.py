"""One mail on its way: its head, then the heads of its parts; bodies pass by.

Promise: holds at most one head (`MAX_HEAD` for the message, `MAX_PART_HEAD` for a part) and `MAX_BOUNDARIES` names,
whatever the size of the mail; reports at most `MAX_PARTS` parts; never raises.
"""

from __future__ import annotations

from packhound.net import mail
from packhound.net.facts import Fact, Malformed

MAX_PART_HEAD = 8 * 1024
MAX_PARTS = 64
MAX_BOUNDARIES = 8
_BLANK = (b"\n\r\n", b"\n\n")


class Message:
    """Bytes of a mail in order -> its facts."""

    __slots__ = ("_boundaries", "_buffer", "_cut", "_parts", "_reads_head", "_scanned", "_top", "_wants")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._top = True  # the head that is read is the message's own
        self._reads_head = True
        self._wants = True
        self._cut = False  # a gap ended the head
        self._boundaries: list[bytes] = []
        self._parts = 0

    def feed(self, data: bytes) -> list[Fact | Malformed]:
        """Take the next bytes."""
        found: list[Fact | Malformed] = []
        if self._cut:
            self._cut = False
            self._read(bytes(self._buffer), found)
            self._buffer.clear()
            self._begin_body()
        if self._wants:
            self._buffer += data
            while self._wants and (self._head(found) if self._reads_head else self._body()):
                pass
        return found

    def end(self) -> list[Fact | Malformed]:
        """Learn that the mail is over: a head that no blank line ended counts too."""
        found: list[Fact | Malformed] = []
        if self._wants and self._reads_head and self._buffer:
            self._read(bytes(self._buffer), found)
        self._stop()
        return found

    def torn(self) -> None:
        """Learn that bytes were never seen: of a head torn by it the whole lines count, when the next bytes come."""
        if self._reads_head:
            del self._buffer[self._buffer.rfind(b"\n") + 1 :]
            self._cut = True
        else:
            self._buffer.clear()

    def _stop(self) -> None:
        self._wants = False
        self._buffer.clear()

    def _head(self, found: list[Fact | Malformed]) -> bool:
        """Read the head at the front of the buffer; False when it is not whole."""
        buffer, cap = self._buffer, mail.MAX_HEAD if self._top else MAX_PART_HEAD
        if buffer[:1] == b"\n" or buffer[:2] == b"\r\n":  # a part, or a message, without headers
            del buffer[: 1 + (buffer[0] == 0x0D)]
            self._begin_body()
            return True
        ends = [at for at in (buffer.find(blank, self._scanned, cap) for blank in _BLANK) if at >= 0]
        if not ends and len(buffer) < cap:
            self._scanned = max(0, len(buffer) - 2)
            return False
        end = min(ends, default=min(cap, len(buffer)))
        self._read(bytes(buffer[: end + 1]), found)
        del buffer[: end + 1]
        self._begin_body()
        return True

    def _begin_body(self) -> None:
        self._top = self._reads_head = False
        self._scanned = 0
        if not self._boundaries or self._parts >= MAX_PARTS:
            self._stop()

    def _read(self, data: bytes, found: list[Fact | Malformed]) -> None:
        if not data:
            return
        head = mail.parse(data)
        if isinstance(head, Malformed):
            if self._top:
                found.append(head)
            return
        if self._top:
            found.append(mail.email_fact(head))
        else:
            fact = mail.part_fact(head)
            if fact:
                found.append(fact)
        boundary = mail.boundary_of(head)
        if boundary and len(self._boundaries) < MAX_BOUNDARIES and boundary not in self._boundaries:
            self._boundaries.append(boundary)

    def _body(self) -> bool:
        """Pass over the body to the line behind the next boundary (RFC 2046 section 5.1.1)."""
        buffer = self._buffer
        starts = [at for at in (buffer.find(b"--" + each) for each in self._boundaries) if at >= 0]
        if not starts:
            longest = max(map(len, self._boundaries), default=0) + 2
            del buffer[: max(0, len(buffer) - longest)]
            return False
        end = buffer.find(b"\n", min(starts))
        if end < 0:
            del buffer[: min(starts)]
            if len(buffer) > MAX_PART_HEAD:
                self._stop()
            return False
        line = bytes(buffer[min(starts) : end]).rstrip()
        del buffer[: end + 1]
        if not line.endswith(b"--") or line[2:] in self._boundaries:
            self._parts += 1
            self._reads_head = True
            self._scanned = 0
        return True
