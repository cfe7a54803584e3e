"""BGP-4 messages (RFC 4271), with capabilities (RFC 5492, 6793, 7911, 9072), route refresh (RFC 2918), extended
messages (RFC 8654) and shutdown texts (RFC 9003). Routes are read in `bgp_routes`.

Promise: bounded by the message, never raises. A message that breaks behind its header is returned with what was read,
and `broken` says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from packhound.net import bgp_routes
from packhound.net.bgp_routes import Family, Terms
from packhound.net.facts import Fact, Malformed, Value
from packhound.net.octets import Octets, Short
from packhound.net.text import decode

MARKER = b"\xff" * 16
HEADER, MAX_SIZE = 19, 4096
MAX_LISTED = 256
OPEN, UPDATE, NOTIFICATION, KEEPALIVE, ROUTE_REFRESH = 1, 2, 3, 4, 5
NAMES = {1: "OPEN", 2: "UPDATE", 3: "NOTIFICATION", 4: "KEEPALIVE", 5: "ROUTE-REFRESH"}
CAPABILITIES, EXTENDED = 2, 255
MULTIPROTOCOL, AS4, ADD_PATH = 1, 65, 69
RECEIVES, SENDS = 1, 2
CEASE, SHUTDOWN, RESET = 6, 2, 4
FIELDS = bgp_routes.FIELDS | {
    "bgp.type", "bgp.as", "bgp.hold_time", "bgp.router_id", "bgp.capabilities", "bgp.error.code", "bgp.error.subcode",
    "bgp.error.text",
}  # fmt: skip


@dataclass(slots=True)
class Offer:
    """What an OPEN offers that decides how later messages are read."""

    as4: bool = False
    sends_paths: set[Family] = field(default_factory=set)
    receives_paths: set[Family] = field(default_factory=set)


@dataclass(slots=True)
class BgpMessage:
    """One message: its type, what it says under registry names, an OPEN's offer."""

    type: int
    said: dict[str, Value] = field(default_factory=dict)
    offer: Offer | None = None
    broken: str = ""


def message_size(data: bytes | bytearray, *, framed: bool = False) -> int | None:
    """Length of the message at the start of `data`, which holds a header; None when none starts there.

    `framed`: the message before ended here, so that any type will do, and any marker (RFC 1771 let it be something else
    than ones) where length and type are likely.
    """
    size = int.from_bytes(data[16:18], "big")
    known = data[18] in NAMES
    if data[:16] == MARKER:
        return size if size >= HEADER and (framed or known) else None
    return size if framed and HEADER <= size <= MAX_SIZE and known else None


def parse(data: bytes, *, terms: Terms = Terms()) -> BgpMessage | Malformed:  # noqa: B008  # a frozen value
    """Read one whole message; `terms` are those of the direction it came in."""
    if len(data) < HEADER or message_size(data, framed=True) is None:
        return Malformed("BGP header is broken")
    message = BgpMessage(data[18])
    cursor = Octets(data, HEADER, int.from_bytes(data[16:18], "big"))
    try:
        if message.type == OPEN:
            _open(message, cursor)
        elif message.type == UPDATE:
            update = bgp_routes.read(cursor, terms)
            message.said, message.broken = update.said(), update.broken
        elif message.type == NOTIFICATION:
            _notification(message, cursor)
        elif message.type == ROUTE_REFRESH:
            message.said["bgp.family"] = (_family(cursor),)
    except Short:
        message.broken = f"BGP {NAMES[message.type]} is shorter than its parts"
    return message


def _family(cursor: Octets) -> str:
    """Read AFI, a reserved octet and SAFI (RFC 4760 section 8)."""
    afi, safi = cursor.number(2), cursor.number(2) & 0xFF
    return f"{afi}/{safi}"


def _open(message: BgpMessage, cursor: Octets) -> None:
    said, offer = message.said, Offer()
    message.offer = offer
    cursor.skip(1)
    said["bgp.as"], said["bgp.hold_time"] = cursor.number(2), cursor.number(2)
    said["bgp.router_id"] = ".".join(map(str, cursor.take(4)))
    size, wide = cursor.number(1), 1
    if size == EXTENDED and len(cursor) >= 3 and cursor.data[cursor.at] == EXTENDED:
        cursor.skip(1)
        size, wide = cursor.number(2), 2
    parameters = cursor.part(size)
    codes: list[int] = []
    families: list[str] = []
    try:
        while len(parameters):
            kind = parameters.number(1)
            body = parameters.vector(wide)
            while kind == CAPABILITIES and len(body):
                code = body.number(1)
                codes.append(code)
                _capability(message, code, body.vector(1), families)
    finally:
        for name, values in (("bgp.capabilities", codes), ("bgp.family", families)):
            if values:
                said[name] = tuple(values[:MAX_LISTED])


def _capability(message: BgpMessage, code: int, body: Octets, families: list[str]) -> None:
    offer = message.offer or Offer()
    if code == AS4:
        message.said["bgp.as"] = body.number(4)
        offer.as4 = True
    elif code == MULTIPROTOCOL:
        families.append(_family(body))
    elif code == ADD_PATH:
        while len(body):
            family = body.number(2), body.number(1)
            ways = body.number(1)
            if ways & SENDS:
                offer.sends_paths.add(family)
            if ways & RECEIVES:
                offer.receives_paths.add(family)


def _notification(message: BgpMessage, cursor: Octets) -> None:
    code, subcode = cursor.number(1), cursor.number(1)
    message.said["bgp.error.code"], message.said["bgp.error.subcode"] = code, subcode
    if code == CEASE and subcode in (SHUTDOWN, RESET) and len(cursor):
        text = cursor.vector(1).rest()
        if text:
            message.said["bgp.error.text"] = decode(text)


def bgp_fact(message: BgpMessage) -> Fact:
    """Return the `bgp` fact of a message."""
    return Fact("bgp", {"bgp.type": NAMES.get(message.type, str(message.type)), **message.said})
