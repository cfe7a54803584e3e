"""What waits for an answer: acknowledgements of publishes in a bounded window, and questions.

Promise: whoever waits gets an answer: the broker's, or that none came in time or the connection is lost. Nothing waits
for ever, and never more than the window holds. One asyncio loop.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import NamedTuple

from packhound.kit.bus.messages import (
    DESCRIPTION,
    NO_RESPONDERS,
    STATUS,
    Away,
    Denied,
    Message,
    Outcome,
    Refused,
    Stored,
    Unreachable,
    outcome_of_error,
)

MAX_ACK = 64 << 10


class _Publish(NamedTuple):
    future: asyncio.Future[Outcome]
    subject: str
    size: int


_Opened = tuple[str, asyncio.Future[Outcome]]


class _Waiting(NamedTuple):
    subject: str
    size: int
    turn: asyncio.Future[_Opened]


class _Question(NamedTuple):
    future: asyncio.Future[Message]
    subject: str


class Replies:
    """Everything that waits, by the token of its reply subject. `timeout` of acknowledgements in seconds."""

    def __init__(self, *, window: int, window_bytes: int, timeout: float) -> None:
        self._window, self._window_bytes, self._timeout = window, window_bytes, timeout
        self._publishes: dict[str, _Publish] = {}
        self._questions: dict[str, _Question] = {}
        self._bytes = 0
        self._number = 0
        self._line: deque[_Waiting] = deque()
        self.acknowledgements = 0
        self._deadlines: deque[tuple[float, str]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        """Publishes that wait for their acknowledgement."""
        return len(self._publishes)

    @property
    def in_flight_bytes(self) -> int:
        """Bytes of these."""
        return self._bytes

    # the window ----------------------------------------------------------------------------------------------------

    async def publish(self, subject: str, size: int) -> tuple[str, asyncio.Future[Outcome]]:
        """Wait, in turn, until the window takes `size` bytes more; then give a token and what will be the outcome."""
        if not self._line and self._fits(size):
            return self._open(subject, size)
        turn: asyncio.Future[_Opened] = asyncio.get_running_loop().create_future()
        self._line.append(_Waiting(subject, size, turn))
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.settle(turn.result()[0], Unreachable("cancelled"))
            self._admit()
            raise

    def _fits(self, size: int) -> bool:
        held = len(self._publishes)
        return held == 0 or (held < self._window and self._bytes + size <= self._window_bytes)

    def _admit(self) -> None:
        while self._line and (self._line[0].turn.done() or self._fits(self._line[0].size)):
            first = self._line.popleft()
            if not first.turn.done():
                first.turn.set_result(self._open(first.subject, first.size))

    def _open(self, subject: str, size: int) -> _Opened:
        loop = asyncio.get_running_loop()
        self._number += 1
        token = f"p{self._number:x}"
        future: asyncio.Future[Outcome] = loop.create_future()
        self._publishes[token] = _Publish(future, subject, size)
        self._bytes += size
        self._deadlines.append((loop.time() + self._timeout, token))
        if self._timer is None:
            self._timer = loop.call_later(self._timeout, self._expire)
        return token, future

    def settle(self, token: str, outcome: Outcome) -> None:
        """Close the account of a publish; an unknown token is no error."""
        entry = self._publishes.pop(token, None)
        if entry is None:
            return
        self._bytes -= entry.size
        while self._deadlines and self._deadlines[0][1] not in self._publishes:
            self._deadlines.popleft()
        if not entry.future.done():
            entry.future.set_result(outcome)
        self._admit()

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = None
        now = loop.time()
        while self._deadlines and self._deadlines[0][0] <= now:
            self.settle(self._deadlines[0][1], Unreachable(f"no acknowledgement within {self._timeout:g} s"))
        if self._deadlines:
            self._timer = loop.call_at(self._deadlines[0][0], self._expire)

    # questions -----------------------------------------------------------------------------------------------------

    def ask(self, subject: str) -> tuple[str, asyncio.Future[Message]]:
        """Open a question: its token, and what will be its answer."""
        self._number += 1
        token = f"q{self._number:x}"
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._questions[token] = _Question(future, subject)
        return token, future

    def forget(self, token: str) -> None:
        """Close a question that nobody waits for any more."""
        self._questions.pop(token, None)

    # what comes ----------------------------------------------------------------------------------------------------

    def came(self, message: Message) -> None:
        """Take a message to one of our reply subjects; its last token says whose."""
        token = message.subject.rpartition(".")[2]
        self.acknowledgements += token[:1] == "p"
        if token in self._publishes:
            self.settle(token, _outcome(message))
        elif (question := self._questions.pop(token, None)) is not None and not question.future.done():
            if message.headers.get(STATUS) == NO_RESPONDERS:
                question.future.set_exception(Away(f"nobody answers on {question.subject}"))
            else:
                question.future.set_result(message)

    def lost(self, reason: str) -> None:
        """The connection is gone, and every answer with it."""
        for token in list(self._publishes):
            self.settle(token, Unreachable(reason))
        questions, self._questions = self._questions, {}
        for question in questions.values():
            if not question.future.done():
                question.future.set_exception(Away(reason))

    def denied(self, words: str) -> None:
        """The broker forbids a subject, named in `words` in lower case."""
        for token, publish in list(self._publishes.items()):
            if f'"{publish.subject.lower()}"' in words:
                self.settle(token, Refused("permission", words))
        for token, question in list(self._questions.items()):
            if f'"{question.subject.lower()}"' in words:
                del self._questions[token]
                if not question.future.done():
                    question.future.set_exception(Denied(words))


def _outcome(message: Message) -> Outcome:
    status = message.headers.get(STATUS)
    if status == NO_RESPONDERS:
        return Refused("no_stream", "no stream takes this subject")
    if status is not None:
        return Unreachable(f"status {status} {message.headers.get(DESCRIPTION, '')}".strip())
    try:
        found = json.loads(message.data[:MAX_ACK])
        if "error" in found:
            return outcome_of_error(found["error"])
        return Stored(int(found["seq"]), bool(found.get("duplicate", False)))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return Unreachable("an acknowledgement that cannot be read")
