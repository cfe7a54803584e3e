"""NetBIOS over TCP/IP: names, datagrams and session set-up (RFC 1001 section 14, RFC 1002 section 4).

Promise: names are bounded by their labels and by pointers that only go backwards, records by `MAX_RECORDS`; never
raises. A message that breaks behind its header is returned with what was read before and says why in `broken`.
"""

from __future__ import annotations

from dataclasses import dataclass

from packhound.net.dhcp import address_text
from packhound.net.facts import Fact, Malformed, Value
from packhound.net.octets import Octets, Short
from packhound.net.text import decode

MAX_RECORDS = 64
MAX_NAMES = 64  # of a node status answer
MAX_LABELS = 32  # of one name
MAX_POINTERS = 8
NB, NBSTAT = 0x20, 0x21
RESPONSE, REQUEST, POSITIVE, NEGATIVE = 0x8000, 0x81, 0x82, 0x83
OPERATIONS = {
    0: "query", 5: "registration", 6: "release", 7: "wack", 8: "refresh", 9: "refresh", 15: "multi-homed-registration",
}  # fmt: skip
DATAGRAMS = {
    0x10: "direct-unique", 0x11: "direct-group", 0x12: "broadcast", 0x13: "error", 0x14: "query",
    0x15: "positive-response", 0x16: "negative-response",
}  # fmt: skip
NBNS_FIELDS = frozenset({
    "nbns.id", "nbns.response", "nbns.operation", "nbns.rcode", "nbns.name", "nbns.type", "nbns.address",
    "nbns.node_name", "nbns.mac",
})  # fmt: skip
NBDGM_FIELDS = frozenset({"nbdgm.type", "nbdgm.source", "nbdgm.destination", "nbdgm.address", "nbdgm.mailslot"})
NBSS_FIELDS = frozenset({"nbss.type", "nbss.called", "nbss.calling", "nbss.error"})


@dataclass(frozen=True, slots=True)
class NameMessage:
    """One message of the name service: `names` of its questions and records with their types, each pair once; `nodes`
    and `mac` of a node status answer."""

    id: int
    flags: int
    names: tuple[tuple[str, int], ...]
    addresses: tuple[str, ...]
    nodes: tuple[str, ...]
    mac: bytes
    broken: str = ""


def name_text(name: bytes) -> str:
    """Write a name of 16 octets: 15 without their padding, `<xx>` for what is not printable, the suffix in hex."""
    text = "".join(chr(octet) if 32 <= octet < 127 else f"<{octet:02x}>" for octet in name[:15])
    return f"{text.rstrip(' ')}<{name[15]:02x}>"


def _label(label: bytes) -> str:
    """A first label: decoded where it is first-level encoded, else as it is written."""
    if len(label) != 32 or not all(65 <= octet <= 80 for octet in label):
        return decode(label)
    return name_text(bytes((label[at] - 65) << 4 | label[at + 1] - 65 for at in range(0, 32, 2)))


def read_name(cursor: Octets) -> str:
    """Read a name, its scope behind a dot; a pointer forwards or a name without end raises Short."""
    labels: list[str] = []
    reader, lowest, pointers = cursor, cursor.at, 0
    while length := reader.number(1):
        if length >= 0xC0:
            target = (length & 0x3F) << 8 | reader.number(1)
            pointers += 1
            if target >= lowest or pointers > MAX_POINTERS:
                raise Short(target)
            lowest, reader = target, Octets(cursor.data, target, cursor.end)
            continue
        if length > 63 or len(labels) >= MAX_LABELS:
            raise Short(reader.at)
        label = reader.take(length)
        labels.append(decode(label) if labels else _label(label))
    return ".".join(labels)


def parse_names(data: bytes) -> NameMessage | Malformed:
    """Read a message of the name service (RFC 1002 section 4.2)."""
    if len(data) < 12:
        return Malformed("NetBIOS name header is cut short", len(data))
    cursor = Octets(data)
    ident, flags = cursor.number(2), cursor.number(2)
    questions, *counts = (cursor.number(2) for _ in range(4))
    names: dict[tuple[str, int], None] = {}
    addresses: list[str] = []
    nodes: list[str] = []
    mac, broken = b"", ""
    try:
        for _ in range(min(questions, MAX_RECORDS)):
            names[read_name(cursor), cursor.number(2)] = None
            cursor.skip(2)
        for _ in range(min(sum(counts), MAX_RECORDS)):
            owner, kind = read_name(cursor), cursor.number(2)
            cursor.skip(6)
            body = cursor.vector(2)
            names[owner, kind] = None
            if kind == NB:
                addresses += _addresses(body)
            elif kind == NBSTAT and flags & RESPONSE:
                mac = _nodes(body, nodes)
        if questions + sum(counts) > MAX_RECORDS:
            broken = "more NetBIOS records than are read"
    except Short:
        broken = "NetBIOS name or record breaks its message"
    return NameMessage(ident, flags, tuple(names), tuple(addresses), tuple(nodes), mac, broken)


