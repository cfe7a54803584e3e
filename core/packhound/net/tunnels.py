"""What carries packets inside IP: GRE, ERSPAN and PIM Register, and over UDP VXLAN, Geneve, GTP-U, Teredo and AYIYA.

Promise: nothing is lost. Before going inside, the carrying packet is kept (`Cursor.outer`); when no IP packet is found
inside, it is what the frame reports. RFC 2784, 2890, 2637 (PPTP), draft-foschiano-erspan, RFC 7348, 8926,
3GPP TS 29.281, RFC 4380, draft-massar-v6ops-ayiya.
"""

from __future__ import annotations

from dataclasses import replace

from packhound.net.decoded import MAX_TAGS, Cursor, Layer, Status
from packhound.net.encapsulation import IPV4, IPV6

CHECKSUM, ROUTING, KEY, SEQUENCE, ACKNOWLEDGED = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080
ERSPAN_2, ERSPAN_3, WCCP, PPTP = 0x88BE, 0x22EB, 0x883E, 0x880B
ARUBA_WLAN = 0x8200
"""0x8200 to 0x83f0 in steps of 0x10: one number per access point interface."""
G_PDU = 255
PIM_REGISTER = 0x21
"""Version 2, type 1."""
FORWARD, IPIP, IPV6_IN_IP = 1, 4, 41


def inside(c: Cursor, layer: Layer, *, off: int, tenant: int = 0) -> None:
    """Keep the packet read so far as the one to report if nothing is found inside, and go on inside it."""
    if c.frame.depth >= c.config.max_depth:
        c.stop(Status.UNSUPPORTED)
        return
    c.outer = replace(c.frame)
    c.frame.tenant = tenant or c.frame.tenant
    c.enter(layer, off=off)


def pim(c: Cursor) -> None:
    """Enter the packet that a PIM Register carries to its rendezvous point (RFC 7761 section 4.9.3)."""
    if c.off + 8 < c.end and c.data[c.off] == PIM_REGISTER:
        inside(c, Layer.IP, off=c.off + 8)
    else:
        c.stop(Status.OK)


def gre(c: Cursor) -> None:
    """Read a GRE header, version 0 or 1 (PPTP)."""
    if not c.need(4):
        return
    flags, number = c.u16(c.off), c.u16(c.off + 2)
    version = flags & 7
    size = 4
    if version == 0:
        if flags & ROUTING:
            c.stop(Status.NOT_IP)
            return
        size += 4 * (bool(flags & CHECKSUM) + bool(flags & KEY) + bool(flags & SEQUENCE))
    elif version == 1 and number == PPTP:
        size += 4 + 4 * (bool(flags & SEQUENCE) + bool(flags & ACKNOWLEDGED))
    else:
        c.stop(Status.NOT_IP)
        return
    if c.need(size):
        c.off += size
        _gre_payload(c, flags, number)


def _gre_payload(c: Cursor, flags: int, number: int) -> None:
    if number == PPTP:
        c.layer = Layer.PPP
    elif number == 0x6558:
        c.layer = Layer.ETHERNET
    elif number & 0xFE0F == ARUBA_WLAN:
        c.layer = Layer.WLAN
    elif number == ERSPAN_2:
        # Type I has neither a sequence number nor a header of its own.
        c.go(Layer.ETHERNET, off=c.off + (8 if flags & SEQUENCE else 0))
    elif number == ERSPAN_3:
        if c.need(12):
            optional = 8 if c.data[c.off + 11] & 1 else 0
            c.go(Layer.ETHERNET, off=c.off + 12 + optional)
    elif number == WCCP:
        # WCCPv2 puts four bytes before the redirected packet, version 1 does not.
        if c.need(1):
            c.go(Layer.IP, off=c.off if c.data[c.off] >> 4 == 4 else c.off + 4)
    else:
        c.go(Layer.ETHERTYPE, off=c.off, number=number)


def over_udp(c: Cursor) -> None:
    """Try the tunnels of the ports in use, in a fixed order; the first whose header fits is entered, else OK."""
    ports = {c.frame.sport, c.frame.dport}
    config = c.config
    c.off += 8
    found = (
        (not ports.isdisjoint(config.vxlan_ports) and _vxlan(c))
        or (not ports.isdisjoint(config.geneve_ports) and _geneve(c))
        or (not ports.isdisjoint(config.gtpu_ports) and _gtpu(c))
        or (not ports.isdisjoint(config.teredo_ports) and _teredo(c))
        or (not ports.isdisjoint(config.ayiya_ports) and _ayiya(c))
    )
    if not found:
        c.stop(Status.OK)


def _vxlan(c: Cursor) -> bool:
    if c.off + 8 > c.end or not c.data[c.off] & 0x08:
        return False
    vni = c.u32(c.off + 4) >> 8
    inside(c, Layer.ETHERNET, off=c.off + 8, tenant=vni + 1)
    return True


def _geneve(c: Cursor) -> bool:
    if c.off + 8 > c.end or c.data[c.off] >> 6:
        return False
    number, vni = c.u16(c.off + 2), c.u32(c.off + 4) >> 8
    if number not in (IPV4, IPV6, 0x6558):
        return False
    header = 8 + (c.data[c.off] & 0x3F) * 4
    layer = Layer.ETHERNET if number == 0x6558 else Layer.IP
    inside(c, layer, off=c.off + header, tenant=vni + 1)
    return True


def _gtpu(c: Cursor) -> bool:
    """Enter a G-PDU of GTP version 1: 8 bytes, 4 more when any of E, S, PN is set, then extension headers."""
    if c.off + 8 > c.end:
        return False
    flags = c.data[c.off]
    if flags >> 4 != 0b0011 or c.data[c.off + 1] != G_PDU:
        return False
    at = c.off + 8
    if flags & 0x07:
        at += 4
        following = c.data[at - 1] if at <= c.end and flags & 0x04 else 0
        for _ in range(MAX_TAGS):
            if not following:
                break
            if at >= c.end or not c.data[at]:
                return False
            at += c.data[at] * 4
            if at > c.end:
                return False
            following = c.data[at - 1]
        if following:
            return False
    if at >= c.end or c.data[at] >> 4 not in (4, 6):
        return False
    inside(c, Layer.IP, off=at)
    return True


def _teredo(c: Cursor) -> bool:
    """Enter IPv6 whose length fits the datagram exactly, behind optional authentication and origin indications."""
    at = c.off
    if at + 4 <= c.end and c.u16(at) == 0x0001:
        at += 4 + c.data[at + 2] + c.data[at + 3] + 9
    if at + 2 <= c.end and c.u16(at) == 0:
        at += 8
    if at + 40 > c.end or c.data[at] >> 4 != 6 or at + 40 + c.u16(at + 4) != c.wire:
        return False
    inside(c, Layer.IP, off=at)
    return True


def _ayiya(c: Cursor) -> bool:
    """Enter a packet to forward: header, epoch, identity (a power of two of bytes) and signature (whole words)."""
    if c.off + 8 > c.end or c.data[c.off + 2] & 15 != FORWARD:
        return False
    first, number = c.data[c.off], c.data[c.off + 3]
    at = c.off + 8 + (1 << (first >> 4)) + (c.data[c.off + 1] >> 4) * 4
    if number not in (IPIP, IPV6_IN_IP) or at >= c.end or c.data[at] >> 4 != (4 if number == IPIP else 6):
        return False
    inside(c, Layer.IP, off=at)
    return True
