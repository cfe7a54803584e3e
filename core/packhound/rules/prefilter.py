"""What must be looked at, and what must be in it: facts of a plan that let the kernel pass over the rest.

Promise: pure; never misses: whatever naive evaluation of the filters matches touches these facts.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from typing import Any

from packhound.fields import FLOW, HEADER, Type
from packhound.rules.plan import CompiledFilter, HeaderFacts, LeafSpec, Mode, leaves
from packhound.rules.values import glob_tokens, network_of, range_of

MIN_LITERAL = 3
#: Fields whose text stands in the payload as it is, and what splits it on the wire.
PLAIN: dict[str, str] = {
    "tls.sni": "",
    "dns.qname": ".",
    "dns.cname": ".",
    "http.host": "",
    "http.path": "",
    "http.url": "/",
    "http.method": "",
    "http.user_agent": " \t",
    "http.server": " \t",
    "http.content_type": " \t",
}
_HELLO = ("tls.client_hello",)


def is_header(leaf: LeafSpec) -> bool:
    """Tell whether a leaf is decided by addresses, ports and tags."""
    return HEADER in leaf.row.filled_by


def is_message(leaf: LeafSpec) -> bool:
    """Tell whether a leaf waits for a dissected message."""
    return HEADER not in leaf.row.filled_by and FLOW not in leaf.row.filled_by


def literals_of(leaf: LeafSpec) -> frozenset[bytes] | None:
    """Lower-case literals one of which any message must hold that makes the leaf true; None: there is no such set."""
    splits = PLAIN.get(leaf.field)
    if splits is None or leaf.operator not in ("equals", "in", "prefix", "suffix", "contains", "glob", "domain"):
        return None
    out = set()
    for value in leaf.values:
        literal = max(_runs(str(value), leaf.operator, splits), key=len, default="")
        if len(literal) < MIN_LITERAL or not literal.isascii():
            return None
        out.add(literal.lower().encode())
    return frozenset(out)


def _runs(text: str, operator: str, splits: str) -> Iterable[str]:
    parts = [text]
    if operator == "glob":
        parts = [literal for kind, literal in glob_tokens(text) if kind == "lit"]
    elif operator == "domain":
        parts = [text.removeprefix("*").strip(".")]
    for char in splits:
        parts = [piece for part in parts for piece in part.split(char)]
    return parts


def modes_of(filters: Iterable[CompiledFilter]) -> tuple[dict[str, Mode], dict[str, frozenset[bytes]]]:
    """Mode and literals of every application protocol that some active filter needs."""
    modes: dict[str, Mode] = {}
    literals: dict[str, set[bytes]] = {}
    for each in filters:
        if not each.active or each.tree is None:
            continue
        if each.scope == "call":
            modes["sip"] = Mode.ALWAYS
        for leaf, _ in leaves(each.tree):
            if not is_message(leaf):
                continue
            found = None if _has_not(each.tree) else literals_of(leaf)
            for app in leaf.row.protocols:
                if found is None or app in ("quic", "dtls", "sip", "rtp", "rtcp", "ssh"):
                    modes[app] = Mode.ALWAYS
                else:
                    modes.setdefault(app, Mode.PREFILTER)
                    literals.setdefault(app, set()).update(found)
    kept = {app: frozenset(found) for app, found in literals.items() if modes[app] == Mode.PREFILTER}
    return modes, kept


def _has_not(node: Any) -> bool:
    return node.kind == "not" or any(_has_not(branch) for branch in node.branches)


def turns_on_detection(filters: Iterable[CompiledFilter]) -> bool:
    """Tell whether some filter is decided by which protocol a flow speaks: app.protocol, or a `not` over a message."""
    for each in filters:
        if not each.active or each.tree is None or each.scope == "packet":
            continue
        for leaf, negated in leaves(each.tree):
            if leaf.field == "app.protocol" or (negated and is_message(leaf)):
                return True
    return False


def holds(filters: Iterable[CompiledFilter]) -> bool:
    """Tell whether some filter may be decided by a later packet than the first of its flow."""
    return any(
        each.active and each.tree is not None and each.scope != "packet" and not all(
            is_header(leaf) for leaf, _ in leaves(each.tree))
        for each in filters
    )  # fmt: skip


def client_hello_only(filters: Iterable[CompiledFilter]) -> bool:
    """Tell whether TLS is only of interest for what a ClientHello says."""
    return all(
        leaf.row.filled_by == _HELLO or "tls" not in leaf.row.protocols
        for each in filters if each.active and each.tree is not None
        for leaf, _ in leaves(each.tree)
    )  # fmt: skip


def marks_of(filters: Iterable[CompiledFilter]) -> tuple[int, ...]:
    """Byte counts at which some flow.bytes leaf changes."""
    marks = set()
    for each in filters:
        if each.active and each.tree is not None:
            for leaf, _ in leaves(each.tree):
                if leaf.field == "flow.bytes":
                    for value in leaf.values:
                        low, high = range_of(value, leaf.field)
                        marks |= {low, high + 1}
    return tuple(sorted(m for m in marks if 0 < m < 1 << 63))


def headers_of(filters: Iterable[CompiledFilter]) -> HeaderFacts:
    """Everything that header leaves of active filters mention."""
    v4: list[tuple[int, int]] = []
    v6: list[tuple[int, int]] = []
    numbers: dict[str, list[tuple[int, int]]] = {"port": [], "ip.proto": [], "vlan.id": []}
    always = False
    for each in filters:
        if not each.active or each.tree is None:
            continue
        for leaf, negated in leaves(each.tree):
            if is_header(leaf):
                always |= negated
                if leaf.row.type == Type.ADDRESS:
                    _add_networks(leaf, v4, v6)
                else:
                    key = "port" if leaf.field.startswith("port") else leaf.field
                    numbers[key] += [range_of(v, leaf.field) for v in leaf.values]
            elif negated and each.scope == "packet":
                always = True
    return HeaderFacts(
        merged(v4), merged(v6), merged(numbers["port"]), merged(numbers["ip.proto"]), merged(numbers["vlan.id"]), always
    )


def _add_networks(leaf: LeafSpec, v4: list[tuple[int, int]], v6: list[tuple[int, int]]) -> None:
    for value in leaf.values:
        network = network_of(value)
        ends = int(network.network_address), int(network.broadcast_address)
        (v4 if isinstance(network, IPv4Network) else v6).append(ends)


def merged(ranges: Iterable[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """The same numbers as sorted, disjoint ranges."""
    out: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(out[-1][1], high))
        else:
            out.append((low, high))
    return tuple(out)


def touches(headers: HeaderFacts, *, addresses: Iterable[IPv4Address | IPv6Address], ports: Iterable[int], proto: int,
            vlan: int) -> bool:  # fmt: skip
    """Tell whether a packet's header touches the facts (the portable meaning of the kernel's check)."""
    if headers.always or _within(headers.protos, proto) or _within(headers.vlans, vlan):
        return True
    if any(_within(headers.ports, port) for port in ports):
        return True
    return any(_within(headers.v4 if a.version == 4 else headers.v6, int(a)) for a in addresses)


def _within(ranges: tuple[tuple[int, int], ...], number: int) -> bool:
    return any(low <= number <= high for low, high in ranges)