def _addresses(body: Octets) -> list[str]:
    found: list[str] = []
    while len(body) >= 6 and len(found) < MAX_RECORDS:
        body.skip(2)
        found.append(address_text(body.take(4)))
    return found


def _nodes(body: Octets, nodes: list[str]) -> bytes:
    """Add the names of a node status answer (RFC 1002 section 4.2.18); return the unit id."""
    for _ in range(min(body.number(1), MAX_NAMES)):
        nodes.append(name_text(body.take(16)))
        body.skip(2)
    return body.take(6)


def nbns_facts(data: bytes) -> list[Fact | Malformed]:
    """Read one datagram of the name service into its fact, and the reason where it breaks."""
    message = parse_names(data)
    if isinstance(message, Malformed):
        return [message]
    code = message.flags >> 11 & 15
    fields: dict[str, Value] = {
        "nbns.id": message.id,
        "nbns.response": bool(message.flags & RESPONSE),
        "nbns.operation": OPERATIONS.get(code, str(code)),
    }
    if message.flags & RESPONSE:
        fields["nbns.rcode"] = message.flags & 15
    if message.names:
        fields["nbns.name"] = tuple(name for name, _ in message.names)
        fields["nbns.type"] = tuple(kind for _, kind in message.names)
    if message.addresses:
        fields["nbns.address"] = message.addresses
    if message.nodes:
        fields["nbns.node_name"] = message.nodes
    if any(message.mac):
        fields["nbns.mac"] = message.mac.hex(":")
    found: list[Fact | Malformed] = [Fact("nbns", fields)]
    if message.broken:
        found.append(Malformed(message.broken))
    return found


def nbdgm_facts(data: bytes) -> list[Fact | Malformed]:
    """Read one datagram of the datagram service (RFC 1002 section 4.4)."""
    if len(data) < 10:
        return [Malformed("NetBIOS datagram header is cut short", len(data))]
    kind = data[0]
    fields: dict[str, Value] = {"nbdgm.type": DATAGRAMS.get(kind, str(kind)), "nbdgm.address": address_text(data[4:8])}
    try:
        if 0x10 <= kind <= 0x12:
            cursor = Octets(data, 14)
            fields["nbdgm.source"] = read_name(cursor)
            fields["nbdgm.destination"] = read_name(cursor)
            if mailslot := _mailslot(cursor.rest()):
                fields["nbdgm.mailslot"] = mailslot
        elif kind >= 0x14:
            fields["nbdgm.destination"] = read_name(Octets(data, 10))
    except Short:
        return [Fact("nbdgm", fields), Malformed("NetBIOS datagram breaks its names")]
    return [Fact("nbdgm", fields)]


def _mailslot(data: bytes) -> str:
    """Name of the mailslot that an SMB transaction writes to (MS-CIFS section 2.2.4.33), empty in other datagrams."""
    if not data.startswith(b"\xffSMB\x25"):
        return ""
    start = data.find(b"\\MAILSLOT\\", 32, 256)
    end = data.find(b"\0", start, start + 256)
    return decode(data[start:end]) if 0 <= start < end else ""


def nbss_fact(kind: int, body: bytes) -> Fact | Malformed:
    """Return what one packet that sets up a session says (RFC 1002 section 4.3)."""
    names = {REQUEST: "request", POSITIVE: "positive-response", NEGATIVE: "negative-response", 0x84: "retarget"}
    fields: dict[str, Value] = {"nbss.type": names.get(kind, str(kind))}
    if kind == NEGATIVE and body:
        fields["nbss.error"] = body[0]
    if kind == REQUEST:
        cursor = Octets(body)
        try:
            fields["nbss.called"] = read_name(cursor)
            fields["nbss.calling"] = read_name(cursor)
        except Short:
            return Malformed("NetBIOS session request breaks its names")
    return Fact("nbss", fields)
