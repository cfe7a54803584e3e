"""OSPF packets, version 2 (RFC 2328) and 3 (RFC 5340): header, hello, and the link states that make the topology.
Bodies of link state advertisements are read in `ospf_lsa`.

Promise: bounded by `MAX_LISTED` neighbours or advertisements a packet, never raises. A packet that breaks behind its
header is returned with what was read, and `broken` says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from packhound.net import ospf_lsa
from packhound.net.facts import Fact, Malformed, Value
from packhound.net.octets import Octets, Short
from packhound.net.ospf_lsa import Topology

MAX_LISTED = 512
HELLO, DESCRIPTION, REQUEST, UPDATE, ACKNOWLEDGMENT = 1, 2, 3, 4, 5
NAMES = {1: "HELLO", 2: "DD", 3: "LSR", 4: "LSU", 5: "LSACK"}
HEADER = {2: 24, 3: 16}
LSA_HEADER = 20
FIELDS = ospf_lsa.FIELDS | {
    "ospf.version", "ospf.type", "ospf.router_id", "ospf.area", "ospf.auth", "ospf.instance", "ospf.hello_interval",
    "ospf.dead_interval", "ospf.priority", "ospf.mask", "ospf.interface", "ospf.dr", "ospf.bdr", "ospf.neighbor",
}  # fmt: skip


@dataclass(slots=True)
class OspfPacket:
    """One packet; `said` holds what its type adds, under registry names."""

    version: int
    type: int
    router_id: str
    area: str
    said: dict[str, Value] = field(default_factory=dict)
    topology: Topology = field(default_factory=Topology)
    broken: str = ""


def parse(data: bytes) -> OspfPacket | Malformed:
    """Read a packet from its version on; what follows its length (a digest, LLS) is not read."""
    if len(data) < 2 or data[0] not in HEADER:
        return Malformed("OSPF version is neither 2 nor 3")
    version = data[0]
    cursor = Octets(data, 2)
    try:
        size = cursor.number(2)
        packet = OspfPacket(version, data[1], _address(cursor.take(4)), _address(cursor.take(4)))
        cursor.skip(2)
        if version == 2:
            packet.said["ospf.auth"] = cursor.number(2)
            cursor.skip(8)
        else:
            packet.said["ospf.instance"] = cursor.number(1)
            cursor.skip(1)
    except Short as short:
        return Malformed("OSPF header is cut short", short.offset)
    if size < HEADER[version]:
        packet.broken = "OSPF length is shorter than a header"
        return packet
    try:
        _body(packet, Octets(data, cursor.at, size))
        if size > len(data):
            raise Short(len(data))
    except Short:
        packet.broken = "OSPF packet is cut short"
    return packet


def _body(packet: OspfPacket, cursor: Octets) -> None:
    old, kind = packet.version == 2, packet.type
    if kind == HELLO:
        (_hello2 if old else _hello3)(packet, cursor)
    elif kind == DESCRIPTION:
        cursor.skip(8 if old else 12)
        _headers(packet, cursor)
    elif kind == REQUEST:
        while len(cursor) and len(packet.topology.types) < MAX_LISTED:
            number = cursor.number(4)
            packet.topology.add(number, _address(cursor.take(4)), _address(cursor.take(4)))
    elif kind == UPDATE:
        for _ in range(min(cursor.number(4), MAX_LISTED)):
            _advertisement(packet, cursor)
    elif kind == ACKNOWLEDGMENT:
        _headers(packet, cursor)


def _hello2(packet: OspfPacket, cursor: Octets) -> None:
    said = packet.said
    said["ospf.mask"] = _address(cursor.take(4))
    said["ospf.hello_interval"] = cursor.number(2)
    cursor.skip(1)
    said["ospf.priority"], said["ospf.dead_interval"] = cursor.number(1), cursor.number(4)
    _elected(packet, cursor)


def _hello3(packet: OspfPacket, cursor: Octets) -> None:
    said = packet.said
    said["ospf.interface"], said["ospf.priority"] = cursor.number(4), cursor.number(1)
    cursor.skip(3)
    said["ospf.hello_interval"], said["ospf.dead_interval"] = cursor.number(2), cursor.number(2)
    _elected(packet, cursor)


def _elected(packet: OspfPacket, cursor: Octets) -> None:
    """Read the designated routers and the neighbours heard of."""
    for name in ("ospf.dr", "ospf.bdr"):
        address = cursor.take(4)
        if any(address):
            packet.said[name] = _address(address)
    neighbours: list[str] = []
    while len(cursor) >= 4 and len(neighbours) < MAX_LISTED:
        neighbours.append(_address(cursor.take(4)))
    if neighbours:
        packet.said["ospf.neighbor"] = tuple(neighbours)


def _headers(packet: OspfPacket, cursor: Octets) -> None:
    while len(cursor) and len(packet.topology.types) < MAX_LISTED:
        _header(packet, cursor)


def _header(packet: OspfPacket, cursor: Octets) -> tuple[int, bytes, int]:
    """Read an advertisement's header: its type, link state id and length."""
    cursor.skip(2)
    number = cursor.number(2)
    number = number & 0xFF if packet.version == 2 else number
    ident, router = cursor.take(4), _address(cursor.take(4))
    cursor.skip(6)
    size = cursor.number(2)
    packet.topology.add(number, _address(ident), router)
    return number, ident, size


def _advertisement(packet: OspfPacket, cursor: Octets) -> None:
    number, ident, size = _header(packet, cursor)
    if size < LSA_HEADER:
        raise Short(cursor.at)
    body = cursor.part(size - LSA_HEADER)
    read = ospf_lsa.read2 if packet.version == 2 else ospf_lsa.read3
    try:
        read(packet.topology, number, ident, body)
    except Short:
        packet.broken = "OSPF advertisement is shorter than its parts"


def _address(raw: bytes) -> str:
    return ".".join(map(str, raw))


def ospf_fact(packet: OspfPacket) -> Fact:
    """Return the `ospf` fact of a packet."""
    head: dict[str, Value] = {
        "ospf.version": packet.version,
        "ospf.type": NAMES.get(packet.type, str(packet.type)),
        "ospf.router_id": packet.router_id,
        "ospf.area": packet.area,
    }
    return Fact("ospf", head | packet.said | packet.topology.said())


def read(data: bytes) -> list[Fact | Malformed]:
    """Read one packet into its fact, and the reason where it breaks."""
    packet = parse(data)
    if isinstance(packet, Malformed):
        return [packet]
    return [ospf_fact(packet), Malformed(packet.broken)] if packet.broken else [ospf_fact(packet)]
