"""Signatures of name services: DNS over UDP and TCP, mDNS, LLMNR, NetBIOS names and datagrams (RFC 1035, 6762, 4795,
1002). One form, told apart by port and by the shape of the first name."""

from __future__ import annotations

from packhound.net.signatures.apps import App
from packhound.net.signatures.look import Found, Look, netbios_name, u16

_MAX_NAME = 255
_HEADER = 12
_BY_PORT = (53, App.DNS), (5353, App.MDNS), (5355, App.LLMNR)


def name_end(p: bytes, at: int) -> int:
    """Index after the name at `at` (a pointer ends it), 0 when there is none."""
    start = at
    while at < len(p) and at - start < _MAX_NAME:
        size = p[at]
        if size == 0:
            return at + 1
        if size >= 0xC0:
            return at + 2 if at > start and at + 2 <= len(p) else 0
        if size > 63:
            return 0
        at += 1 + size
    return 0


def dns_like(p: bytes, start: int) -> bool:
    """Tell whether `p[start:]` reads as a DNS message: flags and counts that occur, a first question or answer that
    lies inside it."""
    if start + _HEADER > len(p):
        return False
    flags, questions = u16(p, start + 2), u16(p, start + 4)
    answers, authority, extra = u16(p, start + 6), u16(p, start + 8), u16(p, start + 10)
    response, opcode, rcode = flags & 0x8000, flags >> 11 & 15, flags & 15
    if flags & 0x40 or opcode not in {0, 1, 2, 4, 5, 6, 7, 8} or rcode > 11:
        return False
    if questions > 64 or answers > 512 or authority > 512 or extra > 512:
        return False
    if not response and (rcode or (answers and opcode == 0 and questions == 0)):
        return False
    at = name_end(p, start + _HEADER)
    if at <= 0 or at + 4 > len(p):
        return False
    if questions == 0 and not (response and opcode == 0 and answers and at + 10 <= len(p)):
        return False
    return u16(p, at) != 0 and u16(p, at + 2) & 0x7FFF in {1, 3, 4, 254, 255}


def dns_tcp(look: Look) -> Found | None:
    """RFC 1035 section 4.2.2: a length, then a message; on port 53 it may go on in the next segment, or another
    message may follow."""
    p = look.p
    if len(p) < _HEADER + 7 or not dns_like(p, 2):
        return None
    if look.port(53):
        return Found(App.DNS, 95)
    if u16(p, 0) != len(p) - 2:
        return None
    return Found(App.LLMNR, 95) if look.port(5355) else Found(App.DNS, 80)


def dns_udp(look: Look) -> Found | None:
    """A DNS message and which service it belongs to."""
    p = look.p
    if not dns_like(p, 0):
        return _dns_rest(look)
    if look.port(53):
        return Found(App.DNS, 95)
    if look.port(5353):
        return Found(App.MDNS, 95)
    if look.port(5355):
        return Found(App.LLMNR, 95)
    if netbios_name(p, _HEADER) or look.port(137):
        return Found(App.NBNS, 95)
    return Found(App.DNS, 80)


def _dns_rest(look: Look) -> Found | None:
    """What only a port makes likely: an error that is all header, a question whatever its flags and class, and NetBIOS
    operations that DNS does not have."""
    p = look.p
    if len(p) < _HEADER:
        return None
    if look.port(53) and len(p) == _HEADER and p[2] & 0x80 and not p[3] & 0x40 and not any(p[4:]):
        return Found(App.DNS, 80)
    if 1 <= u16(p, 4) <= 4 and max(u16(p, 6), u16(p, 8), u16(p, 10)) <= 512:
        app = next((app for port, app in _BY_PORT if look.port(port)), None)
        at = name_end(p, _HEADER) if app else 0
        if app and at and at + 4 <= len(p):
            return Found(app, 70)
    if look.port(137) and netbios_name(p, _HEADER) and not p[3] & 0x60:
        return Found(App.NBNS, 90)
    return None


def nbdgm(look: Look) -> Found | None:
    """RFC 1002 section 4.4: a datagram with source and destination names."""
    p = look.p
    if len(p) >= 48 and 0x10 <= p[0] <= 0x12 and p[1] < 16 and netbios_name(p, 14):
        return Found(App.NBDGM, 95)
    return None
