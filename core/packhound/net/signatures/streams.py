"""Signatures of binary protocols over TCP: BGP, LDAP, Kerberos, SMB, NetBIOS sessions, RDP, Modbus, SOCKS,
RPC, DCE/RPC, Telnet, Diameter, Skinny, BitTorrent (RFC 4271, 4511, 4120, 1002, 1928, 5531, 854, 6733 and vendors')."""

from __future__ import annotations

from packhound.net.signatures import asn1
from packhound.net.signatures.apps import App
from packhound.net.signatures.look import (
    SAID_NETBIOS,
    SAID_SOCKS,
    SAID_TELNET,
    TWO_PACKETS,
    Found,
    Look,
    u16,
    u24,
    u32,
    u32le,
)  # fmt: skip

_MODBUS_FUNCTIONS = (1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 15, 16, 17, 20, 21, 22, 23, 24, 43, 90)
_SKINNY_VERSIONS = (0, 0x0A, 0x0B, 0x0F, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16)


def bgp(look: Look) -> Found | None:
    """RFC 4271 section 4.1: the marker, then length and type."""
    p = look.p
    if len(p) >= 19 and p[:16] == b"\xff" * 16 and 19 <= u16(p, 16) <= 4096 and 1 <= p[18] <= 5:
        return Found(App.BGP, 95)
    return None


def ldap(look: Look) -> Found | None:
    """RFC 4511 section 4."""
    return Found(App.LDAP, 90) if asn1.ldap_like(look.p) else None


def kerberos(look: Look) -> Found | None:
    """RFC 4120 section 7.2.2: a length of four bytes, then as over UDP."""
    p = look.p
    return Found(App.KERBEROS, 95) if len(p) >= 16 and p[0] == 0 and asn1.kerberos_like(p, 4) else None


def smb(look: Look) -> Found | None:
    """MS-SMB2 section 2.1: a length, then the protocol's mark; a NetBIOS session may have been opened before."""
    p = look.p
    if len(p) >= 8 and p[0] == 0 and p[4] in {0xFD, 0xFE, 0xFF} and p[5:8] == b"SMB":
        return Found(App.SMB, 95)
    return None


def nbss(look: Look) -> Found | None:
    """RFC 1002 section 4.3: a session request is noted; refused, kept alive, or not followed by SMB it is NetBIOS."""
    p = look.p
    n = len(p)
    said = look.scratch[0] == SAID_NETBIOS
    if n == 72 and u32(p, 0) == 0x81000044 and p[4] == 32 and p[38] == 32:
        look.scratch[0] = SAID_NETBIOS
        return None
    if n == 5 and u32(p, 0) == 0x83000001 and (p[4] >= 0x80):
        return Found(App.NBSS, 95, TWO_PACKETS) if said else Found(App.NBSS, 80)
    if not said or (n == 4 and u32(p, 0) == 0x82000000):
        return None
    return Found(App.NBSS, 90, TWO_PACKETS) if n >= 4 and (p[0] == 0 or p[0] == 0x85) and p[1] < 2 else None




def rdp(look: Look) -> Found | None:
    """MS-RDPBCGR section 2.2.1.1: a connection request or confirm with a cookie or negotiation."""
    p = look.p
    n = len(p)
    if n < 11 or p[0] != 3 or p[1] or u16(p, 2) > n or p[4] + 5 != u16(p, 2) or p[5] not in {0xE0, 0xD0}:
        return None
    if p[11:28] == b"Cookie: mstshash=" or p[11:24] == b"Cookie: msts=":
        return Found(App.RDP, 95)
    end = u16(p, 2)
    if end >= 19 and 1 <= p[end - 8] <= 3 and u16(p, end - 6) == 0x0800 and p[end - 4] < 32 and p[end - 3] == 0:
        return Found(App.RDP, 95)
    return Found(App.RDP, 80) if end == 11 and look.port(3389) else None


def modbus(look: Look) -> Found | None:
    """Modbus messaging over TCP section 3: protocol 0, a length that ends the segment, a function in use."""
    p = look.p
    n = len(p)
    if n < 8 or n > 260 or u16(p, 2) != 0 or p[7] & 0x7F not in _MODBUS_FUNCTIONS:
        return None
    if u16(p, 4) == n - 6 and look.port(502):
        return Found(App.MODBUS, 95)
    return Found(App.MODBUS, 70) if u16(p, 4) == n - 6 and n == 12 and p[7] <= 6 and u16(p, 0) < 0x100 else None


