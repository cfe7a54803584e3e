"""What is older than the output folder is to keep: published recordings, files of calls and parts of tables.

Promise: a file goes when its hour (UTC, by packet time) and its last write are both older than the limit, so a capture
of long ago that was read today stays as long as one of today. Only plain files under the names that we publish, in the
folders of hours that we make, reached without following a link: files that are being written, journals of rows, notes
and whatever a person put there are left alone. Nothing raises; beside a processor that writes there it is safe.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from packhound.processor.store import layout, segments, tables
from packhound.processor.store.columns import TABLES


def _names(*patterns: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(each, re.ASCII) for each in patterns)


_CLOCK = _names(r"(\d{4})", r"(\d\d)", r"(\d\d)", r"(\d\d)")
_HIVE = _names(r"date=(\d{4}-\d\d-\d\d)", r"hour=(\d\d)")
_RECORDING = re.compile(rf"[^.].*-\d{{4,8}}{re.escape(segments.SUFFIX)}", re.ASCII | re.DOTALL)
_PART = re.compile(rf"part-[0-9a-f]+(-\d+)?{re.escape(tables.SUFFIX)}", re.ASCII)


class Shelf(NamedTuple):
    """Folders of hours below the output folder: where they begin, what each level is called, what lies in an hour."""

    path: tuple[str, ...]
    levels: tuple[re.Pattern[str], ...]
    file: re.Pattern[str]


SHELVES = (
    Shelf(("recordings",), _CLOCK, _RECORDING),
    Shelf(("recordings", "calls"), _CLOCK, _RECORDING),
    *(Shelf((each.name,), _HIVE, _PART) for each in TABLES),
)


class Swept(NamedTuple):
    """What one sweep removed: files, bytes. `faults`: how many could not be; `fault`: the first of them, and why."""

    files: int = 0
    bytes: int = 0
    faults: int = 0
    fault: str = ""


def hour_named(shelf: Shelf, names: Sequence[str]) -> int | None:
    """Hours since the epoch that folders of a shelf stand for; None when they are not ours.

    >>> hour_named(SHELVES[0], ("2023", "11", "14", "22")) == layout.hour_of(1_700_000_000_000_000_000)
    True
    >>> hour_named(SHELVES[0], ("2023", "13", "14", "22")) is None
    True
    """
    found = [pattern.fullmatch(name) for pattern, name in zip(shelf.levels, names, strict=True)]
    digits = "".join(each[1].replace("-", "") for each in found if each)
    try:
        began = datetime.strptime(digits, "%Y%m%d%H").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(began.timestamp()) // 3600 if all(found) else None


def hour_is_over(hour: int, *, limit: int, now: int) -> bool:
    """There can be something to remove in an hour: it ended more than `limit` ns ago, or is yet to come (then a clock
    was wrong, and the last write alone decides)."""
    return (hour + 1) * layout.HOUR + limit <= now or hour > layout.hour_of(now)


def file_is_over(written: int, *, limit: int, now: int) -> bool:
    """A file that was last written at `written` (ns) is to go."""
    return written + limit <= now


def sweep(root: Path, *, limit: int, now: int, spared: Callable[[str], bool] = lambda _path: False) -> Swept:
    """Remove what is older than `limit` ns (0: nothing is) below `root`, and the folders that this empties. `spared`
    is asked of each file, by its path below `root`, whether it must stay this time."""
    found = _Sweep(limit, now, spared)
    for shelf in SHELVES if limit > 0 else ():
        try:
            with _opened(str(root), None) as top, _path(shelf.path, top) as fd:
                found.folder(shelf, fd, ())
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                found.failed(shelf.path, error)
    return Swept(found.files, found.bytes, found.faults, found.fault)


@contextmanager
def _opened(name: str, where: int | None) -> Iterator[int]:
    """A plain folder; links are not followed, but for the one that the output folder itself may be."""
    follow = 0 if where is None else os.O_NOFOLLOW
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | follow, dir_fd=where)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _path(names: Sequence[str], where: int) -> Iterator[int]:
    with _opened(names[0], where) as fd:
        if len(names) == 1:
            yield fd
        else:
            with _path(names[1:], fd) as last:
                yield last


class _Sweep:
    """One sweep under way."""

    def __init__(self, limit: int, now: int, spared: Callable[[str], bool]) -> None:
        self._limit, self._now, self._spared = limit, now, spared
        self.files = self.bytes = self.faults = 0
        self.fault = ""

    def failed(self, path: Sequence[str], error: OSError) -> None:
        self.faults += 1
        self.fault = self.fault or f"{'/'.join(path)}: {error.strerror or error}"

    def folder(self, shelf: Shelf, where: int, names: tuple[str, ...]) -> None:
        """Remove what is due below the open folder `names` of a shelf. Raises OSError when it cannot be read."""
        if len(names) == len(shelf.levels):
            for name in sorted(os.listdir(where)):
                if shelf.file.fullmatch(name):
                    self._file((*shelf.path, *names, name), where)
            return
        for name in sorted(os.listdir(where)):
            inner = (*names, name)
            if self._wanted(shelf, inner) and _is_folder(name, where):
                try:
                    self._enter(shelf, where, inner)
                except OSError as error:
                    self.failed((*shelf.path, *inner), error)

    def _wanted(self, shelf: Shelf, names: tuple[str, ...]) -> bool:
        if len(names) < len(shelf.levels):
            return shelf.levels[len(names) - 1].fullmatch(names[-1]) is not None
        hour = hour_named(shelf, names)
        return hour is not None and hour_is_over(hour, limit=self._limit, now=self._now)

    def _enter(self, shelf: Shelf, where: int, names: tuple[str, ...]) -> None:
        with _opened(names[-1], where) as fd:
            self.folder(shelf, fd, names)
            empty = not os.listdir(fd)
        if empty:
            with suppress(OSError):  # somebody began a file there meanwhile
                os.rmdir(names[-1], dir_fd=where)

    def _file(self, path: tuple[str, ...], where: int) -> None:
        try:
            found = os.stat(path[-1], dir_fd=where, follow_symlinks=False)
            over = file_is_over(found.st_mtime_ns, limit=self._limit, now=self._now)
            if not stat.S_ISREG(found.st_mode) or not over or self._spared("/".join(path)):
                return
            os.unlink(path[-1], dir_fd=where)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self.failed(path, error)
            return
        self.files += 1
        self.bytes += found.st_size


def _is_folder(name: str, where: int) -> bool:
    """It is neither a link nor a file: those are a person's."""
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=where, follow_symlinks=False).st_mode)
    except OSError:
        return False
