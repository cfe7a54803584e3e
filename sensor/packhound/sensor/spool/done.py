"""Which parcels are done, across restarts: numbers of eight bytes, one behind the other.

Promise: a torn last number is no number. What could not be written is sent again after a restart, and dropped there as
a duplicate: nothing is lost by it. Not thread-safe.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from struct import Struct

_NUMBER = Struct("<Q")
NAME = "done"
COMPACT = 65_536


class DoneLog:
    """The log in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        self._fd = -1
        self._written = 0

    def read(self) -> set[int]:
        """Every number that is in it."""
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return set()
        whole = len(data) - len(data) % _NUMBER.size
        return {number for (number,) in _NUMBER.iter_unpack(data[:whole])}

    def replace(self, numbers: Iterable[int]) -> None:
        """Make it hold these numbers and no others."""
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(b"".join(map(_NUMBER.pack, sorted(numbers))))
        fresh.rename(self._path)
        self.close()
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._written = 0

    def note(self, number: int, *, first: int) -> None:
        """Add a number. `first`: no segment holds a record of a lower one, so those may be forgotten."""
        with suppress(OSError):
            os.write(self._fd, _NUMBER.pack(number))
            self._written += 1
            if self._written >= COMPACT:
                self.replace(each for each in self.read() if each >= first)

    def close(self) -> None:
        """Give the file handle back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
