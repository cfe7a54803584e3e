"""One capture file while it is read: its window, the interfaces found so far, the packet count.

Promise: the one place where file walkers meet the tap; positions are relative to `data`.
"""

from __future__ import annotations

from collections.abc import Generator

from packhound.sensor.tap.compressed import StreamFault
from packhound.sensor.tap.errors import CaptureError
from packhound.sensor.tap.frames import Arrays, Block, Drops, Interface
from packhound.sensor.tap.section import LIMIT
from packhound.sensor.tap.window import Step, Window


class Reading:
    """State shared by the walkers of one file. `interfaces` is the tap's own table."""

    def __init__(self, path: str, window: Window, interfaces: list[Interface]) -> None:
        self.path = path
        self.window = window
        self.interfaces = interfaces
        self.packets = 0
        self.stopped = False
        #: interface of the section -> what the file says was lost there, cumulative within the section
        self.lost: dict[int, Drops] = {}
        self._lost_before = Drops()
        self._known: dict[tuple[str, int, int], int] = {}

    @property
    def data(self) -> memoryview:
        """What of the file is in view."""
        return self.window.data

    def further(self, pos: int) -> Generator[None, None, bool]:
        """See further than now: `pos` becomes position 0. Yields None while a pipe is silent.

        Returns (as a generator does) whether the file has ended instead.
        """
        while not self.stopped:
            try:
                step = self.window.advance(pos)
            except StreamFault as error:
                raise self.fault(len(self.data), str(error)) from error
            if step is not Step.IDLE:
                return step is Step.END
            pos = 0
            yield None
        return True

    def drops(self) -> Drops:
        """What the file itself says was lost when it was captured."""
        return sum(self.lost.values(), self._lost_before)

    def close_section(self) -> None:
        """A new section counts its losses from 0."""
        self._lost_before = self.drops()
        self.lost.clear()

    def fault(self, pos: int, reason: str) -> CaptureError:
        """The error for what was found at `pos`."""
        return CaptureError(self.path, self.window.base + pos, reason)

    def block(self, arrays: Arrays, used: int, start: int, end: int) -> Block:
        """The first `used` rows (relative to `start`) as a block, numbered on."""
        first = self.packets + 1
        self.packets += used
        return arrays.block(self.data[start:end].toreadonly(), used, first_number=first)

    def interface(self, name: str, linktype: int, snaplen: int, description: str = "", *, shared: bool = False) -> int:
        """Index of this interface in the tap's table; `shared`: an equal one that is there already will do."""
        key = (name, linktype, snaplen)
        if shared and key in self._known:
            return self._known[key]
        if len(self.interfaces) >= LIMIT:
            raise self.fault(0, f"describes more than {LIMIT} interfaces")
        index = len(self.interfaces)
        self.interfaces.append(Interface(name, linktype, snaplen, index, description))
        self._known.setdefault(key, index)
        return index
