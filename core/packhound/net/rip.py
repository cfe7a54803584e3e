"""RIP versions 1 and 2 (RFC 1058, 2453) and RIPng (RFC 2080): routes and their metrics.

Promise: bounded by `MAX_ROUTES` entries a message, never raises. RIPng calls itself version 1 as RIP once did: entries
that cannot be RIP's tell them apart. A message that breaks behind its header is returned with what was read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from packhound.net.dns import address6
from packhound.net.facts import Fact, Malformed, Value
from packhound.net.text import decode

HEADER, ENTRY = 4, 20
MAX_ROUTES = 1024
NAMES = {1: "REQUEST", 2: "RESPONSE"}
IP, AUTHENTICATION, PASSWORD = 2, 0xFFFF, 2
NEXT_HOP = 255  # metric of a RIPng entry that names the next hop of those behind it
FIELDS = frozenset({
    "rip.command", "rip.version", "rip.ipv6", "rip.route", "rip.metric", "rip.next_hop", "rip.auth", "rip.password",
})  # fmt: skip


@dataclass(slots=True)
class RipMessage:
    """One message: routes, metrics and next hops in step; `ipv6` when it is RIPng."""

    command: int
    version: int
    ipv6: bool = False
    routes: list[str] = field(default_factory=list)
    metrics: list[int] = field(default_factory=list)
    next_hops: list[str] = field(default_factory=list)
    auth: int = 0
    password: str = ""
    broken: str = ""


def parse(data: bytes) -> RipMessage | Malformed:
    """Read one datagram."""
    if len(data) < HEADER:
        return Malformed("RIP header is cut short", len(data))
    message = RipMessage(data[0], data[1])
    stop = len(data) - (len(data) - HEADER) % ENTRY
    entries = [data[at : at + ENTRY] for at in range(HEADER, stop, ENTRY)][:MAX_ROUTES]
    message.ipv6 = message.version == 1 and not all(_is_version1(each, message.command) for each in entries)
    if message.ipv6:
        _ripng(message, entries)
    else:
        for each in entries:
            _entry(message, each)
    if stop < len(data) and not message.auth:
        message.broken = "RIP entry is cut short"
    return message


def _is_version1(entry: bytes, command: int) -> bool:
    """Tell whether an entry can be RIP version 1's: family IP (none in a request for all), zeros where it must be."""
    family = int.from_bytes(entry[:2], "big")
    return (family == IP or (family == 0 and command == 1)) and not any(entry[2:4]) and not any(entry[8:16])


def _entry(message: RipMessage, entry: bytes) -> None:
    family = int.from_bytes(entry[:2], "big")
    if family == AUTHENTICATION:
        message.auth = message.auth or int.from_bytes(entry[2:4], "big")  # a digest follows the routes
        if message.auth == PASSWORD:
            message.password = decode(entry[4:].rstrip(b"\0"))
    elif family == IP:
        route = _address(entry[4:8])
        if message.version > 1:
            route += f"/{int.from_bytes(entry[8:12], 'big').bit_count()}"
            message.next_hops.append(_address(entry[12:16]))
        message.routes.append(route)
        message.metrics.append(int.from_bytes(entry[16:], "big"))


def _ripng(message: RipMessage, entries: list[bytes]) -> None:
    hop = "::"
    for entry in entries:
        bits, metric = entry[18], entry[19]
        if metric == NEXT_HOP:
            hop = address6(entry[:16])
        elif bits > 128:
            message.broken = "RIPng prefix is longer than an address"
        else:
            message.routes.append(f"{address6(entry[:16])}/{bits}")
            message.metrics.append(metric)
            message.next_hops.append(hop)


def _address(raw: bytes) -> str:
    return ".".join(map(str, raw))


def rip_fact(message: RipMessage) -> Fact:
    """Return the `rip` fact of a message."""
    fields: dict[str, Value] = {
        "rip.command": NAMES.get(message.command, str(message.command)),
        "rip.version": message.version,
    }
    if message.ipv6:
        fields["rip.ipv6"] = True
    if message.auth:
        fields["rip.auth"] = message.auth
    if message.password:
        fields["rip.password"] = message.password
    for name, values in (
        ("rip.route", message.routes), ("rip.metric", message.metrics), ("rip.next_hop", message.next_hops),
    ):  # fmt: skip
        if values:
            fields[name] = tuple(values)
    return Fact("rip", fields)


def read(data: bytes) -> list[Fact | Malformed]:
    """Read one datagram into its fact, and the reason where it breaks."""
    message = parse(data)
    if isinstance(message, Malformed):
        return [message]
    return [rip_fact(message), Malformed(message.broken)] if message.broken else [rip_fact(message)]
