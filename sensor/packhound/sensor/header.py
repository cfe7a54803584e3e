"""Registry fields that a packet's flow alone decides: addresses, ports, protocol, VLAN.

Promise: pure; direction 0 speaks as the flow's initiator, 1 as its responder.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from struct import Struct
from typing import Any

from packhound.net.detect import name_of
from packhound.net.facts import Value
from packhound.net.flow import FLOW_DTYPE

PORTED = frozenset({6, 17, 132})


def _at(name: str) -> int:
    fields = FLOW_DTYPE.fields
    assert fields is not None
    return int(fields[name][1])


_SRC, _DST = _at("src"), _at("dst")
_PORTS, _VLAN = _at("sport"), _at("vlan")
_VERSION, _PROTO, _APP = _at("ip_version"), _at("proto"), _at("app")
_PAIR, _SHORT = Struct("=HH"), Struct("=H")
assert _at("dport") == _PORTS + 2


def _text(raw: bytes, at: int, version: int) -> str:
    return str(IPv4Address(raw[at : at + 4]) if version == 4 else IPv6Address(raw[at : at + 16]))


def header_fields(row: Any, direction: int) -> dict[str, Value]:
    """Header fields of a packet of flow record `row` (FLOW_DTYPE) in `direction`."""
    raw = row.tobytes()  # one copy: reading a record field by field costs more than all the rest
    src, dst = _text(raw, _SRC, raw[_VERSION]), _text(raw, _DST, raw[_VERSION])
    ports = _PAIR.unpack_from(raw, _PORTS)
    if direction == 1:
        src, dst, ports = dst, src, (ports[1], ports[0])
    fields: dict[str, Value] = {"ip.src": src, "ip.dst": dst, "ip.addr": (src, dst), "ip.proto": raw[_PROTO]}
    if raw[_PROTO] in PORTED:
        fields |= {"port.src": ports[0], "port.dst": ports[1], "port": ports}
    (vlan,) = _SHORT.unpack_from(raw, _VLAN)
    if vlan:
        fields["vlan.id"] = vlan
    if raw[_APP]:
        fields["app.protocol"] = name_of(raw[_APP])
    return fields
