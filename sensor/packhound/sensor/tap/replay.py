"""A capture played onto an interface: the file tap's blocks out through a packet socket.

Promise: packets leave in the order of the tap, at the pace of their time stamps (times `speed`) or as fast as the
interface takes them; each one is counted as sent, skipped or refused. Linux only. Reference: packet(7).
"""

from __future__ import annotations

import errno
import socket
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from packhound.sensor.tap import links
from packhound.sensor.tap.errors import CaptureError, NotPermitted
from packhound.sensor.tap.follow import Follower
from packhound.sensor.tap.frames import Block, Tap

_SOL_PACKET, _QDISC_BYPASS = 263, 20
#: A packet that is due within this many ns is sent at once.
_SLACK_NS = 100_000
_NAP = 0.1
_FULL = (errno.ENOBUFS, errno.EAGAIN)
#: Link types that a frame may have to be sent as it stands, by what the interface carries.
_FITS = {links.ETHERNET: frozenset({1}), links.RAW_IP: frozenset({12, 14, 101, 228, 229})}


@dataclass(slots=True)
class Played:
    """What became of the packets: `sent` went out (`octets` bytes), of which `cut` were not whole in the capture.

    `skipped` had a link type that the interface does not carry; `refused` counts by the system's reason;
    `late_ns` is how far behind its time the latest packet left; `seconds` how long it all took.
    """

    sent: int = 0
    octets: int = 0
    cut: int = 0
    skipped: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    late_ns: int = 0
    seconds: float = 0.0


class Player:
    """Plays captures onto `interface`. Raises CaptureError when there is none, NotPermitted without CAP_NET_RAW."""

    def __init__(self, interface: str) -> None:
        self.interface = interface
        self._stopped = False
        follower = Follower()
        present = {link.name: link for link in follower.present.values()}
        follower.close()
        if interface not in present:
            raise CaptureError(interface, 0, f"no such interface; there are: {', '.join(sorted(present))}")
        if not present[interface].up:
            raise CaptureError(interface, 0, "the interface is down")
        if present[interface].linktype not in _FITS:
            raise CaptureError(interface, 0, "nothing can be played onto an interface of this kind")
        self._fits = _FITS[present[interface].linktype]
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        except PermissionError as error:
            raise NotPermitted("playing a capture needs CAP_NET_RAW", missing="CAP_NET_RAW") from error
        self._socket.bind((interface, 0))

    def play(
        self,
        tap: Tap,
        *,
        speed: float | None = 1.0,
        longest_gap: float | None = None,
        on_block: Callable[[Played], None] | None = None,
    ) -> Played:
        """Send every packet of `tap`; `speed` 2.0 is twice its own, None as fast as possible.

        `longest_gap` seconds (after `speed`) is the most that is waited for one packet; `on_block` is called with the
        counts so far.
        """
        if speed is not None and speed <= 0:
            raise ValueError("speed is more than 0")
        played = Played()
        pace = _Pace(speed, longest_gap)
        begun = time.monotonic()
        for block in tap.blocks():
            if block is not None:
                self._play(block, tap, pace, played)
            played.seconds = time.monotonic() - begun
            if on_block is not None:
                on_block(played)
            if self._stopped:
                break
        return played

    def _play(self, block: Block, tap: Tap, pace: _Pace, played: Played) -> None:
        view = memoryview(block.data)
        fits = [entry.linktype in self._fits for entry in tap.interfaces]
        columns = (block.offset, block.caplen, block.wirelen, block.ts, block.iface)
        for start, caplen, wirelen, ts, iface in zip(*(column.tolist() for column in columns), strict=True):
            if not fits[iface]:
                played.skipped += 1
                continue
            played.late_ns = max(played.late_ns, self._wait(pace.due(ts)))
            if self._stopped:
                return
            if self._send(view[start : start + caplen], played):
                played.cut += caplen < wirelen

    def _wait(self, due: int) -> int:
        """Wait until `due` (monotonic ns; 0: now); returns how late it is."""
        while due and not self._stopped:
            left = due - time.monotonic_ns()
            if left <= _SLACK_NS:
                return max(0, -left)
            time.sleep(min(left / 1e9, _NAP))
        return 0

    def _send(self, packet: memoryview, played: Played) -> bool:
        while not self._stopped:
            try:
                self._socket.send(packet)
            except OSError as error:
                if error.errno in _FULL:
                    time.sleep(0.0005)
                    continue
                played.refused[error.strerror or str(error.errno)] += 1
                return False
            played.sent += 1
            played.octets += len(packet)
            return True
        return False

    def stop(self) -> None:
        """End after the packet that is out; for signal handlers and other threads."""
        self._stopped = True

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class _Pace:
    """When each packet is due, on the monotonic clock (ns)."""

    def __init__(self, speed: float | None, longest_gap: float | None) -> None:
        self.speed = speed
        self.longest = None if longest_gap is None else int(longest_gap * 1e9)
        self.last_ts: int | None = None
        self.last_due = 0

    def due(self, ts: int) -> int:
        """Monotonic time at which the packet of time `ts` is due, 0: at once."""
        if self.speed is None:
            return 0
        if self.last_ts is None:
            self.last_ts, self.last_due = ts, time.monotonic_ns()
            return self.last_due
        gap = max(0, int((ts - self.last_ts) / self.speed))  # packets out of order leave in file order
        if self.longest is not None:
            gap = min(gap, self.longest)
        self.last_ts = max(ts, self.last_ts)
        self.last_due += gap
        return self.last_due
