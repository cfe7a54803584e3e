"""The body of a BGP UPDATE: path attributes and routes (RFC 4271 section 4.3, 4760, 7911, 8277, 4364).

Promise: bounded by `MAX_ROUTES` prefixes in each list; never raises: where a part breaks, what was read before is kept
and the next part is read. Whether a path id stands before each prefix is what the two OPENs agreed on; where they were
not seen, the reading that fits the bytes counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from packhound.net import bgp_path
from packhound.net.bgp_path import Segment
from packhound.net.dns import address6
from packhound.net.facts import Value
from packhound.net.octets import Octets, Short, numbers

MAX_ROUTES = 4096
MAX_LISTED = 256
IPV4, IPV6 = 1, 2
UNICAST, MULTICAST, LABELLED, VPN = 1, 2, 4, 128
PREFIXED = frozenset({UNICAST, MULTICAST, LABELLED, VPN})
BOTTOM_OF_STACK, WITHDRAWN_LABELS = 0x000001, frozenset({0x800000, 0x000000})
EXTENDED_LENGTH = 0x10
ORIGIN, AS_PATH, NEXT_HOP, MED, LOCAL_PREF, COMMUNITIES = 1, 2, 3, 4, 5, 8
MP_REACH, MP_UNREACH, AS4_PATH, LARGE_COMMUNITIES, BGPSEC_PATH = 14, 15, 17, 32, 33
Family = tuple[int, int]  # AFI, SAFI
FIELDS = frozenset({
    "bgp.prefix", "bgp.withdrawn", "bgp.family", "bgp.as_path", "bgp.origin_as", "bgp.origin", "bgp.next_hop",
    "bgp.med", "bgp.local_pref", "bgp.community", "bgp.rd",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Terms:
    """What the two ends agreed on in their OPENs: width of AS numbers (0: not seen), families whose routes carry path
    ids (None: not seen)."""

    as_width: int = 0
    add_path: frozenset[Family] | None = None


@dataclass(slots=True)
class Update:
    """An UPDATE's routes and attributes, as far as they could be read."""

    prefixes: list[str] = field(default_factory=list)
    withdrawn: list[str] = field(default_factory=list)
    families: list[str] = field(default_factory=list)
    distinguishers: list[str] = field(default_factory=list)
    next_hops: list[str] = field(default_factory=list)
    path: list[Segment] = field(default_factory=list)
    path4: list[Segment] = field(default_factory=list)
    plain: dict[str, Value] = field(default_factory=dict)
    broken: str = ""

    def said(self) -> dict[str, Value]:
        """Return the fields of the message."""
        out: dict[str, Value] = {}
        for name, values in (
            ("bgp.prefix", self.prefixes), ("bgp.withdrawn", self.withdrawn), ("bgp.family", self.families),
            ("bgp.rd", self.distinguishers), ("bgp.next_hop", self.next_hops),
        ):  # fmt: skip
            if values:
                out[name] = tuple(dict.fromkeys(values))
        path = bgp_path.whole_path(self.path, self.path4)
        if path:
            out["bgp.as_path"] = " ".join(bgp_path.segment_text(each) for each in path)
            kind, last = path[-1]
            if kind == bgp_path.SEQUENCE and last:
                out["bgp.origin_as"] = last[-1]
        return out | self.plain


def read(cursor: Octets, terms: Terms) -> Update:
    """Read the body of an UPDATE; each part that breaks is left and the next one read."""
    out = Update()
    try:
        withdrawn = cursor.vector(2)
        attributes = cursor.vector(2)
    except Short:
        out.broken = "BGP UPDATE is shorter than its parts"
        return out
    _try(out, "BGP withdrawn routes break", _routes, withdrawn, (IPV4, UNICAST), out.withdrawn, terms)
    _try(out, "BGP path attribute breaks its message", _attributes, attributes, terms)
    _try(out, "BGP routes break", _routes, cursor, (IPV4, UNICAST), out.prefixes, terms)
    return out


def _try(out: Update, reason: str, step: Callable[..., None], *args: object) -> None:
    try:
        step(out, *args)
    except Short:
        out.broken = out.broken or reason


def _attributes(out: Update, cursor: Octets, terms: Terms) -> None:
    for _ in range(MAX_LISTED):
        if not len(cursor):
            return
        flags, kind = cursor.number(1), cursor.number(1)
        body = cursor.vector(2 if flags & EXTENDED_LENGTH else 1)
        _try(out, "BGP path attribute is malformed", _attribute, kind, body, terms)


