"""Transport headers of the innermost packet: ports, TCP fields, ICMP types, where the payload lies.

Promise: ports are filled as soon as their four bytes are there (`Frame.l4` says so), even when the rest of the header
is cut or wrong. RFC 9293, 768, 3828 (UDP-Lite), 9260 (SCTP), 4340 (DCCP), 792, 4443; ICMP "ports" by the Community
ID convention.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from packhound.net import tunnels
from packhound.net.decoded import Cursor, Layer, Status
from packhound.net.ip import set_payload

ICMP, IPIP, TCP, UDP, IP6_IN_IP, GRE, ICMPV6, ETHERNET_IN_IP = 1, 4, 6, 17, 41, 47, 58, 97
DCCP, PIM, SCTP, UDPLITE, MPLS_IN_IP = 33, 103, 132, 136, 137

ICMP_COUNTERPART: Final = MappingProxyType({0: 8, 8: 0, 9: 10, 10: 9, 13: 14, 14: 13, 15: 16, 16: 15, 17: 18, 18: 17})
ICMPV6_COUNTERPART: Final = MappingProxyType(
    {
        request: reply
        for a, b in ((128, 129), (130, 131), (133, 134), (135, 136), (139, 140), (144, 145))
        for request, reply in ((a, b), (b, a))
    }
)


def transport(c: Cursor) -> None:
    """Read the transport header that `Cursor.number` announces; what has no reader is all payload."""
    number = c.number
    if number == TCP:
        _tcp(c)
    elif number == UDP:
        _udp(c)
    elif number in (ICMP, ICMPV6):
        _icmp(c, ICMP_COUNTERPART if number == ICMP else ICMPV6_COUNTERPART)
    elif number in (SCTP, DCCP):
        if _ports(c, header=12):
            c.stop(Status.OK)
    elif number == UDPLITE:
        if _ports(c, header=8):
            c.stop(Status.OK)
    else:
        c.frame.l4 = c.off
        set_payload(c, c.off)
        _tunnel(c, number)


def _tunnel(c: Cursor, number: int) -> None:
    """Go into what an IP protocol carries, or end: the packet is what it is."""
    if number in (IPIP, IP6_IN_IP):
        tunnels.inside(c, Layer.IP, off=c.off)
    elif number == GRE:
        tunnels.inside(c, Layer.GRE, off=c.off)
    elif number == ETHERNET_IN_IP:
        tunnels.inside(c, Layer.ETHERNET, off=c.off + 2)
    elif number == PIM:
        tunnels.pim(c)
    elif number == MPLS_IN_IP:
        tunnels.inside(c, Layer.MPLS, off=c.off)
    else:
        c.stop(Status.OK)


def _ports(c: Cursor, *, header: int) -> bool:
    """Fill ports, then the payload behind `header` bytes; False (and stopped) when the header is not all there."""
    frame = c.frame
    if not c.need(4):
        return False
    frame.sport, frame.dport, frame.l4 = c.u16(c.off), c.u16(c.off + 2), c.off
    if not c.need(header):
        return False
    set_payload(c, c.off + header)
    return True


def _reject(c: Cursor) -> None:
    """End as MALFORMED: the ports hold, but nothing says where a payload would begin or end."""
    c.frame.payload = c.frame.payload_len = c.frame.payload_wire = 0
    c.stop(Status.MALFORMED)


def _tcp(c: Cursor) -> None:
    if not _ports(c, header=20):
        return
    frame, off = c.frame, c.off
    size = (c.data[off + 12] >> 4) * 4
    if size < 20 or off + size > c.wire:
        _reject(c)
        return
    frame.seq, frame.ack = c.u32(off + 4), c.u32(off + 8)
    frame.tcp_flags, frame.window = c.data[off + 13], c.u16(off + 14)
    set_payload(c, off + size)
    c.stop(Status.OK)


def _udp(c: Cursor) -> None:
    """Length 0 is a jumbogram or what offload leaves: the datagram then ends with its IP packet."""
    if not _ports(c, header=8):
        return
    size = c.u16(c.off + 4)
    if size and (size < 8 or c.off + size > c.wire):
        _reject(c)
        return
    if size:
        c.limit(size)
        set_payload(c, c.off + 8)
    frame, ports = c.frame, c.config.tunnel_ports
    if frame.dport in ports or frame.sport in ports:
        tunnels.over_udp(c)
    else:
        c.stop(Status.OK)


def _icmp(c: Cursor, counterparts: Mapping[int, int]) -> None:
    if not c.need(4):
        return
    frame, off = c.frame, c.off
    frame.icmp_type, frame.icmp_code = c.data[off], c.data[off + 1]
    frame.sport, frame.l4 = frame.icmp_type, off
    frame.dport = counterparts.get(frame.icmp_type, frame.icmp_code)
    set_payload(c, off + 8)
    c.stop(Status.OK)
