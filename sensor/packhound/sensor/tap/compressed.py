"""Byte streams: a file descriptor, or what gzip or zstd packed into one, told apart by content.

Promise: `readinto` returns how many bytes it wrote, 0 at the end, None when a pipe has nothing for now; memory stays
bounded whatever a packed file claims to hold. A broken stream raises `StreamFault` once all good bytes were handed out.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import zlib
from typing import IO, Protocol, cast

from packhound.sensor.tap.frames import BLOCK_BYTES

CHUNK = 1 << 18
#: Biggest window that a zstd frame may ask for, bytes (zstd's own default limit).
ZSTD_WINDOW = 1 << 27
TICK_MS = 100

GZIP = b"\x1f\x8b"
ZSTD = (b"\x28\xb5\x2f\xfd", *(bytes([0x50 + n]) + b"\x2a\x4d\x18" for n in range(16)))
#: Formats that are recognised only to be named in the refusal.
FOREIGN = {
    b"BZh": "bzip2-compressed data",
    b"\xfd7zXZ": "xz-compressed data",
    b"\x04\x22\x4d\x18": "lz4-compressed data",
    b"PK\x03\x04": "a zip archive",
    b"snoop\x00": "a snoop capture",
    b"\x54\x52\x53\x4e": "a Network Monitor or Sniffer capture",
    b"XCP\x00": "a NetXRay capture",
}


class StreamFault(Exception):
    """The stream cannot be read on; the message is a sentence fragment."""


class Stream(Protocol):
    """A source of bytes."""

    def readinto(self, room: memoryview) -> int | None: ...

    def close(self) -> None: ...


class DescriptorStream:
    """Bytes of a file descriptor; with `wake` never waits longer than a tick, so that a stop is heard.

    The descriptor stays the caller's; `wake` is one that becomes readable when reading should end (-1: none).
    """

    def __init__(self, fd: int, *, wake: int = -1) -> None:
        self.fd = fd
        self.wake = wake
        self._poll: select.poll | None = None
        if wake >= 0:
            self._poll = select.poll()
            self._poll.register(fd, select.POLLIN)
            self._poll.register(wake, select.POLLIN)
            with contextlib.suppress(OSError):
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, BLOCK_BYTES)

    def readinto(self, room: memoryview) -> int | None:
        """Fill `room` as far as bytes are there; None: nothing within a tick."""
        if self._poll is not None:
            ready = [fd for fd, _event in self._poll.poll(TICK_MS)]
            if self.wake in ready:
                return 0
            if not ready:
                return None
        try:
            return os.readv(self.fd, [room])
        except OSError as error:
            raise StreamFault(f"cannot be read: {error.strerror}") from error

    def close(self) -> None:
        """Nothing: the descriptor is the caller's."""


class Pushback:
    """A stream with bytes in front that were read from it to see what it is."""

    def __init__(self, head: bytes, rest: Stream) -> None:
        self.head = head
        self.rest = rest

    def readinto(self, room: memoryview) -> int | None:
        """Fill `room`, the bytes in front first."""
        if not self.head:
            return self.rest.readinto(room)
        count = min(len(room), len(self.head))
        room[:count] = self.head[:count]
        self.head = self.head[count:]
        return count

    def close(self) -> None:
        """Close the stream behind."""
        self.rest.close()


class GzipStream:
    """What a gzip file holds (several members; what follows the last one is ignored, as gzip itself does)."""

    def __init__(self, packed: Stream) -> None:
        self.packed = packed
        self.engine = zlib.decompressobj(wbits=31)
        self.chunk = memoryview(bytearray(CHUNK))
        self.waiting = b""
        self.begun = False
        self.over = False

    def readinto(self, room: memoryview) -> int | None:
        """Fill `room` with unpacked bytes, at least one unless the end is reached."""
        while not self.over:
            if not self.waiting:
                count = self.packed.readinto(self.chunk)
                if not count:
                    return self._end(count)
                self.waiting = bytes(self.chunk[:count])
            if self.engine.eof:
                self._next_member()
                continue
            try:
                out = self.engine.decompress(self.waiting, len(room))
            except zlib.error as error:
                raise StreamFault("gzip data is corrupt") from error
            self.begun = True
            self.waiting = self.engine.unused_data if self.engine.eof else self.engine.unconsumed_tail
            if out:
                room[: len(out)] = out
                return len(out)
        return 0

    def _next_member(self) -> None:
        self.waiting = self.waiting.lstrip(b"\x00")
        if not self.waiting:
            return
        self.over = not GZIP.startswith(self.waiting[:2])
        self.engine = zlib.decompressobj(wbits=31)
        self.begun = False

    def _end(self, count: int | None) -> int | None:
        if count is not None and self.begun and not self.engine.eof:
            raise StreamFault("gzip data is cut short")
        return count

    def close(self) -> None:
        """Close the packed stream."""
        self.packed.close()


class _Waiting:
    """A stream as a file object for readers that know no "nothing for now"."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.chunk = memoryview(bytearray(CHUNK))

    def read(self, size: int = -1) -> bytes:
        room = self.chunk[:size] if size >= 0 else self.chunk
        while (count := self.stream.readinto(room)) is None:
            pass
        return bytes(room[:count])


class ZstdStream:
    """What a zstd file holds (several frames). Needs the `zstandard` package."""

    def __init__(self, packed: Stream) -> None:
        try:
            import zstandard  # only a zstd file needs it
        except ImportError as error:
            raise StreamFault("is zstd-compressed, and the package 'zstandard' is not installed") from error
        self.packed = packed
        self.error = zstandard.ZstdError
        engine = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW)
        self.reader = engine.stream_reader(cast("IO[bytes]", _Waiting(packed)), read_across_frames=True, closefd=False)

    def readinto(self, room: memoryview) -> int | None:
        """Fill `room` with unpacked bytes, at least one unless the end is reached."""
        try:
            return int(self.reader.readinto(room))
        except self.error as error:
            raise StreamFault(f"zstd data is corrupt or needs too much memory ({error})") from error

    def close(self) -> None:
        """Close the packed stream."""
        self.packed.close()


def is_packed(head: bytes) -> bool:
    """Whether a file that starts with `head` (4 bytes or more) is compressed in a way that we read."""
    return head[:2] == GZIP or head[:4] in ZSTD


def unpack(stream: Stream, head: bytes) -> Stream:
    """`stream`, unpacked when `head` (its first bytes, still in it) says that it is packed."""
    if head[:2] == GZIP:
        return GzipStream(stream)
    if head[:4] in ZSTD:
        return ZstdStream(stream)
    return stream


def describe(head: bytes) -> str:
    """What a file that we do not read seems to be, from its first bytes."""
    for magic, what in FOREIGN.items():
        if head.startswith(magic):
            return what
    return f"starts with {head[:4].hex(' ')}"
