"""Registry fields that a packet's flow alone decides: addresses, ports, protocol, VLAN.

Promise: pure; direction 0 speaks as the flow's initiator, 1 as its responder.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

from packhound.net.detect import name_of
from packhound.net.facts import Value

PORTED = frozenset({6, 17, 132})


def address_text(row: Any, end: str) -> str:
    """Text of the `src` or `dst` address of a flow record."""
    raw = row[end].tobytes()
    return str(IPv4Address(raw[:4]) if row["ip_version"] == 4 else IPv6Address(raw))


def header_fields(row: Any, direction: int) -> dict[str, Value]:
    """Header fields of a packet of flow record `row` (FLOW_DTYPE) in `direction`."""
    src, dst = address_text(row, "src"), address_text(row, "dst")
    ports = (int(row["sport"]), int(row["dport"]))
    if direction == 1:
        src, dst, ports = dst, src, (ports[1], ports[0])
    fields: dict[str, Value] = {
        "ip.src": src,
        "ip.dst": dst,
        "ip.addr": (src, dst),
        "ip.proto": int(row["proto"]),
    }
    if int(row["proto"]) in PORTED:
        fields |= {"port.src": ports[0], "port.dst": ports[1], "port": ports}
    if row["vlan"]:
        fields["vlan.id"] = int(row["vlan"])
    if row["app"]:
        fields["app.protocol"] = name_of(int(row["app"]))
    return fields
