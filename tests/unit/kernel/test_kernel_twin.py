"""The native kernel says of every capture exactly what the portable one says, and neither cares where blocks end.

A sample of the corpus; all of it with PACKHOUND_ALL=1.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from packhound.api.load import load_text
from packhound.rules.bpf import check_pcap, compile_expression
from packhound.rules.compile import compile_plan
from packhound.rules.literals import LiteralSet
from packhound.sensor.agent import Agent, AgentSettings
from packhound.sensor.kernel.events import F_HOLD, F_QUIET, F_STREAM, FORWARD, FRAGMENT, UNHOLD, YIELDS
from packhound.sensor.kernel.portable import PortableKernel
from packhound.sensor.kernel.tables import InterfacePrograms, KernelTables, inspect_tables
from packhound.sensor.tap.errors import TapError
from packhound.sensor.tap.files import CaptureFile
from packhound.wire.batch import Batch
from tests.support.corpus import CORPUS, captures, needs_corpus

kernel = pytest.importorskip("packhound.sensor.kernel._scan", reason="the native kernel is not built")
pytestmark = needs_corpus

ALL = captures()
FOLDERS = sorted({name.split("/")[1] for name in ALL})
SAMPLE = 12 if not os.environ.get("PACKHOUND_ALL") else 1_000_000
DROP = ((6, 0, 0, 0),)


def sampled(folder: str) -> list[str]:
    """Some captures of a folder, spread over its names."""
    found = [name for name in ALL if name.split("/")[1] == folder]
    return found[:: max(1, len(found) // SAMPLE)]


def hunting_tables() -> KernelTables:
    """Everything at once: a base set, programs, modes, holds, literals, marks, header sets."""
    tables = KernelTables(base_fset=1, programs=1, on_detect=True)
    tables.mode[1:12] = (1, 1, 1, 2, 1, 2, 1, 1, 2, 1, 2)
    tables.hold[:] = 1
    tables.hold[1] = 0
    tables.first_only[5] = 1
    names = LiteralSet([b"google", b"example", b"microsoft", b"www", b"local"])
    tables.literals = dict.fromkeys((1, 2, 3, 5, 7, 8, 10), names)
    tables.marks = np.array([500, 5000], np.uint64)
    tables.headers.ports[53] = tables.headers.ports[80] = 1
    tables.headers.v4 = np.array([[0x0A000000, 0x0AFFFFFF]], np.uint32)
    return tables


def drive(under_test: Any, capture: str, tables: KernelTables, *, decide: bool, capacity_hold: int) -> list[Any]:
    """Walk a capture as the engine does, in a plain way; everything the kernel says on the way."""
    said: list[Any] = []
    under_test.set_hold_limits(8, 4096, capacity_hold)
    under_test.load(tables)
    if tables.base_fset:
        under_test.define_fset(1, need=1, free=False)
    tap = CaptureFile(CORPUS / capture)
    known = 0
    for block in tap.blocks():
        if block is None:
            continue
        if len(tap.interfaces) != known:
            known = len(tap.interfaces)
            under_test.set_interfaces(
                [InterfacePrograms(i.linktype, None, (program(i.linktype),)) for i in tap.interfaces]
            )
        at = 0
        while at < len(block):
            events, at = under_test.scan(block, at)
            said.append(events.tobytes())
            if decide:
                said += [answer(under_test, block, event) for event in events if not event["flags"] & FRAGMENT]
        said.append(under_test.drain().tobytes())
        under_test.age_held(int(block.ts[-1]) - 1_000_000_000)
        said.append(under_test.given_up())
    tap.close()
    under_test.flush()
    return [*said, under_test.drain().tobytes(), under_test.given_up(), under_test.counters()]


def program(linktype: int) -> Any:
    found = compile_expression("udp or port 80", linktype=linktype)
    return found if isinstance(found, tuple) else DROP


def answer(under_test: Any, block: Any, event: Any) -> Any:
    """A decision that depends on nothing but the event, so that both kernels get the same."""
    slot, serial, flags = int(event["slot"]), int(event["flow"]), int(event["flags"])
    if slot < 0:
        return None
    if flags & UNHOLD and not flags & YIELDS:
        return under_test.take_held(slot, serial)
    if not flags & YIELDS:
        return None
    i = int(event["pkt"])
    turn = serial % 4
    if turn == 0:
        under_test.set_flow(slot, serial, set_flags=F_STREAM, clear_flags=F_HOLD, fset=(0, 1))
        return under_test.take_held(slot, serial)
    if turn == 1:
        under_test.set_flow(slot, serial, set_flags=F_QUIET)
        return under_test.drop_held(slot, serial)
    if turn == 2 and not flags & FORWARD:
        row = (
            int(block.ts[i]), int(block.wirelen[i]), int(block.iface[i]), block.first_number + i, block.packet(i), serial,
            int(event["dir"]), int(event["app"]), int(event["payload"]),
        )  # fmt: skip
        return under_test.hold(slot, serial, row)
    return under_test.flow(slot).tobytes()


TABLES: dict[str, tuple[Callable[[], KernelTables], bool]] = {
    "inspect": (inspect_tables, False),
    "hunt": (hunting_tables, True),
}


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("setting", TABLES)
def test_both_kernels_say_the_same(setting: str, folder: str) -> None:
    make, decide = TABLES[setting]
    for capture in sampled(folder):
        for capacity, hold in ((512, 1 << 20), (16, 10_000)):
            try:
                native = drive(kernel.Kernel(capacity=capacity), capture, make(), decide=decide, capacity_hold=hold)
            except TapError:
                continue  # not a capture that the tap reads
            portable = drive(PortableKernel(capacity=capacity), capture, make(), decide=decide, capacity_hold=hold)
            different = [at for at, (a, b) in enumerate(zip(native, portable, strict=False)) if a != b]
            assert not different, (capture, capacity, different[:3])
            assert len(native) == len(portable), capture


FILTERS = """
apiVersion: packhound.dev/v1alpha1
kind: HuntFilter
metadata: {name: names, namespace: t}
spec: {match: {any: [{field: tls.sni, contains: [o]}, {field: dns.qname, contains: [a]}, {field: http.host, glob: ["*.*"]}]}}
---
apiVersion: packhound.dev/v1alpha1
kind: HuntFilter
metadata: {name: calls, namespace: t}
spec: {match: {field: sip.method, equals: [INVITE, REGISTER]}}
---
apiVersion: packhound.dev/v1alpha1
kind: HuntFilter
metadata: {name: big, namespace: t}
spec: {match: {field: flow.bytes, in: ["3000-900000000"]}, pcapFilter: "tcp or udp"}
---
apiVersion: packhound.dev/v1alpha1
kind: HuntFilter
metadata: {name: packets, namespace: t}
spec: {scope: packet, match: {not: {field: app.protocol, equals: [dns]}}, sample: {rate: 0.5}}
"""


def look(capture: str, *, budget: int | None, mode: str) -> dict[str, Any]:
    """Packets in the order shipped, messages, flow records and counters of a run of the engine."""
    path: Path = CORPUS / capture
    tap = CaptureFile(path) if budget is None else CaptureFile(path, budget=budget)
    packets: list[Any] = []
    messages: list[Any] = []
    flows: list[Any] = []

    def keep(batch: Batch) -> None:
        named = [batch.fsets[number] for number in batch.fset.tolist()]
        calls = [None] * len(batch) if batch.calls is None else batch.calls.tolist()
        columns = (batch.ts, batch.caplen, batch.wirelen, batch.iface, batch.flow, batch.direction, batch.app)
        ends = np.cumsum(batch.caplen, dtype=np.int64)
        data = [batch.blob[end - size : end] for end, size in zip(ends.tolist(), batch.caplen.tolist(), strict=True)]
        packets.extend(zip(*(c.tolist() for c in columns), named, calls, data, strict=True))
        messages.extend((flow, ts, fact.kind, dict(fact.fields)) for _, flow, ts, fact in batch.facts)

    def ended(rows: Any, hosts: dict[int, str], wanted: dict[int, tuple[str, ...]]) -> None:
        serials = rows["serial"].tolist()
        flows.extend(
            zip([row.tobytes() for row in rows], map(hosts.get, serials), map(wanted.get, serials), strict=True)
        )

    agent = Agent(tap, settings=AgentSettings(kernel=mode, capacity=64), on_batch=keep, on_flows=ended)
    loaded = load_text(FILTERS, file="filters")
    assert not loaded.bad
    result = compile_plan(loaded.objects, revision=1, now=0, check_pcap=check_pcap)
    assert not result.refused
    agent.set_plan(result.plan)
    agent.run()
    tap.close()
    counters = agent.counters()
    rest = counters["captured"] - sum(counters[k] for k in ("matched", "unmatched", "sampled_out", "shed"))
    assert (rest, counters["held"]) == (0, 0), capture
    return {"packets": packets, "messages": messages, "flows": flows, "counters": counters}


@pytest.mark.parametrize("folder", FOLDERS)
def test_results_do_not_depend_on_blocks_or_kernel(folder: str) -> None:
    for capture in sampled(folder)[::2]:
        try:
            whole = look(capture, budget=None, mode="native")
        except TapError:
            continue
        pieces = look(capture, budget=4096, mode="native")
        portable = look(capture, budget=4096, mode="portable")
        for what in whole:
            assert pieces[what] == portable[what], (capture, what, "native and portable")
            assert whole[what] == pieces[what], (capture, what, "large and small blocks")
