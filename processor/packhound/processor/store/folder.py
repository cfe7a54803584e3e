"""The output folder of a fleet's processor: whose it is, and what was settled of its files, as far as it knows itself.

Promise: one living processor per folder. The note here is written after the shared state has the commit, so it is never
ahead of it; it is what remains when the shared state was lost. Not synced: it survives the death of the process. One
thread.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from packhound.kit.errors import BadInput, NotPermitted
from packhound.processor.store import layout

MARK = ".packhound-folder"
NOTE = ".packhound-settled"
MAX_NOTE = 1 << 20
_ID = re.compile(rb"[0-9a-f]{32}", re.ASCII)


class Note(NamedTuple):
    """The last group settled, and good bytes of the files that were not published then."""

    group: int
    files: Mapping[str, int]


def is_fleets(root: Path) -> bool:
    """Tell whether a folder belongs to a fleet's processor: what a crash left there is not for anybody to guess."""
    return (root / MARK).exists()


class Folder:
    """`root` as ours until `close`; made when missing. Raises NotPermitted when another process has it, BadInput or
    OSError when it cannot be used."""

    def __init__(self, root: Path) -> None:
        root.mkdir(layout.FOLDER_MODE, parents=True, exist_ok=True)
        self.root = root
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._lock = os.open(root / MARK, flags, layout.FILE_MODE)
        self._note = -1
        try:
            self.id = self._identify()
            self._note = os.open(root / NOTE, flags, layout.FILE_MODE)
            self.note = _read(self._note)
        except BaseException:
            self.close()
            raise
        self._files = dict(self.note.files)
        self._size = 0
        self._rewrite(self.note.group)

    def _identify(self) -> str:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise NotPermitted(f"{self.root} is in use by another processor; give each its own folder") from None
        data = os.pread(self._lock, 64, 0)
        if not data:
            data = secrets.token_hex(16).encode()
            os.pwrite(self._lock, data, 0)
            os.fsync(self._lock)
            layout.sync_folder(self.root)
        if not _ID.fullmatch(data):
            raise BadInput(f"{self.root / MARK} is not a mark of packhound; move it away when the folder is yours")
        return data.decode()

    def settle(self, group: int, files: Mapping[str, int], gone: frozenset[str]) -> None:
        """Note a commit that the shared state has. Raises nothing: without the note only less is known."""
        self._files.update(files)
        for path in gone:
            self._files.pop(path, None)
        try:
            if self._size > MAX_NOTE:
                self._rewrite(group)
            else:
                self._append({"group": group, "files": dict(files), "gone": sorted(gone)})
        except OSError:
            self._size = MAX_NOTE + 1

    @property
    def settled(self) -> Mapping[str, int]:
        """Good bytes of the files that are not published."""
        return dict(self._files)

    def reset(self, group: int, files: Mapping[str, int]) -> None:
        """Begin anew after a recovery. Raises OSError."""
        self._files = dict(files)
        self._rewrite(group)

    def _rewrite(self, group: int) -> None:
        fresh = self.root / f"{NOTE}.new"
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, layout.FILE_MODE)
        os.close(self._note)
        self._note, self._size = fd, 0
        self._append({"group": group, "files": self._files, "gone": []})
        fresh.rename(self.root / NOTE)

    def _append(self, row: Mapping[str, object]) -> None:
        line = json.dumps(row, separators=(",", ":")).encode() + b"\n"
        done = os.pwrite(self._note, line, self._size)
        self._size += done if done == len(line) else MAX_NOTE + 1

    def close(self) -> None:
        """Let another process have it."""
        for fd in (self._note, self._lock):
            if fd >= 0:
                os.close(fd)
        self._note = self._lock = -1


def _read(fd: int) -> Note:
    """What whole lines say; a torn last one is not there."""
    group, files = 0, dict[str, int]()
    data = os.pread(fd, 64 << 20, 0)
    for line in data.split(b"\n")[:-1]:
        try:
            row = json.loads(line)
            group = int(row["group"])
            files |= {str(path): int(size) for path, size in row["files"].items()}
            for path in row["gone"]:
                files.pop(path, None)
        except (ValueError, TypeError, KeyError, AttributeError):
            break
    return Note(group, files)
