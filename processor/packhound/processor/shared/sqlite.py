"""The shared state in one SQLite file: for several processes of one host.

Promise: the only door to sqlite3. Every step is one transaction that is on the disk when it returns (WAL,
synchronous = FULL). A file that is locked too long, full or broken is Unavailable. Any thread, one step at a time.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from packhound.processor.shared import state
from packhound.processor.shared.entries import entry_of, entry_text
from packhound.processor.shared.state import (
    Claimed,
    Commit,
    Committed,
    Displaced,
    Entry,
    Fenced,
    Lease,
    Roster,
    Settled,
    Unavailable,
)

WAIT_SECONDS = 2.5
VERSION = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS members (name TEXT PRIMARY KEY, expires INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leases (shard INTEGER PRIMARY KEY, token INTEGER, expires INTEGER, holder TEXT);
CREATE TABLE IF NOT EXISTS folders (id TEXT PRIMARY KEY, claim INTEGER, last INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS files (folder TEXT, path BLOB, size INTEGER, PRIMARY KEY (folder, path)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS saved (shard INTEGER, key BLOB, value BLOB, PRIMARY KEY (shard, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS books (entry TEXT PRIMARY KEY, count INTEGER) WITHOUT ROWID;
"""
_ADD = "INSERT INTO books VALUES (?, ?) ON CONFLICT (entry) DO UPDATE SET count = count + excluded.count"


