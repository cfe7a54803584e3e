"""HuntPlan: the compiled, versioned meaning of many HuntFilters.

Promise: frozen values. A plan is applied whole or not at all; indexes into `HuntPlan.filters` name filters everywhere
in a sensor while the plan is in force.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

from packhound.fields import FIELDS, Field
from packhound.net.facts import Scalar

Scope = Literal["packet", "flow", "call"]


class Mode(IntEnum):
    """How payload of a protocol must be looked at for this plan (the kernel's numbers)."""

    NONE = 0
    PREFILTER = 1
    ALWAYS = 2


@dataclass(frozen=True, slots=True)
class LeafSpec:
    """One leaf as written: field, operator, values, how text and phone numbers compare, and where it stands."""

    field: str
    operator: str
    values: tuple[Scalar, ...]
    case: bool = False
    min_digits: int = 7

    @property
    def row(self) -> Field:
        """Its row of the registry."""
        return FIELDS[self.field]


@dataclass(frozen=True, slots=True)
class Node:
    """A node of a tree: `any`, `all` or `not` over `branches`, or a leaf."""

    kind: Literal["any", "all", "not", "leaf"]
    branches: tuple[Node, ...] = ()
    leaf: LeafSpec | None = None


def leaves(node: Node, *, negated: bool = False) -> list[tuple[LeafSpec, bool]]:
    """Every leaf below `node`, and whether an odd number of `not` stands above it."""
    if node.leaf is not None:
        return [(node.leaf, negated)]
    below = negated != (node.kind == "not")
    return [found for branch in node.branches for found in leaves(branch, negated=below)]


@dataclass(frozen=True, slots=True)
class CompiledFilter:
    """One filter, ready to be evaluated. Times in ns since the epoch, sizes in bytes; `tree` None: pcapFilter alone
    decides. `active` is false while suspended or expired. `guard`: addresses and networks one of which must be an end
    of every packet that the filter gets; None: no such rule."""

    name: str
    scope: Scope
    tree: Node | None
    pcap_filter: str | None = None
    interfaces: tuple[str, ...] = ("any",)
    payload: Literal["full", "headers", "none"] = "full"
    snaplen: int = 262144
    pre_trigger_ns: int = 30_000_000_000
    sample: float = 1.0
    record: bool = True
    per_call: bool = False
    alert_severity: str = ""
    packets_per_second: int | None = None
    total_bytes: int | None = None
    suspended: bool = False
    expires_at: int | None = None
    purpose: str = ""
    active: bool = True
    guard: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """What header leaves mention: inclusive ranges of IPv4 and IPv6 addresses (as numbers), of ports, protocols and
    VLAN ids. `always`: some filter may be true of a flow that touches none of it."""

    v4: tuple[tuple[int, int], ...] = ()
    v6: tuple[tuple[int, int], ...] = ()
    ports: tuple[tuple[int, int], ...] = ()
    protos: tuple[tuple[int, int], ...] = ()
    vlans: tuple[tuple[int, int], ...] = ()
    always: bool = False


@dataclass(frozen=True, slots=True)
class HuntPlan:
    """The filters in force and what can be known of them before any packet.

    `modes` and `literals` by app.protocol name; `byte_marks`: thresholds of flow bytes, ascending; `on_detect`: some
    filter turns on which protocol a flow speaks (or does not); `holds`: some filter is decided later than by the first
    packet; `client_hello_only`: TLS is only of interest for its ClientHello.
    """

    revision: int
    filters: tuple[CompiledFilter, ...] = ()
    headers: HeaderFacts = field(default_factory=HeaderFacts)
    byte_marks: tuple[int, ...] = ()
    modes: Mapping[str, Mode] = field(default_factory=dict)
    literals: Mapping[str, frozenset[bytes]] = field(default_factory=dict)
    on_detect: bool = False
    holds: bool = False
    client_hello_only: bool = False
    voip: bool = False

    @property
    def base(self) -> frozenset[int]:
        """Active filters without a tree: every packet starts with these."""
        return frozenset(i for i, f in enumerate(self.filters) if f.active and f.tree is None)

    @property
    def digest(self) -> str:
        """SHA-256 of what the filters mean; equal plans have equal digests."""
        rows = [repr(f) for f in self.filters]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


EMPTY = HuntPlan(revision=0)
