"""Signatures of what speaks in single datagrams: DHCP, DHCPv6, SNMP, RADIUS, NTP, RIP, TFTP, CoAP, BitTorrent, and
Kerberos, LDAP, RDP and RPC over UDP (RFC 2131, 8415, 3416, 2865, 5905, 2453, 1350, 7252, 4120, 4511, 5531)."""

from __future__ import annotations

from packhound.net.signatures import asn1
from packhound.net.signatures.apps import App
from packhound.net.signatures.look import Found, Look, u16, u32
from packhound.net.signatures.streams import rpc_call

_RADIUS_CODES = (1, 2, 3, 4, 5, 11, 12, 13, 40, 41, 42, 43, 44, 45)
_RADIUS_PORTS = (1812, 1813, 1645, 1646, 3799)
_MODES = (b"octet\0", b"netascii\0", b"mail\0")


def dhcp(look: Look) -> Found | None:
    """RFC 2131 section 3: the magic cookie; plain BOOTP by its ports."""
    p = look.p
    n = len(p)
    if n < 236 or p[0] not in {1, 2}:
        return None
    if n >= 240 and u32(p, 236) == 0x63825363:
        return Found(App.DHCP, 95)
    return Found(App.DHCP, 80) if look.port(67) and p[1] == 1 and p[2] == 6 and p[3] < 17 else None


def dhcpv6(look: Look) -> Found | None:
    """RFC 8415 section 8: options that end where the datagram does, between its ports."""
    p = look.p
    if not (look.port(546) or look.port(547)) or len(p) < 8 or not 1 <= p[0] <= 36:
        return None
    at = 34 if p[0] in {12, 13} else 4
    while at + 4 <= len(p):
        at += 4 + u16(p, at + 2)
    return Found(App.DHCPV6, 95) if at == len(p) else None


def snmp(look: Look) -> Found | None:
    """RFC 3416, 1157, 3412."""
    return Found(App.SNMP, 95) if asn1.snmp_like(look.p) else None


def kerberos(look: Look) -> Found | None:
    """RFC 4120 section 5."""
    return Found(App.KERBEROS, 95) if asn1.kerberos_like(look.p, 0) else None


def cldap(look: Look) -> Found | None:
    """LDAP without a connection, as Windows asks for a domain controller."""
    return Found(App.LDAP, 90) if asn1.ldap_like(look.p) else None


def radius(look: Look) -> Found | None:
    """RFC 2865 section 3: the length of the datagram, and on other ports attributes that fill it."""
    p = look.p
    n = len(p)
    if n < 20 or p[0] not in _RADIUS_CODES or u16(p, 2) != n or n > 4096:
        return None
    if any(look.port(port) for port in _RADIUS_PORTS):
        return Found(App.RADIUS, 95)
    at = 20
    while at + 2 <= n:
        if p[at] == 0 or p[at + 1] < 2:
            return None
        at += p[at + 1]
    return Found(App.RADIUS, 80) if at == n and n >= 26 else None


def ntp(look: Look) -> Found | None:
    """RFC 5905 section 7.3; without port 123, only a client or server packet that is plausible in every field."""
    p = look.p
    n = len(p)
    version, mode = (p[0] >> 3) & 7, p[0] & 7
    if not 1 <= version <= 4 or not 1 <= mode <= 7:
        return None
    if look.port(123) and (n >= 48 or (n >= 8 and mode >= 6)):
        return Found(App.NTP, 90)
    if n not in {48, 68, 72} or version < 3 or mode not in {3, 4} or p[1] > 16 or p[2] > 17:
        return None
    return Found(App.NTP, 70) if p[40] >= 0xC0 and not 0 < p[3] < 0xE0 else None


def rip(look: Look) -> Found | None:
    """RFC 2453 section 4 and 2080 section 2: a header and whole route entries, on their ports."""
    p = look.p
    n = len(p)
    if n < 24 or (n - 4) % 20 or not 1 <= p[0] <= 2 or not 1 <= p[1] <= 2 or p[2] or p[3]:
        return None
    return Found(App.RIP, 95) if look.port(520) or look.port(521) else None


def tftp(look: Look) -> Found | None:
    """RFC 1350 section 5: a request with a file name and a mode."""
    p = look.p
    if len(p) < 9 or p[0] or p[1] not in {1, 2} or p[2] < 32:
        return None
    end = p.find(b"\0", 2, 258)
    return Found(App.TFTP, 95) if end > 2 and p[end + 1 : end + 10].lower().startswith(_MODES) else None


def coap(look: Look) -> Found | None:
    """RFC 7252 section 3: a header and options that lead to the payload marker or the end, on its port."""
    p = look.p
    n = len(p)
    if not look.port(5683) or n < 4 or p[0] >> 6 != 1 or p[0] & 15 > 8:
        return None
    if p[1] >> 5 not in {0, 2, 4, 5} or (p[1] >> 5 == 0 and p[1] > 7):
        return None
    at = 4 + (p[0] & 15)
    while at < n and p[at] != 0xFF:
        at = _coap_option(p, at)
        if at == 0:
            return None
    return Found(App.COAP, 90) if at == n or at + 1 < n else None


def _coap_option(p: bytes, at: int) -> int:
    """Index after the option at `at`, 0 when its header is not one."""
    delta, size = p[at] >> 4, p[at] & 15
    at += 1
    if delta == 15 or size == 15:
        return 0
    at += 1 if delta == 13 else 2 if delta == 14 else 0
    if size == 13:
        return at + 14 + p[at] if at < len(p) else 0
    if size == 14:
        return at + 271 + u16(p, at) if at + 2 <= len(p) else 0
    return at + size


def bittorrent(look: Look) -> Found | None:
    """DHT messages (BEP 5), local discovery (BEP 14), the first packet to a tracker (BEP 15)."""
    p = look.p
    n = len(p)
    if p.startswith(b"BT-SEARCH * HTTP/1."):
        return Found(App.BITTORRENT, 95)
    if n >= 20 and p.startswith((b"d1:ad2:id20:", b"d1:rd2:id20:", b"d1:el", b"d2:ip", b"d1:q", b"d1:t")):
        return Found(App.BITTORRENT, 95) if b"1:y1:" in p[-64:] or b"d2:id20:" in p[:64] else None
    return Found(App.BITTORRENT, 95) if n == 16 and p[:12] == b"\0\0\4\x17\x27\x10\x19\x80\0\0\0\0" else None


def rdp(look: Look) -> Found | None:
    """MS-RDPEUDP section 2.2.2: the SYN datagram, padded to the size that both ways are asked to take."""
    p = look.p
    if len(p) < 1132 or u32(p, 0) != 0xFFFFFFFF or not p[7] & 1 or p[7] & 4:
        return None
    fits = 1132 <= u16(p, 12) <= 1232 and 1132 <= u16(p, 14) <= 1232
    return Found(App.RDP, 90) if fits else None


def rpc(look: Look) -> Found | None:
    """RFC 5531 section 9."""
    return Found(App.RPC, 90) if rpc_call(look.p, 0) else None
