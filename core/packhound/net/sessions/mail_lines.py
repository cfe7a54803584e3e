"""What sessions of line protocols share: lines of a direction, text that a lone dot ends, the switch to TLS.

Promise: bounded (a line by its cap, dotted text by four bytes), every byte looked at a bounded number of times, never
raises.
"""

from __future__ import annotations

from typing import Protocol

from packhound.net.facts import Fact, Malformed
from packhound.net.sessions.tls import TlsStream, starts_hello


class Lines:
    """Bytes of one direction, handed out as lines or raw. Of a line longer than `limit` its front is kept."""

    __slots__ = ("_buffer", "_limit", "_scanned", "_skipping", "cr")

    def __init__(self, limit: int) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._scanned = 0
        self._skipping = False  # inside a line whose front was handed out, or that was torn by a gap
        self.cr = True  # the last line ended in CR LF

    def __len__(self) -> int:
        """Return how many bytes are held."""
        return len(self._buffer)

    def push(self, data: bytes) -> None:
        """Take the next bytes."""
        self._buffer += data

    def line(self) -> bytes | None:
        """Return the next line without its end; None when none is whole."""
        buffer = self._buffer
        while True:
            end = buffer.find(b"\n", self._scanned)
            if self._skipping:
                if end < 0:
                    buffer.clear()
                    return None
                del buffer[: end + 1]
                self._skipping, self._scanned = False, 0
                continue
            if end < 0 and len(buffer) <= self._limit:
                self._scanned = len(buffer)
                return None
            stop = min(end, self._limit) if end >= 0 else self._limit
            line = bytes(buffer[:stop])
            self.cr = end < 0 or buffer[end - 1 : end] == b"\r"
            self._skipping = end < 0
            del buffer[: end + 1 if end >= 0 else stop]
            self._scanned = 0
            return line.removesuffix(b"\r")

    def peek(self, size: int) -> bytes:
        """Return up to `size` of the next bytes without taking them."""
        return bytes(self._buffer[:size])

    def take(self, size: int | None = None) -> bytes:
        """Take up to `size` raw bytes, all that is held when None."""
        stop = len(self._buffer) if size is None else size
        data = bytes(self._buffer[:stop])
        del self._buffer[:stop]
        self._scanned = 0
        return data

    def torn(self) -> None:
        """Drop what is held; the next line starts behind the next line end."""
        self._buffer.clear()
        self._scanned, self._skipping = 0, True

    def fresh(self) -> None:
        """Drop what is held; the next byte starts a line."""
        self._buffer.clear()
        self._scanned, self._skipping = 0, False


class Dotted:
    """Text that ends with a line of one dot (RFC 5321 section 4.1.1.4, RFC 1939 section 3).

    `cr`: the sender ends its lines in CR LF, and then a dot between bare LF ends nothing.
    """

    __slots__ = ("_ending", "_held", "_unsent")

    def __init__(self, *, cr: bool) -> None:
        self._ending = b"\r\n.\r\n" if cr else b"\n.\n"
        self._held = b"\r\n" if cr else b"\n"  # as if a line had ended before the text
        self._unsent = len(self._held)

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Take the next bytes; the text they complete, and what stands behind its end (None: it goes on)."""
        joined = self._held + data
        end = joined.find(self._ending)
        if end >= 0:
            text = joined[self._unsent : end + len(self._ending) - (3 if self._ending[0] == 0x0D else 2)]
            return text, joined[end + len(self._ending) :]
        keep = max(0, len(joined) - len(self._ending) + 1)
        text = joined[self._unsent : keep]
        self._unsent = max(0, self._unsent - keep)
        self._held = joined[keep:]
        return text, None

    def lost(self) -> None:
        """Go on behind a gap: what is held is torn."""
        self._held, self._unsent = b"", 0


class Speech(Protocol):
    """A line protocol that can switch to TLS: `upgraded` once it has, `rest` then hands over what it still holds."""

    done: bool
    upgraded: bool

    def feed(self, direction: int, data: bytes) -> list[Fact | Malformed]:
        """Read the next bytes of one direction."""

    def gap(self, direction: int, size: int) -> None:
        """Learn that bytes were never seen."""

    def between_lines(self, direction: int) -> bool:
        """Tell whether a command or reply may start here."""

    def rest(self, direction: int) -> bytes:
        """Hand over the bytes that were not read."""

    def returns(self, direction: int, data: bytes) -> bool:
        """Tell whether bytes behind the switch are lines in the clear again."""


class StartTls:
    """A session of a line protocol, and of TLS once both sides have agreed on it (STARTTLS, STLS, AUTH TLS).

    A hello where a line should start is TLS too: the agreement may have been lost, or seen in another order. With
    `reverts` (FTP's CCC, RFC 4217 section 12.3) lines may come back.
    """

    __slots__ = ("_inside", "_max_bytes", "_reverts", "_speech", "done")

    def __init__(self, speech: Speech, *, max_bytes: int, reverts: bool = False) -> None:
        self._speech = speech
        self._reverts = reverts
        self._inside: TlsStream | None = None
        self._max_bytes = max_bytes
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read the next bytes of one direction."""
        if self._inside is None and starts_hello(data) and self._speech.between_lines(direction):
            self._inside = TlsStream(max_bytes=self._max_bytes)
        if self._inside is not None and not (self._reverts and self._speech.returns(direction, data)):
            found = self._inside.feed(direction, data, now=now)
            self.done = self._inside.done and not self._reverts
            return found
        found = self._speech.feed(direction, data)
        self.done = self._speech.done
        if self._speech.upgraded and self._inside is None:
            self._inside = TlsStream(max_bytes=self._max_bytes)
            for each in (0, 1):
                rest = self._speech.rest(each)
                if rest:
                    found.extend(self._inside.feed(each, rest, now=now))
            self.done = self._inside.done and not self._reverts
        return found

    def gap(self, direction: int, size: int) -> None:
        """Learn that `size` bytes were never seen."""
        (self._inside or self._speech).gap(direction, size)
        self.done = (self._inside or self._speech).done and not self._reverts
