"""STUN, DTLS and media that share one UDP port, told apart by their first byte (RFC 7983).

Promise: bounded work per datagram; media counts from the second packet of a source, as single packets of noise may look
like it; never raises.
"""

from __future__ import annotations

from packhound.net import stun
from packhound.net.facts import Fact, Malformed
from packhound.net.sessions.datagrams import MediaDatagrams
from packhound.net.sessions.tls import DtlsDatagrams

FIRST_DTLS, AFTER_DTLS, FIRST_MEDIA, AFTER_MEDIA = 20, 64, 128, 192


class SharedPort:
    """A flow that begins as STUN or DTLS; what else it carries is read too."""

    __slots__ = ("_alone", "_dtls", "_media", "_source", "done")

    def __init__(self, *, max_bytes: int) -> None:
        self._dtls = DtlsDatagrams(max_bytes=max_bytes)
        self._media = MediaDatagrams()
        self._source: list[bytes | None] = [None, None]
        self._alone = True  # nothing but DTLS was seen
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read one datagram."""
        if not data:
            return []
        if data[0] < FIRST_DTLS:
            self._alone = False
            return stun.stun_facts(data)
        if data[0] < AFTER_DTLS:
            found = self._dtls.feed(direction, data, now=now)
            self.done = self._alone and self._dtls.done
            return found
        return self._media_packet(direction, data, now) if FIRST_MEDIA <= data[0] < AFTER_MEDIA else []

    def gap(self, direction: int, size: int) -> None:
        """Datagrams have no gaps."""

    def _media_packet(self, direction: int, data: bytes, now: int) -> list[Fact | Malformed]:
        source, before = data[8:12], self._source[direction]
        self._source[direction] = source
        return self._media.feed(direction, data, now=now) if len(source) == 4 and source == before else []
