"""ICMP (RFC 792, 1191, 1256, 8335) and ICMPv6 (RFC 4443) with neighbour discovery (RFC 4861) and MLD (RFC 2710, 3810).

Promise: bounded by `MAX_LISTED` groups, options or routers a message, never raises. A message is read from its type on;
one that breaks behind its type and code is returned with what was read, and `broken` says why. The packet that an
error quotes is read to its ports and no further.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from packhound.net.decoded import DecodeConfig
from packhound.net.dns import address6
from packhound.net.facts import Fact, Malformed, Value
from packhound.net.frame import decode
from packhound.net.octets import Octets, Short

MAX_LISTED = 256
RAW_IP = 101
PORTED = frozenset({6, 17, 33, 132, 136})
UDP = 17
TRACEROUTE_PORTS = range(33434, 33535)
_QUOTE = DecodeConfig(max_depth=0)

ECHOES = frozenset({0, 8, 42, 43}), frozenset({128, 129, 160, 161})
TIMESTAMPS = frozenset({13, 14, 15, 16, 17, 18})  # with id and sequence number too
ERRORS = frozenset({3, 4, 5, 11, 12}), frozenset({1, 2, 3, 4})
REDIRECT, ROUTER_ADVERTISEMENT, UNREACHABLE, TOO_BIG_4 = 5, 9, 3, 4
UNREACHABLE_6, TOO_BIG, TIME_EXCEEDED_6, TIME_EXCEEDED = 1, 2, 3, 11
PORT_UNREACHABLE = (UNREACHABLE, 3), (UNREACHABLE_6, 4)
MLD_QUERY, MLD_REPORT, MLD_DONE, MLD2_REPORT = 130, 131, 132, 143
ROUTER_SOLICIT, ROUTER_ADVERT, NEIGHBOUR_SOLICIT, NEIGHBOUR_ADVERT, REDIRECT_6 = 133, 134, 135, 136, 137
_BEFORE_OPTIONS = {ROUTER_SOLICIT: 0, ROUTER_ADVERT: 8, NEIGHBOUR_SOLICIT: 16, NEIGHBOUR_ADVERT: 16, REDIRECT_6: 32}
OPTION_SOURCE, OPTION_TARGET, OPTION_PREFIX, OPTION_MTU = 1, 2, 3, 5
_BOTH = frozenset({
    "icmp.type", "icmp.code", "icmp.id", "icmp.seq", "icmp.mtu", "icmp.quoted.src", "icmp.quoted.dst",
    "icmp.quoted.proto", "icmp.quoted.port.src", "icmp.quoted.port.dst", "icmp.note",
})  # fmt: skip
FIELDS = _BOTH | {"icmp.gateway"}
FIELDS_6 = _BOTH | {"icmp.target", "icmp.mac", "icmp.prefix", "icmp.group"}


@dataclass(slots=True)
class IcmpMessage:
    """One message of IP `version`; `said` holds what its type adds, under registry names."""

    version: int
    type: int
    code: int
    said: dict[str, Value] = field(default_factory=dict)
    broken: str = ""


def parse(data: bytes, *, version: int) -> IcmpMessage | Malformed:
    """Read a message from its type on; `version` 4 is ICMP, 6 ICMPv6."""
    if len(data) < 4:
        return Malformed("ICMP header is cut short", len(data))
    message = IcmpMessage(version, data[0], data[1])
    try:
        (_version6 if version == 6 else _version4)(message, Octets(data, 4))
    except Short:
        message.broken = "ICMP message is cut short"
    return message


def _version4(message: IcmpMessage, cursor: Octets) -> None:
    number, said = message.type, message.said
    if number in ECHOES[0]:
        _echo(message, cursor)
    elif number in TIMESTAMPS:
        said["icmp.id"], said["icmp.seq"] = cursor.number(2), cursor.number(2)
    elif number == ROUTER_ADVERTISEMENT:
        count, words = cursor.number(1), cursor.number(1)
        cursor.skip(2)
        routers = []
        for _ in range(min(count, MAX_LISTED)):
            routers.append(_address(cursor.part(4 * words).take(4)))
        if routers:
            said["icmp.gateway"] = tuple(routers)
    elif number in ERRORS[0]:
        word = cursor.take(4)
        if number == REDIRECT:
            said["icmp.gateway"] = _address(word)
        elif number == UNREACHABLE and message.code == TOO_BIG_4 and any(word[2:]):
            said["icmp.mtu"] = int.from_bytes(word[2:], "big")
        _quoted(message, cursor)


def _version6(message: IcmpMessage, cursor: Octets) -> None:
    number, said = message.type, message.said
    if number in ECHOES[1]:
        _echo(message, cursor)
    elif number in ERRORS[1]:
        word = cursor.number(4)
        if number == TOO_BIG:
            said["icmp.mtu"] = word
        _quoted(message, cursor)
    elif number in (MLD_QUERY, MLD_REPORT, MLD_DONE):
        cursor.skip(4)
        group = cursor.take(16)
        if any(group):
            said["icmp.group"] = address6(group)
    elif number == MLD2_REPORT:
        cursor.skip(2)
        _group_records(message, cursor, cursor.number(2))
    elif number in _BEFORE_OPTIONS:
        cursor.skip(4)
        fixed = cursor.take(_BEFORE_OPTIONS[number])
        if len(fixed) >= 16:
            said["icmp.target"] = address6(fixed[:16])
        _options(message, cursor)


def _echo(message: IcmpMessage, cursor: Octets) -> None:
    message.said["icmp.id"] = cursor.number(2)
    extended = message.type in (42, 43, 160, 161)  # RFC 8335: one octet of sequence, then flags
    message.said["icmp.seq"] = cursor.number(1 if extended else 2)


def _group_records(message: IcmpMessage, cursor: Octets, count: int) -> None:
    groups: list[str] = []
    try:
        for _ in range(min(count, MAX_LISTED)):
            cursor.skip(1)
            words, sources = cursor.number(1), cursor.number(2)
            groups.append(address6(cursor.take(16)))
            cursor.skip(16 * sources + 4 * words)
    finally:
        if groups:
            message.said["icmp.group"] = tuple(groups)


def _options(message: IcmpMessage, cursor: Octets) -> None:
    """Read neighbour discovery options (RFC 4861 section 4.6): link-layer address, prefixes, MTU."""
    prefixes: list[str] = []
    for _ in range(MAX_LISTED):
        if not len(cursor):
            break
        kind, words = cursor.number(1), cursor.number(1)
        if words == 0:
            message.broken = "neighbour discovery option has no length"
            break
        body = cursor.part(8 * words - 2)
        if kind in (OPTION_SOURCE, OPTION_TARGET):
            message.said.setdefault("icmp.mac", body.take(6).hex(":"))
        elif kind == OPTION_PREFIX and words == 4:
            bits = body.number(1)
            body.skip(13)
            prefixes.append(f"{address6(body.take(16))}/{bits}")
        elif kind == OPTION_MTU and words == 1:
            body.skip(2)
            message.said["icmp.mtu"] = body.number(4)
    if prefixes:
        message.said["icmp.prefix"] = tuple(prefixes)


def _quoted(message: IcmpMessage, cursor: Octets) -> None:
    """Read the head of the packet that an error quotes."""
    frame = decode(cursor.data[cursor.at : cursor.end], linktype=RAW_IP, config=_QUOTE)
    if not frame.ip_version:
        message.broken = "quoted packet is cut short"
        return
    said = message.said
    said["icmp.quoted.src"], said["icmp.quoted.dst"] = (
        _address(raw[:4]) if frame.ip_version == 4 else address6(raw) for raw in (frame.src, frame.dst)
    )
    said["icmp.quoted.proto"] = frame.proto
    if frame.l4 and frame.proto in PORTED:
        said["icmp.quoted.port.src"], said["icmp.quoted.port.dst"] = frame.sport, frame.dport


def _address(raw: bytes) -> str:
    return ".".join(map(str, raw))


def _note(message: IcmpMessage) -> str:
    """What the message is part of: `traceroute` (a hop answers, or the end does on a port of traceroute's own),
    `multicast` (listeners speak)."""
    hop = TIME_EXCEEDED_6 if message.version == 6 else TIME_EXCEEDED
    if message.type == hop:
        return "traceroute" if message.code == 0 else ""
    if (message.type, message.code) == PORT_UNREACHABLE[message.version == 6]:
        udp = message.said.get("icmp.quoted.proto") == UDP
        return "traceroute" if udp and message.said.get("icmp.quoted.port.dst") in TRACEROUTE_PORTS else ""
    listeners = message.version == 6 and message.type in (MLD_QUERY, MLD_REPORT, MLD_DONE, MLD2_REPORT)
    return "multicast" if listeners else ""


def icmp_fact(message: IcmpMessage) -> Fact:
    """Return the fact of a message: kind `icmp` or `icmpv6`, the field names are the same."""
    fields: dict[str, Value] = {"icmp.type": message.type, "icmp.code": message.code, **message.said}
    note = _note(message)
    if note:
        fields["icmp.note"] = note
    return Fact("icmpv6" if message.version == 6 else "icmp", fields)


def _read(data: bytes, version: int) -> list[Fact | Malformed]:
    message = parse(data, version=version)
    if isinstance(message, Malformed):
        return [message]
    return [icmp_fact(message), Malformed(message.broken)] if message.broken else [icmp_fact(message)]


def read4(data: bytes) -> list[Fact | Malformed]:
    """Read one ICMP message into its fact, and the reason where it breaks."""
    return _read(data, 4)


def read6(data: bytes) -> list[Fact | Malformed]:
    """Read one ICMPv6 message into its fact, and the reason where it breaks."""
    return _read(data, 6)
