"""Infrastructure protocols whose every datagram stands alone: DHCP, SNMP, NTP and their like over UDP.

Promise: bounded work per datagram, nothing kept between two; never raises.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from packhound.net.facts import Fact, Malformed

Reader = Callable[[bytes], Sequence[Fact | Malformed]]


class Datagrams:
    """A flow of datagrams that `read` turns into facts one by one."""

    __slots__ = ("_read", "done")

    def __init__(self, read: Reader) -> None:
        self._read = read
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read one datagram."""
        return list(self._read(data)) if data else []

    def gap(self, direction: int, size: int) -> None:
        """Datagrams have no gaps."""
