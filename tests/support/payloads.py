"""Payload packets of the corpus by flow, as detection sees them, and a verdict per flow."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from packhound.net.detect import GIVE_UP_AFTER, UNDECIDED, Verdict, detect
from packhound.sensor.tap.errors import TapError
from tests.support.corpus import CORPUS, captures
from tests.support.dissected import Packet, packets

SYN, SYN_ACK = 2, 18
End = tuple[bytes, int]


class Spoken(NamedTuple):
    """One payload packet: what `detect` is asked."""

    data: bytes
    sport: int
    dport: int
    direction: int


class Talk(NamedTuple):
    """One flow: IP protocol, its ends (initiator first), its first payload packets."""

    proto: int
    ends: tuple[End, End]
    spoken: tuple[Spoken, ...]


@cache
def talks(name: str, most: int = GIVE_UP_AFTER) -> tuple[Talk, ...]:
    """The flows of a capture with at most `most` payload packets each; none when it cannot be read."""
    flows: dict[tuple[int, int, frozenset[End]], tuple[list[End], list[tuple[End, Packet]]]] = {}
    try:
        for packet in packets(str(CORPUS / name)):
            f = packet.frame
            if not f.l4:
                continue
            size = 4 if f.ip_version == 4 else 16
            src, dst = (f.src[:size], f.sport), (f.dst[:size], f.dport)
            ends, spoken = flows.setdefault((f.proto, f.tenant, frozenset((src, dst))), ([src, dst], []))
            if f.proto == 6 and f.tcp_flags & SYN_ACK in (SYN, SYN_ACK) and not spoken:
                ends[:] = [src, dst] if f.tcp_flags & SYN_ACK == SYN else [dst, src]
            if f.payload_len and len(spoken) < most:
                spoken.append((src, packet))
    except TapError:
        return ()
    return tuple(_talk(key[0], ends, spoken) for key, (ends, spoken) in flows.items())


def _talk(proto: int, ends: list[End], spoken: list[tuple[End, Packet]]) -> Talk:
    said = []
    for src, packet in spoken:
        f = packet.frame
        data = packet.data[f.payload : f.payload + f.payload_len]
        said.append(Spoken(data, f.sport, f.dport, int(src != ends[0])))
    return Talk(proto, (ends[0], ends[1]), tuple(said))


def every_talk() -> Iterator[tuple[str, Talk]]:
    """Every flow of the corpus, with the capture it is in."""
    for name in captures():
        for talk in talks(name):
            yield name, talk


def verdict(talk: Talk) -> Verdict:
    """What detection makes of a flow."""
    scratch = [0, 0, 0, 0]
    for count, each in enumerate(talk.spoken[:GIVE_UP_AFTER], 1):
        found = detect(
            each.data, proto=talk.proto, sport=each.sport, dport=each.dport, direction=each.direction, scratch=scratch,
            payload_packets=count,
        )  # fmt: skip
        if found.app:
            return found
    return UNDECIDED
