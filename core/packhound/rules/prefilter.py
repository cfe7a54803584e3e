"""What must be looked at, and what must be in it: facts of a plan that let the kernel pass over the rest.

Promise: pure; never misses: whatever naive evaluation of the filters matches touches these facts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address

from packhound.fields import FLOW, HEADER, Type
from packhound.rules.plan import CompiledFilter, HeaderFacts, LeafSpec, Mode, leaves
from packhound.rules.ranges import merged, network_of, range_of
from packhound.rules.text import absolute, domain_stem, glob_tokens
from packhound.rules.values import text_of

MIN_LITERAL = 3
_BLANKS = " \t"  # a folded header line has more of them on the wire than in its value
#: Fields whose text stands in the raw payload, and the characters of the text that may not stand there as they are.
PLAIN: dict[str, str] = {
    "tls.sni": "",
    "dns.qname": ".\\",
    "dns.cname": ".\\",
    "http.host": _BLANKS,
    "http.path": _BLANKS,
    "http.url": "/" + _BLANKS,
    "http.method": "",
    "http.user_agent": _BLANKS,
    "http.server": _BLANKS,
    "http.content_type": _BLANKS,
}
URL_SCHEME = "http:"  # put in front of http.url by the dissector: a piece of it need not be on the wire
ENCRYPTED_OR_ESCAPED = frozenset({
    "quic", "dtls", "sip", "rtp", "rtcp", "ssh",  # or too short to be worth a look
    "smtp", "imap", "pop3", "ftp",  # whose replies tell where TLS begins
    "http2",  # header fields are compressed
})  # fmt: skip
#: By protocol, what a message holds behind which header fields are compressed: HTTP/1 going on as HTTP/2 (RFC 7540
#: section 3.2).
SWITCHES: dict[str, frozenset[bytes]] = {"http": frozenset({b"http2-settings"})}
_HELLO = ("tls.client_hello",)
_LITERAL_OPERATORS = frozenset({"equals", "in", "prefix", "suffix", "contains", "glob", "domain"})


def is_header(leaf: LeafSpec) -> bool:
    """Tell whether a leaf is decided by addresses, ports and tags."""
    return HEADER in leaf.row.filled_by


def is_message(leaf: LeafSpec) -> bool:
    """Tell whether a leaf waits for a dissected message."""
    return HEADER not in leaf.row.filled_by and FLOW not in leaf.row.filled_by


def literals_of(leaf: LeafSpec) -> frozenset[bytes] | None:
    """Lower-case literals one of which any message must hold in its raw bytes that makes the leaf true; None: there
    is no such set."""
    splits = PLAIN.get(leaf.field)
    if splits is None or leaf.operator not in _LITERAL_OPERATORS:
        return None
    out = set()
    for value in leaf.values:
        pieces = (piece for run in _runs(text_of(value), leaf) for piece in _split(run, splits))
        usable = (each for each in pieces if not (leaf.field == "http.url" and each.lower() in URL_SCHEME))
        literal = max(usable, key=len, default="")
        if len(literal) < MIN_LITERAL:
            return None
        out.add(literal.lower().encode())
    return frozenset(out)


def _runs(text: str, leaf: LeafSpec) -> list[str]:
    """Parts of what the user wrote that stand in a matching value, each in one piece."""
    if leaf.operator == "glob":
        return [literal for kind, literal in glob_tokens(text) if kind == "lit"]
    if leaf.operator == "domain":
        found = domain_stem(text)
        return [found[0]] if found else []
    if leaf.row.type == Type.NAME and leaf.operator in ("equals", "in"):
        return [absolute(text)]
    return [text]


def _split(text: str, splits: str) -> Iterator[str]:
    """Pieces between the characters of `splits` and those that are not ASCII (their bytes and case vary)."""
    piece = ""
    for char in text:
        if char in splits or not char.isascii():
            yield piece
            piece = ""
        else:
            piece += char
    yield piece


def active_leaves(filters: Iterable[CompiledFilter]) -> Iterator[tuple[CompiledFilter, LeafSpec, bool]]:
    """Every leaf of every active filter, with its filter and whether it is negated."""
    for each in filters:
        if each.active and each.tree is not None:
            for leaf, negated in leaves(each.tree):
                yield each, leaf, negated


def protocols_of(each: CompiledFilter, leaf: LeafSpec) -> tuple[str, ...]:
    """Application protocols whose messages can make a leaf of that filter true."""
    return ("sip",) if each.scope == "call" else leaf.row.protocols


def modes_of(filters: Iterable[CompiledFilter]) -> tuple[dict[str, Mode], dict[str, frozenset[bytes]]]:
    """Mode and literals of every application protocol that some active filter needs."""
    modes: dict[str, Mode] = {}
    literals: dict[str, set[bytes]] = {}
    rows = tuple(filters)
    if any(each.active and each.scope == "call" for each in rows):
        modes["sip"] = Mode.ALWAYS
    for each, leaf, negated in active_leaves(rows):
        if not is_message(leaf):
            continue
        found = None if negated else literals_of(leaf)
        for app in protocols_of(each, leaf):
            if found is None or app in ENCRYPTED_OR_ESCAPED:
                modes[app] = Mode.ALWAYS
            else:
                modes.setdefault(app, Mode.PREFILTER)
                literals.setdefault(app, set()).update(found)
    kept = {
        app: frozenset(found) | SWITCHES.get(app, frozenset())
        for app, found in literals.items() if modes[app] == Mode.PREFILTER
    }  # fmt: skip
    return modes, kept


def turns_on_detection(filters: Iterable[CompiledFilter]) -> bool:
    """Tell whether some filter is decided by which protocol a flow speaks: app.protocol, or a `not` over a message."""
    return any(
        leaf.field == "app.protocol" or (negated and is_message(leaf) and each.scope == "flow")
        for each, leaf, negated in active_leaves(filters)
    )


def holds(filters: Iterable[CompiledFilter]) -> bool:
    """Tell whether some filter may be decided by a later packet than the first of its flow."""
    return any(each.scope != "packet" and not is_header(leaf) for each, leaf, _ in active_leaves(filters))


def client_hello_only(filters: Iterable[CompiledFilter]) -> bool:
    """Tell whether TLS is only of interest for what a ClientHello says."""
    return all(
        leaf.row.filled_by == _HELLO or "tls" not in leaf.row.protocols for _, leaf, _ in active_leaves(filters)
    )


def marks_of(filters: Iterable[CompiledFilter]) -> tuple[int, ...]:
    """Byte counts at which some flow.bytes leaf changes."""
    marks = set()
    for _, leaf, _ in active_leaves(filters):
        if leaf.field == "flow.bytes":
            for value in leaf.values:
                low, high = range_of(value, leaf.field)
                marks |= {low, high + 1}
    return tuple(sorted(mark for mark in marks if 0 < mark < 1 << 63))


def headers_of(filters: Iterable[CompiledFilter]) -> HeaderFacts:
    """Everything that header leaves of active filters mention."""
    v4: list[tuple[int, int]] = []
    v6: list[tuple[int, int]] = []
    numbers: dict[str, list[tuple[int, int]]] = {"port": [], "ip.proto": [], "vlan.id": []}
    always = False
    for each, leaf, negated in active_leaves(filters):
        if not is_header(leaf):
            always |= negated and each.scope == "packet"
            continue
        always |= negated
        if leaf.row.type == Type.ADDRESS:
            _add_networks(leaf, v4, v6)
        else:
            key = "port" if leaf.field.startswith("port") else leaf.field
            numbers[key] += [range_of(value, leaf.field) for value in leaf.values]
    return HeaderFacts(
        merged(v4), merged(v6), merged(numbers["port"]), merged(numbers["ip.proto"]), merged(numbers["vlan.id"]), always
    )


def _add_networks(leaf: LeafSpec, v4: list[tuple[int, int]], v6: list[tuple[int, int]]) -> None:
    for value in leaf.values:
        network = network_of(value)
        ends = int(network.network_address), int(network.broadcast_address)
        (v4 if isinstance(network, IPv4Network) else v6).append(ends)


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
