"""SSH key exchange offers (RFC 4253 section 6 and 7.1) and their HASSH fingerprints (github.com/salesforce/hassh).

HASSH is the MD5 of `kex;ciphers;macs;compression` as the client offers them for its own direction, HASSHServer the same
of the server's offer for its direction. Promise: linear, bounded by the packet, never raises.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from packhound.net.facts import Fact, Malformed, Value
from packhound.net.octets import Octets, Short
from packhound.net.text import decode

KEXINIT, NEWKEYS = 20, 21
MAX_PACKET = 256 * 1024  # as implementations allow; RFC 4253 section 6.1 asks for 35000
MAX_NAMES = 512  # of one list that are shown; the fingerprint is of all
_NAMES = ("kex", "host_key", "cipher", "cipher", "mac", "mac", "compression", "compression")
FIELDS = frozenset({
    "ssh.hassh", "ssh.hassh_server", "ssh.kex", "ssh.host_key", "ssh.cipher", "ssh.mac", "ssh.compression",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class KexInit:
    """One offer: its name lists as written, in the order of RFC 4253 (those of client to server first)."""

    lists: tuple[bytes, ...]


def packet_size(data: bytes | bytearray) -> int:
    """Size of the unencrypted packet at the start: 0 when more bytes are needed, negative when none starts there."""
    if len(data) < 6:
        return 0
    size = int.from_bytes(data[:4], "big")
    return 4 + size if data[4] + 2 <= size <= MAX_PACKET and data[4] >= 4 and 0 < data[5] < 80 else -1


def parse(packet: bytes) -> KexInit | Malformed:
    """Read a packet that is a key exchange offer; the lists are what is left behind its cookie."""
    cursor = Octets(packet)
    try:
        size, padding = cursor.number(4), cursor.number(1)
        if cursor.number(1) != KEXINIT:
            return Malformed("no SSH key exchange offer")
        cursor.skip(16)
        cursor = Octets(packet, cursor.at, 4 + size - padding)
        return KexInit(tuple(cursor.vector(4).rest() for _ in _NAMES))
    except Short as short:
        return Malformed("SSH key exchange offer breaks its lists", short.offset)


def kexinit_fact(offer: KexInit, *, client: bool) -> Fact:
    """Return the `ssh.kexinit` fact: the fingerprint of its side, and what the side offers for its own direction."""
    kex, host_key = offer.lists[:2]
    own = offer.lists[2 if client else 3 :: 2]
    print_ = hashlib.md5(b";".join((kex, *own)), usedforsecurity=False).hexdigest()
    fields: dict[str, Value] = {"ssh.hassh" if client else "ssh.hassh_server": print_}
    for name, listed in zip(("kex", "host_key", "cipher", "mac", "compression"), (kex, host_key, *own), strict=True):
        if listed:
            fields[f"ssh.{name}"] = tuple(map(decode, listed.split(b",", MAX_NAMES)[:MAX_NAMES]))
    return Fact("ssh.kexinit", fields)