class SqliteState:
    """The state in `path`, which is made when missing. Raises Unavailable when it cannot be opened."""

    def __init__(
        self, path: Path, *, lease_ns: int = state.LEASE_NS, wait_seconds: float = WAIT_SECONDS,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:  # fmt: skip
        self._path = path
        self._lease_ns = lease_ns
        self._wait = wait_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._door: sqlite3.Connection | None = None
        with self._step():
            pass

    def _open(self) -> sqlite3.Connection:
        door = sqlite3.connect(self._path, timeout=self._wait, isolation_level=None, check_same_thread=False)
        try:
            door.execute("PRAGMA journal_mode = WAL")
            door.execute("PRAGMA synchronous = FULL")
            if door.execute("PRAGMA user_version").fetchone()[0] != VERSION:
                door.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")
        except BaseException:
            door.close()
            raise
        return door

    @contextmanager
    def _step(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[sqlite3.Connection]:
        """One transaction."""
        with self._lock:
            try:
                if self._door is None:
                    self._door = self._open()
                self._door.execute(begin)
                try:
                    yield self._door
                except BaseException:
                    self._door.execute("ROLLBACK")
                    raise
                self._door.execute("COMMIT")
            except sqlite3.Error as error:
                self._drop()
                raise Unavailable(f"shared state {self._path}: {error}") from error

    def _drop(self) -> None:
        door, self._door = self._door, None
        if door is not None:
            with suppress(sqlite3.Error):
                door.close()

    def _look(self) -> AbstractContextManager[sqlite3.Connection]:
        """A transaction that reads: nobody's writing can delay it."""
        return self._step("BEGIN")

    def close(self) -> None:
        with self._lock:
            self._drop()

    # who owns which shard ------------------------------------------------------------------------------------------

    def _in_force(self, expires: int, now: int) -> bool:
        return now < expires <= now + 2 * self._lease_ns  # a clock set back must not make a lease last for ever

    def beat(self, member: str, held: Mapping[int, int]) -> Roster:
        now = self._clock()
        until = now + self._lease_ns
        with self._step() as door:
            if member:
                door.execute("INSERT OR REPLACE INTO members VALUES (?, ?)", (member, until))
            for shard, token in held.items():
                door.execute(
                    "UPDATE leases SET expires = ? WHERE shard = ? AND token = ? AND holder = ? AND expires > 0",
                    (until, shard, token, member),
                )
            members = dict(door.execute("SELECT name, expires FROM members").fetchall())
            gone = [name for name, expires in members.items() if not self._in_force(expires, now)]
            door.executemany("DELETE FROM members WHERE name = ?", [(name,) for name in gone])
            leases = [Lease(*row) for row in door.execute("SELECT shard, holder, token, expires FROM leases")]
        return Roster(
            now, tuple(sorted(members.keys() - set(gone))),
            {each.shard: each for each in leases if self._in_force(each.expires_ns, now)},
        )  # fmt: skip

    def roster(self) -> Roster:
        return self.beat("", {})

    def leave(self, member: str) -> None:
        with self._step() as door:
            door.execute("DELETE FROM members WHERE name = ?", (member,))

    def acquire(self, member: str, shard: int) -> Lease | None:
        state.check_shard(shard)
        now = self._clock()
        with self._step() as door:
            row = door.execute("SELECT token, expires, holder FROM leases WHERE shard = ?", (shard,)).fetchone()
            token, expires, holder = row or (0, 0, "")
            if self._in_force(expires, now) and holder != member:
                return None
            lease = Lease(shard, member, max(token + 1, now // 1000), now + self._lease_ns)
            door.execute(
                "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?)", (shard, lease.token, lease.expires_ns, member)
            )
        return lease

    def release(self, lease: Lease) -> None:
        with self._step() as door:
            door.execute("UPDATE leases SET expires = 0 WHERE shard = ? AND token = ?", (lease.shard, lease.token))

    # what is settled -----------------------------------------------------------------------------------------------

    def load(self, shard: int) -> dict[bytes, bytes]:
        with self._look() as door:
            return dict(door.execute("SELECT key, value FROM saved WHERE shard = ?", (shard,)).fetchall())

    def claim(self, folder: str) -> Claimed:
        with self._step() as door:
            row = door.execute("SELECT claim, last FROM folders WHERE id = ?", (folder,)).fetchone()
            claim = max((row[0] if row else 0) + 1, self._clock() // 1000)
            last = row[1] if row else 0
            door.execute("INSERT OR REPLACE INTO folders VALUES (?, ?, ?)", (folder, claim, last))
            rows = door.execute("SELECT path, size FROM files WHERE folder = ?", (folder,)).fetchall()
        return Claimed(claim, last, {os.fsdecode(path): size for path, size in rows}, known=row is not None)

    def recovered(self, folder: str, claim: int, *, group: int, files: Mapping[str, int]) -> bool:
        with self._step() as door:
            found = door.execute("UPDATE folders SET last = ? WHERE id = ? AND claim = ?", (group, folder, claim))
            if not found.rowcount:
                return False
            door.execute("DELETE FROM files WHERE folder = ?", (folder,))
            _set_files(door, folder, files)
        return True

    def commit(self, commit: Commit) -> Settled:
        state.check_commit(commit)
        with self._step() as door:
            row = door.execute("SELECT claim, last FROM folders WHERE id = ?", (commit.folder,)).fetchone()
            if row is None or row[0] != commit.claim:
                return Displaced()
            if row[1] == commit.group:
                return Committed(again=True)
            tokens = dict(door.execute("SELECT shard, token FROM leases WHERE expires > 0").fetchall())
            fenced = frozenset(shard for shard, each in commit.shards.items() if tokens.get(shard) != each.token)
            if fenced:
                return Fenced(fenced)
            self._settle(door, commit)
        return Committed()

    def _settle(self, door: sqlite3.Connection, commit: Commit) -> None:
        for shard, change in commit.shards.items():
            door.executemany(
                "DELETE FROM saved WHERE shard = ? AND key = ?", [(shard, key) for key in sorted(change.drop)]
            )
            door.executemany(
                "INSERT OR REPLACE INTO saved VALUES (?, ?, ?)", [(shard, k, v) for k, v in change.put.items()]
            )
        gone = [(commit.folder, os.fsencode(path)) for path in sorted(commit.published)]
        door.executemany("DELETE FROM files WHERE folder = ? AND path = ?", gone)
        _set_files(door, commit.folder, commit.files)
        door.executemany(_ADD, [(entry_text(entry), count) for entry, count in commit.counts.items()])
        door.execute("UPDATE folders SET last = ? WHERE id = ?", (commit.group, commit.folder))

    # what is told --------------------------------------------------------------------------------------------------

    def books(self) -> dict[Entry, int]:
        with self._look() as door:
            rows = door.execute("SELECT entry, count FROM books").fetchall()
        found = ((entry_of(text), count) for text, count in rows)
        return {entry: count for entry, count in found if entry is not None and count}

    def fold(self, sensor: str, epoch: int) -> None:
        if epoch == 0:
            return
        with self._step() as door:
            rows = door.execute("SELECT entry, count FROM books").fetchall()
            for text, count in rows:
                entry = entry_of(text)
                if entry is not None and (entry.kind, entry.name, entry.epoch) == ("sensor", sensor, epoch):
                    door.execute("DELETE FROM books WHERE entry = ?", (text,))
                    door.execute(_ADD, (entry_text(entry._replace(epoch=0)), count))


def _set_files(door: sqlite3.Connection, folder: str, files: Mapping[str, int]) -> None:
    rows = [(folder, os.fsencode(path), size) for path, size in files.items()]
    door.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", rows)
