"""Media watches over the bus: each node says its own, all hear all.

Promise: a connection that was lost costs nothing but time: everything is said again on the next one. One asyncio loop.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from packhound.fleet.watches import Say
from packhound.kit.bus import Away, Bus, Message
from packhound.kit.tasks import happened
from packhound.wire.subjects import Subjects

AGAIN = 10.0


class Hearing(Protocol):
    """Who hears watches (`node`: who said it) and says its own again when asked."""

    def heard(self, data: bytes, *, node: str | None = None) -> None:
        """Take in what was said."""

    async def again(self) -> None:
        """Say everything once more."""


def on_bus(bus: Bus, names: Subjects, *, node: str) -> Say:
    """How `node` says a watch over the bus; nothing is said while it is away."""
    subject = names.media(node)

    async def say(data: bytes) -> None:
        try:
            await bus.say(subject, data)
        except Away:
            return

    return say


async def follow(hearing: Hearing, bus: Bus, names: Subjects, *, every: float = AGAIN) -> None:
    """Hear what others say over the bus, and have ours said again, at once on a new connection; until cancelled."""
    wake = asyncio.Event()

    async def heard(message: Message) -> None:
        hearing.heard(message.data, node=names.node_of(message.subject) or "")

    unwatch = bus.watch(lambda _: wake.set())
    subscription = await bus.subscribe(names.every_media, heard, messages=1 << 14)
    try:
        while True:
            await happened(wake, within=every)
            await bus.ready()
            wake.clear()
            await hearing.again()
    finally:
        unwatch()
        await subscription.close()
