"""The plan as the kernel reads it: flat tables, nothing to interpret.

Promise: values only, built off the capture path and swapped whole between two packets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from packhound.net.detect import BY_NAME, PROTOCOLS, App
from packhound.rules.literals import LiteralSet
from packhound.rules.plan import HuntPlan

APPS = 256

#: Payload packets per direction that are looked at for a flow's host name alone.
NAMING = {App.TLS: 3, App.QUIC: 3, App.HTTP: 1, App.DNS: 1}

# KernelTables.mode: how payload of a protocol is looked at.
IGNORE = 0  #: never handed to Python
PREFILTER = 1  #: only messages that hold a literal of the plan, or that are torn over packets
ALWAYS = 2  #: every payload packet, up to the protocol's `yield_packets`


def _bytes(size: int) -> npt.NDArray[np.uint8]:
    return np.zeros(size, np.uint8)


@dataclass(slots=True)
class HeaderSets:
    """What any header leaf of the plan mentions: a flow that touches none of it needs no evaluation.

    `v4`: uint32[n, 2] and `v6`: uint8[n, 2, 16], inclusive, sorted, disjoint ranges; `ports`, `protos`, `vlans`:
    one byte per value. `always` when some filter may be true of a flow that touches nothing (a `not`).
    """

    v4: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros((0, 2), np.uint32))
    v6: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 2, 16), np.uint8))
    ports: npt.NDArray[np.uint8] = field(default_factory=lambda: _bytes(65536))
    protos: npt.NDArray[np.uint8] = field(default_factory=lambda: _bytes(256))
    vlans: npt.NDArray[np.uint8] = field(default_factory=lambda: _bytes(4096))
    always: bool = False


def yield_limits() -> npt.NDArray[np.uint32]:
    """Payload packets per direction that each protocol's dissector wants, by app id."""
    limits = np.zeros(APPS, np.uint32)
    for row in PROTOCOLS:
        limits[int(row.app)] = min(row.yield_packets, 0xFFFFFFFF)
    return limits


@dataclass(slots=True)
class KernelTables:
    """Everything of a plan that the kernel evaluates itself.

    `mode`, `hold`, `first_only`: uint8[256] by app id; `hold[0]` is for flows not yet detected, `hold_unknown` for
    those that never will be. `on_detect`: yield when a flow's protocol is decided (or given up), for filters that turn
    on it. `first_only[a]` (TLS alone): a whole ClientHello without a literal ends the dissection of the flow.
    `limits`: payload packets per direction that are looked at. `literals`: by app id. `marks`: thresholds of flow
    bytes,
    ascending. `base_fset`: the filter set that every packet starts with (filters without a match tree). `programs`:
    how many pcap programs the plan has.
    """

    mode: npt.NDArray[np.uint8] = field(default_factory=lambda: _bytes(APPS))
    hold: npt.NDArray[np.uint8] = field(default_factory=lambda: _bytes(APPS))
    first_only: npt.NDArray[np.uint8] = field(default_factory=lambda: _bytes(APPS))
    limits: npt.NDArray[np.uint32] = field(default_factory=yield_limits)
    literals: dict[int, LiteralSet] = field(default_factory=dict)
    headers: HeaderSets = field(default_factory=HeaderSets)
    marks: npt.NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    hold_unknown: bool = False
    on_detect: bool = False
    base_fset: int = 0
    programs: int = 0

    @property
    def dissects(self) -> bool:
        """Whether any protocol is looked into."""
        return bool(self.mode.any())


def inspect_tables() -> KernelTables:
    """Tables that hand over every message of every protocol that has a dissector, and hold nothing."""
    tables = KernelTables()
    tables.mode[:] = ALWAYS
    tables.mode[int(App.UNKNOWN)] = IGNORE
    return tables


@dataclass(frozen=True, slots=True)
class InterfacePrograms:
    """The pcap programs of one interface (they depend on its link type).

    `capture`: what the run captures at all (None: everything); `filters[i]`: program i of the plan.
    """

    linktype: int
    capture: Sequence[tuple[int, int, int, int]] | None
    filters: Sequence[Sequence[tuple[int, int, int, int]]] = ()


def build_tables(plan: HuntPlan, *, base_fset: int, programs: int, names: bool = False) -> KernelTables:
    """Tables of a plan. `names`: also look at the first messages of every TLS, HTTP, DNS and QUIC flow, so that flow
    records carry host names."""
    tables = KernelTables(base_fset=base_fset, programs=programs)
    for name, mode in plan.modes.items():
        if name in BY_NAME:
            tables.mode[int(BY_NAME[name])] = int(mode)
    by_literals: dict[frozenset[bytes], LiteralSet] = {}
    for name, literals in plan.literals.items():
        app = int(BY_NAME[name])
        if literals not in by_literals:
            by_literals[literals] = LiteralSet(literals)
        tables.literals[app] = by_literals[literals]
    if names:
        _add_names(tables)
    tables.hold[:] = (tables.mode > 0) & plan.holds
    tables.hold[int(App.UNKNOWN)] = plan.holds
    tables.first_only[int(App.TLS)] = plan.client_hello_only
    tables.marks = np.array(plan.byte_marks, np.uint64)
    tables.on_detect = plan.on_detect
    tables.hold_unknown = bool(plan.byte_marks)
    if plan.byte_marks or plan.on_detect:
        tables.hold[:] = 1
    tables.headers = _header_sets(plan)
    return tables


def _add_names(tables: KernelTables) -> None:
    for app, packets in NAMING.items():
        if tables.mode[int(app)] == IGNORE:
            tables.mode[int(app)] = ALWAYS
            tables.limits[int(app)] = packets


def _header_sets(plan: HuntPlan) -> HeaderSets:
    facts = plan.headers
    sets = HeaderSets(always=facts.always)
    sets.v4 = np.array(facts.v4, np.uint32).reshape(-1, 2)
    v6 = [[list(low.to_bytes(16, "big")), list(high.to_bytes(16, "big"))] for low, high in facts.v6]
    sets.v6 = np.array(v6, np.uint8).reshape(-1, 2, 16)
    for table, ranges in ((sets.ports, facts.ports), (sets.protos, facts.protos), (sets.vlans, facts.vlans)):
        for low, high in ranges:
            table[low : high + 1] = 1
    return sets
