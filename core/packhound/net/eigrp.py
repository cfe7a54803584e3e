"""EIGRP packets (RFC 7868): opcode, autonomous system, parameters of the sender, and routes with their metrics.

Promise: bounded by `MAX_ROUTES` routes and `MAX_TLVS` TLVs a packet, never raises. A packet that breaks behind its
header is returned with what was read, and `broken` says why. TLVs of IPX and AppleTalk are stepped over.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from packhound.net.dns import address6
from packhound.net.facts import Fact, Malformed, Value
from packhound.net.octets import Octets, Short

VERSION, HEADER = 2, 20
MAX_ROUTES, MAX_TLVS = 1024, 512
NAMES = {
    1: "UPDATE", 2: "REQUEST", 3: "QUERY", 4: "REPLY", 5: "HELLO", 6: "IPX-SAP", 7: "PROBE", 8: "ACK",
    10: "SIA-QUERY", 11: "SIA-REPLY",
}  # fmt: skip
PARAMETERS, SOFTWARE, TERMINATION = 0x0001, 0x0004, 0x0007
IPV4, IPV6, MULTIPROTOCOL = 0x01, 0x04, 0x06  # high octet of a route's TLV type
INTERNAL, EXTERNAL = 2, 3  # its low octet
INFINITE, WIDE_INFINITE = 0xFFFFFFFF, 0xFFFFFFFFFFFF
GOODBYE = bytes((255,)) * 5
AFI_IPV4, AFI_IPV6 = 1, 2
FIELDS = frozenset({
    "eigrp.opcode", "eigrp.as", "eigrp.vrid", "eigrp.seq", "eigrp.ack", "eigrp.hold_time", "eigrp.k", "eigrp.goodbye",
    "eigrp.software", "eigrp.route", "eigrp.metric", "eigrp.next_hop", "eigrp.external", "eigrp.origin_router",
    "eigrp.origin_as",
})  # fmt: skip


@dataclass(slots=True)
class EigrpPacket:
    """One packet: header numbers, what its TLVs add under registry names, and routes (prefix, composite metric, next
    hop) in step; `external` are those among them that came from elsewhere, with who brought them in."""

    opcode: int
    autonomous_system: int
    vrid: int
    seq: int
    ack: int
    said: dict[str, Value] = field(default_factory=dict)
    routes: list[str] = field(default_factory=list)
    metrics: list[int] = field(default_factory=list)
    next_hops: list[str] = field(default_factory=list)
    external: list[str] = field(default_factory=list)
    origin_routers: list[str] = field(default_factory=list)
    origin_systems: list[int] = field(default_factory=list)
    broken: str = ""


def parse(data: bytes) -> EigrpPacket | Malformed:
    """Read a packet from its version on."""
    if len(data) < HEADER:
        return Malformed("EIGRP header is cut short", len(data))
    if data[0] != VERSION:
        return Malformed("EIGRP version is not 2")
    cursor = Octets(data, 8)
    seq, ack, vrid, system = cursor.number(4), cursor.number(4), cursor.number(2), cursor.number(2)
    packet = EigrpPacket(data[1], system, vrid, seq, ack)
    try:
        for _ in range(MAX_TLVS):
            if not len(cursor):
                break
            kind, size = cursor.number(2), cursor.number(2)
            if size < 4:
                raise Short(cursor.at)
            _tlv(packet, kind, cursor.part(size - 4))
    except Short:
        packet.broken = "EIGRP TLV breaks its packet"
    return packet


def _tlv(packet: EigrpPacket, kind: int, body: Octets) -> None:
    said, high, low = packet.said, kind >> 8, kind & 0xFF
    try:
        if kind == PARAMETERS:
            weights = body.take(6)
            if weights[:5] == GOODBYE:
                said["eigrp.goodbye"] = True
            else:
                said["eigrp.k"] = tuple(weights)
            said["eigrp.hold_time"] = body.number(2)
        elif kind == SOFTWARE:
            said["eigrp.software"] = f"{body.number(1)}.{body.number(1)}"
        elif kind == TERMINATION:
            said["eigrp.goodbye"] = True
        elif low in (INTERNAL, EXTERNAL) and high in (IPV4, IPV6):
            _classic(packet, body, external=low == EXTERNAL, size=4 if high == IPV4 else 16)
        elif low in (INTERNAL, EXTERNAL) and high == MULTIPROTOCOL:
            _multiprotocol(packet, body, external=low == EXTERNAL)
    except Short:
        packet.broken = "EIGRP TLV is shorter than its parts"


def _classic(packet: EigrpPacket, body: Octets, *, external: bool, size: int) -> None:
    """Read a route TLV of section 6.6 or 6.7."""
    hop = body.take(size)
    origin = _origin(body) if external else None
    delay, bandwidth = body.number(4), body.number(4)
    body.skip(8)
    metric = INFINITE if delay == INFINITE else min(bandwidth + delay, INFINITE)
    _destinations(packet, body, hop, metric, origin)


def _multiprotocol(packet: EigrpPacket, body: Octets, *, external: bool) -> None:
    """Read a route TLV with wide metrics (section 6.8): topology, address family, router, metric."""
    body.skip(2)
    family = body.number(2)
    body.skip(4)
    words = body.number(1)
    body.skip(7)
    delay = body.number(6)
    body.skip(10 + 2 * words)
    if family in (AFI_IPV4, AFI_IPV6):
        hop = body.take(4 if family == AFI_IPV4 else 16)
        origin = _origin(body) if external else None
        _destinations(packet, body, hop, INFINITE if delay == WIDE_INFINITE else delay, origin)


def _origin(body: Octets) -> tuple[str, int]:
    """Read what an external route says of the router that brought it in: its id and the AS it came from."""
    router, system = _address(body.take(4)), body.number(4)
    body.skip(12)
    return router, system


def _destinations(
    packet: EigrpPacket, body: Octets, hop: bytes, metric: int, origin: tuple[str, int] | None
) -> None:
    while len(body) and len(packet.routes) < MAX_ROUTES:
        bits = body.number(1)
        if bits > 8 * len(hop):
            raise Short(body.at)
        size = (bits + 7) // 8
        # routers write IPv6 prefixes of whole octets, but for /128, with one octet more
        if len(hop) == 16 and bits < 128 and bits % 8 == 0 and len(body) > size:
            size += 1
        raw = body.take(size)[: len(hop)]
        prefix = f"{_address(raw + bytes(len(hop) - len(raw)))}/{bits}"
        packet.routes.append(prefix)
        packet.metrics.append(metric)
        packet.next_hops.append(_address(hop))
        if origin:
            packet.external.append(prefix)
            packet.origin_routers.append(origin[0])
            packet.origin_systems.append(origin[1])


def _address(raw: bytes) -> str:
    return ".".join(map(str, raw)) if len(raw) == 4 else address6(raw)


def eigrp_fact(packet: EigrpPacket) -> Fact:
    """Return the `eigrp` fact of a packet. A HELLO that acknowledges is an ACK (section 5.3.2)."""
    opcode = 8 if packet.opcode == 5 and packet.ack else packet.opcode
    fields: dict[str, Value] = {
        "eigrp.opcode": NAMES.get(opcode, str(opcode)),
        "eigrp.as": packet.autonomous_system,
        "eigrp.vrid": packet.vrid,
        "eigrp.seq": packet.seq,
        "eigrp.ack": packet.ack,
        **packet.said,
    }
    for name, values in (
        ("eigrp.route", packet.routes), ("eigrp.metric", packet.metrics), ("eigrp.next_hop", packet.next_hops),
        ("eigrp.external", packet.external), ("eigrp.origin_router", packet.origin_routers),
        ("eigrp.origin_as", packet.origin_systems),
    ):  # fmt: skip
        if values:
            fields[name] = tuple(values)
    return Fact("eigrp", fields)


def read(data: bytes) -> list[Fact | Malformed]:
    """Read one packet into its fact, and the reason where it breaks."""
    packet = parse(data)
    if isinstance(packet, Malformed):
        return [packet]
    return [eigrp_fact(packet), Malformed(packet.broken)] if packet.broken else [eigrp_fact(packet)]
