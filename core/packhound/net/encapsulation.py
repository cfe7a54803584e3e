"""Between the link header and IP: Ethernet, VLAN tags, LLC/SNAP, PPP, PPPoE, Cisco HDLC, MPLS.

Ethernet in Ethernet (802.1ah backbone, Cisco FabricPath) too.

Promise: each reader takes a `Cursor` at its header and leaves it at the next one, or stops it with a status. IEEE
802.1Q/ad/ah, RFC 1042, 1332/5072 (PPP), 2516 (PPPoE), 2427 and 2684 (NLPID), 3032 and 4448 (MPLS). Reads never pass
`Cursor.end`.
"""

from __future__ import annotations

from packhound.net.decoded import MAX_TAGS, Cursor, Layer, Status

IPV4, IPV6, ARP, RARP = 0x0800, 0x86DD, 0x0806, 0x8035
VLAN_TYPES = frozenset({0x8100, 0x88A8, 0x9100, 0x9200})
BARE_TYPES = frozenset({IPV4, IPV6, ARP, 0x8100, 0x88A8})
MPLS_TYPES = frozenset({0x8847, 0x8848})
BRIDGING, PPP, PPPOE, CISCO_METADATA = 0x6558, 0x880B, 0x8864, 0x8909
BACKBONE, FABRIC_PATH = 0x88E7, 0x8903
MAX_LENGTH_FIELD = 1500

PPP_IP = frozenset({0x0021, 0x0057})
PPP_MPLS = frozenset({0x0281, 0x0283})
NLPID_IP = frozenset({0xCC, 0x8E})
NLPID_SNAP, NLPID_PPP, NLPID_PAD = 0x80, 0xCF, 0x00


def ethernet(c: Cursor) -> None:
    """Read an Ethernet header: type or length."""
    if c.need(14):
        _type_or_length(c, c.u16(c.off + 12), c.off + 14)


def _type_or_length(c: Cursor, number: int, off: int) -> None:
    if number > MAX_LENGTH_FIELD:
        c.go(Layer.ETHERTYPE, off=off, number=number)
        return
    c.go(Layer.LLC, off=off)
    c.limit(number)


def ethertype(c: Cursor) -> None:
    """Follow one ethertype (`Cursor.number`) into what it announces."""
    number = c.frame.ethertype = c.number
    if number in (IPV4, IPV6):
        c.layer = Layer.IP
    elif number in VLAN_TYPES:
        _vlan(c)
    elif number in MPLS_TYPES:
        c.enter(Layer.MPLS, off=c.off)
    elif number == PPPOE:
        _pppoe(c)
    elif number == BRIDGING:
        c.enter(Layer.ETHERNET, off=c.off)
    elif number == PPP:
        c.enter(Layer.PPP, off=c.off)
    elif number in (BACKBONE, FABRIC_PATH):
        c.enter(Layer.ETHERNET, off=c.off + (4 if number == BACKBONE else 2))
    elif number == CISCO_METADATA:
        _cisco_metadata(c)
    else:
        if number in (ARP, RARP):
            c.frame.l3 = c.off
        c.stop(Status.NOT_IP)


def _vlan(c: Cursor) -> None:
    c.tags += 1
    if c.tags > MAX_TAGS:
        c.stop(Status.UNSUPPORTED)
    elif c.need(4):
        c.frame.vlan = c.frame.vlan or c.u16(c.off) & 0x0FFF
        _type_or_length(c, c.u16(c.off + 2), c.off + 4)


def _cisco_metadata(c: Cursor) -> None:
    """Skip a Cisco TrustSec tag: version, length, one option of 4 bytes, then the real ethertype."""
    c.tags += 1
    if c.tags > MAX_TAGS:
        c.stop(Status.UNSUPPORTED)
    elif c.need(8):
        _type_or_length(c, c.u16(c.off + 6), c.off + 8)


def _pppoe(c: Cursor) -> None:
    if not c.need(6):
        return
    if c.data[c.off] != 0x11:
        c.stop(Status.MALFORMED)
    elif c.data[c.off + 1] != 0:
        c.stop(Status.NOT_IP)
    else:
        size = c.u16(c.off + 4)
        c.enter(Layer.PPP, off=c.off + 6)
        c.limit(size)


