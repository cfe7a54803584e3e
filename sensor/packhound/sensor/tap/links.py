"""Network interfaces of this machine as rtnetlink tells of them: parsed from its messages.

Promise: bytes in, values out, no socket. A message that does not parse is skipped. Reference: rtnetlink(7).
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from dataclasses import dataclass

NEW_LINK, DEL_LINK, GET_LINK = 16, 17, 18
NEW_ADDRESS, GET_ADDRESS = 20, 22
DONE, ERROR = 3, 2
REQUEST, DUMP = 0x1, 0x300

IFF_UP, IFF_LOOPBACK, IFF_RUNNING = 0x1, 0x8, 0x40
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MTU = 1, 3, 4
_IFA_ADDRESS, _IFA_LOCAL = 1, 2

# ARPHRD_ (linux/if_arp.h) -> how a packet socket shows it: LINKTYPE_ number, and whether only cooked (SOCK_DGRAM) works
ETHERNET, RAW_IP, SLL = 1, 101, 113
_LINKTYPES = {
    1: ETHERNET,
    772: ETHERNET,  # loopback: an all-zero Ethernet header
    0xFFFE: RAW_IP,  # none: tun, WireGuard
    519: RAW_IP,
    768: RAW_IP,  # ipip
    769: RAW_IP,  # ip6tnl
    776: RAW_IP,  # sit
    801: 105,
    802: 119,
    803: 127,
}
#: Hardware types that are not packets of a network at all.
_STRANGE = {
    280: "CAN",
    804: "IEEE 802.15.4",
    805: "IEEE 802.15.4 monitor",
    824: "netlink monitor",
    826: "vsock monitor",
}


@dataclass(frozen=True, slots=True)
class Link:
    """One interface: `kind` is its ARPHRD_ number, `flags` its IFF_ bits, `mtu` bytes."""

    index: int
    name: str
    kind: int
    flags: int
    mtu: int = 0
    hardware: bytes = b""

    @property
    def up(self) -> bool:
        """Whether it is administratively up."""
        return bool(self.flags & IFF_UP)

    @property
    def loopback(self) -> bool:
        """Whether it is a loopback interface."""
        return bool(self.flags & IFF_LOOPBACK)

    @property
    def linktype(self) -> int:
        """LINKTYPE_ number of what a capture on it holds; kinds without a format of their own are cooked (SLL)."""
        return _LINKTYPES.get(self.kind, SLL)

    @property
    def strange(self) -> str | None:
        """Name of a hardware type that cannot be captured here."""
        return _STRANGE.get(self.kind)


@dataclass(frozen=True, slots=True)
class Gone:
    """An interface that has been removed."""

    index: int
    name: str


@dataclass(frozen=True, slots=True)
class Address:
    """An address with prefix length (`10.0.0.1/24`) of the interface with this index."""

    index: int
    text: str


def dump_request(kind: int, *, sequence: int) -> bytes:
    """Netlink message that asks for everything of `kind` (GET_LINK, GET_ADDRESS)."""
    body = struct.pack("=BxHiII", 0, 0, 0, 0, 0)
    return struct.pack("=IHHII", 16 + len(body), kind, REQUEST | DUMP, sequence, 0) + body


def parse(data: bytes) -> Iterator[Link | Gone | Address | int]:
    """What the messages of one datagram say; the number DONE at the end of a dump."""
    pos = 0
    while pos + 16 <= len(data):
        size, kind, _flags, _sequence, _port = struct.unpack_from("=IHHII", data, pos)
        if size < 16 or pos + size > len(data):
            return
        body = data[pos + 16 : pos + size]
        if kind in (DONE, ERROR):
            yield DONE
        elif kind in (NEW_LINK, DEL_LINK) and len(body) >= 16:
            yield from _link(body, gone=kind == DEL_LINK)
        elif kind == NEW_ADDRESS and len(body) >= 8:
            yield from _address(body)
        pos += size + 3 & ~3


def _link(body: bytes, *, gone: bool) -> Iterator[Link | Gone]:
    family, kind, index, flags, _change = struct.unpack_from("=BxHiII", body)
    if family != 0:  # a bridge port's or another family's view of the same interface
        return
    found = dict(_attributes(body, 16))
    name = found.get(_IFLA_IFNAME, b"").rstrip(b"\x00").decode("utf-8", "replace")
    mtu = struct.unpack("=I", found[_IFLA_MTU][:4])[0] if len(found.get(_IFLA_MTU, b"")) >= 4 else 0
    yield Gone(index, name) if gone else Link(index, name, kind, flags, mtu, found.get(_IFLA_ADDRESS, b""))


def _address(body: bytes) -> Iterator[Address]:
    _family, prefix, _flags, _scope, index = struct.unpack_from("=BBBBI", body)
    found = dict(_attributes(body, 8))
    packed = found.get(_IFA_LOCAL) or found.get(_IFA_ADDRESS, b"")
    if len(packed) in (4, 16):
        yield Address(index, f"{ipaddress.ip_address(packed)}/{prefix}")


def _attributes(body: bytes, pos: int) -> Iterator[tuple[int, bytes]]:
    while pos + 4 <= len(body):
        size, kind = struct.unpack_from("=HH", body, pos)
        if size < 4 or pos + size > len(body):
            return
        yield kind & 0x3FFF, body[pos + 4 : pos + size]
        pos += size + 3 & ~3
