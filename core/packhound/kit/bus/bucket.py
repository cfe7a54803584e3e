"""Keys and values on the bus: the last value of each key, and changing it only when nobody else did.

Promise: reads go straight to the store, one question each, without a consumer that could leak; there is no watch (one
takes seconds to come back after a restart of the broker): who wants to know listens to an announcement and reads.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from packhound.kit.bus.client import API, Bus
from packhound.kit.bus.messages import (
    DESCRIPTION,
    NO_RESPONDERS,
    STATUS,
    Away,
    Headers,
    Message,
    Rejected,
    raise_for,
)

_KEY = re.compile(r"[-/_=A-Za-z0-9]+(\.[-/_=A-Za-z0-9]+)*", re.ASCII)
_PATTERN = re.compile(r"(?:[-/_=A-Za-z0-9]+|\*)(\.(?:[-/_=A-Za-z0-9]+|\*))*(\.>)?|>", re.ASCII)
_OPERATION = "KV-Operation"
_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_SEQUENCE = "Nats-Sequence"
_SUBJECT = "Nats-Subject"
_ABSENT, _END = "404", "204"
CHUNK = 256
MAX_KEYS = 100_000


class Entry(NamedTuple):
    """A value as it is in the bucket; `sequence` is what `update` wants to hear."""

    key: str
    value: bytes
    sequence: int


class Bucket:
    """The bucket `name`; nothing is asked of the broker before the first call. Every call may raise Away (also when
    there is no such bucket now), Denied and Rejected."""

    def __init__(self, bus: Bus, name: str) -> None:
        self._bus = bus
        self.name = name
        self._prefix = f"$KV.{name}."
        self._direct = f"{API}.DIRECT.GET.KV_{name}"

    async def get(self, key: str) -> Entry | None:
        """The last value of a key; None when it has none."""
        return self._entry(await self._ask(key))

    async def last(self, key: str) -> tuple[int, bytes | None]:
        """The sequence of the last change of a key (0: it never had a value), and its value if it has one: what
        `update` needs to set a key that was deleted."""
        answer = await self._ask(key)
        entry = self._entry(answer)
        if entry is not None:
            return entry.sequence, entry.value
        sequence = answer.headers.get(_SEQUENCE, "")
        return int(sequence) if sequence.isdecimal() else 0, None

    async def put(self, key: str, value: bytes) -> int:
        """Set a key whatever it was; gives the sequence of the value."""
        return await self._store(key, value, {})

    async def update(self, key: str, value: bytes, *, last: int) -> int:
        """Set a key when its last sequence is `last` (0: it has none). Raises Conflict when it is another."""
        return await self._store(key, value, {_EXPECTED: str(last)})

    async def delete(self, key: str) -> None:
        """Forget a key; one that is not there is no error."""
        await self._store(key, b"", {_OPERATION: "DEL"})

    async def keys(self, pattern: str = ">") -> list[str]:
        """The keys that have a value, at most MAX_KEYS, in order; `pattern` as for subjects."""
        return sorted(entry.key for entry in await self.entries(pattern))

    async def entries(self, pattern: str = ">") -> list[Entry]:
        """The keys with their values, at most MAX_KEYS, in order of change."""
        wanted = sorted([subject async for subject in self._subjects(pattern)])
        found: list[Entry] = []
        for at in range(0, len(wanted), CHUNK):
            found += await self._many(wanted[at : at + CHUNK])
        return sorted(found, key=lambda entry: entry.sequence)

    # under the hood ------------------------------------------------------------------------------------------------

    async def _ask(self, key: str) -> Message:
        return await self._bus.request(f"{self._direct}.{self._subject(key)}")

    def _subject(self, key: str) -> str:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key of a bucket")
        return self._prefix + key

    async def _store(self, key: str, value: bytes, headers: Headers) -> int:
        if len(value) > self._bus.max_payload:
            raise Rejected(f"the value of {key} has {len(value)} bytes, the broker takes {self._bus.max_payload}")
        found = _json(await self._bus.request(self._subject(key), value, headers=headers))
        if isinstance(found.get("error"), dict):
            raise_for(found["error"], what=f"{self.name}/{key}")
        return int(found.get("seq", 0))

    async def _subjects(self, pattern: str) -> AsyncIterator[str]:
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(f"{pattern!r} is no pattern of keys")
        seen = 0
        while seen < MAX_KEYS:
            question = {"subjects_filter": self._prefix + pattern, "offset": seen}
            state = (await self._bus.api(f"STREAM.INFO.KV_{self.name}", question)).get("state", {})
            page = state.get("subjects") or {}
            for subject in page:
                yield subject
            seen += len(page)
            if not page or seen >= int(state.get("num_subjects", 0)):
                return

    async def _many(self, subjects: list[str]) -> list[Entry]:
        """The last values of some keys in one question; the answers end with a status of their own."""
        came: asyncio.Queue[Message] = asyncio.Queue()
        inbox, end = await self._bus.inbox(came.put_nowait)
        found: list[Entry] = []
        try:
            question = json.dumps({"multi_last": subjects, "batch": len(subjects)}).encode()
            async with asyncio.timeout(self._bus.settings.request_timeout):
                await self._bus.say(self._direct, question, reply=inbox)
                while True:
                    answer = await came.get()
                    status = answer.headers.get(STATUS)
                    if status in {_ABSENT, _END}:
                        return found
                    entry = self._entry(answer)
                    if entry is not None:
                        found.append(entry)
        except TimeoutError:
            raise Away(f"no answer about the keys of {self.name}") from None
        finally:
            await end()

    def _entry(self, answer: Message) -> Entry | None:
        """The value in an answer; None when there is none, or it was deleted."""
        headers = answer.headers
        status = headers.get(STATUS)
        if status == _ABSENT:
            return None
        if status is not None:
            words = f"{self.name}: {headers.get(DESCRIPTION, '')} ({status})"
            if status == NO_RESPONDERS:
                raise Away(words)
            raise Rejected(words)
        if headers.get(_OPERATION) in {"DEL", "PURGE"}:
            return None
        subject, sequence = headers.get(_SUBJECT, ""), headers.get(_SEQUENCE, "")
        if not subject.startswith(self._prefix) or not sequence.isdecimal():
            raise Rejected(f"{self.name}: an answer that cannot be read")
        return Entry(subject.removeprefix(self._prefix), answer.data, int(sequence))


def _json(answer: Message) -> dict[str, Any]:
    try:
        found = json.loads(answer.data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Away("an answer that cannot be read")
    return found