def socks(look: Look) -> Found | None:
    """RFC 1928 section 3: a list of methods, answered by one of two bytes; version 4 by its request alone."""
    p = look.p
    n = len(p)
    if look.scratch[0] == SAID_SOCKS and n == 2 and p[0] == 5 and (p[1] <= 9 or p[1] == 0xFF):
        return Found(App.SOCKS, 90, TWO_PACKETS)
    if n >= 3 and p[0] == 5 and 1 <= p[1] <= 9 and n == 2 + p[1] and max(p[2:]) <= 9:
        look.scratch[0] = SAID_SOCKS
        return None
    if n >= 9 and n < 300 and p[0] == 4 and p[1] in {1, 2} and u16(p, 2) and p[-1] == 0 and look.port(1080):
        return Found(App.SOCKS, 80)
    return None


def rpc_call(p: bytes, start: int) -> bool:
    """Tell whether `p[start:]` is a call of a registered program (RFC 5531 section 9); a reply is too plain to tell."""
    if len(p) - start < 40 or u32(p, start + 4) != 0 or u32(p, start + 8) != 2:
        return False
    program, version = u32(p, start + 12), u32(p, start + 16)
    known = 100000 <= program < 0x40000000 and version < 16
    return known and u32(p, start + 20) < 256 and u32(p, start + 24) in {0, 1, 2, 3, 6}


def rpc(look: Look) -> Found | None:
    """The last fragment of a record, then as over UDP."""
    p = look.p
    return Found(App.RPC, 90) if p[0] == 0x80 and rpc_call(p, 4) else None


def dcerpc(look: Look) -> Found | None:
    """DCE 1.1 RPC chapter 12: version 5.0, a known type, a data representation, a length inside the segment."""
    p = look.p
    n = len(p)
    if n < 16 or p[0] != 5 or p[1] > 1 or p[2] > 19 or p[4] not in {0, 0x10} or p[5] > 3 or p[6] or p[7]:
        return None
    size = p[8] | p[9] << 8 if p[4] else u16(p, 8)
    return Found(App.DCERPC, 90) if 16 <= size <= n or (size > n and p[2] == 11) else None


def telnet(look: Look) -> Found | None:
    """RFC 854: option negotiation; one alone waits for the next, but for its port."""
    p = look.p
    n = len(p)
    if n < 3 or not _negotiates(p, 0):
        return None
    if n >= 6 and (_negotiates(p, 3) or (p[3] == 255 and p[4] == 250)):
        return Found(App.TELNET, 90)
    if n == 3 and look.port(23):
        return Found(App.TELNET, 90)
    if look.scratch[0] == SAID_TELNET:
        return Found(App.TELNET, 80, TWO_PACKETS)
    look.scratch[0] = SAID_TELNET
    return None


def _negotiates(p: bytes, at: int) -> bool:
    return p[at] == 255 and 251 <= p[at + 1] <= 254 and p[at + 2] < 50


def skinny(look: Look) -> Found | None:
    """Cisco SCCP: little-endian length, version and message number, on its port."""
    p = look.p
    n = len(p)
    if n < 12 or not look.port(2000):
        return None
    size, version, message = u32le(p, 0), u32le(p, 4), u32le(p, 8)
    good = 4 <= size <= 4096 and size + 8 <= n and version in _SKINNY_VERSIONS and message < 0x8000
    return Found(App.SKINNY, 90) if good else None


def bittorrent(look: Look) -> Found | None:
    """BEP 3: the peers' handshake."""
    return Found(App.BITTORRENT, 95) if look.p.startswith(b"\x13BitTorrent protocol") else None


def diameter(look: Look) -> Found | None:
    """RFC 6733 section 3: version 1, whole words, flags that agree with each other, the base or a 3GPP application."""
    p = look.p
    n = len(p)
    if n < 32 or p[0] != 1 or u24(p, 1) % 4 or not 20 <= u24(p, 1) <= 65535 or p[4] & 15 or p[4] & 0xA0 == 0xA0:
        return None
    command, application = u24(p, 5), u32(p, 8)
    if not 257 <= command <= 8388735 or not (application <= 16 or application >> 8 == 0x10000):
        return None
    first = u32(p, 20)  # the first attribute: code, flags without reserved bits, a length inside the message
    good = 1 <= first < 0x10000 and not p[24] & 0x1F and 8 <= u24(p, 25) <= u24(p, 1) - 20
    return Found(App.DIAMETER, 95 if look.port(3868) else 85) if good else None
