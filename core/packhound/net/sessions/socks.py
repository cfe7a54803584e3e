"""A connection through a SOCKS proxy: login, request and reply, then HTTP or TLS inside it.

Promise: holds at most one message a direction; behind a gap or a message that is none nothing more is read; never
raises.
"""

from __future__ import annotations

from packhound.net import http1, socks
from packhound.net.facts import Fact, Malformed
from packhound.net.sessions.http1 import HttpStream
from packhound.net.sessions.tls import TlsStream, starts_hello

MAX_MESSAGE = 1024
CLIENT, SERVER = 0, 1


class SocksStream:
    """Both directions of one connection. What detection needed, the offer of methods, may have gone before it."""

    __slots__ = ("_buffers", "_inner", "_max_bytes", "_offered", "_open", "_user", "_version", "done")

    def __init__(self, *, max_bytes: int) -> None:
        self._buffers = (bytearray(), bytearray())
        self._version = 0  # of the request, 0: it has not come
        self._open = False
        self._offered = False  # the methods, which look like the start of a request
        self._user = ""
        self._inner: HttpStream | TlsStream | None = None
        self._max_bytes = max_bytes
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read the next bytes of one direction."""
        if self.done:
            return []
        if self._open:
            return self._inside(direction, data, now)
        buffer = self._buffers[direction]
        buffer += data
        found: list[Fact | Malformed] = []
        if direction == CLIENT:
            self._asked(buffer, found)
        elif self._version:
            self._answered(buffer, found)
            if self._open and buffer:
                found += self._inside(direction, bytes(buffer), now)
        else:
            buffer.clear()  # a method chosen, a login accepted
            self._offered = True
        self.done = self.done or len(buffer) > MAX_MESSAGE
        return found

    def gap(self, direction: int, size: int) -> None:
        """Step over a gap inside the tunnel; before it, give up."""
        if self._inner:
            self._inner.gap(direction, size)
            self.done = self._inner.done
        else:
            self.done = True

    def _asked(self, buffer: bytearray, found: list[Fact | Malformed]) -> None:
        """Read what the client says before the tunnel: methods, login, request."""
        while buffer and not self._version:
            if buffer[0] == 1:
                login = socks.parse_login(bytes(buffer))
                if login is None:
                    return
                self._user, size = login
                found.append(socks.login_fact(self._user))
            elif not self._offered and len(buffer) > 1 and buffer[0] == 5 and len(buffer) == 2 + buffer[1]:
                size = len(buffer)
            else:
                request = socks.parse_request(bytes(buffer))
                if request is None:
                    return
                if isinstance(request, Malformed):
                    found.append(request)
                    self.done = True
                    return
                self._version, size = request.version, request.size
                found.append(socks.socks_fact(request, user=self._user))
            self._offered = True
            del buffer[:size]

    def _answered(self, buffer: bytearray, found: list[Fact | Malformed]) -> None:
        reply = socks.parse_reply(bytes(buffer), version=self._version)
        if reply is None:
            return
        if isinstance(reply, Malformed):
            found.append(reply)
            self.done = True
            return
        del buffer[: reply.size]
        found.append(socks.socks_fact(reply))
        self._open = reply.granted
        self.done = not reply.granted

    def _inside(self, direction: int, data: bytes, now: int) -> list[Fact | Malformed]:
        """Read the tunnel: TLS or HTTP by its first bytes, else nothing."""
        if self._inner is None:
            if starts_hello(data):
                self._inner = TlsStream(max_bytes=self._max_bytes)
            elif http1.starts_message(data):
                self._inner = HttpStream(max_bytes=self._max_bytes)
            else:
                self.done = True
                return []
        found = self._inner.feed(direction, data, now=now)
        self.done = self._inner.done
        return found
