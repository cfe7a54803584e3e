"""Headers built byte by byte, and one sample packet per encapsulation: what decode tests start from."""

from __future__ import annotations

import struct
from ipaddress import ip_address

SRC4, DST4 = "10.0.0.1", "10.0.0.2"
SRC6, DST6 = "2001:db8::1", "2001:db8::2"
MAC = bytes.fromhex("020000000001020000000002")


def eth(kind: int, body: bytes) -> bytes:
    return MAC + struct.pack(">H", kind) + body


def vlan(vid: int, kind: int, body: bytes) -> bytes:
    """Build what follows an 802.1Q ethertype."""
    return struct.pack(">HH", vid, kind) + body


def ip4(
    proto: int, body: bytes, *, total: int | None = None, options: bytes = b"", piece: int = 0, ident: int = 7
) -> bytes:
    size = 20 + len(options)
    length = size + len(body) if total is None else total
    head = struct.pack(">BBHHHBBH", 0x40 | size // 4, 0, length, ident, piece, 64, proto, 0)
    return head + ip_address(SRC4).packed + ip_address(DST4).packed + options + body


def ip6(proto: int, body: bytes, *, length: int | None = None) -> bytes:
    head = struct.pack(">IHBB", 6 << 28, len(body) if length is None else length, proto, 60)
    return head + ip_address(SRC6).packed + ip_address(DST6).packed + body


def fragment6(proto: int, body: bytes, *, offset: int, more: bool, ident: int = 9) -> bytes:
    return struct.pack(">BBHI", proto, 0, offset | more, ident) + body


def tcp(
    body: bytes = b"data", *, sport: int = 1000, dport: int = 2000, flags: int = 0x18, options: bytes = b""
) -> bytes:
    words = (20 + len(options)) // 4
    return struct.pack(">HHIIBBHHH", sport, dport, 11, 22, words << 4, flags, 333, 0, 0) + options + body


def udp(body: bytes = b"data", *, sport: int = 1000, dport: int = 2000, length: int | None = None) -> bytes:
    return struct.pack(">HHHH", sport, dport, 8 + len(body) if length is None else length, 0) + body


def gre(kind: int, body: bytes, *, flags: int = 0, fields: bytes = b"") -> bytes:
    return struct.pack(">HH", flags, kind) + fields + body


def vxlan(vni: int, body: bytes) -> bytes:
    return struct.pack(">II", 0x08 << 24, vni << 8) + body


def geneve(vni: int, kind: int, body: bytes, *, options: bytes = b"") -> bytes:
    return struct.pack(">BBHI", len(options) // 4, 0, kind, vni << 8) + options + body


def gtpu(body: bytes, *, flags: int = 0x30, extra: bytes = b"", kind: int = 255) -> bytes:
    return struct.pack(">BBHI", flags, kind, len(extra) + len(body), 99) + extra + body


def ayiya(body: bytes, *, opcode: int = 1, number: int = 41) -> bytes:
    """Identity of 16 bytes (an address), signature of 20 (SHA-1)."""
    return struct.pack(">BBBBI", 0x41, 0x52, 0x10 | opcode, number, 99) + bytes(16 + 20) + body


INNER4 = ip4(6, tcp())
INNER6 = ip6(17, udp(sport=5, dport=6))
INNER_FRAME = eth(0x0800, INNER4)


def _linktypes() -> dict[str, tuple[int, bytes]]:
    snap = b"\xaa\xaa\x03\0\0\0\x08\0"
    wlan = b"\x88\x01\0\0" + MAC + MAC[:6] + b"\0\0" + b"\0\0"
    return {
        "ethernet": (1, INNER_FRAME),
        "ethernet v6": (1, eth(0x86DD, INNER6)),
        "null little": (0, b"\x02\0\0\0" + INNER4),
        "null big": (0, b"\0\0\0\x1e" + INNER6),
        "loop": (108, b"\0\0\0\x02" + INNER4),
        "slip": (8, bytes(16) + INNER4),
        "ppp hdlc": (9, b"\xff\x03\x00\x21" + INNER4),
        "ppp compressed": (9, b"\x57" + INNER6),
        "ppp cisco": (9, b"\x0f\x00\x08\x00" + INNER4),
        "ppp serial": (50, b"\xff\x03\x00\x57" + INNER6),
        "ppp ether": (51, b"\x11\x00\x00\x01" + struct.pack(">H", 2 + len(INNER4)) + b"\x00\x21" + INNER4),
        "ppp direction": (204, b"\x00\xff\x03\x00\x21" + INNER4),
        "atm": (100, snap + INNER4),
        "atm bridged": (100, b"\xaa\xaa\x03\x00\x80\xc2\x00\x07\0\0" + INNER_FRAME),
        "raw": (101, INNER4),
        "raw 12": (12, INNER6),
        "raw 14": (14, INNER4),
        "cisco hdlc": (104, b"\x0f\x00\x86\xdd" + INNER6),
        "frame relay": (107, b"\x18\x41\x03\xcc" + INNER4),
        "frame relay snap": (107, b"\x18\x41\x03\x00\x80\x00\x80\xc2\x00\x07" + INNER_FRAME),
        "frame relay cisco": (107, b"\x18\x40\x00\x01\x08\x00" + INNER4),
        "sll": (113, bytes(14) + b"\x08\x00" + INNER4),
        "sll llc": (113, bytes(14) + b"\x00\x04" + b"\x06\x06\x03" + INNER4),
        "sll2": (276, b"\x86\xdd" + bytes(18) + INNER6),
        "sunatm": (123, b"\x02\x00\x00\x20" + snap + INNER4),
        "sunatm lane": (123, b"\x01\x00\x00\x20\x00\x01" + INNER_FRAME),
        "wlan": (105, wlan + snap + INNER4),
        "radiotap": (127, b"\0\0\x08\0\0\0\0\0" + wlan + snap + INNER4),
        "ipv4": (228, INNER4),
        "ipv6": (229, INNER6),
        "mpacket": (274, b"\x55" * 7 + b"\xd5" + INNER_FRAME),
    }


def _encapsulations() -> dict[str, bytes]:
    label = b"\x00\x01\x00\x40", b"\x00\x02\x01\x40"
    session = b"\x11\x00\x00\x01" + struct.pack(">H", 2 + len(INNER4)) + b"\x00\x21"
    return {
        "vlan": eth(0x8100, vlan(5, 0x0800, INNER4)),
        "vlan priority tag": eth(0x8100, vlan(0xE000, 0x8100, vlan(6, 0x0800, INNER4))),
        "qinq": eth(0x88A8, vlan(100, 0x8100, vlan(5, 0x9100, vlan(6, 0x86DD, INNER6)))),
        "mpls": eth(0x8847, label[0] + label[1] + INNER4),
        "mpls pseudowire": eth(0x8847, label[1] + bytes(4) + INNER_FRAME),
        "mpls pseudowire bare": eth(0x8848, label[1] + INNER_FRAME),
        "pppoe": eth(0x8864, session + INNER4 + bytes(9)),
        "snap": eth(8 + len(INNER4), b"\xaa\xaa\x03\0\0\0\x08\0" + INNER4 + bytes(3)),
        "backbone": eth(0x88E7, bytes(4) + INNER_FRAME),
        "fabric path": eth(0x8903, bytes(2) + INNER_FRAME),
        "cisco metadata": eth(0x8909, bytes.fromhex("010100010007") + b"\x08\x00" + INNER4),
        "ipip": eth(0x0800, ip4(4, INNER4)),
        "6in4": eth(0x0800, ip4(41, INNER6)),
        "4in6": eth(0x86DD, ip6(4, INNER4)),
        "ethernet in ip": eth(0x0800, ip4(97, b"\x30\x00" + INNER_FRAME)),
        "mpls in ip": eth(0x0800, ip4(137, label[1] + INNER4)),
        "pim register": eth(0x0800, ip4(103, b"\x21\0\0\0\0\0\0\0" + INNER4)),
        "gre": eth(0x0800, ip4(47, gre(0x0800, INNER4))),
        "gre all fields": eth(0x0800, ip4(47, gre(0x86DD, INNER6, flags=0xB000, fields=bytes(12)))),
        "gre bridging": eth(0x86DD, ip6(47, gre(0x6558, INNER_FRAME))),
        "gre pptp": eth(0x0800, ip4(47, gre(0x880B, b"\xff\x03\x00\x21" + INNER4, flags=0x3081, fields=bytes(12)))),
        "gre wccp": eth(0x0800, ip4(47, gre(0x883E, bytes(4) + INNER4))),
        "gre aruba": eth(0x0800, ip4(47, gre(0x8210, _linktypes()["wlan"][1]))),
        "erspan 1": eth(0x0800, ip4(47, gre(0x88BE, INNER_FRAME))),
        "erspan 2": eth(0x0800, ip4(47, gre(0x88BE, bytes(8) + INNER_FRAME, flags=0x1000, fields=bytes(4)))),
        "erspan 3": eth(0x0800, ip4(47, gre(0x22EB, bytes(12) + INNER_FRAME, flags=0x1000, fields=bytes(4)))),
        "erspan 3 long": eth(
            0x0800, ip4(47, gre(0x22EB, bytes(11) + b"\1" + bytes(8) + INNER_FRAME, flags=0x1000, fields=bytes(4)))
        ),
        "vxlan": eth(0x0800, ip4(17, udp(vxlan(7, eth(0x8100, vlan(3, 0x0800, INNER4))), dport=4789))),
        "vxlan flannel": eth(0x0800, ip4(17, udp(vxlan(0, INNER_FRAME), dport=8472))),
        "geneve": eth(0x0800, ip4(17, udp(geneve(9, 0x6558, INNER_FRAME, options=bytes(8)), dport=6081))),
        "geneve ip": eth(0x0800, ip4(17, udp(geneve(9, 0x86DD, INNER6), dport=6081))),
        "gtpu": eth(0x0800, ip4(17, udp(gtpu(INNER4), dport=2152))),
        "gtpu sequence": eth(0x0800, ip4(17, udp(gtpu(INNER4, flags=0x32, extra=bytes(4)), dport=2152))),
        "gtpu extension": eth(
            0x0800, ip4(17, udp(gtpu(INNER4, flags=0x34, extra=b"\0\0\0\x85\x01\x10\x01\x00"), dport=2152))
        ),
        "teredo": eth(0x0800, ip4(17, udp(INNER6, dport=3544))),
        "teredo origin": eth(0x0800, ip4(17, udp(bytes(8) + INNER6, sport=3544))),
        "ayiya": eth(0x0800, ip4(17, udp(ayiya(INNER6), dport=5072))),
        "ayiya of ip4": eth(0x0800, ip4(17, udp(ayiya(INNER4, number=4), sport=5072))),
        "vxlan of arp": eth(0x0800, ip4(17, udp(vxlan(7, eth(0x0806, bytes(28))), dport=4789))),
        "vxlan of noise": eth(0x0800, ip4(17, udp(b"\x08" + b"noise" * 9, dport=4789))),
        "dns on 4789": eth(0x0800, ip4(17, udp(b"\x12\x34\x01\x00\x00\x01", sport=4789, dport=53))),
        "gtpu echo": eth(0x0800, ip4(17, udp(gtpu(b"", kind=1, flags=0x32, extra=bytes(4)), dport=2152))),
        "gre of arp": eth(0x0800, ip4(47, gre(0x0806, bytes(28)))),
        "ipip of noise": eth(0x0800, ip4(4, b"\x77noise")),
        "ayiya heartbeat": eth(0x0800, ip4(17, udp(ayiya(b"", opcode=0, number=59), dport=5072))),
        "ayiya of noise": eth(0x0800, ip4(17, udp(ayiya(b"noise"), dport=5072))),
    }


def _packets() -> dict[str, bytes]:
    nested = INNER4
    for _ in range(9):
        nested = ip4(4, nested)
    routing = b"\x3c\x00\x04\x00\0\0\0\0"
    destination = b"\x06\x00\x01\x04\0\0\0\0"
    return {
        "padding": eth(0x0800, ip4(6, tcp(b""))) + bytes(6),
        "options": eth(0x0800, ip4(6, tcp(options=bytes(12)), options=bytes(8))),
        "offload": eth(0x0800, ip4(6, tcp(b"x" * 70), total=0)),
        "arp": eth(0x0806, bytes(28)),
        "stp": eth(38, b"\x42\x42\x03" + bytes(35)),
        "ihl": eth(0x0800, b"\x44" + INNER4[1:]),
        "version": eth(0x0800, b"\x75" + INNER4[1:]),
        "total below header": eth(0x0800, ip4(6, tcp(), total=19)),
        "tcp beyond total": eth(0x0800, ip4(6, tcp(), total=30)),
        "tcp offset": eth(0x0800, ip4(6, tcp()[:12] + b"\x40" + tcp()[13:])),
        "tcp options cut": eth(0x0800, ip4(6, tcp(options=bytes(12))))[:54],
        "udp": eth(0x0800, ip4(17, udp())),
        "udp shorter": eth(0x0800, ip4(17, udp(b"datajunk", length=12))),
        "udp longer": eth(0x0800, ip4(17, udp(length=13))),
        "udp below 8": eth(0x0800, ip4(17, udp(length=7))),
        "udp zero": eth(0x86DD, ip6(17, udp(length=0))),
        "udplite": eth(0x0800, ip4(136, udp(length=8))),
        "sctp": eth(0x0800, ip4(132, b"\x0b\x58\x0b\x59" + bytes(8) + b"chunk")),
        "icmp echo": eth(0x0800, ip4(1, b"\x08\x00\0\0\x12\x34\0\1ping")),
        "icmp unreachable": eth(0x0800, ip4(1, b"\x03\x01\0\0\0\0\0\0" + INNER4)),
        "icmpv6 solicit": eth(0x86DD, ip6(58, b"\x87\x00\0\0\0\0\0\0" + bytes(16))),
        "esp": eth(0x0800, ip4(50, bytes(24))),
        "ah": eth(0x0800, ip4(51, b"\x06\x04\0\0" + bytes(20) + tcp())),
        "extension headers": eth(0x86DD, ip6(0, b"\x2b" + bytes(7) + routing + destination + tcp())),
        "extension chain": eth(0x86DD, ip6(60, (b"\x3c" + bytes(7)) * 40 + tcp())),
        "no next header": eth(0x86DD, ip6(59, b"")),
        "mobility": eth(0x86DD, ip6(135, b"\x3b\x00\x05\x00\0\0\0\0")),
        "atomic fragment": eth(0x86DD, ip6(44, fragment6(6, tcp(), offset=0, more=False))),
        "fragment 4": eth(0x0800, ip4(17, bytes(16), piece=0x2001)),
        "fragment 6": eth(0x86DD, ip6(60, b"\x2c" + bytes(7) + fragment6(17, bytes(16), offset=8, more=True))),
        "fragment in gre": eth(0x0800, ip4(47, gre(0x0800, ip4(17, bytes(16), piece=0x2000)))),
        "deep": eth(0x0800, nested),
        "deep tags": eth(0x8100, vlan(1, 0x8100, b"") * 20 + INNER4),
        "deep labels": eth(0x8847, bytes(80)),
        "empty": b"",
    }


SAMPLES: dict[str, tuple[int, bytes]] = {
    **_linktypes(),
    **{name: (1, data) for name, data in {**_encapsulations(), **_packets()}.items()},
    "unknown link type": (147, INNER_FRAME),
}
"""Sample name -> link type and packet."""

CARRIED: frozenset[str] = frozenset(_linktypes()) | frozenset(list(_encapsulations())[:-8])
"""Samples that lead to `INNER4` (TCP 1000 -> 2000) or `INNER6` (UDP 5 -> 6)."""
