"""A file of records, appended to and read back: torn tails are cut, whole records are never lost.

Promise: one write call a record, so that the death of the process tears at most the last. Not thread-safe.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from packhound.sensor.spool.records import MAGIC, Head, Record, head_at, pack, unpack

SUFFIX = ".seg"
_MODE = 0o600


class Segment:
    """One file. `live`: records not done yet, by number, but those packed in `rows`; `closed`: nothing more is
    appended; `held`: it must stay for now."""

    def __init__(self, path: Path, *, media: bool, create: bool) -> None:
        self.path = path
        self.media = media
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT | os.O_EXCL if create else 0)
        self._fd = os.open(path, flags, _MODE)
        self.size = os.fstat(self._fd).st_size
        self.live: set[int] = set()
        self.rows = b""
        self.held = False
        self.first = 0  # lowest number of any record, 0 when there is none
        self.closed = not create

    def append(self, record: Record) -> tuple[int, int]:
        """Write a record; its offset and size. Raises OSError, after which nothing of it is there."""
        pieces = pack(record)
        size = sum(map(len, pieces))
        at = self.size
        done = os.pwritev(self._fd, pieces, at)
        if done < size:
            rest = b"".join(pieces)[done:]
            try:
                while rest:
                    count = os.pwrite(self._fd, rest, at + done)
                    done, rest = done + count, rest[count:]
            except OSError:
                with suppress(OSError):
                    os.ftruncate(self._fd, at)
                raise
        self.size = at + size
        self.noticed(record.parcel.number)
        return at, size

    def noticed(self, number: int) -> None:
        """A record of that number is here."""
        self.first = min(self.first or number, number)

    @property
    def over(self) -> bool:
        """Nobody needs it any more."""
        return self.closed and not (self.live or self.rows or self.held)

    def read(self, at: int, size: int) -> Record | None:
        """The record at `at`; None when it is damaged or cannot be read."""
        try:
            data = memoryview(os.pread(self._fd, size, at))
        except OSError:
            return None
        head = head_at(data, 0)
        return None if head is None else unpack(data, head)

    def records(self) -> Iterator[tuple[int, Head, Record]]:
        """Every whole record from the start, with its offset; what follows the last is cut off."""
        if self.size:
            with mmap.mmap(self._fd, self.size, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as view:
                at = end = 0
                while 0 <= at < self.size:
                    head = head_at(view, at)
                    if head is None:  # damaged: what follows may be whole
                        at = mapped.find(MAGIC, at + 1)
                        continue
                    with view[at : at + head.size] as part:
                        yield at, head, unpack(part, head)
                    at = end = at + head.size
            if end < self.size:
                os.ftruncate(self._fd, end)
                self.size = end

    def close(self) -> None:
        """Append nothing more."""
        self.closed = True

    def sync(self) -> None:
        """Make it durable against power loss as far as the disk does. Takes its time."""
        with suppress(OSError):
            os.fdatasync(self._fd)

    def shut(self) -> None:
        """Give the file handle back."""
        with suppress(OSError):
            os.close(self._fd)

    def remove(self) -> None:
        """Delete the file."""
        with suppress(OSError):
            self.path.unlink()
        self.shut()
