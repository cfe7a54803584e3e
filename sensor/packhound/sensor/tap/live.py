"""Live interfaces as one tap: a ring each, followed as they appear, go down, come up, are renamed, vanish.

Promise: never waits longer than a tick; a source that cannot be read or has fallen silent is a condition, not an end.
`stop` ends intake first and then delivers what the rings still hold. One thread runs `blocks`; `stop` may come from
any thread or signal handler; `drops` and `conditions` from any thread. Linux only.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from packhound.sensor.tap.errors import CaptureError, NotPermitted, TapError
from packhound.sensor.tap.follow import Follower, why_not
from packhound.sensor.tap.frames import Block, Condition, Drops, Interface
from packhound.sensor.tap.links import Gone, Link
from packhound.sensor.tap.ring import Instruction, Ring, RingConfig
from packhound.sensor.tap.section import LIMIT

ANY = "any"
TICK_MS = 100
#: Ring of each interface when all are captured: many, and most of them quiet.
SMALL_RING = RingConfig(block_bytes=1 << 18, blocks=16)

#: Link type -> the program of the kernel filter, None: everything.
Programs = Callable[[int], Sequence[Instruction] | None]


def _everything(_linktype: int) -> None:
    return None


class LiveTap:
    """The interfaces called `names` (`any`: all there are and will be). Ring `config` by default fits their number.

    `programs` gives the kernel filter for a link type; `silent_after` seconds without a packet is a condition;
    `memory_limit` bytes for all rings together. Raises CaptureError for a name that does not exist or cannot be
    captured, NotPermitted without CAP_NET_RAW.
    """

    def __init__(
        self,
        names: Iterable[str],
        *,
        config: RingConfig | None = None,
        programs: Programs = _everything,
        silent_after: float = 60.0,
        memory_limit: int = 1 << 30,
    ) -> None:
        self.names = tuple(dict.fromkeys(names))
        self.config = config or (SMALL_RING if ANY in self.names else RingConfig())
        self.programs = programs
        self.silent_after = silent_after
        self.memory_limit = memory_limit
        self.interfaces: list[Interface] = []
        self.fault: CaptureError | None = None
        self._rings: dict[int, Ring] = {}
        self._leaving: list[Ring] = []
        self._heard: dict[int, float] = {}
        self._refused: dict[str, Condition] = {}
        self._lost = Drops()
        self._lock = threading.Lock()
        self._packets = 0
        self._stopped = False
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        self._follower = Follower()
        self._poll.register(self._follower.fileno(), select.POLLIN)
        try:
            self._begin()
        except TapError:
            self.close()
            raise

    def _begin(self) -> None:
        present = {link.name: link for link in self._follower.present.values()}
        for name in self.names:
            if name == ANY:
                continue
            if name not in present:
                known = ", ".join(sorted(present)) or "none"
                raise CaptureError(name, 0, f"no such interface; there are: {known}")
            if reason := why_not(present[name]):
                raise CaptureError(name, 0, reason)
            self._add(present[name])
        if ANY in self.names:
            for link in present.values():
                self._try_add(link, strict=True)

    # ---- the packets

    def blocks(self) -> Iterator[Block | None]:
        """Blocks as the kernel hands them over, one ring after the other; None at least every 100 ms of silence."""
        while not self._stopped:
            any_block = False
            for ring in [*self._rings.values(), *self._leaving]:
                block = ring.take()
                if block is not None:
                    any_block = True
                    yield from self._hand_out(block, ring)
            self._see_off()
            if any_block:
                self._wait(0)
            elif not self._wait(TICK_MS) and not self._stopped:
                yield None
        yield from self._drain()

    def _hand_out(self, block: Block, ring: Ring) -> Iterator[Block]:
        block.first_number = self._packets + 1
        self._packets += len(block)
        self._heard[ring.link.index] = time.monotonic()
        try:
            yield block
        finally:
            if block.release is not None:
                block.release()

    def _drain(self) -> Iterator[Block | None]:
        """What the rings still hold, once nothing more comes in; then the last word on losses."""
        rings = [*self._rings.values(), *self._leaving]
        for ring in rings:
            ring.quiesce()
        deadline = time.monotonic() + self._patience()
        for ring in rings:
            while (block := ring.take()) is not None or (ring.pending and time.monotonic() < deadline):
                if block is not None:
                    yield from self._hand_out(block, ring)
                else:
                    time.sleep(0.001)
        for ring in rings:
            ring.losses()

    def _patience(self) -> float:
        """Seconds within which the kernel hands over a block that is not full."""
        return 0.5 + 5 * self.config.timeout_ms / 1000

    # ---- what happens besides packets

    def _wait(self, timeout_ms: int) -> bool:
        """Wait for a block, a change of interfaces or a stop; True when there may be a block."""
        block = False
        for fd, event in self._poll.poll(timeout_ms):
            if fd == self._wake:
                with suppress(BlockingIOError):
                    os.eventfd_read(fd)
            block = block or bool(event & select.POLLIN and fd not in (self._wake, self._follower.fileno()))
            if fd == self._follower.fileno():
                self._apply(self._follower.changes())
            elif event & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
                for ring in [*self._rings.values(), *self._leaving]:
                    if ring.fileno() == fd:
                        ring.clear_error()
        return block

    def _apply(self, changes: Iterable[Link | Gone]) -> None:
        for change in changes:
            ring = self._rings.get(change.index)
            if isinstance(change, Gone):
                self._refused.pop(change.name, None)
                if ring is not None:
                    self._leave(ring)
            elif ring is None:
                if self._wanted(change):
                    self._try_add(change)
            else:
                self._update(ring, change)

    def _update(self, ring: Ring, link: Link) -> None:
        came_up = link.up and not ring.link.up
        if link.name != ring.link.name:
            ring.iface = self._interface(link)
        ring.link = link
        if came_up:
            self._heard[link.index] = time.monotonic()
            try:
                ring.resume()
            except TapError as error:
                self._refused[link.name] = Condition(link.name, "refused", error.reason)

    def _wanted(self, link: Link) -> bool:
        return ANY in self.names or link.name in self.names

    def _try_add(self, link: Link, *, strict: bool = False) -> None:
        """Capture `link` too; when that cannot be, say so as a condition (`strict`: unless a privilege is missing)."""
        try:
            if reason := why_not(link):
                self._refused[link.name] = Condition(link.name, "unsupported", reason)
                return
            self._add(link)
        except TapError as error:
            if strict and isinstance(error, NotPermitted):
                raise
            self._refused[link.name] = Condition(link.name, "refused", error.reason)

    def _add(self, link: Link) -> None:
        if (len(self._rings) + 1) * self.config.size > self.memory_limit:
            raise CaptureError(link.name, 0, f"all rings together may have {self.memory_limit} bytes")
        ring = Ring(link, self.config, iface=self._interface(link))
        try:
            taken = ring.start(self.programs(link.linktype))
        except TapError:
            ring.close()
            raise
        if not taken and ring.mode:
            self._refused[link.name] = Condition(link.name, "unfiltered", "the kernel filters nothing here, we do")
        else:
            self._refused.pop(link.name, None)
        self._rings[link.index] = ring
        self._heard[link.index] = time.monotonic()
        self._poll.register(ring.fileno(), select.POLLIN | select.POLLERR)

    def _leave(self, ring: Ring) -> None:
        """The interface is gone: keep the ring until what it holds has been delivered."""
        with self._lock:
            del self._rings[ring.link.index]
            self._leaving.append(ring)
        self._heard.pop(ring.link.index, None)
        self._poll.unregister(ring.fileno())

    def _see_off(self) -> None:
        for ring in [ring for ring in self._leaving if not ring.pending]:
            with self._lock:
                self._leaving.remove(ring)
                ring.close()
                self._lost += ring.losses()

    def _interface(self, link: Link) -> int:
        for known in self.interfaces:
            if (known.name, known.linktype) == (link.name, link.linktype):
                return known.index
        if len(self.interfaces) >= LIMIT:
            raise CaptureError(link.name, 0, f"more than {LIMIT} interfaces in one run")
        entry = Interface(link.name, link.linktype, self.config.snaplen, len(self.interfaces))
        self.interfaces.append(entry)
        return entry.index

    # ---- what others ask

    def set_programs(self, programs: Programs) -> None:
        """Put other kernel filters in force, at once (frames that passed the old ones may still come)."""
        self.programs = programs
        for ring in self._rings.values():
            ring.start(programs(ring.link.linktype))

    def drops(self) -> Drops:
        """Losses in all rings since the start, those of interfaces that have gone included."""
        with self._lock:
            return sum((ring.losses() for ring in [*self._rings.values(), *self._leaving]), self._lost)

    @property
    def fill(self) -> float:
        """How full the fullest ring is, 0 to 1. Any thread."""
        return max((ring.fill for ring in list(self._rings.values())), default=0.0)

    @property
    def several(self) -> bool:
        """Whether one packet may be seen on several interfaces."""
        return ANY in self.names or len(self.names) > 1

    def conditions(self) -> list[Condition]:
        """What a person should know: interfaces down, gone, silent, refused."""
        now = time.monotonic()
        found = list(self._refused.values())
        rings = list(self._rings.values())
        for ring in rings:
            quiet = now - self._heard.get(ring.link.index, now)
            if not ring.link.up:
                found.append(Condition(ring.link.name, "down", "the interface is down; capture resumes when it is up"))
            elif quiet >= self.silent_after:
                found.append(Condition(ring.link.name, "silent", f"no packet for {quiet:.0f} s"))
        here = {ring.link.name for ring in rings}
        gone = [name for name in self.names if name != ANY and name not in here]
        return found + [
            Condition(name, "gone", "the interface is gone; capture resumes with a new one") for name in gone
        ]

    def wake(self) -> None:
        """Have `blocks` give something at once, None when no packet is there. Any thread."""
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def stop(self) -> None:
        """End intake, deliver what was captured, end `blocks`."""
        self._stopped = True
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Give everything back; `drops` still answers."""
        with self._lock:
            for ring in [*self._rings.values(), *self._leaving]:
                ring.close()
                self._lost += ring.losses()
            self._rings.clear()
            self._leaving.clear()
        self._follower.close()
        if self._wake >= 0:
            os.close(self._wake)
        self._wake = -1
