"""HTTP/1 over TCP: heads of pipelined messages, bodies stepped over without keeping them.

Promise: holds at most one message head (`max_bytes`) a direction whatever the bodies' size; after a gap inside a body
of known length it goes on, else it looks for the next start line where a segment starts; never raises.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import NamedTuple

from packhound.net import http1
from packhound.net.facts import Fact, Malformed
from packhound.net.http1 import HttpRequest, HttpResponse
from packhound.net.sessions.http2 import Http2Stream
from packhound.net.sessions.tls import TlsStream
from packhound.net.websocket import websocket_fact

MAX_OUTSTANDING = 256  # requests without their response
MAX_CHUNK_LINE = 4096


class _At(Enum):
    HEAD = 0
    BODY = 1  # `left` bytes to go
    CHUNK = 2  # a chunk-size line comes
    CHUNK_DATA = 3  # `left` bytes of a chunk and its line end to go
    TRAILER = 4
    REST = 5  # body until close: nothing more to read
    LOST = 6  # looking for a start line


class _Direction:
    __slots__ = ("at", "buffer", "left", "scanned", "started")

    def __init__(self) -> None:
        self.at = _At.HEAD
        self.buffer = bytearray()
        self.left = 0
        self.scanned = 0  # how far the blank line was looked for
        self.started = False  # the start line is whole and good


class _Asked(NamedTuple):
    """A request that waits for its response: its method, the time of the packet that completed its head, and the
    head itself where it asks for another protocol (of the first that waits alone: they are not kept)."""

    method: str
    at: int
    upgrade: HttpRequest | None


class HttpStream:
    """Both directions of one connection. Behind CONNECT or a switch to TLS, the hellos inside are read too; behind a
    switch to HTTP/2, its messages."""

    __slots__ = ("_asked", "_inner", "_max_bytes", "_sides", "_tunnel", "done")

    def __init__(self, *, max_bytes: int) -> None:
        self._sides = (_Direction(), _Direction())
        self._asked: deque[_Asked] = deque(maxlen=MAX_OUTSTANDING)
        self._max_bytes = min(max_bytes, http1.MAX_HEAD)
        self._tunnel = False
        self._inner: TlsStream | Http2Stream | None = None
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read the next bytes of one direction and return the heads they complete."""
        found: list[Fact | Malformed] = []
        inside = data if self._tunnel else self._outside(direction, data, found, now)
        if inside:
            found.extend(self._inside(direction, inside, now=now))
        return found

    def gap(self, direction: int, size: int) -> None:
        """Step over a gap inside a body; elsewhere look for the next start line."""
        side = self._sides[direction]
        if self._inner:
            self._inner.gap(direction, size)
            self.done = self._inner.done
        elif side.at in (_At.BODY, _At.CHUNK_DATA) and size <= side.left:
            side.left -= size
            if not side.left:
                side.at = _At.HEAD if side.at is _At.BODY else _At.CHUNK
        elif side.at is not _At.REST:
            self._lose(side)

    def _outside(self, direction: int, data: bytes, found: list[Fact | Malformed], now: int) -> bytes:
        """Walk messages; return what lies behind the head that opened a tunnel."""
        side = self._sides[direction]
        if side.at is _At.LOST and not side.buffer and not http1.starts_message(data):
            return b""
        side.buffer += data
        while side.buffer and not self._tunnel and self._step(side, found, now):
            pass
        if not self._tunnel:
            return b""
        rest = bytes(side.buffer)
        side.buffer.clear()
        return rest

    def _inside(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read a tunnel: TLS when its first byte says so, else nothing."""
        if self._inner is None and data[:1] == b"\x16" and not self.done:
            self._inner = TlsStream(max_bytes=self._max_bytes)
        if self._inner is None:
            self.done = True
            return []
        found = self._inner.feed(direction, data, now=now)
        self.done = self._inner.done
        return found

    def _lose(self, side: _Direction) -> None:
        self._asked.clear()  # which response answers which request is no longer known
        side.at = _At.LOST
        side.buffer.clear()
        side.left = side.scanned = 0
        side.started = False

    def _step(self, side: _Direction, found: list[Fact | Malformed], now: int) -> bool:
        """Take the next thing off the buffer; False when it waits for more bytes."""
        if side.at in (_At.HEAD, _At.LOST):
            return self._head(side, found, now)
        if side.at in (_At.BODY, _At.CHUNK_DATA):
            taken = min(side.left, len(side.buffer))
            del side.buffer[:taken]
            side.left -= taken
            if side.left:
                return False
            side.at = _At.HEAD if side.at is _At.BODY else _At.CHUNK
            return True
        if side.at is _At.REST:
            side.buffer.clear()
            return False
        return self._chunk_line(side, found)

    def _chunk_line(self, side: _Direction, found: list[Fact | Malformed]) -> bool:
        """Read a chunk-size line or a trailer line (RFC 9112 section 7.1)."""
        end = side.buffer.find(b"\n", 0, MAX_CHUNK_LINE)
        if end < 0:
            if len(side.buffer) >= MAX_CHUNK_LINE:
                found.append(Malformed("HTTP chunk line is too long"))
                self._lose(side)
            return False
        line = bytes(side.buffer[:end]).strip()
        del side.buffer[: end + 1]
        if side.at is _At.TRAILER:
            side.at = side.at if line else _At.HEAD
            return True
        digits = line.partition(b";")[0].strip()
        if not digits or len(digits) > 15 or digits.strip(b"0123456789abcdefABCDEF"):
            found.append(Malformed("HTTP chunk size is no hexadecimal number"))
            self._lose(side)
            return False
        side.left = int(digits, 16)
        if side.left:
            side.left += 2
            side.at = _At.CHUNK_DATA
        else:
            side.at = _At.TRAILER
        return True

    def _head(self, side: _Direction, found: list[Fact | Malformed], now: int) -> bool:
        buffer = side.buffer
        if buffer[0] in b"\r\n" and not side.started:
            del buffer[: len(buffer) - len(buffer.lstrip(b"\r\n"))]
            side.scanned = 0
        end = http1.head_size(buffer, max(0, side.scanned - 3))
        side.scanned = len(buffer)
        if not side.started:
            whole = b"\n" in buffer[: http1.MAX_START_LINE] or len(buffer) >= http1.MAX_START_LINE
            if not buffer or (not whole and 0x21 <= buffer[0] <= 0x7E):  # else: SOCKS and other prefaces
                return False
            side.started = http1.starts_message(buffer)
        if side.started and end < 0 and len(buffer) <= self._max_bytes:
            return False
        if not side.started or end < 0 or end > self._max_bytes:
            if side.at is not _At.LOST:
                found.append(Malformed("no HTTP start line where one belongs, or a head larger than its cap"))
            self._lose(side)
            return False
        message = http1.parse(bytes(buffer[:end]))
        del buffer[:end]
        side.scanned = 0
        side.started = False
        side.at = _At.HEAD
        if isinstance(message, Malformed):
            found.append(message)
        elif isinstance(message, HttpRequest):
            upgrade = message if message.header("upgrade") and not self._asked else None
            self._asked.append(_Asked(message.method.upper(), now, upgrade))
            found.append(http1.http_fact(message))
            self._body(side, http1.body_size(message))
        else:
            self._response(side, message, found, now)
        return True

    def _response(self, side: _Direction, message: HttpResponse, found: list[Fact | Malformed], now: int) -> None:
        """Pair a response with its request, and see whether it is the last in HTTP/1."""
        interim = message.status < 200 and message.status != 101
        asked = self._asked.popleft() if self._asked and not interim else None
        found.append(http1.http_fact(message, response_time=now - asked.at if asked else -1))
        method = asked.method if asked else ""
        if message.status == 101:
            self._tunnel = True
            if asked and asked.upgrade:
                self._switch(asked.upgrade, asked.at, message, found)
        elif method == "CONNECT" and 200 <= message.status < 300:
            self._tunnel = True
        else:
            self._body(side, http1.body_size(message, method=method))

    def _switch(self, request: HttpRequest, at: int, message: HttpResponse, found: list[Fact | Malformed]) -> None:
        """Go on in the protocol that both sides agreed on."""
        host, path, _ = http1.target_of(request)
        fact = websocket_fact(request.header, message.header, host=http1.without_port(host), path=path)
        if fact:
            found.append(fact)
        elif message.header("upgrade").lower() == "h2c" and request.header("http2-settings"):
            self._inner = Http2Stream(max_bytes=self._max_bytes)
            self._inner.upgraded(asked=at)

    def _body(self, side: _Direction, size: int | None) -> None:
        """Decide what follows the head."""
        if size is None:
            side.at = _At.REST
        elif size < 0:
            side.at = _At.CHUNK
        elif size:
            side.left = size
            side.at = _At.BODY
