"""OpenVPN over UDP and TCP: the TLS handshake inside its control channel, message by message in their order.

Promise: holds at most `MAX_WAITING` messages a direction and what TLS holds; never raises.
"""

from __future__ import annotations

from packhound.net import openvpn
from packhound.net.facts import Fact, Malformed
from packhound.net.sessions.infra_streams import Framed
from packhound.net.sessions.tls import TlsStream, starts_hello

MAX_WAITING = 16
MAX_PACKET = 4096  # a control message is smaller; of what is larger the rest is passed over


class OpenVpnDatagrams:
    """Packets of both directions; `done` when the handshake has no more in the clear."""

    __slots__ = ("_authenticated", "_next", "_tls", "_waiting", "done")

    def __init__(self, *, max_bytes: int) -> None:
        self._tls = TlsStream(max_bytes=max_bytes)
        self._authenticated: int | None = None  # bytes of authentication in every packet; None: not known yet
        self._next: list[int | None] = [None, None]
        self._waiting: tuple[dict[int, bytes], dict[int, bytes]] = ({}, {})
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read one packet."""
        message = self._message(data)
        if message is None:
            return []
        after = self._next[direction]
        if after is None:
            if not starts_hello(message.data):
                return []
            after = message.number
        waiting = self._waiting[direction]
        if message.number >= after and len(waiting) < MAX_WAITING:
            waiting.setdefault(message.number, message.data)
        found: list[Fact | Malformed] = []
        while after in waiting:
            found += self._tls.feed(direction, waiting.pop(after), now=now)
            after += 1
        self._next[direction] = after
        self.done = self._tls.done
        return found

    def gap(self, direction: int, size: int) -> None:
        """A lost message is sent again."""

    def _message(self, data: bytes) -> openvpn.Control | None:
        """The control message of a packet; the first hello tells how packets are authenticated."""
        if self._authenticated is not None:
            return openvpn.control(data, self._authenticated)
        for size in openvpn.AUTHENTICATED:
            message = openvpn.control(data, size)
            if message is not None and starts_hello(message.data):
                self._authenticated = size
                return message
        return None


class OpenVpnStream:
    """The same over TCP, each packet behind its length."""

    __slots__ = ("_framed", "_packets", "done")

    def __init__(self, *, max_bytes: int) -> None:
        self._packets = OpenVpnDatagrams(max_bytes=max_bytes)
        self._framed = Framed("OpenVPN", openvpn.packet_size, self._packet, keep=min(max_bytes, MAX_PACKET))
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read the next bytes of one direction."""
        found = self._framed.feed(direction, data, now=now)
        self.done = self._packets.done or self._framed.done
        return found

    def gap(self, direction: int, size: int) -> None:
        """Wait for the start of a packet."""
        self._framed.gap(direction, size)

    def _packet(self, direction: int, packet: bytes) -> list[Fact | Malformed]:
        return self._packets.feed(direction, packet[2:], now=0)
