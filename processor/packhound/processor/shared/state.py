"""What every shared state does, whatever keeps it.

Promise: each call is one atomic step, or raises Unavailable, after which it may have been done or not; doing it again
is then right. Of two processors that both think a shard is theirs, only the one with the newest token can settle
anything of it. Time is that of the state, not of its callers. Any thread.

    Unavailable     the state cannot be reached or cannot write: hold everything, try again later
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

MILLISECOND = 1_000_000
SECOND = 1_000_000_000
LEASE_NS = 4 * SECOND
MAX_NAME = 253
MAX_KEY = 70_000
MAX_VALUE = 8 << 20
MAX_SHARDS = 1024


class Unavailable(Exception):
    """Hold everything and try again; `reason` is for a person."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Lease(NamedTuple):
    """`holder` (a member) has `shard` until `expires_ns` of the state's clock; `token` grows with every acquisition."""

    shard: int
    holder: str
    token: int
    expires_ns: int


@dataclass(frozen=True, slots=True)
class Roster:
    """Who is there: members heard of lately, in order of name, and leases in force by shard."""

    now_ns: int
    members: tuple[str, ...]
    leases: Mapping[int, Lease]


class Entry(NamedTuple):
    """A counter of the books. `name`: of the sensor, with its `epoch`, or of the filter (`ns/name`, epoch 0);
    `counter` as in `wire.books.Account`, `cause` where it has causes."""

    kind: Literal["sensor", "filter"]
    name: str
    epoch: int
    counter: str
    cause: str = ""


@dataclass(frozen=True, slots=True)
class ShardChange:
    """What a commit changes in the saved state of one shard, by its lease's token."""

    token: int
    put: Mapping[bytes, bytes] = field(default_factory=dict)
    drop: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Commit:
    """A group of parcels, settled as one. `folder` and `claim`: where and by whom it was written; `group`: grows by one
    with each commit of a folder; `files`: good bytes by path, of files not published yet; `published`: paths that need
    no entry any more; `counts`: what to add to the books."""

    folder: str
    claim: int
    group: int
    shards: Mapping[int, ShardChange] = field(default_factory=dict)
    files: Mapping[str, int] = field(default_factory=dict)
    published: frozenset[str] = frozenset()
    counts: Mapping[Entry, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Committed:
    """Done. `again`: it had been done before."""

    again: bool = False


@dataclass(frozen=True, slots=True)
class Fenced:
    """Nothing was done: others hold these shards now."""

    shards: frozenset[int]


@dataclass(frozen=True, slots=True)
class Displaced:
    """Nothing was done, nor ever will: another process has claimed the folder."""


Settled = Committed | Fenced | Displaced


class Claimed(NamedTuple):
    """A folder that is ours now: number of our claim, last group settled, good bytes of files by path. `known`: the
    state had heard of the folder before."""

    claim: int
    group: int
    files: Mapping[str, int]
    known: bool


class SharedState(Protocol):
    """The state of one fleet. Every method raises Unavailable."""

    def beat(self, member: str, held: Mapping[int, int]) -> Roster:
        """Say that `member` lives and renew the leases it holds (token by shard). One that is not in the answer with
        that token is lost."""

    def roster(self) -> Roster:
        """Who is there and has what, without being there oneself."""

    def leave(self, member: str) -> None:
        """Say that `member` is gone."""

    def acquire(self, member: str, shard: int) -> Lease | None:
        """Take a shard that nobody else holds; None when somebody does."""

    def release(self, lease: Lease) -> None:
        """Give a shard back; nothing when it is another's by now."""

    def load(self, shard: int) -> dict[bytes, bytes]:
        """All that is saved of a shard."""

    def claim(self, folder: str) -> Claimed:
        """Make a folder ours: commits of its earlier owner are refused from now on, also those on their way."""

    def recovered(self, folder: str, claim: int, *, group: int, files: Mapping[str, int]) -> bool:
        """Set the last group and the files of a folder after its recovery; False when it is another's."""

    def commit(self, commit: Commit) -> Settled:
        """Settle a group: all of it or nothing. The same group again changes nothing."""

    def books(self) -> dict[Entry, int]:
        """The processors' side of the books: every counter that is not 0."""

    def fold(self, sensor: str, epoch: int) -> None:
        """Add the counters of an epoch that is over to those of epoch 0, which holds all old ones of the sensor."""

    def close(self) -> None:
        """Let go; never raises."""


def check_commit(commit: Commit) -> None:
    """Raise ValueError for what no commit may hold: ours, so a bug."""
    for shard, change in commit.shards.items():
        check_shard(shard)
        if any(len(key) > MAX_KEY for key in (*change.put, *change.drop)):
            raise ValueError("a key of the shared state is too long")
        if any(len(value) > MAX_VALUE for value in change.put.values()):
            raise ValueError("a value of the shared state is too long")
    if any(size < 0 for size in commit.files.values()) or commit.group < 1 or not commit.folder:
        raise ValueError("a commit needs a folder, a group and sizes")


def check_shard(shard: int) -> None:
    """Raise ValueError for a number that is no shard."""
    if not 0 <= shard < MAX_SHARDS:
        raise ValueError(f"a shard is a number from 0 to {MAX_SHARDS - 1}")
