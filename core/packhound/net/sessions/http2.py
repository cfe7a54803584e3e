"""HTTP/2 in the clear: requests, responses and gRPC trailers of every stream, DATA stepped over without keeping it.

Promise: holds at most one frame and one header block (`max_bytes` each), one HPACK table a direction and
`MAX_STREAMS` streams; a gap inside DATA costs nothing, behind any other the next chunk that starts with frames is read
on with an empty table; never raises.
"""

from __future__ import annotations

from dataclasses import dataclass

from packhound.net import http2
from packhound.net.facts import Fact, Malformed
from packhound.net.grpc_facts import call_of, grpc_fact, is_grpc
from packhound.net.hpack import HeaderList, HpackDecoder
from packhound.net.http2 import FrameHeader

MAX_STREAMS = 1024  # requests without the end of their response
MAX_CALL = 256  # characters of a gRPC call's name that wait for its end
TOO_LARGE = "HTTP/2 header block is larger than its cap"
FREE = 256 * 1024  # bytes of text that the messages of a direction say before they must be paid for
SPREAD = 128  # bytes of text that a byte of header block pays for: one byte can refer to an entry of 64 KiB
_BLOCKS = (http2.HEADERS, http2.PUSH_PROMISE, http2.CONTINUATION)


@dataclass(slots=True)
class _Call:
    """A request that waits for its response: when it came (None: it was not seen), what gRPC calls it."""

    asked: int | None = None
    service: str = ""
    method: str = ""
    answered: bool = False

    def since(self, now: int) -> int:
        """Time from the request, ns; -1 where it is not known."""
        return -1 if self.asked is None else now - self.asked


class _Side:
    __slots__ = ("block", "buffer", "credit", "decoder", "head", "left", "lost", "overflow", "started")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.credit = FREE
        self.decoder = HpackDecoder()
        self.block = bytearray()
        self.head: FrameHeader | None = None  # of the frame that began the block in hand
        self.overflow = False  # the block is larger than its cap
        self.left = 0  # bytes of a frame that is stepped over
        self.started = False
        self.lost = False