def _attribute(out: Update, kind: int, body: Octets, terms: Terms) -> None:
    if kind == ORIGIN:
        out.plain["bgp.origin"] = body.number(1)
    elif kind == AS_PATH:
        out.path = bgp_path.segments_of_any_width(body.rest(), terms.as_width)
    elif kind == AS4_PATH:
        out.path4 = bgp_path.segments(body.rest(), 4)
    elif kind == NEXT_HOP:
        out.next_hops.append(_address(body.take(4)))
    elif kind == MED:
        out.plain["bgp.med"] = body.number(4)
    elif kind == LOCAL_PREF:
        out.plain["bgp.local_pref"] = body.number(4)
    elif kind == COMMUNITIES:
        pairs = (f"{each >> 16}:{each & 0xFFFF}" for each in numbers(body, 4)[:MAX_LISTED])
        _add_communities(out, tuple(pairs))
    elif kind == LARGE_COMMUNITIES:
        words = numbers(body, 4)[: 3 * MAX_LISTED]
        _add_communities(out, tuple(":".join(map(str, words[i : i + 3])) for i in range(0, len(words) - 2, 3)))
    elif kind == MP_REACH:
        _reach(out, body, terms)
    elif kind == MP_UNREACH:
        family = _family(out, body)
        if _is_read(family):
            _routes(out, body, family, out.withdrawn, terms)
    elif kind == BGPSEC_PATH:
        out.path = bgp_path.secure_path(body)


def _add_communities(out: Update, found: tuple[str, ...]) -> None:
    before = out.plain.get("bgp.community", ())
    if found and isinstance(before, tuple):
        out.plain["bgp.community"] = before + found


# routes -------------------------------------------------------------------------------------------------------------


def _family(out: Update, body: Octets) -> Family:
    family = body.number(2), body.number(1)
    out.families.append(f"{family[0]}/{family[1]}")
    return family


def _is_read(family: Family) -> bool:
    return family[0] in (IPV4, IPV6) and family[1] in PREFIXED


def _reach(out: Update, body: Octets, terms: Terms) -> None:
    family = _family(out, body)
    hop = body.vector(1)
    if family[1] == VPN and len(hop) in (12, 24, 48):
        hop.skip(8)
    if len(hop) in (4, 16):
        out.next_hops.append(_hop(hop.rest()))
    elif len(hop) in (32, 40):  # a global and a link-local address, each with a distinguisher in a VPN
        out.next_hops.append(_hop(hop.take(16)))
        hop.skip(len(hop) - 16)
        out.next_hops.append(_hop(hop.take(16)))
    body.skip(1)
    if _is_read(family):
        _routes(out, body, family, out.prefixes, terms)


def _routes(out: Update, cursor: Octets, family: Family, into: list[str], terms: Terms) -> None:
    """Read prefixes to the end of `cursor`, with or without path ids."""
    data = cursor.rest()
    known = terms.add_path is not None
    found = _prefixes(data, family, path_ids=known and family in (terms.add_path or ()))
    # path ids read as prefixes give default routes over and over
    if not known and (not found.whole or sum(each.endswith("/0") for each in found.prefixes) > 1):
        other = _prefixes(data, family, path_ids=True)
        found = other if other.whole else found
    into += found.prefixes
    out.distinguishers += found.marks
    if not found.whole:
        raise Short(cursor.end)


@dataclass(slots=True)
class _Row:
    prefixes: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    whole: bool = False


def _prefixes(data: bytes, family: Family, *, path_ids: bool) -> _Row:
    """Read one row of prefixes; where it does not fit, what was read before stays and it is not whole."""
    cursor, row = Octets(data), _Row()
    try:
        while len(cursor) and len(row.prefixes) < MAX_ROUTES:
            if path_ids:
                cursor.skip(4)
            _prefix(cursor, family, row.prefixes, row.marks)
    except Short:
        return row
    row.whole = not len(cursor)
    return row


def _prefix(cursor: Octets, family: Family, out: list[str], marks: list[str]) -> None:
    bits = cursor.number(1)
    if family[1] in (LABELLED, VPN):
        while True:
            label = cursor.number(3)
            bits -= 24
            if label & BOTTOM_OF_STACK or label in WITHDRAWN_LABELS:
                break
    if family[1] == VPN:
        marks.append(_distinguisher(cursor.take(8)))
        bits -= 64
    size = 4 if family[0] == IPV4 else 16
    if not 0 <= bits <= 8 * size:
        raise Short(cursor.at)
    raw = bytearray(cursor.take((bits + 7) // 8))
    if bits % 8:
        raw[-1] &= 0xFF00 >> bits % 8 & 0xFF
    out.append(f"{_hop(bytes(raw) + bytes(size - len(raw)))}/{bits}")


def _distinguisher(raw: bytes) -> str:
    """Write a route distinguisher (RFC 4364 section 4.2): administrator and number, by its type."""
    kind = int.from_bytes(raw[:2], "big")
    if kind == 0:
        return f"{int.from_bytes(raw[2:4], 'big')}:{int.from_bytes(raw[4:], 'big')}"
    number = int.from_bytes(raw[6:], "big")
    return f"{_address(raw[2:6])}:{number}" if kind == 1 else f"{int.from_bytes(raw[2:6], 'big')}:{number}"


def _hop(raw: bytes) -> str:
    return _address(raw) if len(raw) == 4 else address6(raw)


def _address(raw: bytes) -> str:
    return ".".join(map(str, raw))