def llc(c: Cursor) -> None:
    """Read an LLC header and SNAP behind it."""
    c.frame.ethertype = 0
    if not c.need(3):
        return
    head = bytes(c.data[c.off : c.off + 3])
    if head == b"\xaa\xaa\x03":
        snap(c, c.off + 3, pad=0)
    elif head == b"\x06\x06\x03":
        c.go(Layer.IP, off=c.off + 3)
    elif head == b"\xfe\xfe\x03":
        c.go(Layer.NLPID, off=c.off + 3)
    else:
        c.stop(Status.NOT_IP)


def snap(c: Cursor, off: int, *, pad: int) -> None:
    """Read OUI and protocol at `off`; `pad` bytes precede a bridged Ethernet frame (2 on ATM, RFC 2684)."""
    c.off = off
    if not c.need(5):
        return
    oui, number = int.from_bytes(c.data[off : off + 3], "big"), c.u16(off + 3)
    if oui in (0, 0x0000F8):
        c.go(Layer.ETHERTYPE, off=off + 5, number=number)
    elif oui == 0x0080C2 and number in (1, 7):
        c.enter(Layer.ETHERNET, off=off + 5 + pad)
    else:
        c.stop(Status.NOT_IP)


def nlpid(c: Cursor) -> None:
    """Read a network layer protocol id (frame relay, ATM), after at most one pad byte."""
    c.frame.ethertype = 0
    if not c.need(1):
        return
    if c.data[c.off] == NLPID_PAD:
        c.off += 1
        if not c.need(1):
            return
    kind, off = c.data[c.off], c.off + 1
    if kind in NLPID_IP:
        c.go(Layer.IP, off=off)
    elif kind == NLPID_SNAP:
        snap(c, off, pad=0)
    elif kind == NLPID_PPP:
        c.enter(Layer.PPP, off=off)
    else:
        c.stop(Status.NOT_IP)


def ppp(c: Cursor) -> None:
    """Read PPP: address and control may be absent, the protocol may be one byte (RFC 1661 compression)."""
    if c.off + 2 <= c.end and c.u16(c.off) == 0xFF03:
        c.off += 2
    if not c.need(1):
        return
    size = 1 if c.data[c.off] & 1 else 2
    if not c.need(size):
        return
    number, off = (c.data[c.off] if size == 1 else c.u16(c.off)), c.off + size
    if number in PPP_IP:
        c.go(Layer.IP, off=off)
    elif number in PPP_MPLS:
        c.enter(Layer.MPLS, off=off)
    else:
        c.stop(Status.NOT_IP)


def cisco_hdlc(c: Cursor) -> None:
    """Read a Cisco HDLC header: address, control, ethertype."""
    if c.need(4):
        c.go(Layer.ETHERTYPE, off=c.off + 4, number=c.u16(c.off + 2))


def mpls(c: Cursor) -> None:
    """Read a label stack; behind it stands IP, or a pseudowire that carries Ethernet (RFC 4448)."""
    for _ in range(MAX_TAGS):
        if not c.need(4):
            return
        bottom = c.data[c.off + 2] & 1
        c.off += 4
        if bottom:
            _below_labels(c)
            return
    c.stop(Status.UNSUPPORTED)


def _below_labels(c: Cursor) -> None:
    if not c.need(1):
        return
    nibble = c.data[c.off] >> 4
    if nibble in (4, 6):
        c.layer = Layer.IP
    elif nibble == 1:
        c.stop(Status.NOT_IP)
    else:
        c.go(Layer.ETHERNET, off=c.off + (0 if nibble or _is_bare(c) else 4))


def _is_bare(c: Cursor) -> bool:
    """Tell a pseudowire without control word from one that has it: a MAC address may begin with a zero nibble."""
    return c.off + 14 <= c.end and c.u16(c.off) != 0 and c.u16(c.off + 12) in BARE_TYPES
