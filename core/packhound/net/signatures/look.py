"""What a signature looks at and what it answers, and the bounded reads that several of them share."""

from __future__ import annotations

from typing import NamedTuple

FIRST_LINE = 1024  # bytes of a payload in which a line must end to count as whole
CONTENT, TWO_PACKETS = 1, 2  # `Verdict.method`

# scratch[0] of a TCP flow: what the packets before said that was not enough
(
    SAID_NOTHING, SAID_220, SAID_OK, SAID_STAR, SAID_NICK, SAID_SOCKS, SAID_NETBIOS, SAID_TELNET, SAID_PING,
) = range(9)  # fmt: skip


class Look(NamedTuple):
    """One payload packet: `p` its bytes (never empty), ports as on the wire, direction 0 from the initiator; `scratch`
    is the flow's memory, written in place."""

    p: bytes
    sport: int
    dport: int
    direction: int
    scratch: list[int]

    def port(self, number: int) -> bool:
        """Tell whether either side uses this port."""
        return self.sport == number or self.dport == number


class Found(NamedTuple):
    """App id, confidence in per cent, method."""

    app: int
    confidence: int
    method: int = CONTENT


def u16(p: bytes, at: int) -> int:
    """Big-endian; the caller has checked the bounds."""
    return p[at] << 8 | p[at + 1]


def u24(p: bytes, at: int) -> int:
    """Big-endian; the caller has checked the bounds."""
    return p[at] << 16 | p[at + 1] << 8 | p[at + 2]


def u32(p: bytes, at: int) -> int:
    """Big-endian; the caller has checked the bounds."""
    return p[at] << 24 | p[at + 1] << 16 | p[at + 2] << 8 | p[at + 3]


def u32le(p: bytes, at: int) -> int:
    """Little-endian; the caller has checked the bounds."""
    return p[at] | p[at + 1] << 8 | p[at + 2] << 16 | p[at + 3] << 24


def first_line(p: bytes) -> tuple[bytes, bool]:
    """The first line without its end, and whether the end is there (within `FIRST_LINE` bytes)."""
    head = p[:FIRST_LINE]
    end = head.find(b"\n")
    if end < 0:
        return head, False
    return head[: end - 1 if end and head[end - 1] == 13 else end], True


def ber_length(p: bytes, at: int) -> tuple[int, int]:
    """The BER length at `at` (definite form, up to four octets) and the index after it; index 0 when there is none."""
    if at >= len(p):
        return 0, 0
    first = p[at]
    if first < 0x80:
        return first, at + 1
    size = first & 0x7F
    if not 1 <= size <= 4 or at + 1 + size > len(p):
        return 0, 0
    length = 0
    for octet in p[at + 1 : at + 1 + size]:
        length = length << 8 | octet
    return length, at + 1 + size


def netbios_name(p: bytes, at: int) -> bool:
    """Tell whether a first-level encoded NetBIOS name (RFC 1001 section 14.1) starts at `at`."""
    return at + 34 <= len(p) and p[at] == 32 and all(65 <= octet <= 80 for octet in p[at + 1 : at + 33])


def printable(p: bytes, start: int, end: int) -> bool:
    """Tell whether `p[start:end]`, which lies inside `p`, is printable ASCII."""
    return all(32 <= octet <= 126 for octet in p[start:end])
