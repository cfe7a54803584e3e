"""The shared state in Redis: for processors on many hosts.

Promise: the only door to redis-py. Every step is one script or one command, asked for once: nothing is retried here.
All keys of a fleet have one hash tag, so a cluster keeps them together. What Redis has answered to survives its death
and that of its host when it writes an append-only file (`caution` says when it does not) with `appendfsync always`;
with `everysec` it answers for up to two seconds before it writes, while a sync of the disk takes long. Any thread.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.retry import Retry

from packhound.kit.errors import Usage, from_os
from packhound.processor.shared import scripts, state
from packhound.processor.shared.entries import entry_of, entry_text
from packhound.processor.shared.state import (
    MILLISECOND,
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

_FILE = b"f:"
_FLEET = re.compile(r"[a-z0-9-]{1,12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """`url`: `redis://HOST:PORT/DB`, `rediss://...` (TLS) or `unix:///PATH`, without credentials, which are in files
    (`user_file` may be empty). `ca`, `cert`, `key`: PEM files. `timeout`: seconds for an answer."""

    url: str
    user_file: str = ""
    password_file: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    timeout: float = 2.5

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in {"redis", "rediss", "unix"} or "@" in parts.netloc or not (parts.netloc or parts.path):
            raise Usage("the address of Redis must be redis://HOST:PORT, rediss://HOST:PORT or unix:///PATH "
                        "(credentials go into files)")  # fmt: skip


class _Files(CredentialProvider):
    """Credentials as their files are at each new connection."""

    def __init__(self, user: str, password: str) -> None:
        self._user, self._password = user, password

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        secret = _read(self._password)
        return (_read(self._user), secret) if self._user else (secret,)


def _read(path: str) -> str:
    return Path(path).read_text(encoding="utf-8").strip()


def check_files(settings: RedisSettings) -> None:
    """Read every file once. Raises BadInput or NotPermitted for what is missing now; later that is Unavailable."""
    for path in filter(None, (settings.user_file, settings.password_file, settings.ca, settings.cert, settings.key)):
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise from_os(error, what="file for Redis") from None


def _client(settings: RedisSettings) -> redis.Redis:
    options: dict[str, Any] = {
        "socket_timeout": settings.timeout, "socket_connect_timeout": settings.timeout,
        "retry": Retry(NoBackoff(), 0), "client_name": "packhound-processor",
    }  # fmt: skip
    if settings.password_file:
        options["credential_provider"] = _Files(settings.user_file, settings.password_file)
    if urlsplit(settings.url).scheme == "rediss":
        options |= {
            "ssl_ca_certs": settings.ca or None, "ssl_certfile": settings.cert or None,
            "ssl_keyfile": settings.key or None, "ssl_min_version": ssl.TLSVersion.TLSv1_2,
        }  # fmt: skip
    return redis.Redis.from_url(settings.url, **options)


class RedisState:
    """The state of `fleet`. Connects when first asked."""

    def __init__(self, settings: RedisSettings, *, fleet: str, lease_ns: int = state.LEASE_NS) -> None:
        if not _FLEET.fullmatch(fleet):
            raise Usage("a fleet's name is 1 to 12 of a-z, 0-9 and -")
        self._client = _client(settings)
        self._prefix = f"ph:{{{fleet}}}:"
        self._ttl = lease_ns // MILLISECOND
        make = self._client.register_script
        self._beat, self._acquire, self._release = map(make, (scripts.BEAT, scripts.ACQUIRE, scripts.RELEASE))
        self._claim, self._recovered, self._commit = map(make, (scripts.CLAIM, scripts.RECOVERED, scripts.COMMIT))
        self._fold = make(scripts.FOLD)

    def _key(self, *parts: object) -> str:
        return self._prefix + ":".join(map(str, parts))

    def _ask(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        try:
            return call(*arguments, **named)
        except (redis.RedisError, OSError) as error:
            raise Unavailable(f"Redis: {error}") from error

    def close(self) -> None:
        self._client.close()

    def caution(self) -> str:
        """What a person should know of how this Redis keeps its data; empty when nothing."""
        found = self._ask(self._client.info, "persistence")
        if not found.get("aof_enabled"):
            return "Redis keeps no append-only file: what was settled is forgotten when it ends (appendonly yes)"
        return ""

    # who owns which shard ------------------------------------------------------------------------------------------

    def beat(self, member: str, held: Mapping[int, int]) -> Roster:
        pairs = [part for pair in held.items() for part in pair]
        keys = [self._key("members"), self._key("leases")]
        now, members, leases = self._ask(self._beat, keys, [member, self._ttl, *pairs])
        rows = [
            Lease(int(shard), holder.decode(), int(token), int(expires) * MILLISECOND)
            for shard, token, expires, holder in leases
        ]
        names = tuple(sorted(name.decode() for name in members))
        return Roster(int(now) * MILLISECOND, names, {each.shard: each for each in rows})

    def roster(self) -> Roster:
        return self.beat("", {})

    def leave(self, member: str) -> None:
        self._ask(self._client.hdel, self._key("members"), member)

    def acquire(self, member: str, shard: int) -> Lease | None:
        state.check_shard(shard)
        found = self._ask(self._acquire, [self._key("leases")], [member, self._ttl, shard])
        return Lease(shard, member, int(found[0]), int(found[1]) * MILLISECOND) if found else None

    def release(self, lease: Lease) -> None:
        self._ask(self._release, [self._key("leases")], [lease.shard, lease.token])

    # what is settled -----------------------------------------------------------------------------------------------

    def load(self, shard: int) -> dict[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        cursor = 0
        while True:
            cursor, part = self._ask(self._client.hscan, self._key("shard", shard), cursor, count=1000)
            found |= part
            if cursor == 0:
                return found

    def claim(self, folder: str) -> Claimed:
        known, claim, flat = self._ask(self._claim, [self._key("folder", folder)])
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        files = {
            name.removeprefix(_FILE).decode("utf-8", "surrogateescape"): int(size)
            for name, size in fields.items() if name.startswith(_FILE)
        }  # fmt: skip
        return Claimed(int(claim), int(fields.get(b"group", 0)), files, known=bool(known))

    def recovered(self, folder: str, claim: int, *, group: int, files: Mapping[str, int]) -> bool:
        rows = [part for path, size in files.items() for part in (_field(path), size)]
        return bool(self._ask(self._recovered, [self._key("folder", folder)], [claim, group, *rows]))

    def commit(self, commit: Commit) -> Settled:
        state.check_commit(commit)
        keys = [self._key("folder", commit.folder), self._key("leases"), self._key("books")]
        said: list[Any] = [commit.claim, commit.group, len(commit.shards)]
        for shard, change in commit.shards.items():
            keys.append(self._key("shard", shard))
            said += (shard, change.token)
            _say(said, change.put, change.drop)
        _say(said, {_field(path): size for path, size in commit.files.items()}, map(_field, commit.published))
        for entry, count in commit.counts.items():
            said += (entry_text(entry), count)
        found = self._ask(self._commit, keys, said)
        if isinstance(found, list):
            return Fenced(frozenset(map(int, found)))
        return Displaced() if found == -1 else Committed(again=found == 1)

    # what is told --------------------------------------------------------------------------------------------------

    def books(self) -> dict[Entry, int]:
        rows = self._ask(self._client.hgetall, self._key("books"))
        found = ((entry_of(text), int(count)) for text, count in rows.items())
        return {entry: count for entry, count in found if entry is not None and count}

    def fold(self, sensor: str, epoch: int) -> None:
        if epoch == 0:
            return
        old = [each for each in self.books() if (each.kind, each.name, each.epoch) == ("sensor", sensor, epoch)]
        pairs = [part for each in old for part in (entry_text(each), entry_text(each._replace(epoch=0)))]
        if pairs:
            self._ask(self._fold, [self._key("books")], pairs)


def _field(path: str) -> bytes:
    return _FILE + path.encode("utf-8", "surrogateescape")


def _say(said: list[Any], put: Mapping[bytes, Any], drop: Any) -> None:
    said.append(len(put))
    for key, value in put.items():
        said += (key, value)
    gone = list(drop)
    said.append(len(gone))
    said += gone
