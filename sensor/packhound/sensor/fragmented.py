"""Packets of IP fragments, kept until their datagram is whole.

Promise: pure but for the reassembler's state; every packet that enters leaves once, with its datagram or overdue.
"""

from __future__ import annotations

from collections.abc import Hashable

from packhound.net.facts import Malformed
from packhound.net.fragments import Reassembler
from packhound.net.frame import DecodeConfig, Frame, decode
from packhound.sensor.kept import Keep, Kept

RAW = 101
TIMEOUT = 30_000_000_000


def _key(f: Frame) -> Hashable:
    return f.ip_version, bytes(f.src), bytes(f.dst), f.frag_id, f.proto if f.ip_version == 4 else 0, f.tenant


class Fragmented:
    """Fragments in, whole datagrams (raw IP, link type `linktype`) out with the packets they came in."""

    linktype = RAW

    def __init__(self, reassembler: Reassembler, *, config: DecodeConfig | None = None) -> None:
        self._reassembler = reassembler
        self._config = config or DecodeConfig()
        self._keep = Keep(pile_bytes=256 * 1024, pile_packets=8192, total_bytes=16 * 1024 * 1024)

    @property
    def packets(self) -> int:
        """Packets waiting for the rest of their datagram."""
        return self._keep.packets + len(self._keep.given_up)

    def add(self, piece: Kept, *, linktype: int) -> tuple[bytes | None, list[Kept]]:
        """Take one fragment. A whole datagram comes with all its packets; without one, the packets returned are
        those that can belong to none (malformed, over budget) and must be settled alone."""
        frame = decode(piece.data, linktype=linktype, config=self._config)
        key = _key(frame)
        whole = self._reassembler.add(frame, piece.data, now=piece.ts)
        if isinstance(whole, Malformed):
            return None, [*self._keep.take(key), piece]
        if whole is not None:
            return whole, [*self._keep.take(key), piece]
        rest = [] if self._keep.add(key, piece) else [piece]
        return None, [*self._keep.released(), *rest]

    def overdue(self, now: int | None) -> list[Kept]:
        """Fragments whose datagram never came whole by `now` (ns); all that is left when `now` is None."""
        self._keep.age(1 << 62 if now is None else now - TIMEOUT)
        return list(self._keep.released())
