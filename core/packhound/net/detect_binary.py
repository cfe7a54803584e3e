"""Signatures of protocols that speak in bytes: TLS, DTLS, DNS and its kin, QUIC, STUN, NTP, DHCP, BGP, RTP, RTCP.

Promise: pure; every index is checked against the payload's end. Portable side of kernel/_detect_binary.pxi.
"""

from __future__ import annotations

DNS, MDNS, LLMNR, NBNS, TLS, DTLS, QUIC, RTP, RTCP, STUN, NTP, DHCP, BGP = 1, 2, 3, 4, 5, 6, 7, 10, 11, 18, 19, 20, 22
CONTENT, TWO_PACKETS = 1, 2
MAX_RECORD = 16384 + 2048  # RFC 5246 section 6.2.3
MAX_NAME = 255
RTP_SEEN = 0x10000

Found = tuple[int, int, int]


def _u16(p: bytes, at: int) -> int:
    return p[at] << 8 | p[at + 1]


def _u32(p: bytes, at: int) -> int:
    return p[at] << 24 | p[at + 1] << 16 | p[at + 2] << 8 | p[at + 3]


def over_tcp(p: bytes, sport: int, dport: int) -> Found | None:
    """TLS, BGP, DNS."""
    n = len(p)
    if n >= 6 and p[0] == 0x16 and p[1] == 3 and p[2] <= 4 and 4 <= _u16(p, 3) <= MAX_RECORD and p[5] in (1, 2):
        return TLS, 95, CONTENT
    if n >= 19 and p[:16] == b"\xff" * 16 and 19 <= _u16(p, 16) <= 4096 and 1 <= p[18] <= 5:
        return BGP, 95, CONTENT
    if n >= 14 and _u16(p, 0) == n - 2 and dns_like(p[2:]):
        return DNS, 95 if 53 in (sport, dport) else 80, CONTENT
    return None


def over_udp(p: bytes, sport: int, dport: int) -> Found | None:
    """Everything over UDP that one packet decides, but for what speaks in lines."""
    n = len(p)
    if n >= 20 and p[0] < 4 and _u32(p, 4) == 0x2112A442 and _u16(p, 2) % 4 == 0 and _u16(p, 2) + 20 <= n:
        return STUN, 95, CONTENT
    if n >= 13 and p[0] == 22 and p[1] == 0xFE and p[2] in (0xFF, 0xFD, 0xFC) and 12 <= _u16(p, 11) <= n - 13:
        return DTLS, 95, CONTENT
    if n >= 240 and p[0] in (1, 2) and _u32(p, 236) == 0x63825363:
        return DHCP, 95, CONTENT
    if quic_like(p):
        return QUIC, 95, CONTENT
    if n >= 12 and dns_like(p):
        return _dns_kin(p, sport, dport)
    if n >= 48 and 123 in (sport, dport) and 1 <= p[0] >> 3 & 7 <= 4 and 1 <= p[0] & 7 <= 5:
        return NTP, 80, CONTENT
    return None


def _dns_kin(p: bytes, sport: int, dport: int) -> Found:
    if 5353 in (sport, dport):
        return MDNS, 95, CONTENT
    if 5355 in (sport, dport):
        return LLMNR, 95, CONTENT
    if len(p) >= 46 and p[12] == 32 and all(65 <= octet <= 80 for octet in p[13:45]):
        return NBNS, 95, CONTENT
    return DNS, 95 if 53 in (sport, dport) else 80, CONTENT


def dns_like(p: bytes) -> bool:
    """Tell whether `p` (at least 12 bytes) reads as a DNS message (RFC 1035): flags and counts that occur, a first
    question that lies inside it."""
    flags, questions = _u16(p, 2), _u16(p, 4)
    answers, authority, extra = _u16(p, 6), _u16(p, 8), _u16(p, 10)
    opcode = flags >> 11 & 15
    if flags & 0x40 or opcode not in (0, 4, 5, 6, 7, 8) or flags & 15 > 10:
        return False
    if questions > 16 or answers > 512 or authority > 512 or extra > 512:
        return False
    if not flags & 0x8000 and (flags & 15 or (answers and opcode == 0 and questions != 1 and not authority)):
        return False
    if questions == 0:
        return bool(flags & 0x8000 and opcode == 0 and answers and _name_end(p, 12) > 0)
    at = _name_end(p, 12)
    if at <= 0 or at + 4 > len(p):
        return False
    qtype, qclass = _u16(p, at), _u16(p, at + 2) & 0x7FFF
    return qtype != 0 and qclass in (1, 3, 4, 254, 255)


def _name_end(p: bytes, at: int) -> int:
    """Index after an uncompressed name at `at`, 0 when there is none."""
    start = at
    while at < len(p) and at - start < MAX_NAME:
        size = p[at]
        if size == 0:
            return at + 1
        if size > 63:
            return 0
        at += 1 + size
    return 0


def quic_like(p: bytes) -> bool:
    """Tell whether `p` is a QUIC long header packet of a known version (RFC 9000, 9369, drafts), or a Google QUIC
    packet that carries its version."""
    n = len(p)
    if n >= 13 and p[0] & 0x09 == 0x09 and p[0] < 0x40 and p[9] == 81 and p[10] == 48 and _digits(p, 11):
        return True
    if n < 7 or not p[0] & 0x80:
        return False
    version = _u32(p, 1)
    known = (
        version in (1, 0x6B3343CF)
        or version >> 8 == 0xFF0000
        or version >> 4 == 0xFACEB00
        or (p[1] in (81, 84) and p[2] == 48 and _digits(p, 3))
    )
    if not known or not p[0] & 0x40:
        return False
    return p[5] <= 20 or p[1] in (81, 84)


def _digits(p: bytes, at: int) -> bool:
    return 48 <= p[at] <= 57 and 48 <= p[at + 1] <= 57


def rtcp_like(p: bytes) -> bool:
    """Tell whether `p` is a compound RTCP packet: report, source description, bye, app or feedback (RFC 3550)."""
    n, at = len(p), 0
    if n < 8:
        return False
    while at + 4 <= n:
        if p[at] >> 6 != 2 or not 200 <= p[at + 1] <= 207:
            return at > 0 and at + 4 <= n and at >= 8  # an SRTCP trailer may follow
        at += 4 * (_u16(p, at + 2) + 1)
    return at == n or (at < n and at >= 8)


def media(p: bytes, sport: int, dport: int, direction: int, scratch: list[int]) -> Found | None:
    """RTCP by its form; RTP by two packets of one source with neighbouring sequence numbers (RFC 3550)."""
    n = len(p)
    if sport < 1024 or dport < 1024 or n < 8 or p[0] >> 6 != 2:
        return None
    if 200 <= p[1] <= 207:
        return (RTCP, 90, CONTENT) if rtcp_like(p) else None
    kind = p[1] & 0x7F
    if n < 12 + 4 * (p[0] & 15) or 34 < kind < 96:
        return None
    source, sequence = _u32(p, 8), _u16(p, 2)
    slot = 2 * (direction & 1)
    seen = scratch[slot + 1]
    if seen & RTP_SEEN and source and scratch[slot] == source and 0 < (sequence - seen) & 0xFFFF < 64:
        return RTP, 90, TWO_PACKETS
    scratch[slot], scratch[slot + 1] = source, RTP_SEEN | sequence
    return None
