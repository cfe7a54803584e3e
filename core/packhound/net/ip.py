"""IPv4 and IPv6 headers, extension headers, and where the packet really ends.

Promise: after `ip` the cursor stands at the transport header with `Cursor.number` its protocol, and ends where the
packet ends by its own length (link padding excluded), or the frame is a FRAGMENT, or it says what is wrong. RFC 791,
8200, 2675 (jumbograms: the length option is not believed, the capture is), 4302. A total length of 0 is what
segmentation offload leaves: the packet then ends where the capture does.
"""

from __future__ import annotations

from packhound.net.decoded import MAX_TAGS, UNKNOWN_WIRE, Cursor, Frame, Layer, Status

IPV4_HEADER, IPV6_HEADER = 20, 40
HOP_BY_HOP, ROUTING, FRAGMENT, AH, NO_NEXT, DESTINATION = 0, 43, 44, 51, 59, 60
MOBILITY, HIP, SHIM6 = 135, 139, 140
OPTION_HEADERS = frozenset({HOP_BY_HOP, ROUTING, DESTINATION})
SIGNALLING_HEADERS = frozenset({MOBILITY, HIP, SHIM6})
"""Extension headers in form, but messages of their own when nothing follows them."""

MORE_FRAGMENTS, OFFSET_MASK = 0x2000, 0x1FFF


def ip(c: Cursor) -> None:
    """Read the IP header at the cursor; the version nibble decides, whatever announced it."""
    if not c.need(1):
        return
    version = c.data[c.off] >> 4
    if version == 4:
        _ipv4(c)
    elif version == 6:
        _ipv6(c)
    else:
        c.stop(Status.MALFORMED)


def _accept(c: Cursor, *, version: int, proto: int, ttl: int, src: bytes, dst: bytes) -> Frame:
    """Make this the innermost packet: forget what was known of the one around it, but its link and tunnel ids."""
    outer = c.frame
    c.outer = None
    c.frame = Frame(
        ip_version=version,
        proto=proto,
        ttl=ttl,
        src=src,
        dst=dst,
        l3=c.off,
        depth=outer.depth,
        ethertype=outer.ethertype,
        vlan=outer.vlan,
        tenant=outer.tenant,
    )
    return c.frame


def _ipv4(c: Cursor) -> None:
    if not c.need(IPV4_HEADER):
        return
    data, off = c.data, c.off
    header, total = (data[off] & 0x0F) * 4, c.u16(off + 2)
    if header < IPV4_HEADER or 0 < total < header:
        c.stop(Status.MALFORMED)
        return
    src = bytes(data[off + 12 : off + 16]) + bytes(12)
    dst = bytes(data[off + 16 : off + 20]) + bytes(12)
    frame = _accept(c, version=4, proto=data[off + 9], ttl=data[off + 8], src=src, dst=dst)
    if total:
        c.limit(total)
    if not c.need(header):
        return
    piece = c.u16(off + 6)
    c.off += header
    if piece & (MORE_FRAGMENTS | OFFSET_MASK):
        frame.frag_id = c.u16(off + 4)
        _fragment(c, offset=(piece & OFFSET_MASK) * 8, more=bool(piece & MORE_FRAGMENTS))
    elif frame.proto == AH:
        _chain(c, frame.proto)
    else:
        c.go(Layer.TRANSPORT, off=c.off, number=frame.proto)


def _ipv6(c: Cursor) -> None:
    if not c.need(IPV6_HEADER):
        return
    data, off = c.data, c.off
    size, proto = c.u16(off + 4), data[off + 6]
    src, dst = bytes(data[off + 8 : off + 24]), bytes(data[off + 24 : off + 40])
    _accept(c, version=6, proto=proto, ttl=data[off + 7], src=src, dst=dst)
    c.off += IPV6_HEADER
    if size:
        c.limit(size)
    _chain(c, proto)


def _chain(c: Cursor, proto: int) -> None:
    """Walk extension headers (IPv6) and AH (both) to the transport header, to a fragment, or to the bound."""
    version = c.frame.ip_version
    for _ in range(MAX_TAGS):
        c.frame.proto = proto
        if proto == AH:
            if not c.need(8):
                return
            size = (c.data[c.off + 1] + 2) * 4
        elif version == 4:
            break
        elif proto == FRAGMENT:
            if not c.need(8):
                return
            piece = c.u16(c.off + 2)
            if piece & 0xFFF9:
                _fragment_v6(c, piece)
                return
            size = 8
        elif proto in OPTION_HEADERS or (proto in SIGNALLING_HEADERS and c.off < c.end and c.data[c.off] != NO_NEXT):
            if not c.need(8):
                return
            size = (c.data[c.off + 1] + 1) * 8
        else:
            break
        if not c.need(size):
            return
        proto = c.data[c.off]
        c.off += size
    else:
        c.stop(Status.UNSUPPORTED)
        return
    c.go(Layer.TRANSPORT, off=c.off, number=proto)


def _fragment_v6(c: Cursor, piece: int) -> None:
    c.frame.proto = c.data[c.off]
    c.frame.frag_id = c.u32(c.off + 4)
    c.off += 8
    _fragment(c, offset=piece & 0xFFF8, more=bool(piece & 1))


def _fragment(c: Cursor, *, offset: int, more: bool) -> None:
    c.frame.frag_offset, c.frame.frag_more = offset, int(more)
    set_payload(c, c.off)
    c.stop(Status.FRAGMENT)


def set_payload(c: Cursor, start: int) -> None:
    """Let the payload begin at `start`, which may lie beyond the captured bytes."""
    frame = c.frame
    frame.payload = min(start, c.end)
    frame.payload_len = c.end - frame.payload
    frame.payload_wire = frame.payload_len if c.wire == UNKNOWN_WIRE else max(c.wire - start, 0)
