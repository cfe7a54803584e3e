"""Message protocols over TCP that frame themselves: SIP (Content-Length), SSH (a line, then packets until they are
encrypted).

Promise: each direction holds at most `max_bytes`; after a gap or a broken frame SIP finds the next start line; every
byte is looked at a bounded number of times; never raises.
"""

from __future__ import annotations

from packhound.net import hassh, sip, ssh
from packhound.net.facts import Fact, Malformed
from packhound.net.sip_fields import sip_fact

_PAUSE = b"\r\n\0 "


class SipStream:
    """SIP over TCP: any cut of messages into segments, keep-alives between them, resynchronisation after loss."""

    __slots__ = ("_buffers", "_lost", "_max_bytes", "_scanned", "_wanted", "done")

    def __init__(self, *, max_bytes: int) -> None:
        self._buffers = (bytearray(), bytearray())
        self._scanned = [0, 0]  # how far the blank line was looked for
        self._wanted = [0, 0]  # bytes of the message whose body is awaited
        self._lost = [False, False]  # between messages whose framing broke
        self._max_bytes = max_bytes
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read the next bytes of one direction and return the messages they complete."""
        buffer = self._buffers[direction]
        buffer += data
        found: list[Fact | Malformed] = []
        while buffer and self._next(direction, buffer, found):
            pass
        if len(buffer) > self._max_bytes:
            found.append(Malformed("SIP message is larger than its cap"))
            self._lose(direction)
        return found

    def gap(self, direction: int, size: int) -> None:
        """Drop the torn message and look for the next start line."""
        self._lose(direction)

    def _lose(self, direction: int) -> None:
        self._buffers[direction].clear()
        self._scanned[direction] = self._wanted[direction] = 0
        self._lost[direction] = True

    def _next(self, direction: int, buffer: bytearray, found: list[Fact | Malformed]) -> bool:
        """Take one message off the buffer; False when it waits for more bytes."""
        if buffer[0] in _PAUSE:
            del buffer[: len(buffer) - len(buffer.lstrip(_PAUSE))]
            self._scanned[direction] = 0
        if not buffer or len(buffer) < self._wanted[direction]:
            return False
        end = sip.head_size(buffer, max(0, self._scanned[direction] - 3))
        if end < 0:
            self._scanned[direction] = len(buffer)
            return self._wrong_start(direction, buffer, found)
        if not sip.starts_message(buffer):
            return self._resynchronise(direction, buffer, found)
        size = end + sip.body_length(bytes(buffer[:end]))
        if size > self._max_bytes:
            found.append(Malformed("SIP message is larger than its cap"))
            self._lose(direction)
            return False
        if len(buffer) < size:
            self._scanned[direction] = max(0, end - 4)
            self._wanted[direction] = size
            return False
        message = sip.parse(bytes(buffer[:size]))
        found.append(message if isinstance(message, Malformed) else sip_fact(message))
        del buffer[:size]
        self._scanned[direction] = self._wanted[direction] = 0
        self._lost[direction] = False
        return True

    def _wrong_start(self, direction: int, buffer: bytearray, found: list[Fact | Malformed]) -> bool:
        """Decide on bytes without a blank line: wait unless their first line is whole and not SIP's."""
        line = buffer.find(b"\n", 0, 8192)
        if line < 0 or sip.starts_message(buffer):
            return False
        return self._resynchronise(direction, buffer, found)

    def _resynchronise(self, direction: int, buffer: bytearray, found: list[Fact | Malformed]) -> bool:
        """Drop the first line; say once that the framing broke."""
        if not self._lost[direction]:
            found.append(Malformed("SIP stream lost its framing"))
            self._lost[direction] = True
        start = sip.find_start(buffer)
        del buffer[: start if start > 0 else buffer.rfind(b"\n") + 1]
        self._scanned[direction] = 0
        return start > 0


class SshStream:
    """The identification string and the key exchange offer of each side; all behind them is soon encrypted."""

    __slots__ = ("_buffers", "_finished", "_max_bytes", "_named", "done")

    def __init__(self, *, max_bytes: int = 64 * 1024) -> None:
        self._buffers = (bytearray(), bytearray())
        self._named = [False, False]  # the identification string was read
        self._finished = [False, False]
        self._max_bytes = max_bytes
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read the next bytes of one direction and return its banner and its offer when they are whole."""
        if self._finished[direction]:
            return []
        buffer = self._buffers[direction]
        buffer += data
        found: list[Fact | Malformed] = []
        if not self._named[direction]:
            found += self._banner(direction, buffer, data)
        if self._named[direction] and not self._finished[direction]:
            found += self._offer(direction, buffer)
        return found

    def gap(self, direction: int, size: int) -> None:
        """Give up on this direction: what is read comes first or not at all."""
        self._finish(direction)

    def _banner(self, direction: int, buffer: bytearray, data: bytes) -> list[Fact | Malformed]:
        banner = ssh.parse(bytes(buffer[: ssh.MAX_PREAMBLE + ssh.MAX_BANNER]))
        if isinstance(banner, Malformed):
            if len(buffer) <= ssh.MAX_PREAMBLE and _is_text(data):
                return []
            self._finish(direction)
            return [banner]
        self._named[direction] = True
        del buffer[: ssh.banner_end(buffer)]
        if banner.version.startswith("1.") and banner.version != "1.99":
            self._finish(direction)  # SSH 1 exchanges keys in a way of its own
        return [ssh.ssh_fact(banner)]

    def _offer(self, direction: int, buffer: bytearray) -> list[Fact | Malformed]:
        """Read packets up to the offer; a server's offer of SSH 1 behind a banner of 1.99 is not one."""
        while size := hassh.packet_size(buffer):
            if size < 0 or buffer[5] == hassh.NEWKEYS:
                break
            if len(buffer) < size:
                if len(buffer) < self._max_bytes:
                    return []
                break
            if buffer[5] == hassh.KEXINIT:
                offer = hassh.parse(bytes(buffer[:size]))
                self._finish(direction)
                return [offer if isinstance(offer, Malformed) else hassh.kexinit_fact(offer, client=direction == 0)]
            del buffer[:size]
        else:
            return []
        self._finish(direction)
        return []

    def _finish(self, direction: int) -> None:
        self._finished[direction] = True
        self._buffers[direction].clear()
        self.done = all(self._finished)


def _is_text(data: bytes) -> bool:
    return b"\0" not in data[:256]
