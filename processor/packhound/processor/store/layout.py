"""Where things lie under the output folder, and how a file becomes visible there: hidden, whole, then renamed.

Promise: a published file is never opened for writing again; a file under its final name is whole; links inside the
output folder are not followed; nothing is ever overwritten.

    recordings/YYYY/MM/DD/HH/NAME-NNNN.pcapng      hours are UTC, by packet time
    recordings/calls/YYYY/MM/DD/HH/DIGEST-CALLID-NNNN.pcapng
    TABLE/date=YYYY-MM-DD/hour=HH/part-NNNN.parquet
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, TypeVar

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
FILE_MODE = 0o640
FOLDER_MODE = 0o750
HIDDEN = ".part"
MAX_NUMBER = 99_999_999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_AGAIN = 3
_Made = TypeVar("_Made")


def hour_of(ts: int) -> int:
    """Hours since the epoch of a time in ns; times before 1970 count as 1970."""
    return max(ts, 0) // HOUR


def hour_path(hour: int) -> tuple[str, ...]:
    """Folders of an hour in recordings.

    >>> hour_path(hour_of(1_700_000_000_000_000_000))
    ('2023', '11', '14', '22')
    """
    return tuple((_EPOCH + timedelta(hours=hour)).strftime("%Y %m %d %H").split())


def hive_path(hour: int) -> tuple[str, ...]:
    """Folders of an hour in tables (hive style: readers take the names as columns)."""
    year, month, day, clock = hour_path(hour)
    return f"date={year}-{month}-{day}", f"hour={clock}"


def folder(root: Path, *parts: str) -> Path:
    """Make and return `root/parts...`; raises OSError when one of `parts` exists and is not a plain folder."""
    path = root
    for part in parts:
        path /= part
        with suppress(FileExistsError):
            path.mkdir(FOLDER_MODE)
        if not stat.S_ISDIR(path.lstat().st_mode):
            raise OSError(errno.ENOTDIR, "not a plain folder", str(path))
    return path


def made(make: Callable[[], _Made]) -> _Made:
    """What `make` makes (folders, and a file in them); again where a folder that was empty was removed meanwhile."""
    for _ in range(_AGAIN):
        with suppress(FileNotFoundError):
            return make()
    return make()


class Pending(NamedTuple):
    """A file that is being written: open descriptor, hidden name, the name it will get."""

    fd: int
    hidden: Path
    final: Path


def hidden_name(final: Path) -> Path:
    """The name that `final` has until it is published."""
    return final.with_name(f".{final.name}{HIDDEN}")


def begin(where: Path, stem: str, suffix: str) -> Pending:
    """Open a new hidden file in `where` for the first free `STEM-NNNN.SUFFIX`, locked as ours; raises OSError."""
    for number in _free_numbers(where, stem, suffix):
        final = where / f"{stem}-{number:04d}{suffix}"
        hidden = hidden_name(final)
        try:
            fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        except FileExistsError:
            continue
        if final.exists():  # another process published this number between our look and our open
            os.close(fd)
            hidden.unlink()
            continue
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return Pending(fd, hidden, final)
    raise OSError(errno.ENOSPC, "no free number", str(where / stem))


def begin_as(final: Path) -> Pending | None:
    """Open a new hidden file for `final`, locked as ours; None when `final` is there. Whatever of it a dead process
    left hidden is replaced. Raises OSError."""
    if final.exists():
        return None
    hidden = hidden_name(final)
    hidden.unlink(missing_ok=True)
    fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return Pending(fd, hidden, final)


def _free_numbers(where: Path, stem: str, suffix: str) -> Iterator[int]:
    """Numbers behind every one in use; a stem that is new here needs no look at the folder."""
    taken = 0
    first = where / f"{stem}-0001{suffix}"
    if first.exists() or hidden_name(first).exists():
        for each in where.iterdir():
            digits = each.name.removeprefix(".").removesuffix(HIDDEN).removesuffix(suffix).removeprefix(f"{stem}-")
            if digits.isascii() and digits.isdigit():
                taken = max(taken, int(digits))
    yield from range(taken + 1, MAX_NUMBER)


def publish(pending: Pending) -> None:
    """Make a pending file durable and give it its name; closes it. Raises OSError; the file then stays hidden."""
    try:
        os.fsync(pending.fd)
        pending.hidden.rename(pending.final)
    finally:
        os.close(pending.fd)
    sync_folder(pending.final.parent)


def discard(pending: Pending) -> None:
    """Close and remove a pending file; never raises."""
    with suppress(OSError):
        os.close(pending.fd)
    with suppress(OSError):
        pending.hidden.unlink()


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def orphans(root: Path) -> Iterator[Pending]:
    """Hidden files that no living process holds, locked as ours: what a crash left. Links are not followed."""
    for where, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            if not (name.startswith(".") and name.endswith(HIDDEN)):
                continue
            hidden = Path(where) / name
            try:
                fd = os.open(hidden, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError:
                continue
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(fd)
                continue
            yield Pending(fd, hidden, hidden.with_name(name[1 : -len(HIDDEN)]))


def cause_of(error: OSError) -> str:
    """The cause that the books name for a failed write."""
    return "disk_full" if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG} else "io_error"
