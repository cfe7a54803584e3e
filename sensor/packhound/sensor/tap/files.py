"""A capture file as a tap: pcap or pcapng, plain, gzip or zstd, a file or standard input, told apart by content.

Promise: a file that cannot be opened raises at once; whatever is wrong inside it becomes `fault`, after every packet
before it was delivered. Everything is read through one buffer; memory does not grow with the file.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator
from pathlib import PurePath

from packhound.net import linktypes
from packhound.sensor.tap import pcap, pcapng
from packhound.sensor.tap.compressed import DescriptorStream, Pushback, Stream, StreamFault, describe, is_packed, unpack
from packhound.sensor.tap.errors import CaptureError
from packhound.sensor.tap.frames import BLOCK_BYTES, Block, Condition, Drops, Interface
from packhound.sensor.tap.reading import Reading
from packhound.sensor.tap.window import Window

STDIN = "-"
#: Bytes that tell formats apart.
HEAD = 6


class CaptureFile:
    """One capture file (`-`: standard input) as a tap. `budget`: bytes of file per block (at least 4096)."""

    def __init__(self, path: str | os.PathLike[str], *, budget: int = BLOCK_BYTES) -> None:
        self.path = os.fspath(path)
        self.name = "stdin" if self.path == STDIN else PurePath(self.path).name
        self.budget = max(budget, 4096)
        self.interfaces: list[Interface] = []
        self.fault: CaptureError | None = None
        self._reading: Reading | None = None
        self._window: Window | None = None
        self._stopped = False
        self._fd = _open(self.path)
        # waiting for a pipe must be breakable: a regular file never makes us wait
        pipe = not stat.S_ISREG(os.fstat(self._fd).st_mode) and hasattr(os, "eventfd")
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) if pipe else -1

    def blocks(self) -> Iterator[Block | None]:
        """Every packet in the order of the file; None while a pipe is silent."""
        try:
            yield from self._blocks()
        except CaptureError as error:
            self.fault = error
        else:
            self.fault = self.fault or self._unread()

    def _blocks(self) -> Iterator[Block | None]:
        head, window = yield from self._sniff()
        reading = self._reading = Reading(self.path, window, self.interfaces)
        reading.stopped = self._stopped
        if pcap.is_pcap(head):
            yield from pcap.blocks(reading, name=self.name, budget=2 * self.budget)
        elif pcapng.is_pcapng(head):
            yield from pcapng.blocks(reading, name=self.name, budget=2 * self.budget)
        elif not self._stopped:
            raise CaptureError(self.path, 0, _why_not(head))

    def _sniff(self) -> Generator[None, None, tuple[bytes, Window]]:
        """What the file starts with (unpacked), and a window on it."""
        stream: Stream = DescriptorStream(self._fd, wake=self._wake)
        head = yield from self._peek(stream)
        stream = Pushback(head, stream)
        try:
            if is_packed(head):
                stream = unpack(stream, head)
                head = yield from self._peek(stream)
                stream = Pushback(head, stream)
        except StreamFault as error:
            raise CaptureError(self.path, 0, str(error)) from error
        self._window = Window(stream, size=self.budget)
        return head, self._window

    def _peek(self, stream: Stream) -> Generator[None, None, bytes]:
        head = memoryview(bytearray(HEAD))
        filled = 0
        while filled < HEAD and not self._stopped:
            count = stream.readinto(head[filled:])
            if count is None:
                yield None
            elif count == 0:
                break
            else:
                filled += count
        return bytes(head[:filled])

    def _unread(self) -> CaptureError | None:
        """The fault of a file none of whose link types we read."""
        strange = [entry for entry in self.interfaces if not linktypes.supported(entry.linktype)]
        if not strange or len(strange) < len(self.interfaces):
            return None
        names = ", ".join(sorted({f"{entry.linktype} ({linktypes.name(entry.linktype)})" for entry in strange}))
        return CaptureError(self.path, 0, f"link type {names} is not supported")

    def drops(self) -> Drops:
        """What the file says was lost when it was captured (pcapng statistics); zeros until that was read."""
        return self._reading.drops() if self._reading else Drops()

    def conditions(self) -> list[Condition]:
        """Interfaces of the file whose link type is not read."""
        return [
            Condition(entry.name, "unsupported", f"link type {entry.linktype} ({linktypes.name(entry.linktype)})")
            for entry in self.interfaces
            if not linktypes.supported(entry.linktype)
        ]

    def stop(self) -> None:
        """End after the block that is out; wakes a reader that waits for a pipe."""
        self._stopped = True
        if self._reading:
            self._reading.stopped = True
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Let go of the file."""
        if self._window is not None:
            self._window.close()
        if self._fd > 0:
            os.close(self._fd)
        if self._wake >= 0:
            os.close(self._wake)
        self._fd = self._wake = -1
        self._window = None


def _open(path: str) -> int:
    if path == STDIN:
        return 0
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        raise CaptureError(path, 0, "may not be read (permission denied)", exit_code=4) from error
    except OSError as error:
        raise CaptureError(path, 0, f"cannot be opened: {error.strerror}") from error
    except ValueError as error:
        raise CaptureError(path, 0, "is not a file name") from error
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise CaptureError(path, 0, "is a directory, not a capture file")
    return fd


def _why_not(head: bytes) -> str:
    if not head:
        return "is empty (0 bytes)"
    if len(head) < 4:
        return f"is only {len(head)} bytes long"
    return f"is not a pcap or pcapng file ({describe(head)})"
