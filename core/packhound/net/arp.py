"""ARP and RARP messages (RFC 826, 903, 5227 for probes and announcements), over any hardware.

Promise: bounded (one message), never raises. An ARP frame belongs to no flow: `read` takes the whole message. One that
breaks behind its operation is returned without addresses, and `broken` says why.
"""

from __future__ import annotations

from dataclasses import dataclass

from packhound.net.facts import Fact, Malformed, Value
from packhound.net.octets import Octets, Short

IPV4, ETHERNET_SIZE, IPV4_SIZE = 0x0800, 6, 4
REQUEST = 1
ATM = 19  # RFC 2225: its own layout of lengths
FIELDS = frozenset({
    "arp.opcode", "arp.hardware", "arp.sender.mac", "arp.sender.ip", "arp.target.mac", "arp.target.ip",
    "arp.gratuitous", "arp.probe",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class ArpMessage:
    """One message; the addresses as they stand on the wire, in `hardware` and `protocol` of the types named."""

    hardware: int
    protocol: int
    opcode: int
    sender_hardware: bytes
    sender: bytes
    target_hardware: bytes
    target: bytes
    broken: str = ""


def parse(data: bytes) -> ArpMessage | Malformed:
    """Read an ARP message; what follows it is padding."""
    cursor = Octets(data)
    try:
        hardware, protocol = cursor.number(2), cursor.number(2)
        if hardware == ATM:
            return _atm(cursor, protocol)
        sizes = cursor.number(1), cursor.number(1)
        opcode = cursor.number(2)
    except Short as short:
        return Malformed("ARP header is cut short", short.offset)
    try:
        sender_hardware, sender, target_hardware, target = (cursor.take(size) for size in (*sizes, *sizes))
    except Short:
        return ArpMessage(hardware, protocol, opcode, b"", b"", b"", b"", "ARP addresses are cut short")
    return ArpMessage(hardware, protocol, opcode, sender_hardware, sender, target_hardware, target)


def _atm(cursor: Octets, protocol: int) -> ArpMessage:
    """Read the rest of an ATMARP message: a number and a subaddress for each end, lengths in the low six bits."""
    sender_sizes = cursor.number(1) & 0x3F, cursor.number(1) & 0x3F
    opcode = cursor.number(2)
    sender_ip = cursor.number(1)
    target_sizes = cursor.number(1) & 0x3F, cursor.number(1) & 0x3F
    target_ip = cursor.number(1)
    sender_hardware, _, sender = (cursor.take(size) for size in (*sender_sizes, sender_ip))
    target_hardware, _, target = (cursor.take(size) for size in (*target_sizes, target_ip))
    return ArpMessage(ATM, protocol, opcode, sender_hardware, sender, target_hardware, target)


def arp_fact(message: ArpMessage) -> Fact:
    """Return the `arp` fact of a message: addresses where they are IPv4 and MAC addresses, and what it means that a
    sender asks for its own address (gratuitous) or for one without naming any of its own (probe)."""
    fields: dict[str, Value] = {"arp.opcode": message.opcode, "arp.hardware": message.hardware}
    for name, raw in (("sender", message.sender_hardware), ("target", message.target_hardware)):
        if len(raw) == ETHERNET_SIZE:
            fields[f"arp.{name}.mac"] = raw.hex(":")
    if message.protocol == IPV4 and len(message.sender) == len(message.target) == IPV4_SIZE:
        sender, target = ".".join(map(str, message.sender)), ".".join(map(str, message.target))
        fields["arp.sender.ip"], fields["arp.target.ip"] = sender, target
        if any(message.sender) and sender == target:
            fields["arp.gratuitous"] = True
        elif message.opcode == REQUEST and not any(message.sender):
            fields["arp.probe"] = True
    return Fact("arp", fields)


def read(data: bytes) -> list[Fact | Malformed]:
    """Read one ARP frame's message into its fact."""
    message = parse(data)
    if isinstance(message, Malformed):
        return [message]
    return [arp_fact(message), Malformed(message.broken)] if message.broken else [arp_fact(message)]
