"""What decoding one packet says (`Frame`, `Status`), what it is told (`DecodeConfig`), and how it walks (`Cursor`).

Promise: plain values, no parsing. `Frame` has the fields of the C struct of the sensor's kernel, one for one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

UNKNOWN_WIRE = 0xFFFFFFFF
"""`Cursor.wire` while no header has said where the packet ends."""

MAX_TAGS = 16
"""VLAN tags, MPLS labels or IPv6 extension headers in one row: more than this is no traffic."""

NO_ADDRESS = bytes(16)


class Status(IntEnum):
    """How far a packet could be read."""

    OK = 0
    NOT_IP = 1
    TRUNCATED = 2
    MALFORMED = 3
    FRAGMENT = 4
    UNSUPPORTED = 5


@dataclass(slots=True)
class Frame:
    """One packet, decoded to the transport header of its innermost IP packet.

    `ip_version != 0`: `src`, `dst`, `proto`, `ttl` and `l3` hold. `l4 != 0`: the ports hold too, whatever the status
    (a TCP header cut after its ports is TRUNCATED and still belongs to its flow). Offsets count from the first
    captured byte. A tunnel whose inside holds no readable IP header is reported as the packet that carries it.
    """

    status: Status = Status.OK
    ip_version: int = 0
    """4 or 6; 0: no IP."""
    proto: int = 0
    """IANA number of the innermost transport, after extension headers and AH."""
    tcp_flags: int = 0
    """FIN to CWR, the low 8 bits."""
    depth: int = 0
    """Encapsulations removed: MPLS, PPPoE and tunnels count one each, VLAN tags do not."""
    frag_more: int = 0
    ttl: int = 0
    icmp_type: int = 0
    icmp_code: int = 0
    ethertype: int = 0
    """Of the innermost frame that has one (after VLAN tags), else 0."""
    vlan: int = 0
    """Outermost VLAN id, 0: untagged."""
    sport: int = 0
    """Source port; for ICMP the message type (Community ID convention)."""
    dport: int = 0
    """Destination port; for ICMP the type of the counterpart, or the code of a message that has none."""
    window: int = 0
    tenant: int = 0
    """VXLAN or Geneve VNI + 1; `VLAN_TENANT | vlan` where VLANs are tenants; else 0."""
    frag_id: int = 0
    frag_offset: int = 0
    """Bytes."""
    seq: int = 0
    ack: int = 0
    l3: int = 0
    """Innermost IP header, or the message of a NOT_IP frame that is ARP."""
    l4: int = 0
    payload: int = 0
    payload_len: int = 0
    """Captured payload bytes, link padding excluded."""
    payload_wire: int = 0
    """Payload bytes by the headers: more than `payload_len` where the snap length cut the packet."""
    src: bytes = NO_ADDRESS
    """16 bytes; IPv4 in the first four, the rest 0."""
    dst: bytes = NO_ADDRESS


VLAN_TENANT = 1 << 25
"""Set in `Frame.tenant` when it is a VLAN id: above every VNI + 1."""


@dataclass(frozen=True, slots=True)
class DecodeConfig:
    """What decoding cannot know by itself: ports of tunnels over UDP, how deep to go, whether VLANs part tenants."""

    vxlan_ports: tuple[int, ...] = (4789, 8472)
    geneve_ports: tuple[int, ...] = (6081,)
    gtpu_ports: tuple[int, ...] = (2152,)
    max_depth: int = 8
    vlan_is_tenant: bool = False
    teredo_ports: tuple[int, ...] = (3544,)
    ayiya_ports: tuple[int, ...] = (5072,)
    tunnel_ports: frozenset[int] = field(init=False, repr=False, compare=False)
    """All of the above: one look-up for the many packets that use none."""

    def __post_init__(self) -> None:
        every = (self.vxlan_ports, self.geneve_ports, self.gtpu_ports, self.teredo_ports, self.ayiya_ports)
        object.__setattr__(self, "tunnel_ports", frozenset(port for ports in every for port in ports))


class Layer(IntEnum):
    """What stands at the cursor. Same order as in the kernel's `_decode.pxi`."""

    DONE = 0
    ETHERNET = 1
    ETHERTYPE = 2
    LLC = 3
    NLPID = 4
    PPP = 5
    CISCO_HDLC = 6
    MPLS = 7
    IP = 8
    TRANSPORT = 9
    GRE = 10
    WLAN = 11


@dataclass(slots=True)
class Cursor:
    """Where decoding stands in one packet. `data[off:end]` is what is left to read of the current layer."""

    data: bytes | memoryview
    end: int
    """First byte that may not be read: end of the capture, or earlier where a header ends the packet."""
    config: DecodeConfig
    frame: Frame
    off: int = 0
    wire: int = UNKNOWN_WIRE
    """Where the packet ends by its headers; beyond `end` when the capture was cut."""
    layer: int = Layer.DONE
    number: int = 0
    """What selects the reader of this layer: an ethertype or an IP protocol number."""
    tags: int = 0
    outer: Frame | None = None
    """The packet that carries the tunnel being read; what is reported when no IP is found inside."""

    def u16(self, at: int) -> int:
        return self.data[at] << 8 | self.data[at + 1]

    def u32(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + 4], "big")

    def stop(self, status: Status) -> None:
        """End decoding with `status`."""
        self.frame.status = status
        self.layer = Layer.DONE

    def need(self, size: int) -> bool:
        """Tell whether `size` bytes can be read here; if not, end as TRUNCATED (by the capture) or MALFORMED."""
        if self.off + size <= self.end:
            return True
        self.stop(Status.TRUNCATED if self.off + size <= self.wire else Status.MALFORMED)
        return False

    def limit(self, size: int) -> None:
        """Let the current layer end `size` bytes from here, where it does not end sooner."""
        self.wire = min(self.wire, self.off + size)
        self.end = min(self.end, self.wire)

    def go(self, layer: Layer, *, off: int, number: int = 0) -> None:
        """Continue at `off` with `layer`."""
        self.layer, self.off, self.number = layer, off, number

    def enter(self, layer: Layer, *, off: int) -> None:
        """Continue inside an encapsulation, unless that would be deeper than allowed."""
        if self.frame.depth >= self.config.max_depth:
            self.stop(Status.UNSUPPORTED)
            return
        self.frame.depth += 1
        self.tags = 0
        self.go(layer, off=off)
