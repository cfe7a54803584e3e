"""The BER shapes of SNMP, LDAP and Kerberos: outer tag and length, then what each puts first."""

from __future__ import annotations

from packhound.net.signatures.look import ber_length

_SEQUENCE, _INTEGER, _OCTETS = 0x30, 2, 4
_LDAP_OPERATIONS = (
    0x60, 0x61, 0x42, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x4A, 0x6B, 0x6C, 0x6D, 0x6E, 0x6F, 0x50, 0x73, 0x77,
    0x78, 0x79,
)  # fmt: skip
_KERBEROS_REQUESTS, _KERBEROS_REPLIES = (0x6A, 0x6C, 0x6E), (0x6B, 0x6D, 0x6F, 0x7E)


def snmp_like(p: bytes) -> bool:
    """Tell whether `p` is an SNMP message that fills its datagram."""
    if len(p) < 8 or p[0] != _SEQUENCE:
        return False
    size, at = ber_length(p, 1)
    if not at or at + size > len(p) or at + 3 > len(p) or p[at] != _INTEGER or p[at + 1] != 1:
        return False
    version, at = p[at + 2], at + 3
    if at >= len(p):
        return False
    if version == 3:
        return p[at] == _SEQUENCE
    if version > 2 or p[at] != _OCTETS:
        return False
    size, after = ber_length(p, at + 1)
    return after > 0 and after + size < len(p) and 0xA0 <= p[after + size] <= 0xA8


def ldap_like(p: bytes) -> bool:
    """Tell whether `p` starts with an LDAP message: an id, then an operation whose length lies inside the message."""
    if len(p) < 7 or p[0] != _SEQUENCE:
        return False
    size, start = ber_length(p, 1)
    if not start or size < 5 or start + 5 > len(p) or p[start] != _INTEGER or not 1 <= p[start + 1] <= 4:
        return False
    at = start + 2 + p[start + 1]
    if at >= len(p) or p[at] not in _LDAP_OPERATIONS:
        return False
    inner, after = ber_length(p, at + 1)
    if not after or after - start + inner > size:
        return False
    if p[at] == 0x60:  # a bind begins with the version
        return after + 3 <= len(p) and p[after] == _INTEGER and p[after + 1] == 1 and 2 <= p[after + 2] <= 3
    return inner > 0 or p[at] in {0x42, 0x6B}


def kerberos_like(p: bytes, start: int) -> bool:
    """Tell whether `p[start:]` starts with a Kerberos 5 message: application tag, sequence, version 5 first."""
    if start + 12 > len(p):
        return False
    tag = p[start]
    if tag not in _KERBEROS_REQUESTS and tag not in _KERBEROS_REPLIES:
        return False
    size, at = ber_length(p, start + 1)
    if not at or at >= len(p) or p[at] != _SEQUENCE or size < 5:
        return False
    _, at = ber_length(p, at + 1)
    if not at or at + 5 > len(p):
        return False
    first = 0xA1 if tag in {0x6A, 0x6C} else 0xA0
    return p[at] == first and p[at + 1] == 3 and p[at + 2] == _INTEGER and p[at + 3] == 1 and p[at + 4] == 5
