"""Community ID v1: a name of a flow that other monitors compute alike (corelight/community-id-spec).

Promise: pure; endpoints are ordered, so both directions give one id, but for one-way ICMP messages.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha1
from typing import Any

from packhound.net.transport import ICMP, ICMP_COUNTERPART, ICMPV6, ICMPV6_COUNTERPART, SCTP, TCP, UDP

_WITH_PORTS = frozenset((ICMP, TCP, UDP, ICMPV6, SCTP))


def is_one_way(proto: int, kind: int) -> bool:
    """Tell whether an ICMP message of type `kind` has no counterpart: the other way round it is another flow."""
    if proto == ICMP:
        return kind not in ICMP_COUNTERPART
    return proto == ICMPV6 and kind not in ICMPV6_COUNTERPART


def community_id(*, proto: int, src: bytes, dst: bytes, sport: int = 0, dport: int = 0, seed: int = 0) -> str:
    """Name the flow between two addresses (4 or 16 bytes each); ICMP ports as in `Frame`.

    >>> community_id(proto=6, src=bytes([128, 232, 110, 120]), dst=bytes([66, 35, 250, 204]), sport=34855, dport=80)
    '1:LQU9qZlK+B5F3KDmev6m5PMibrg='
    """
    if (src, sport) > (dst, dport) and not is_one_way(proto, sport):
        src, dst, sport, dport = dst, src, dport, sport
    data = seed.to_bytes(2, "big") + src + dst + bytes((proto, 0))
    if proto in _WITH_PORTS:
        data += sport.to_bytes(2, "big") + dport.to_bytes(2, "big")
    return "1:" + b64encode(sha1(data, usedforsecurity=False).digest()).decode()


def of_flow(row: Any, *, seed: int = 0) -> str:
    """Community ID of a flow record (FLOW_DTYPE)."""
    size = 4 if row["ip_version"] == 4 else 16
    return community_id(
        proto=int(row["proto"]), src=row["src"].tobytes()[:size], dst=row["dst"].tobytes()[:size],
        sport=int(row["sport"]), dport=int(row["dport"]), seed=seed,
    )  # fmt: skip
