"""The door from the capture thread to the loop that sends: parcels into the spool, the sender woken.

Promise: `put` never waits for the network; it costs one write to the page cache a parcel. Called by one capture thread
at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from packhound.sensor.sender import Sender
from packhound.sensor.sharder import Made
from packhound.sensor.spool import Spool


class Outbox:
    """Joins a spool and the sender that empties it, which runs on `loop`."""

    def __init__(self, spool: Spool, sender: Sender, loop: asyncio.AbstractEventLoop) -> None:
        self._spool, self._sender, self._loop = spool, sender, loop

    def put(self, made: Iterable[Made]) -> None:
        """Take parcels in the order in which they are to be sent."""
        some = False
        for each in made:
            self._spool.append(each.parcel, each.wanted)
            some = True
        if some and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._sender.wake)
