"""Files that are still hidden: written at once and published when closed, or written in two phases.

Promise: a file of `TwoPhase` holds, after `prepare`, everything that was written, on the disk; after `keep` that is
what it holds whatever happens; after `undo` it holds what the last `keep` left. A file is published when it is sealed
and kept, never with a byte that was not kept. Nobody else's files are touched. One thread.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from packhound.processor.store import layout
from packhound.processor.store.layout import Pending

SYNCING = 8


@dataclass(slots=True)
class OpenFile:
    """A hidden file: `size` bytes are good, `kept` of them for ever. `sealed`: nothing more is written. `gone`: it was
    undone, its writer must begin another."""

    pending: Pending
    size: int = 0
    kept: int = 0
    sealed: bool = False
    gone: bool = False

    def append(self, data: bytes | bytearray | memoryview) -> tuple[int, OSError | None]:
        """Write `data` behind what is good; return how many bytes arrived and why not all. Moves `size` by nothing:
        the caller says with `keep` how much of it is good."""
        view, done = memoryview(data), 0
        try:
            while done < len(view):
                done += os.pwrite(self.pending.fd, view[done:], self.size + done)
        except OSError as error:
            return done, error
        return done, None

    def keep(self, size: int) -> None:
        """Declare `size` more bytes good and cut off whatever lies behind them."""
        self.size += size

    def trim(self) -> None:
        """Cut the file to its good bytes."""
        with suppress(OSError):
            os.ftruncate(self.pending.fd, self.size)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a commit has to say of files, by path below the root: good bytes of those that changed, those that were
    published and need no entry any more."""

    files: dict[str, int]
    published: frozenset[str]


class TwoPhase:
    """The open files below `root` that are written in two phases. `published` counts files; `fault`: the last
    publishing failed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[Path, OpenFile] = {}
        self._told: set[str] = set()
        self._telling: frozenset[str] = frozenset()
        self._pool: ThreadPoolExecutor | None = None
        self.published = 0
        self.fault: OSError | None = None

    def name(self, path: Path) -> str:
        """How a commit calls a file."""
        return str(path.relative_to(self._root))

    def track(self, file: OpenFile) -> None:
        """Take a file that was just begun."""
        self._open[file.pending.final] = file

    def discard(self, file: OpenFile) -> None:
        """Remove a file of which nothing was kept; one of which something was is sealed with that."""
        file.size = file.kept
        self._give_up(file)

    def prepare(self) -> Prepared:
        """Put everything that was written on the disk. Raises OSError: then only `undo` is right."""
        dirty = [file for file in self._open.values() if file.size != file.kept]
        if len(dirty) <= 2:
            for file in dirty:
                _sync(file)
        else:
            self._pool = self._pool or ThreadPoolExecutor(SYNCING, thread_name_prefix="sync")
            list(self._pool.map(_sync, dirty))  # in one go: the file system joins their journal writes
        for folder in {part for file in dirty if not file.kept for part in self._above(file)}:
            layout.sync_folder(folder)
        self._telling = frozenset(self._told)
        return Prepared({self.name(file.pending.final): file.size for file in dirty}, self._telling)

    def _above(self, file: OpenFile) -> list[Path]:
        """Folders from that of the file up to the root: a new file may have needed new ones."""
        where = file.pending.final.parent
        return [where, *(each for each in where.parents if each.is_relative_to(self._root))]

    def keep(self) -> list[Path]:
        """Keep what was prepared and publish what is sealed; return the files published."""
        self._told -= self._telling
        self._telling = frozenset()
        for file in self._open.values():
            file.kept = file.size
        return self._publish()

    def undo(self) -> list[Path]:
        """Cut every file to what was kept. One that had more than that ends there and is published."""
        self._telling = frozenset()
        for file in list(self._open.values()):
            if file.size != file.kept or not file.kept:
                self._give_up(file)
        return self._publish()

    def _give_up(self, file: OpenFile) -> None:
        file.gone = file.sealed = True
        file.size = file.kept
        if not file.kept:
            del self._open[file.pending.final]
            layout.discard(file.pending)

    def _publish(self) -> list[Path]:
        found = []
        self.fault = None
        for path, file in list(self._open.items()):
            if not (file.sealed and file.size == file.kept):
                continue
            try:
                if os.fstat(file.pending.fd).st_size != file.kept:
                    os.ftruncate(file.pending.fd, file.kept)
                    os.fsync(file.pending.fd)
                self._told.add(self.name(path))
                file.pending.hidden.rename(path)
            except OSError as error:
                self._told.discard(self.name(path))
                self.fault = error
                continue
            del self._open[path]
            os.close(file.pending.fd)
            found.append(path)
        for folder in {path.parent for path in found}:
            with suppress(OSError):  # the names come back hidden after a power failure, and are recovered
                layout.sync_folder(folder)
        self.published += len(found)
        return found

    def close(self) -> None:
        """Let go of what is still open: it stays hidden, for recovery."""
        for file in self._open.values():
            with suppress(OSError):
                os.close(file.pending.fd)
        self._open.clear()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def untold(self, name: str) -> bool:
        """It is published, and no commit has said so yet: its name must not become free. Any thread."""
        return name in self._told

    def paths(self) -> Sequence[Path]:
        """The files that are open, by the names they will have."""
        return list(self._open)


def _sync(file: OpenFile) -> None:
    os.fdatasync(file.pending.fd)
