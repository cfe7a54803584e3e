"""DHCP for IPv6 (RFC 8415; name servers RFC 3646, client FQDN RFC 4704), relayed messages with what they carry.

Promise: linear, at most `MAX_OPTIONS` options and `MAX_RELAYS` relays of one message, never raises. A message whose
options break is returned with what was read before and says why in `broken`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from packhound.net.dhcp import read_name
from packhound.net.dns import address6
from packhound.net.facts import Fact, Malformed, Value
from packhound.net.octets import Octets, Short, numbers
from packhound.net.text import decode

MAX_OPTIONS = 256
MAX_RELAYS = 32  # HOP_COUNT_LIMIT of RFC 3315; RFC 8415 has 8
MAX_VALUES = 32  # of one field
RELAYS = (12, 13)
CLIENT, SERVER, IA_NA, IA_TA, ADDRESS, REQUESTED, RELAYED, STATUS, VENDOR, DNS, DOMAINS, IA_PD, PREFIX, FQDN = (
    1, 2, 3, 4, 5, 6, 9, 13, 16, 23, 24, 25, 26, 39,
)  # fmt: skip
_INSIDE = {IA_NA: 12, IA_TA: 4, IA_PD: 12, ADDRESS: 24, PREFIX: 25}  # option -> where the options in it start
TYPES = (
    "", "SOLICIT", "ADVERTISE", "REQUEST", "CONFIRM", "RENEW", "REBIND", "REPLY", "RELEASE", "DECLINE", "RECONFIGURE",
    "INFORMATION-REQUEST", "RELAY-FORW", "RELAY-REPL", "LEASEQUERY", "LEASEQUERY-REPLY", "LEASEQUERY-DONE",
    "LEASEQUERY-DATA", "RECONFIGURE-REQUEST", "RECONFIGURE-REPLY", "DHCPV4-QUERY", "DHCPV4-RESPONSE",
)  # fmt: skip
FIELDS = frozenset({
    "dhcpv6.type", "dhcpv6.xid", "dhcpv6.client_duid", "dhcpv6.server_duid", "dhcpv6.client_mac", "dhcpv6.fqdn",
    "dhcpv6.vendor_class", "dhcpv6.address", "dhcpv6.prefix", "dhcpv6.parameters", "dhcpv6.status", "dhcpv6.dns",
    "dhcpv6.domain", "dhcpv6.relay_peer",
})  # fmt: skip


@dataclass(slots=True)
class _Read:
    """What the options said so far, by option."""

    types: list[int] = field(default_factory=list)
    xid: int | None = None
    peers: list[str] = field(default_factory=list)
    texts: dict[int, list[str]] = field(default_factory=dict)
    codes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    options: int = 0

    def text(self, code: int, value: str) -> None:
        held = self.texts.setdefault(code, [])
        if value and len(held) < MAX_VALUES:
            held.append(value)


@dataclass(frozen=True, slots=True)
class Dhcpv6Message:
    """One message: `types` from the outermost relay inwards, `xid` of the message that no relay wrote (None when it
    was not reached), `texts` and `codes` of the options that are read, by option number."""

    types: tuple[int, ...]
    xid: int | None
    peers: tuple[str, ...]
    texts: dict[int, list[str]]
    codes: dict[int, tuple[int, ...]]
    broken: str = ""


def parse(data: bytes) -> Dhcpv6Message | Malformed:
    """Read a message; `Malformed` when not even its header holds."""
    if len(data) < 4:
        return Malformed("DHCPv6 header is cut short", len(data))
    read, broken = _Read(), ""
    level: Octets | None = Octets(data)
    try:
        while level is not None and not broken:
            level = _level(level, read)
            if len(read.types) > MAX_RELAYS:
                broken = "more DHCPv6 relays than are read"
    except Short:
        broken = "DHCPv6 option breaks its message"
    if read.options > MAX_OPTIONS:
        broken = "more DHCPv6 options than are read"
    return Dhcpv6Message(tuple(read.types), read.xid, tuple(read.peers), read.texts, read.codes, broken)


def _level(cursor: Octets, read: _Read) -> Octets | None:
    """Read one message; return the message that it relays."""
    kind = cursor.number(1)
    read.types.append(kind)
    if kind in RELAYS:
        cursor.skip(17)
        read.peers.append(address6(cursor.take(16)))
    else:
        read.xid = cursor.number(3)
    inner: Octets | None = None
    waiting = [cursor]  # areas of options, those inside identity associations too
    while waiting and read.options <= MAX_OPTIONS:
        area = waiting[-1]
        if not len(area):
            waiting.pop()
            continue
        read.options += 1
        code, body = area.number(2), area.vector(2)
        if code == RELAYED and kind in RELAYS:
            inner = inner or body
            continue
        start = body.at + _INSIDE.get(code, 0)
        _option(code, Octets(body.data, body.at, body.end), read)
        if code in _INSIDE and start <= body.end:
            waiting.append(Octets(body.data, start, body.end))
    return inner


def _option(code: int, body: Octets, read: _Read) -> None:
    """Note what one option says; options that say nothing to us are passed over."""
    if code in (CLIENT, SERVER):
        read.text(code, body.rest().hex())
    elif code == ADDRESS:
        read.text(code, address6(body.take(16)))
    elif code == PREFIX:
        body.skip(8)
        length = body.number(1)
        read.text(code, f"{address6(body.take(16))}/{length}")
    elif code == REQUESTED:
        read.codes[code] = numbers(body, 2)
    elif code == STATUS:
        read.codes[code] = (body.number(2),)
    elif code == VENDOR:
        body.skip(4)
        while len(body):
            read.text(code, decode(body.vector(2).rest()))
    elif code == DNS:
        while len(body):
            read.text(code, address6(body.take(16)))
    elif code == DOMAINS:
        while len(body):
            read.text(code, read_name(body))
    elif code == FQDN:
        body.skip(1)
        read.text(code, read_name(body))


def dhcpv6_fact(message: Dhcpv6Message) -> Fact:
    """Return the fact of a message, relays and the message that they carry together."""
    fields: dict[str, Value] = {
        "dhcpv6.type": tuple(TYPES[each] if 0 < each < len(TYPES) else str(each) for each in message.types)
    }
    if message.xid is not None:
        fields["dhcpv6.xid"] = message.xid
    if message.peers:
        fields["dhcpv6.relay_peer"] = message.peers
    for name, code in (
        ("dhcpv6.client_duid", CLIENT), ("dhcpv6.server_duid", SERVER), ("dhcpv6.fqdn", FQDN),
        ("dhcpv6.vendor_class", VENDOR), ("dhcpv6.address", ADDRESS), ("dhcpv6.prefix", PREFIX), ("dhcpv6.dns", DNS),
        ("dhcpv6.domain", DOMAINS),
    ):  # fmt: skip
        if values := message.texts.get(code):
            fields[name] = tuple(values) if code in (VENDOR, ADDRESS, PREFIX, DNS, DOMAINS) else values[0]
    for name, code in (("dhcpv6.parameters", REQUESTED), ("dhcpv6.status", STATUS)):
        if found := message.codes.get(code):
            fields[name] = found
    if mac := _mac(bytes.fromhex(next(iter(message.texts.get(CLIENT, ())), ""))):
        fields["dhcpv6.client_mac"] = mac
    return Fact("dhcpv6", fields)


def dhcpv6_facts(data: bytes) -> list[Fact | Malformed]:
    """Read one datagram into its fact, and the reason where it breaks."""
    message = parse(data)
    if isinstance(message, Malformed):
        return [message]
    found: list[Fact | Malformed] = [dhcpv6_fact(message)]
    if message.broken:
        found.append(Malformed(message.broken))
    return found


def _mac(duid: bytes) -> str:
    """The Ethernet address in a DUID made of one (RFC 8415 section 11), empty in another."""
    start = {1: 8, 3: 4}.get(int.from_bytes(duid[:2], "big"), 0)
    return duid[start:].hex(":") if start and duid[2:4] == b"\0\1" and len(duid) == start + 6 else ""
