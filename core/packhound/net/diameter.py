"""Diameter messages (RFC 6733): command, application, who speaks to whom, and the result; subscribers where credit
control (RFC 8506) or 3GPP applications (TS 29.229, 29.272) name them.

Promise: bounded by `MAX_AVPS` attributes a message, grouped ones two deep; never raises. A message that breaks behind
its header is returned with what was read, and `broken` says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv6Address

from packhound.net.facts import Fact, Malformed, Value
from packhound.net.octets import Octets, Short
from packhound.net.text import decode

VERSION, HEADER = 1, 20
MAX_AVPS, MAX_TEXT, MAX_LISTED = 512, 1024, 32
REQUEST, RESERVED, ERROR = 0x80, 0x0F, 0x20
VENDOR = 0x80
FIRST_COMMAND, LAST_COMMAND = 257, 8388735  # what IANA has assigned, with 3GPP's range
LAST_STANDARD, VENDORS = 16, 0x10000  # applications of the IETF, and the first block of vendors'
COMMANDS = {
    257: "CE", 258: "RA", 265: "AA", 268: "DE", 271: "AC", 272: "CC", 274: "AS", 275: "ST", 280: "DW", 282: "DP",
    300: "UA", 301: "SA", 302: "LI", 303: "MA", 304: "RT", 305: "PP", 306: "UD", 307: "PU", 308: "SN", 309: "PN",
    316: "UL", 317: "CL", 318: "AI", 319: "ID", 320: "DS", 321: "PU", 322: "RS", 323: "NO", 324: "EC",
}  # fmt: skip
USER_NAME, HOST_ADDRESS, SESSION_ID, ORIGIN_HOST, RESULT, PRODUCT = 1, 257, 263, 264, 268, 269
DESTINATION_REALM, DESTINATION_HOST, ORIGIN_REALM = 283, 293, 296
EXPERIMENTAL_RESULT, EXPERIMENTAL_CODE, SUBSCRIPTION, SUBSCRIPTION_DATA, PUBLIC_IDENTITY = 297, 298, 443, 444, 601
_TEXTS = {
    USER_NAME: "diameter.user_name", SESSION_ID: "diameter.session_id", ORIGIN_HOST: "diameter.origin_host",
    ORIGIN_REALM: "diameter.origin_realm", DESTINATION_HOST: "diameter.destination_host",
    DESTINATION_REALM: "diameter.destination_realm", PRODUCT: "diameter.product",
}  # fmt: skip
_GROUPS = frozenset({EXPERIMENTAL_RESULT, SUBSCRIPTION})
FIELDS = frozenset({
    *_TEXTS.values(), "diameter.command", "diameter.name", "diameter.request", "diameter.error", "diameter.application",
    "diameter.hop_by_hop", "diameter.end_to_end", "diameter.result", "diameter.subscriber", "diameter.address",
})  # fmt: skip


@dataclass(slots=True)
class DiameterMessage:
    """One message: its header, and what its attributes add under registry names."""

    command: int
    flags: int
    application: int
    hop_by_hop: int
    end_to_end: int
    said: dict[str, Value] = field(default_factory=dict)
    subscribers: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    read: int = 0
    broken: str = ""


def message_size(data: bytes | bytearray, at: int = 0, *, framed: bool = True) -> int | None:
    """Length of the message that starts at `at`, of which a header is there; None when none starts there.

    `framed`: the message before ended here. Otherwise command and application must be ones that are in use.
    """
    size = int.from_bytes(data[at + 1 : at + 4], "big")
    if data[at] != VERSION or size < HEADER or size % 4 or data[at + 4] & RESERVED:
        return None
    command, application = (int.from_bytes(data[at + i : at + j], "big") for i, j in ((5, 8), (8, 12)))
    used = FIRST_COMMAND <= command <= LAST_COMMAND and (application <= LAST_STANDARD or application >> 8 == VENDORS)
    return size if command and (framed or used) else None


def parse(data: bytes) -> DiameterMessage | Malformed:
    """Read one whole message."""
    if len(data) < HEADER:
        return Malformed("Diameter header is cut short", len(data))
    size = message_size(data)
    if size is None:
        return Malformed("Diameter header is broken")
    cursor = Octets(data, 4, size)
    flags = cursor.number(1)
    message = DiameterMessage(cursor.number(3), flags, cursor.number(4), cursor.number(4), cursor.number(4))
    try:
        _attributes(message, cursor, depth=0)
        if size > len(data):
            raise Short(len(data))
    except Short:
        message.broken = "Diameter attribute breaks its message"
    return message


def _attributes(message: DiameterMessage, cursor: Octets, *, depth: int) -> None:
    while len(cursor) and message.read < MAX_AVPS:
        message.read += 1
        code, flags, size = cursor.number(4), cursor.number(1), cursor.number(3)
        head = 8
        if flags & VENDOR:
            cursor.skip(4)
            head = 12
        if size < head:
            raise Short(cursor.at)
        body = cursor.part(size - head)
        cursor.skip(min(-size % 4, len(cursor)))
        if code in _GROUPS and depth == 0:
            _attributes(message, body, depth=1)
        else:
            _attribute(message, code, body)


def _attribute(message: DiameterMessage, code: int, body: Octets) -> None:
    said = message.said
    name = _TEXTS.get(code)
    if name:
        said.setdefault(name, _text(body))
    elif code in (RESULT, EXPERIMENTAL_CODE) and len(body) == 4:
        said.setdefault("diameter.result", body.number(4))
    elif code in (SUBSCRIPTION_DATA, PUBLIC_IDENTITY) and len(message.subscribers) < MAX_LISTED:
        message.subscribers.append(_text(body))
    elif code == HOST_ADDRESS and len(message.addresses) < MAX_LISTED:
        family = body.number(2)
        raw = body.rest()
        if family == 1 and len(raw) == 4:
            message.addresses.append(".".join(map(str, raw)))
        elif family == 2 and len(raw) == 16:
            message.addresses.append(str(IPv6Address(raw)))


def _text(body: Octets) -> str:
    return decode(body.take(min(len(body), MAX_TEXT)))


def diameter_fact(message: DiameterMessage) -> Fact:
    """Return the `diameter` fact of a message; `diameter.name` is its abbreviation (CER, CEA, ULR, ...) where known."""
    request = bool(message.flags & REQUEST)
    fields: dict[str, Value] = {
        "diameter.command": message.command,
        "diameter.request": request,
        "diameter.application": message.application,
        "diameter.hop_by_hop": message.hop_by_hop,
        "diameter.end_to_end": message.end_to_end,
        **message.said,
    }
    if message.command in COMMANDS:
        fields["diameter.name"] = COMMANDS[message.command] + ("R" if request else "A")
    if message.flags & ERROR:
        fields["diameter.error"] = True
    for name, values in (("diameter.subscriber", message.subscribers), ("diameter.address", message.addresses)):
        if values:
            fields[name] = tuple(values)
    return Fact("diameter", fields)


def read(data: bytes) -> list[Fact | Malformed]:
    """Read one message into its fact, and the reason where it breaks."""
    message = parse(data)
    if isinstance(message, Malformed):
        return [message]
    return [diameter_fact(message), Malformed(message.broken)] if message.broken else [diameter_fact(message)]
