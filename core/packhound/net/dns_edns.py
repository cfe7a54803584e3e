"""The OPT record of a DNS message (RFC 6891): what its sender can take, and its options.

Promise: linear, at most `MAX_OPTIONS` options, never raises; options that break their record are said in `broken`.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv6Address

from packhound.net.facts import Value
from packhound.net.octets import Octets, Short

MAX_OPTIONS = 64
CLIENT_SUBNET, EXTENDED_ERROR = 8, 15
FIELDS = frozenset({
    "dns.edns.version", "dns.edns.udp_size", "dns.edns.do", "dns.edns.option", "dns.edns.client_subnet",
    "dns.edns.error",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Edns:
    """`options` by number in order, `subnet` as address/prefix (RFC 7871), `error` the info code of RFC 8914 (-1:
    none), `extended_rcode` the upper bits of the response code."""

    udp_size: int
    version: int
    dnssec_ok: bool
    extended_rcode: int
    options: tuple[int, ...] = ()
    subnet: str = ""
    error: int = -1
    broken: bool = False


def parse(size: int, flags: int, body: Octets) -> Edns:
    """Read an OPT record: its class (`size`), its time to live (`flags`) and its data."""
    options: list[int] = []
    subnet, error, broken = "", -1, False
    try:
        while len(body) and len(options) < MAX_OPTIONS:
            number, content = body.number(2), body.vector(2)
            options.append(number)
            if number == CLIENT_SUBNET:
                subnet = _subnet(content)
            elif number == EXTENDED_ERROR:
                error = content.number(2)
    except Short:
        broken = True
    return Edns(size, flags >> 16 & 0xFF, bool(flags & 0x8000), flags >> 24, tuple(options), subnet, error, broken)


def edns_fields(edns: Edns) -> dict[str, Value]:
    """Return the fields of an OPT record."""
    fields: dict[str, Value] = {
        "dns.edns.version": edns.version, "dns.edns.udp_size": edns.udp_size, "dns.edns.do": edns.dnssec_ok,
    }  # fmt: skip
    if edns.options:
        fields["dns.edns.option"] = edns.options
    if edns.subnet:
        fields["dns.edns.client_subnet"] = edns.subnet
    if edns.error >= 0:
        fields["dns.edns.error"] = edns.error
    return fields


def _subnet(content: Octets) -> str:
    """Write a client's network; empty for a family that is neither IPv4 nor IPv6."""
    family, prefix = content.number(2), content.number(1)
    content.skip(1)
    data = content.rest()
    if family == 1 and len(data) <= 4:
        return ".".join(map(str, data.ljust(4, b"\0"))) + f"/{prefix}"
    if family == 2 and len(data) <= 16:
        return f"{IPv6Address(data.ljust(16, bytes(1)))}/{prefix}"
    return ""
