"""DHCP for IPv4 and plain BOOTP (RFC 2131, 2132, 951; long options RFC 3396, client FQDN RFC 4702).

Promise: linear, at most `MAX_OPTIONS` options of one message, never raises. A message whose options break is returned
with what was read before and says why in `broken`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from packhound.net.facts import Fact, Malformed, Value
from packhound.net.octets import Octets, Short
from packhound.net.text import decode

HEADER = 236
COOKIE = b"\x63\x82\x53\x63"
MAX_OPTIONS = 256
MAX_ADDRESSES = 32
PAD, END = 0, 255
ROUTER, DNS, HOSTNAME, DOMAIN, REQUESTED, LEASE, OVERLOAD, TYPE, SERVER, PARAMETERS, VENDOR, CLIENT_ID, FQDN = (
    3, 6, 12, 15, 50, 51, 52, 53, 54, 55, 60, 61, 81,
)  # fmt: skip
TYPES = (
    "", "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM", "FORCERENEW", "LEASEQUERY",
    "LEASEUNASSIGNED", "LEASEUNKNOWN", "LEASEACTIVE", "BULKLEASEQUERY", "LEASEQUERYDONE", "ACTIVELEASEQUERY",
    "LEASEQUERYSTATUS", "TLS",
)  # fmt: skip
_OPERATIONS = {1: "BOOTREQUEST", 2: "BOOTREPLY"}
FIELDS = frozenset({
    "dhcp.type", "dhcp.xid", "dhcp.client_mac", "dhcp.client_ip", "dhcp.your_ip", "dhcp.requested_ip", "dhcp.relay_ip",
    "dhcp.server_id", "dhcp.hostname", "dhcp.fqdn", "dhcp.domain", "dhcp.vendor_class", "dhcp.client_id",
    "dhcp.parameters", "dhcp.lease_time", "dhcp.router", "dhcp.dns",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class DhcpMessage:
    """One message. Addresses are four bytes, `hardware` the client's address at its stated length, `options` the bytes
    of each option that the message holds (pieces of one option joined)."""

    operation: int
    xid: int
    client: bytes
    yours: bytes
    relay: bytes
    hardware: bytes
    options: Mapping[int, bytes]
    broken: str = ""


def parse(data: bytes) -> DhcpMessage | Malformed:
    """Read a message; `Malformed` when its fixed part does not hold."""
    if len(data) < HEADER:
        return Malformed("DHCP header is cut short", len(data))
    if data[0] not in _OPERATIONS:
        return Malformed("DHCP operation is neither request nor reply")
    options: dict[int, bytearray] = {}
    broken = ""
    if data[HEADER : HEADER + 4] == COOKIE:
        broken = _options(Octets(data, HEADER + 4), options)
        overload = options.get(OVERLOAD, b"")[:1]
        if not broken and overload in (b"\1", b"\3"):
            broken = _options(Octets(data, 108, HEADER), options)
        if not broken and overload in (b"\2", b"\3"):
            broken = _options(Octets(data, 44, 108), options)
    return DhcpMessage(
        operation=data[0],
        xid=int.from_bytes(data[4:8], "big"),
        client=data[12:16],
        yours=data[16:20],
        relay=data[24:28],
        hardware=data[28 : 28 + min(data[2], 16)],
        options={code: bytes(value) for code, value in options.items()},
        broken=broken,
    )


def _options(cursor: Octets, options: dict[int, bytearray]) -> str:
    """Add the options of one area; return what broke."""
    try:
        for _ in range(MAX_OPTIONS):
            code = PAD
            while code == PAD and len(cursor):
                code = cursor.number(1)
            if code in (PAD, END):
                return ""
            options.setdefault(code, bytearray()).extend(cursor.vector(1).rest())
    except Short:
        return "DHCP option breaks its message"
    return "more DHCP options than are read"


def dhcp_fact(message: DhcpMessage) -> Fact:
    """Return the fact of a message. Addresses of zero, which say that there is none yet, are left out."""
    got = message.options.get
    fields: dict[str, Value] = {"dhcp.type": _type(message), "dhcp.xid": message.xid}
    _put(fields, "dhcp.client_mac", message.hardware.hex(":"))
    for name, address in (
        ("dhcp.client_ip", message.client),
        ("dhcp.your_ip", message.yours),
        ("dhcp.relay_ip", message.relay),
        ("dhcp.requested_ip", got(REQUESTED, b"")),
        ("dhcp.server_id", got(SERVER, b"")),
    ):
        if len(address) == 4 and any(address):
            fields[name] = address_text(address)
    for name, option in (("dhcp.hostname", HOSTNAME), ("dhcp.domain", DOMAIN), ("dhcp.vendor_class", VENDOR)):
        _put(fields, name, decode(got(option, b"").rstrip(b"\0")))
    _put(fields, "dhcp.fqdn", _fqdn(got(FQDN, b"")))
    _put(fields, "dhcp.client_id", got(CLIENT_ID, b"").hex())
    _put(fields, "dhcp.parameters", tuple(got(PARAMETERS, b"")))
    _put(fields, "dhcp.router", _addresses(got(ROUTER, b"")))
    _put(fields, "dhcp.dns", _addresses(got(DNS, b"")))
    if len(lease := got(LEASE, b"")) == 4:
        fields["dhcp.lease_time"] = int.from_bytes(lease, "big")
    return Fact("dhcp", fields)


def dhcp_facts(data: bytes) -> list[Fact | Malformed]:
    """Read one datagram into its fact, and the reason where it breaks."""
    message = parse(data)
    if isinstance(message, Malformed):
        return [message]
    found: list[Fact | Malformed] = [dhcp_fact(message)]
    if message.broken:
        found.append(Malformed(message.broken))
    return found


def _put(fields: dict[str, Value], name: str, value: Value) -> None:
    if value not in ("", ()):
        fields[name] = value


def _type(message: DhcpMessage) -> str:
    """Name of the message type; of the operation where it states none; its number where it has no name."""
    kind = message.options.get(TYPE)
    if not kind:
        return _OPERATIONS[message.operation]
    return TYPES[kind[0]] if 0 < kind[0] < len(TYPES) else str(kind[0])


def _addresses(data: bytes) -> tuple[str, ...]:
    stop = min(len(data) // 4, MAX_ADDRESSES)
    return tuple(address_text(data[4 * at : 4 * at + 4]) for at in range(stop))


def address_text(data: bytes) -> str:
    """Write four bytes as an IPv4 address."""
    return ".".join(map(str, data))


def _fqdn(data: bytes) -> str:
    """Name of a client FQDN option: labels when its E bit says so, else ASCII as older clients send it."""
    if len(data) < 4:
        return ""
    if not data[0] & 4:
        return decode(data[3:].rstrip(b"\0"))
    try:
        return read_name(Octets(data, 3))
    except Short:
        return ""


def read_name(cursor: Octets) -> str:
    """Read labels (RFC 1035 section 3.1, no pointers) up to the root or the cursor's end; what breaks raises Short."""
    labels, start = [], cursor.at
    while len(cursor) and (size := cursor.number(1)):
        if size > 63 or cursor.at - start > 255:
            raise Short(cursor.at)
        labels.append(decode(cursor.take(size)))
    return ".".join(labels)
