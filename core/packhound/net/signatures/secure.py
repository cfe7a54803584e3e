"""Signatures of what encrypts: TLS, DTLS, QUIC, WireGuard, OpenVPN, IKE (RFC 8446, 9147, 9000, 9369, 7296)."""

from __future__ import annotations

from packhound.net.signatures.apps import App
from packhound.net.signatures.look import Found, Look, u16, u24, u32

_MAX_RECORD = 16384 + 2048  # RFC 5246 section 6.2.3
_HANDSHAKES = (0, 1, 2, 4, 11, 12, 13, 14, 16, 20, 22)
_HELLOS = (1, 2)


def tls(look: Look) -> Found | None:
    """A hello; of a connection joined in its middle, a record that ends where the packet or the next record does."""
    p = look.p
    n = len(p)
    if n < 6 or p[1] != 3 or p[2] > 4 or not 20 <= p[0] <= 23:
        return _sslv2(p)
    size = u16(p, 3)
    if not 0 < size <= _MAX_RECORD:
        return None
    if p[0] == 22 and p[5] in _HELLOS and size >= 4 and (n < 9 or u24(p, 6) < 0x20000):
        return Found(App.TLS, 95)
    if not _record_fits(p, size):
        return None
    if p[0] == 23:
        return Found(App.TLS, 80)
    known = p[5] in _HANDSHAKES if p[0] == 22 else p[0] == 20 or size == 2 or size >= 16
    return Found(App.TLS, 80) if known else None


def _record_fits(p: bytes, size: int) -> bool:
    end = 5 + size
    if end == len(p):
        return True
    return end + 3 <= len(p) and 20 <= p[end] <= 23 and p[end + 1] == 3 and p[end + 2] == p[2]


def _sslv2(p: bytes) -> Found | None:
    """RFC 5246 appendix E.2: the hello of old clients, whose four lengths must add up."""
    n = len(p)
    if n < 11 or not p[0] & 0x80 or u16(p, 0) & 0x7FFF != n - 2 or p[2] != 1:
        return None
    if not (u16(p, 3) == 2 or (p[3] == 3 and p[4] <= 3)):
        return None
    ciphers, session, challenge = u16(p, 5), u16(p, 7), u16(p, 9)
    whole = ciphers and ciphers % 3 == 0 and 16 <= challenge <= 32 and 11 + ciphers + session + challenge == n
    return Found(App.TLS, 90) if whole else None


def dtls(look: Look) -> Found | None:
    """A handshake record, or any record that fills the datagram; version 1.0 as OpenSSL wrote it first (0x0100) too."""
    p = look.p
    n = len(p)
    if n < 13 or not 20 <= p[0] <= 23 or not (u16(p, 1) in {0xFEFF, 0xFEFD, 0xFEFC} or u16(p, 1) == 0x0100):
        return None
    size = u16(p, 11)
    if p[0] == 22 and p[1] == 0xFE and 12 <= size <= n - 13:
        return Found(App.DTLS, 95)
    if size and 13 + size == n and (p[1] == 0xFE or p[0] == 22):
        return Found(App.DTLS, 85)
    return None


def _digits(p: bytes, at: int) -> bool:
    return 48 <= p[at] <= 57 and 48 <= p[at + 1] <= 57


def _quic_known(version: int) -> bool:
    """Version 1 and 2, drafts of either, Facebook's."""
    return version in {1, 0x6B3343CF, 0x709A50C4} or version >> 8 == 0xFF0000 or version >> 4 == 0xFACEB00


def quic(look: Look) -> Found | None:
    """RFC 8999: a long header of a known version; a version negotiation that lists one; Google's own before that."""
    p = look.p
    n = len(p)
    if n >= 13 and p[0] & 0x09 == 0x09 and p[0] < 0x40 and p[9] == 81 and p[10] == 48 and _digits(p, 11):
        return Found(App.QUIC, 95)
    if n < 9 or not p[0] & 0x80:
        return None
    if p[1] in {81, 84} and p[2] == 48 and _digits(p, 3):
        return Found(App.QUIC, 95) if p[0] & 0x40 else None
    at = 6 + p[5]
    if p[5] > 20 or at >= n or p[at] > 20:
        return None
    at += 1 + p[at]
    version = u32(p, 1)
    if version == 0:
        known = at + 4 <= n and (n - at) % 4 == 0 and any(_quic_known(u32(p, i)) for i in range(at, min(n, at + 64), 4))
        return Found(App.QUIC, 95) if known else None
    if not p[0] & 0x40 or at > n:
        return None
    if _quic_known(version):
        return Found(App.QUIC, 95)
    grease = version & 0x0F0F0F0F == 0x0A0A0A0A and n >= 1200 and p[5] >= 8
    return Found(App.QUIC, 80) if grease else None


def wireguard(look: Look) -> Found | None:
    """Message sizes and reserved bytes of the two handshake messages with an empty cookie MAC, or of data with a small
    counter."""
    p = look.p
    n = len(p)
    if n < 32 or p[1] or p[2] or p[3]:
        return None
    if (p[0] == 1 and n == 148) or (p[0] == 2 and n == 92):
        if not any(p[-16:]) and any(p[-32:-16]):
            return Found(App.WIREGUARD, 95)
        return Found(App.WIREGUARD, 80) if look.port(51820) else None
    if p[0] == 4 and n % 16 == 0 and not any(p[10:16]) and u32(p, 4):
        return Found(App.WIREGUARD, 80 if look.port(51820) else 60)
    return None


def openvpn(look: Look) -> Found | None:
    """A hard reset of either side: plain, with an HMAC, or wrapped (tls-crypt); over TCP behind its length."""
    return _openvpn(look.p, 0)


def openvpn_tcp(look: Look) -> Found | None:
    """As over UDP, behind a length of two bytes."""
    p = look.p
    return _openvpn(p, 2) if len(p) >= 16 and u16(p, 0) == len(p) - 2 else None


def _openvpn(p: bytes, start: int) -> Found | None:
    n = len(p) - start
    if n < 14 or p[start] not in {0x38, 0x40, 0x50}:
        return None
    if n == 14 and not any(p[start + 9 : start + 14]):
        return Found(App.OPENVPN, 90)
    if n == 26 and p[start + 9] == 1 and not any(p[start + 10 : start + 14]) and not any(p[start + 22 : start + 26]):
        return Found(App.OPENVPN, 90)
    if n in {42, 54, 86}:  # HMAC of SHA-1, SHA-256, SHA-512
        tail = start + n - 13
        if u32(p, tail) == 1 and not any(p[start + n - 5 : start + n]):
            return Found(App.OPENVPN, 90)
    if n == 54 and u32(p, start + 9) == 1 and u32(p, start + 13) > 0x40000000:
        return Found(App.OPENVPN, 70)
    return None


def ike(look: Look) -> Found | None:
    """RFC 7296 section 3.1 and 2408: a header whose length is that of the datagram; on port 4500 behind four zeros."""
    p = look.p
    start = 4 if look.port(4500) and len(p) >= 32 and u32(p, 0) == 0 else 0
    n = len(p) - start
    if n < 28 or u32(p, start + 24) != n or not u32(p, start) | u32(p, start + 4):
        return None
    first, version, exchange, flags = p[start + 16 : start + 20]
    if version == 0x10:
        good = first <= 20 and (exchange <= 6 or exchange in {32, 33}) and flags < 8
    elif version == 0x20:
        good = (first == 0 or 33 <= first <= 53) and 34 <= exchange <= 44 and not flags & 7
    else:
        return None
    return Found(App.IKE, 95) if good and exchange else None
