"""Addresses, networks, numbers and their ranges, as users write them.

Promise: pure; ValueError with a sentence for what is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from packhound.net.facts import Scalar

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Range = tuple[int, int]

PROTOCOL_NUMBERS = {
    "icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "udp": 17, "dccp": 33, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51,
    "icmpv6": 58, "icmp6": 58, "eigrp": 88, "ospf": 89, "pim": 103, "vrrp": 112, "l2tp": 115, "sctp": 132,
    "udplite": 136,
}  # fmt: skip
#: Names that stand for numbers (IANA registries), by field.
NUMBER_NAMES: Mapping[str, Mapping[str, int]] = {
    "ip.proto": PROTOCOL_NUMBERS,
    "dns.qtype": {
        "a": 1, "ns": 2, "cname": 5, "soa": 6, "null": 10, "ptr": 12, "hinfo": 13, "mx": 15, "txt": 16, "aaaa": 28,
        "srv": 33, "naptr": 35, "ds": 43, "rrsig": 46, "dnskey": 48, "tlsa": 52, "svcb": 64, "https": 65, "axfr": 252,
        "any": 255, "caa": 257,
    },
    "dns.rcode": {
        "noerror": 0, "formerr": 1, "servfail": 2, "nxdomain": 3, "notimp": 4, "refused": 5, "notauth": 9,
    },
}  # fmt: skip
#: Largest number that a field can hold: a leaf beyond it could never be true.
LIMITS: Mapping[str, int] = {"port": 65535, "port.src": 65535, "port.dst": 65535, "vlan.id": 4095, "ip.proto": 255}
MAX_NUMBER = (1 << 64) - 1
_NUMBER = re.compile(r"([0-9]{1,20}|0[xX][0-9a-fA-F]{1,16})(?: *- *([0-9]{1,20}|0[xX][0-9a-fA-F]{1,16}))?")


def plain_address(text: str) -> Address | None:
    """An address without zone, v4-mapped IPv6 as IPv4; None when it is none."""
    try:
        found = ip_address(text.split("%", 1)[0])
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def network_of(value: Scalar) -> Network:
    """The network of an address or CIDR (host bits ignored), v4-mapped as IPv4. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not an IP address or CIDR")
    try:
        found = ip_network(value.strip(), strict=False)
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address or CIDR") from None
    if isinstance(found, IPv6Network) and found.prefixlen >= 96 and found.network_address.ipv4_mapped is not None:
        return IPv4Network((found.network_address.ipv4_mapped, found.prefixlen - 96))
    return found


def range_of(value: Scalar, field: str) -> Range:
    """Both ends of a number or `a-b` range of `field`, names included (`udp`, `NXDOMAIN`). Raises ValueError."""
    low, high = _read_range(value, field)
    if high < low:
        raise ValueError(f"{value!r} ends before it begins")
    limit = LIMITS.get(field, MAX_NUMBER)
    if low < 0 or high > limit:
        raise ValueError(f"{value!r} is outside 0-{limit}")
    return low, high


def _read_range(value: Scalar, field: str) -> Range:
    if isinstance(value, bool | float):
        raise ValueError(f"{value!r} is not a whole number")
    if isinstance(value, int):
        return value, value
    text = value.strip()
    number = NUMBER_NAMES.get(field, {}).get(text.lower())
    if number is not None:
        return number, number
    found = _NUMBER.fullmatch(text)
    if found is None:
        names = " or name" if field in NUMBER_NAMES else ""
        raise ValueError(f"{value!r} is not a number{names} or a range such as 80-90")
    low = _number(found[1])
    return low, low if found[2] is None else _number(found[2])


def _number(text: str) -> int:
    return int(text, 16) if text[:2].lower() == "0x" else int(text)


def number_in(value: Scalar, field: str) -> int | None:
    """What a fact holds for a number field, as a number; None when it is none."""
    if isinstance(value, str):
        try:
            return range_of(value, field)[0]
        except ValueError:
            return None
    return int(value)


def merged(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The same numbers as sorted, disjoint ranges."""
    out: list[Range] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return tuple(out)
