"""Heartbeats: sensors say how they are, processors answer with their clock and judge who is silent.

Promise: whether a sensor is silent is judged by the listener's clock alone. A sensor beats whether or not somebody
answers. Both ends check that a message speaks for the node whose subject it came on. One asyncio loop.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from packhound.fleet.status import StatusBoard
from packhound.kit.bus import Away, Bus, BusError, Message
from packhound.wire.beats import BeatReply, ClockOffset, Heartbeat
from packhound.wire.checked import BadMessage
from packhound.wire.subjects import Subjects

EVERY = 5.0
SILENT_NS = 15_000_000_000  # three beats
ANSWER_SECONDS = 2.0
SAMPLES = 8
MAX_NODES = 100_000
Clock = Callable[[], int]


class Heart:
    """The sensor's side: sends what `make` says every few seconds and writes it to the status. `offset` is the best
    of the last comparisons of clocks, None before the first; `make` may put it into the heartbeat."""

    def __init__(
        self,
        bus: Bus,
        names: Subjects,
        *,
        make: Callable[[], Heartbeat],
        clock: Clock,
        board: StatusBoard | None = None,
        every: float = EVERY,
    ) -> None:
        self._bus, self._names, self._make, self._clock = bus, names, make, clock
        self._board, self._every = board, every
        self._samples: deque[ClockOffset] = deque(maxlen=SAMPLES)
        self.beats = self.answered = 0

    @property
    def offset(self) -> ClockOffset | None:
        """By how much the processors' clock is ahead of ours: of the last comparisons the surest."""
        return min(self._samples, key=lambda sample: sample.error_ns, default=None)

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            beat = self._make()
            if self._board is not None:
                self._board.beat(beat)
            first = self.offset is None
            await self.beat(beat)
            if not first or self.offset is None:  # how the clocks differ is told at once, not with the next beat
                await asyncio.sleep(self._every * random.uniform(0.95, 1.05))  # noqa: S311

    async def beat(self, heartbeat: Heartbeat) -> None:
        """Send one; compare clocks with the first who answers."""
        sent = self._clock()
        self.beats += 1
        try:
            answer = await self._bus.request(
                self._names.heartbeat(heartbeat.node), heartbeat.encode(), within=min(ANSWER_SECONDS, self._every)
            )
            self._samples.append(BeatReply.decode(answer.data).offset(sent_ns=sent, got_ns=self._clock()))
        except (BusError, BadMessage):  # nobody listens, or the broker is away: the next beat tells
            return
        self.answered += 1


class Heard(NamedTuple):
    """The last heartbeat of a node, and when it came, on our clock."""

    heartbeat: Heartbeat
    at_ns: int


class Beats:
    """The processor's side, while it is entered: hears every node, answers, remembers. `told` gets each heartbeat that
    is what it says; `malformed` counts the others."""

    def __init__(
        self,
        bus: Bus,
        names: Subjects,
        *,
        processor: str,
        clock: Clock,
        told: Callable[[Heartbeat], None] | None = None,
        silent_ns: int = SILENT_NS,
    ) -> None:
        self._bus, self._names, self._processor, self._clock = bus, names, processor, clock
        self._told, self._silent = told, silent_ns
        self._heard: dict[str, dict[int, Heard]] = {}
        self.malformed = 0

    async def __aenter__(self) -> Beats:
        self._subscription = await self._bus.subscribe(self._names.heartbeats, self._came, messages=1 << 14)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._subscription.close()

    async def _came(self, message: Message) -> None:
        now = self._clock()
        try:
            beat = Heartbeat.decode(message.data)
        except BadMessage:
            self.malformed += 1
            return
        if self._names.node_of(message.subject) != beat.node:
            self.malformed += 1
            return
        self._note(beat, now)
        if self._told is not None:
            self._told(beat)
        if message.reply:
            try:
                await self._bus.say(message.reply, BeatReply(now, self._clock(), self._processor).encode())
            except Away:
                return

    def _note(self, beat: Heartbeat, now: int) -> None:
        if beat.node not in self._heard and len(self._heard) >= MAX_NODES:
            return
        epochs = self._heard.setdefault(beat.node, {})
        epochs[beat.epoch] = Heard(beat, now)
        for epoch in [e for e, heard in epochs.items() if now - heard.at_ns > self._silent and e != beat.epoch]:
            del epochs[epoch]

    def nodes(self) -> Mapping[str, Heard]:
        """The last heartbeat of every node that was ever heard, by name. Any thread."""
        held = [(node, list(each.values())) for node, each in list(self._heard.items())]
        return {node: max(each, key=lambda heard: heard.at_ns) for node, each in held}

    def silent(self) -> list[str]:
        """Nodes that were heard once and not lately, by our clock."""
        now = self._clock()
        return sorted(node for node, heard in self.nodes().items() if now - heard.at_ns > self._silent)

    def twins(self) -> dict[str, tuple[int, ...]]:
        """Nodes for which two processes speak: the epochs of those that were heard lately. A sensor that was
        restarted is its own twin until its old epoch is silent for long enough."""
        now = self._clock()
        found = {}
        for node, epochs in self._heard.items():
            live = tuple(sorted(e for e, heard in epochs.items() if now - heard.at_ns <= self._silent))
            if len(live) > 1:
                found[node] = live
        return found
