"""HTTP/1 and HTTP/2 against tshark and Zeek: whole messages by their ends, as multisets.

Not by frame: the peer reports a message where its body ends, we where its head does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.oracle.score import Check

Row = dict[str, Any]
Key = tuple[Any, ...]
_REWRITTEN = ("spicy/", "language/")  # analyzers fed by the test, addresses made anonymous by it
_ORIGIN = re.compile("^http://[^/]*")


def listed(value: Any) -> list[Any]:
    """What the peer gives for a key: a value, several, or none."""
    return value if isinstance(value, list) else [] if value is None else [value]


def shown(text: Any) -> str:
    """Text with runs of what is not printable ASCII as ?: peers show such bytes in ways of their own."""
    return re.sub(r"[^\x20-\x7e]+", "?", str(text))


def peers_ends(row: Row) -> Key:
    """Sender and receiver of a tshark row."""
    return str(ip_address(row["src"])), row["sport"], str(ip_address(row["dst"])), row["dport"]


def our_ends(row: Row) -> Key:
    """Sender and receiver of one of our rows."""
    return str(ip_address(row["ip.src"])), row["port.src"], str(ip_address(row["ip.dst"])), row["port.dst"]


def _bare(host: str) -> str:
    return re.sub(r"(?<=.):[0-9]+$", "", host).strip("[]")


def _request(method: Any, host: Any, uri: Any, agent: Any) -> Key:
    target = _ORIGIN.sub("", shown(uri))
    if method == "CONNECT":  # its target is a host, which we call one also where there is no header; Zeek adds a path
        target, host = target.removesuffix(" /"), ""
    return str(method), _bare(shown(host)), "" if target == "(empty)" else target, shown(agent)


def _theirs(peer: Row) -> Iterator[Key]:
    for row in peer["expected"]:
        if row.get("method"):
            yield *peers_ends(row), *_request(row["method"], row.get("host", ""), row["uri"], row.get("user_agent", ""))
        else:
            server = listed(row.get("server"))
            yield *peers_ends(row), int(row["status"]), shown(row.get("content_type", "")), shown("".join(server[:1]))


def _ours(rows: list[Row]) -> Iterator[Key]:
    for row in rows:
        if row.get("http.version") == "2":
            continue
        if row["kind"] == "http.request":
            url = row.get("http.url", "")
            yield *our_ends(row), *_request(
                row["http.method"], row.get("http.host", ""), url, row.get("http.user_agent", "")
            )
        elif row["kind"] == "http.response":
            yield *our_ends(row), row["http.status"], shown(row.get("http.content_type", "")), shown(
                row.get("http.server", "")
            )


def http(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Requests by method, host, target, agent; responses by status, type, server."""
    from tests.oracle.score import compare  # it imports this module

    theirs, cut = Counter(_theirs(peer)), _cut_bodies(rows)
    ours = Counter(key for key in _ours(rows) if key in theirs or key not in cut)
    compare(check, capture, theirs, ours)


def _cut_bodies(rows: list[Row]) -> set[Key]:
    """Responses whose body is longer than all that the capture has of their sender: the peer shows a response when its
    body is whole."""
    sent = {our_ends(row): row["flow.payload.fwd"] for row in rows if row["kind"] == "flow"}
    sent |= {key[2:] + key[:2]: row["flow.payload.rev"] for row in rows if row["kind"] == "flow" for key in (our_ends(row),)}
    told: Counter[Key] = Counter()
    cut: set[Key] = set()
    for row in rows:
        if row["kind"] == "http.response":
            told[our_ends(row)] += row.get("http.content_length", 0)
            if told[our_ends(row)] > sent.get(our_ends(row), 0):
                cut |= set(_ours([row]))
    return cut


def _encrypted(rows: list[Row], ends: Key) -> bool:
    flows = [row for row in rows if row["kind"] == "flow" and our_ends(row) in (ends, ends[2:] + ends[:2])]
    return bool(flows) and all(row["app.protocol"] == "tls" for row in flows)


def http2(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Requests of HTTP/2 by method, authority and path."""
    from tests.oracle.score import compare

    theirs = Counter(
        (*peers_ends(row), method, authority, shown(path))
        for row in peer["expected"]
        for method, authority, path in zip(
            listed(row.get("method")), listed(row.get("authority")), listed(row.get("path")), strict=True
        )
        if not _encrypted(rows, peers_ends(row))  # the peer has keys from elsewhere in the capture
    )
    ours = Counter(
        (*our_ends(row), row["http.method"], row.get("http.host", ""), shown(re.sub("^[a-z]+://[^/]*", "", row["http.url"])))
        for row in rows
        if row["kind"] == "http.request" and row["http.version"] == "2"
    )
    compare(check, capture, theirs, ours)


def zeek_http(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Zeek's pairs of request and response, each half by its own; not of tests that rewrite what Zeek logs."""
    from tests.oracle.score import compare

    if peer["test"].startswith(_REWRITTEN) or "id.orig_h" not in peer["expected"][0]:
        return
    theirs: Counter[Key] = Counter()
    for row in peer["expected"]:
        ends = str(ip_address(row["id.orig_h"])), row["id.orig_p"], str(ip_address(row["id.resp_h"])), row["id.resp_p"]
        if "method" in row:
            theirs[*ends, *_request(row["method"], row.get("host", ""), row.get("uri", ""), row.get("user_agent", ""))] += 1
        if "status_code" in row:
            theirs[*ends[2:], *ends[:2], row["status_code"]] += 1
    seen = {our_ends(row) for row in rows if row["kind"] == "flow" and row.get("flow.tcp.syn")}
    ours: Counter[Key] = Counter()
    for key in _ours(rows):
        if key[:4] not in seen and key[2:4] + key[:2] not in seen:
            continue  # Zeek does not read connections whose handshake is not in the capture
        final = isinstance(key[4], str) or key[4] >= 200 or key[4] == 101  # Zeek logs the answer, not what comes before
        if final:
            ours[key if isinstance(key[4], str) else key[:5]] += 1
    compare(check, capture, theirs, ours)


CHECKS = {
    "tshark_http": ("http", http),
    "tshark_http2": ("http2", http2),
    "zeek_http": ("zeek_http", zeek_http),
}
