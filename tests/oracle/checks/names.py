"""DNS against tshark and Zeek: whole messages by frame, as multisets; what takes how long against tshark alone."""

from __future__ import annotations

import re
from collections import Counter
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.oracle.score import Check

Row = dict[str, Any]
Key = tuple[Any, ...]


def plain(name: str) -> str:
    """A name with runs of characters outside ASCII as ?: peers show such bytes in ways of their own."""
    return re.sub(r"[^\x20-\x7e]+", "?", name.lower().rstrip(".").replace("<root>", ""))


def texts(value: Any) -> tuple[str, ...]:
    """What a row has under a key as texts: a value, several, or none."""
    if value is None:
        return ()
    return tuple(map(str, value)) if isinstance(value, (list, tuple)) else (str(value),)


def dns(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Messages on port 53 and wherever else we find them; what ICMP errors quote is no message."""
    from tests.oracle.score import compare  # it imports this module

    quoted = {row["frame"] for row in rows if row["kind"] in ("icmp", "icmpv6")}
    theirs: Counter[Key] = Counter()
    for row in peer["expected"]:
        if len(row["response"]) == 1 and row["frame"] not in quoted:
            names = tuple(map(plain, texts(row.get("qname"))))
            theirs[row["frame"], int(texts(row["id"])[0], 16), row["response"][0], names, texts(row.get("qtype")),
                   texts(row.get("rcode")), tuple(sorted(texts(row.get("a")))),
                   tuple(sorted(texts(row.get("aaaa")))), tuple(sorted(map(plain, texts(row.get("cname")))))] += 1  # fmt: skip
    frames = {key[0] for key in theirs}
    ours = Counter(
        (row["frame"], row["dns.id"], row["dns.response"], tuple(map(plain, texts(row.get("dns.qname")))),
         texts(row.get("dns.qtype")), texts(row.get("dns.rcode")), tuple(sorted(texts(row.get("dns.a")))),
         tuple(sorted(texts(row.get("dns.aaaa")))), tuple(sorted(map(plain, texts(row.get("dns.cname"))))))
        for row in rows if row["kind"] == "dns" and row["frame"] in frames
    )  # fmt: skip
    compare(check, capture, theirs, ours)


def zeek_dns(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Zeek's transactions: who asked what, and the flags of the answer (of the query where none came)."""
    from tests.oracle.score import compare

    theirs: Counter[Key] = Counter()
    for row in peer["expected"]:
        if "id.orig_h" in row and not peer.get("custom_script"):
            theirs[str(ip_address(row["id.orig_h"])), row["id.orig_p"], row["trans_id"], plain(row.get("query", "")),
                   *(row.get(name, False) for name in ("AA", "TC", "RD", "RA"))] += 1  # fmt: skip
    ours: dict[Key, Key] = {}
    for row in rows:
        if row["kind"] not in ("dns", "mdns", "llmnr"):
            continue
        end = ("ip.dst", "port.dst") if row["dns.response"] and row["kind"] == "dns" else ("ip.src", "port.src")
        key = str(ip_address(row[end[0]])), row[end[1]], row["dns.id"], plain("".join(texts(row.get("dns.qname"))[:1]))
        flags = *(row[f"dns.{name}"] for name in ("aa", "tc")), row["dns.rd"], row["dns.ra"]
        ours[key] = flags if row["dns.response"] or key not in ours else ours[key]
    wanted = {key[:4] for key in theirs}
    compare(check, capture, Counter(set(theirs)), Counter((*key, *flags) for key, flags in ours.items() if key in wanted))


CHECKS = {"tshark_dns": ("dns", dns), "zeek_dns": ("zeek_dns", zeek_dns)}
