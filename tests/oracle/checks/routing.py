"""Routing and link protocols against tshark: ICMP, ARP, BGP, OSPF, EIGRP."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

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


CHECKS: dict[str, tuple[str, Callable[[Check, str, Row, list[Row]], None]]] = {
    "tshark_icmp": ("icmp", icmp),
    "tshark_arp": ("arp", arp),
}
