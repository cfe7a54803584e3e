"""Bodies of OSPF link state advertisements (RFC 2328 appendix A.4, 3101, 5340 appendix A.4): who is linked to whom,
and which prefixes are where.

Promise: at most `MAX_LINKS` links and prefixes a packet; raises nothing but `Short`. An advertisement of a type that is
not read here (opaque ones, traffic engineering) is known by its header alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from packhound.net.dns import address6
from packhound.net.facts import Value
from packhound.net.octets import Octets, Short

MAX_LINKS = 2048
ROUTER, NETWORK, SUMMARY, ASBR, EXTERNAL, NSSA = 1, 2, 3, 4, 5, 7
ROUTER_3, NETWORK_3, INTER_PREFIX, INTER_ROUTER = 0x2001, 0x2002, 0x2003, 0x2004
EXTERNAL_3, NSSA_3, LINK_3, INTRA_PREFIX = 0x4005, 0x2007, 0x0008, 0x2009
LINKS = {1: "p2p", 2: "transit", 3: "stub", 4: "virtual"}
STUB = 3
FIELDS = frozenset({"ospf.lsa.type", "ospf.lsa.id", "ospf.lsa.router", "ospf.link", "ospf.prefix"})


@dataclass(slots=True)
class Topology:
    """What a packet says of the topology: advertisements (type, id, advertising router, in step), links as
    `FROM KIND TO COST`, and prefixes."""

    types: list[int] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    routers: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)

    def add(self, number: int, ident: str, router: str) -> None:
        """Take in an advertisement's header."""
        self.types.append(number)
        self.ids.append(ident)
        self.routers.append(router)

    def link(self, kind: str, to: str, cost: int, *, start: str = "") -> None:
        """Take in a link that begins at `start`, or at the latest advertisement's router."""
        if len(self.links) < MAX_LINKS:
            self.links.append(f"{start or self.routers[-1]} {kind} {to} {cost}")

    def prefix(self, text: str) -> None:
        """Take in a prefix."""
        if len(self.prefixes) < MAX_LINKS:
            self.prefixes.append(text)

    def said(self) -> dict[str, Value]:
        """Return the fields; links and prefixes once each."""
        out: dict[str, Value] = {}
        if self.types:
            out["ospf.lsa.type"], out["ospf.lsa.id"] = tuple(self.types), tuple(self.ids)
            out["ospf.lsa.router"] = tuple(self.routers)
        for name, values in (("ospf.link", self.links), ("ospf.prefix", self.prefixes)):
            if values:
                out[name] = tuple(dict.fromkeys(values))
        return out


def read2(out: Topology, number: int, ident: bytes, body: Octets) -> None:
    """Read an advertisement of version 2."""
    if number == ROUTER:
        body.skip(2)
        for _ in range(body.number(2)):
            to, data, kind, more = body.take(4), body.take(4), body.number(1), body.number(1)
            cost = body.number(2)
            body.skip(4 * more)
            text = _network(to, data) if kind == STUB else _address(to)
            out.link(LINKS.get(kind, str(kind)), text, cost)
            if kind == STUB:
                out.prefix(text)
    elif number == NETWORK:
        out.prefix(_network(ident, body.take(4)))
        while len(body):
            # transit links name the network by the address of its designated router, which is its link state id
            out.link("attached", _address(body.take(4)), 0, start=_address(ident))
    elif number == SUMMARY:
        out.prefix(_network(ident, body.take(4)))
    elif number == ASBR:
        body.skip(5)
        out.link("asbr", _address(ident), body.number(3))
    elif number in (EXTERNAL, NSSA):
        out.prefix(_network(ident, body.take(4)))


def read3(out: Topology, number: int, ident: bytes, body: Octets) -> None:
    """Read an advertisement of version 3."""
    if number == ROUTER_3:
        body.skip(4)
        while len(body):
            kind = body.number(1)
            body.skip(1)
            cost = body.number(2)
            body.skip(8)
            out.link(LINKS.get(kind, str(kind)), _address(body.take(4)), cost)
    elif number == NETWORK_3:
        body.skip(4)
        while len(body):
            out.link("attached", _address(body.take(4)), 0)
    elif number in (INTER_PREFIX, EXTERNAL_3, NSSA_3):
        body.skip(4)
        out.prefix(_prefix(body))
    elif number == INTER_ROUTER:
        body.skip(5)
        cost = body.number(3)
        out.link("asbr", _address(body.take(4)), cost)
    elif number == LINK_3:
        body.skip(20)
        _prefixes(out, body, body.number(4))
    elif number == INTRA_PREFIX:
        count = body.number(2)
        body.skip(10)
        _prefixes(out, body, count)


def _prefixes(out: Topology, body: Octets, count: int) -> None:
    for _ in range(min(count, MAX_LINKS)):
        out.prefix(_prefix(body))


def _prefix(body: Octets) -> str:
    """Read a prefix of version 3: length, options, two octets that depend on the type, whole words of address."""
    bits = body.number(1)
    body.skip(3)
    if bits > 128:
        raise Short(body.at)
    raw = body.take((bits + 31) // 32 * 4)
    return f"{address6(raw + bytes(16 - len(raw)))}/{bits}"


def _network(address: bytes, mask: bytes) -> str:
    """Write a network with the length of its mask; with the mask itself where that has holes."""
    number = int.from_bytes(mask, "big")
    bits = number.bit_count()
    masked = (int.from_bytes(address, "big") & number).to_bytes(4, "big")
    whole = number == (0xFFFFFFFF << 32 - bits) & 0xFFFFFFFF
    return f"{_address(masked)}/{bits if whole else _address(mask)}"


def _address(raw: bytes) -> str:
    return ".".join(map(str, raw))