class Http2Stream:
    """Both directions of one connection, from its preface or joined in its middle."""

    __slots__ = ("_calls", "_max_bytes", "_sides", "done")

    def __init__(self, *, max_bytes: int) -> None:
        self._sides = (_Side(), _Side())
        self._calls: dict[int, _Call] = {}
        self._max_bytes = max_bytes
        self.done = False

    def upgraded(self, *, asked: int) -> None:
        """Learn that the connection began as HTTP/1 (RFC 7540 section 3.2): its request, at `asked`, is stream 1."""
        self._calls[1] = _Call(asked)

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read the next bytes of one direction and return what its streams say."""
        side = self._sides[direction]
        if side.lost:
            if not http2.starts_frames(data):
                return []
            side.lost = False
        side.buffer += data
        found: list[Fact | Malformed] = []
        if side.started or self._start(side, found):
            while self._frame(side, found, now):
                pass
        return found

    def gap(self, direction: int, size: int) -> None:
        """Step over a gap inside a frame that is stepped over; elsewhere look for the next frames."""
        side = self._sides[direction]
        if size <= side.left and not side.buffer:
            side.left -= size
        else:
            self._lose(side)

    def _start(self, side: _Side, found: list[Fact | Malformed]) -> bool:
        """Take the client's preface off; a connection joined later begins with a frame. False: more must come."""
        preface = http2.PREFACE
        if side.buffer[: len(preface)] == preface[: len(side.buffer)]:
            if len(side.buffer) < len(preface):
                return False
            del side.buffer[: len(preface)]
        elif not http2.starts_frames(bytes(side.buffer)):
            if len(side.buffer) < http2.HEADER:
                return False
            found.append(Malformed("no HTTP/2 preface or frame"))
            self._lose(side)
            return False
        side.started = True
        return True

    def _lose(self, side: _Side) -> None:
        side.buffer.clear()
        side.block.clear()
        side.decoder.forget()
        side.head, side.left, side.overflow = None, 0, False
        side.lost = side.started = True

    def _frame(self, side: _Side, found: list[Fact | Malformed], now: int) -> bool:
        """Take one frame off the buffer; False when it waits for more bytes."""
        buffer = side.buffer
        if side.left:
            taken = min(side.left, len(buffer))
            del buffer[:taken]
            side.left -= taken
        header = http2.frame_header(buffer)
        if header is None or side.left:
            return False
        if not http2.is_sound(header) or (side.head is not None and header.type != http2.CONTINUATION):
            found.append(Malformed("HTTP/2 frame that cannot be"))
            self._lose(side)
            return False
        if header.type in _BLOCKS and header.size <= self._max_bytes:
            if len(buffer) < http2.HEADER + header.size:
                return False
            payload = bytes(buffer[http2.HEADER : http2.HEADER + header.size])
            del buffer[: http2.HEADER + header.size]
            self._block(side, header, payload, found, now)
            return True
        if header.type in _BLOCKS:
            found.append(Malformed(TOO_LARGE))
            side.decoder.forget()
            side.head = None
        elif header.type == http2.RST_STREAM or (header.type == http2.DATA and header.flags & http2.END_STREAM):
            self._over(header)
        del buffer[: http2.HEADER]
        side.left = header.size
        return True

    def _over(self, header: FrameHeader) -> None:
        """Forget a stream that was reset, or whose response ends; a request's own end comes before any answer."""
        call = self._calls.get(header.stream)
        if call is not None and (call.answered or header.type == http2.RST_STREAM):
            del self._calls[header.stream]

    def _block(self, side: _Side, header: FrameHeader, payload: bytes, found: list[Fact | Malformed], now: int) -> None:
        """Add a fragment; decode the block when it is whole."""
        if header.type == http2.CONTINUATION:
            if side.head is None or side.head.stream != header.stream:
                return  # the block's start was lost
            piece: bytes | Malformed = payload
        else:
            piece = http2.fragment(header, payload)
            side.head = header
            side.block.clear()
            side.overflow = False
        if isinstance(piece, Malformed):
            found.append(piece)
            self._lose(side)
            return
        if len(side.block) + len(piece) <= self._max_bytes:
            side.block += piece
        else:
            side.overflow = True
        if not header.flags & http2.END_HEADERS:
            return
        head, side.head = side.head, None
        block = bytes(side.block)
        side.block.clear()
        side.credit = min(FREE, side.credit + SPREAD * len(block))
        headers = Malformed(TOO_LARGE) if side.overflow else side.decoder.decode(block)
        if isinstance(headers, Malformed):
            side.decoder.forget()
            found.append(headers)
        elif head is not None and head.type == http2.HEADERS:
            self._message(side, head, headers, found, now)

    def _message(
        self, side: _Side, head: FrameHeader, headers: HeaderList, found: list[Fact | Malformed], now: int
    ) -> None:
        """Say what a header list is: a request, a response, or the trailers of one."""
        if headers.missing:
            found.append(Malformed("HPACK reference to what was not seen"))
        if headers.get(":method"):
            found.append(_paid(side, http2.request_fact(headers, stream=head.stream)))
            self._ask(head.stream, headers, now)
            return
        call = self._calls.get(head.stream) or _Call()
        status = headers.get(":status")
        if status:
            taken = -1 if call.answered else call.since(now)
            found.append(_paid(side, http2.response_fact(headers, stream=head.stream, response_time=taken)))
            call.answered = not status.startswith("1")
        if head.flags & http2.END_STREAM:
            if headers.get("grpc-status"):
                fact = grpc_fact(
                    call.service, call.method, headers.get("grpc-status"), headers.get("grpc-message"),
                    stream=head.stream, duration=call.since(now),
                )  # fmt: skip
                found.append(_paid(side, fact) if fact else Malformed("gRPC status is no number"))
            if call.answered:
                self._calls.pop(head.stream, None)

    def _ask(self, stream: int, headers: HeaderList, now: int) -> None:
        while len(self._calls) >= MAX_STREAMS:
            del self._calls[next(iter(self._calls))]
        call = self._calls[stream] = _Call(now)
        path = headers.get(":path").partition("?")[0]
        if is_grpc(headers.get("content-type")) and len(path) <= MAX_CALL:
            call.service, call.method = call_of(path)


def _paid(side: _Side, fact: Fact | Malformed) -> Fact | Malformed:
    """Return the message if the header blocks so far pay for its text."""
    if isinstance(fact, Malformed):
        return fact
    cost = sum(len(value) for value in fact.fields.values() if isinstance(value, str))
    if cost > side.credit:
        return Malformed("HTTP/2 header lists say too much for their size")
    side.credit -= cost
    return fact
