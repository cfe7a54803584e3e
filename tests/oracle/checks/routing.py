"""Routing and link protocols against tshark: ICMP, ARP, BGP, OSPF, EIGRP."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from tests.support.corpus import expected

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.oracle.score import Check, Row

KINDS = {4: "icmp", 6: "icmpv6"}


def compare(check: Check, capture: str, theirs: Counter[Any], ours: Counter[Any]) -> None:
    """Multisets: equal, only the peer's, only ours."""
    check.equal += (theirs & ours).total()
    for kind, rest in (("only the peer", theirs - ours), ("only ours", ours - theirs)):
        for row, count in rest.items():
            for _ in range(count):
                check.note(capture, kind, row)


def address(text: str) -> str:
    """An address in one spelling."""
    return str(ip_address(text))


def icmp(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Messages per type and code. The peer's row without a type is a header that the capture cut."""
    theirs = Counter({
        (KINDS[row["v"]], int(row["type"]), int(row["code"])): row["count"]
        for row in peer["expected"] if row["type"] is not None and row["code"] is not None
    })  # fmt: skip
    ours = Counter((r["kind"], r["icmp.type"], r["icmp.code"]) for r in rows if r["kind"] in KINDS.values())
    compare(check, capture, theirs, ours)


def arp(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Messages per operation."""
    theirs = Counter({int(row["opcode"]): row["count"] for row in peer["expected"]})
    compare(check, capture, theirs, Counter(r["arp.opcode"] for r in rows if r["kind"] == "arp"))


BGP_TYPES = {"OPEN": 1, "UPDATE": 2, "NOTIFICATION": 3, "KEEPALIVE": 4, "ROUTE-REFRESH": 5}


@cache
def malformed_captures() -> frozenset[str]:
    """Captures in which the peer calls a frame malformed: it reads such a frame up to there and no further."""
    return frozenset(row["capture"] for row in expected("tshark_summary") if row["expected"].get("malformed_frames"))


def bgp(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Messages by frame, in order. What stands in a malformed frame behind the peer's last message has no peer."""
    theirs: dict[int, list[int]] = {}
    ours: dict[int, list[int]] = {}
    for row in peer["expected"]:
        kinds = row["type"] if isinstance(row["type"], list) else [row["type"]]
        theirs.setdefault(row["frame"], []).extend(map(int, kinds))
    for row in rows:
        if row["kind"] == "bgp":
            ours.setdefault(row["frame"], []).append(BGP_TYPES.get(row["bgp.type"]) or int(row["bgp.type"]))
    for frame, kinds in theirs.items():
        if capture in malformed_captures() and ours.get(frame, [])[: len(kinds)] == kinds:
            del ours[frame][len(kinds) :]
    compare(check, capture, *(Counter((f, k) for f, found in each.items() for k in found) for each in (theirs, ours)))


OSPF_TYPES = {"HELLO": 1, "DD": 2, "LSR": 3, "LSU": 4, "LSACK": 5}


def ospf(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Packets by frame, ends, type and router id."""
    theirs = Counter(
        (row["frame"], address(row["src"]), address(row["dst"]), int(row["msg"]), row["router"])
        for row in peer["expected"]
    )
    ours = Counter(
        (r["frame"], address(r["ip.src"]), address(r["ip.dst"]), OSPF_TYPES.get(r["ospf.type"]), r["ospf.router_id"])
        for r in rows if r["kind"] == "ospf"
    )  # fmt: skip
    compare(check, capture, theirs, ours)


EIGRP_OPCODES = {
    "UPDATE": 1, "REQUEST": 2, "QUERY": 3, "REPLY": 4, "HELLO": 5, "ACK": 5, "SIA-QUERY": 10, "SIA-REPLY": 11,
}  # fmt: skip


def eigrp(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Packets by frame, ends, opcode (an ACK is a HELLO on the wire) and autonomous system."""
    theirs = Counter(
        (row["frame"], address(row["src"]), address(row["dst"]), int(row["opcode"]), int(row["as"]))
        for row in peer["expected"]
    )
    ours = Counter(
        (r["frame"], address(r["ip.src"]), address(r["ip.dst"]), EIGRP_OPCODES.get(r["eigrp.opcode"]), r["eigrp.as"])
        for r in rows if r["kind"] == "eigrp"
    )  # fmt: skip
    compare(check, capture, theirs, ours)


#: What to look for in tcpdump's text, and the fields that must hold it.
TEXT = (
    (re.compile(r"AS Path \(2\).*Flags \[\w*\]: ([\d {}]*\d)"), ("bgp.as_path",)),
    (re.compile(r"my AS (\d+)"), ("bgp.as",)),
    (re.compile(r"Holdtime \d+s, ID (\S+)"), ("bgp.router_id",)),
    (re.compile(r"^\t    (\d+\.\d+\.\d+\.\d+/\d+)$", re.MULTILINE), ("bgp.prefix", "bgp.withdrawn")),
    (re.compile(r"(?<!Neighbor )Router-ID:? (\d+\.\d+\.\d+\.\d+)"), ("ospf.router_id",)),
    (re.compile(r"Advertising Router:? (\d+\.\d+\.\d+\.\d+)"), ("ospf.lsa.router",)),
    (re.compile(r"LSA-ID:? (\d+\.\d+\.\d+\.\d+)"), ("ospf.lsa.id",)),
    (re.compile(r"VRID: \d+, AS: (\d+)"), ("eigrp.as",)),
    (re.compile(r"IPv4 prefix:\s+(\S+), nexthop"), ("eigrp.route",)),
)


def texts(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Values that tcpdump names (of the first lines alone) are ours too; how often each stands there does not count."""
    text = "\n".join(peer["expected"])
    for pattern, names in TEXT:
        wanted = set(pattern.findall(text))
        if wanted:
            values = [row[name] for row in rows for name in names if name in row]
            mine = {str(v) for value in values for v in (value if isinstance(value, tuple) else (value,))}
            check.equal += len(wanted & mine)
            for value in wanted - mine:
                check.note(capture, f"only tcpdump's text ({names[0]})", value)


CHECKS: dict[str, tuple[str, Callable[[Check, str, Row, list[Row]], None]]] = {
    "tshark_icmp": ("icmp", icmp),
    "tshark_arp": ("arp", arp),
    "tshark_bgp": ("bgp", bgp),
    "tshark_ospf": ("ospf", ospf),
    "tshark_eigrp": ("eigrp", eigrp),
    "tcpdump_text": ("tcpdump_text", texts),
}
