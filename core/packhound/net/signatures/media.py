"""Signatures of real-time media: STUN, TURN, RTP, RTCP (RFC 8489, 3489, 8656, 3550, 3551, 5761)."""

from __future__ import annotations

from packhound.net.signatures.apps import App
from packhound.net.signatures.look import TWO_PACKETS, Found, Look, u16, u32

_COOKIE = 0x2112A442
_TURN_METHODS = (3, 4, 6, 7, 8, 9)
_SEEN = 0x80000000
_FEEDBACK = 0x40000000
_TS_SHIFT, _TS_MASK, _TS_NEAR = 17, 0x7FFF, 16  # 2^21 ticks: 23 s of video, minutes of voice
_SEQ_NEAR = 64


def stun(look: Look) -> Found | None:
    """A message with the magic cookie; before it existed, one whose attributes fill the datagram exactly."""
    return _stun(look, 0)


def stun_tcp(look: Look) -> Found | None:
    """With the cookie only; RFC 4571 puts a length before it where media shares the stream."""
    p = look.p
    if len(p) >= 8 and u32(p, 4) == _COOKIE:
        return _stun(look, 0)
    return _stun(look, 2) if len(p) >= 22 and u16(p, 0) == len(p) - 2 and u32(p, 6) == _COOKIE else None


def _stun(look: Look, start: int) -> Found | None:
    p = look.p
    n = len(p) - start
    if n < 20 or p[start] > 3:
        return None
    kind, size = u16(p, start), u16(p, start + 2)
    if size % 4 or size + 20 > n:
        return None
    method = kind & 15 | (kind & 0xE0) >> 1 | (kind & 0x3E00) >> 2
    if u32(p, start + 4) == _COOKIE:
        return Found(App.TURN if method in _TURN_METHODS else App.STUN, 95)
    if kind not in {1, 0x101, 0x111} or size + 20 != n or start:
        return None
    if look.port(3478) or look.port(3479):
        return Found(App.STUN, 80)
    return Found(App.STUN, 80) if size and _attributes(p) else None


def _attributes(p: bytes) -> bool:
    at = 20
    while at + 4 <= len(p):
        kind, size = u16(p, at), u16(p, at + 2)
        if not (0 < kind <= 0x30 or 0x8000 <= kind <= 0x8080) or size > 763:
            return False
        at += 4 + (size + 3 & ~3)
    return at == len(p)


def rtcp(look: Look) -> Found | None:
    """A report whose length fits its count of blocks (what follows may be encrypted); feedback without a report
    (RFC 5506) takes two packets of one source."""
    p = look.p
    n = len(p)
    if look.sport < 1024 or look.dport < 1024 or n < 8 or p[0] >> 6 != 2 or not 200 <= p[1] <= 207:
        return None
    words, needed = u16(p, 2), 6 * (p[0] & 31) + (6 if p[1] == 200 else 1)
    if p[1] <= 201:
        if words >= needed and _compound(p):
            return Found(App.RTCP, 90)
        return Found(App.RTCP, 80) if words == needed and 4 * (words + 1) <= n else None
    if not _compound(p):
        return None
    slot, source = 2 * (look.direction & 1), u32(p, 4)
    if look.scratch[slot + 1] == _FEEDBACK and look.scratch[slot] == source:
        return Found(App.RTCP, 85, TWO_PACKETS)
    look.scratch[slot], look.scratch[slot + 1] = source, _FEEDBACK
    return None


def _compound(p: bytes) -> bool:
    at = 0
    while at + 4 <= len(p):
        if p[at] >> 6 != 2 or not 200 <= p[at + 1] <= 207:
            return False
        at += 4 * (u16(p, at + 2) + 1)
    return at == len(p)


def rtp(look: Look) -> Found | None:
    """Two packets of one source in one direction with neighbouring sequence numbers and times not far apart."""
    p = look.p
    n = len(p)
    if look.sport < 1024 or look.dport < 1024 or n < 12 or p[0] >> 6 != 2:
        return None
    kind = p[1] & 0x7F
    if n < 12 + 4 * (p[0] & 15) or 34 < kind < 96:
        return None
    source, sequence, time = u32(p, 8), u16(p, 2), u32(p, 4) >> _TS_SHIFT & _TS_MASK
    slot = 2 * (look.direction & 1)
    before = look.scratch[slot + 1]
    if before & _SEEN and source and look.scratch[slot] == source:
        step = (sequence - before) & 0xFFFF
        drift = (time - (before >> 16) + _TS_NEAR) & _TS_MASK
        if 0 < step < _SEQ_NEAR and drift <= 2 * _TS_NEAR:
            return Found(App.RTP, 90, TWO_PACKETS)
    look.scratch[slot], look.scratch[slot + 1] = source, _SEEN | time << 16 | sequence
    return None
