"""Below the sessions: frames, fragments, streams, detection, and the two kernels that must say the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from packhound.api.load import load_text
from packhound.net.detect import App, detect
from packhound.net.facts import Malformed
from packhound.net.fragments import Reassembler, decode_datagram
from packhound.net.frame import DecodeConfig, Frame, Status, decode
from packhound.rules.bpf import check_pcap, compile_expression
from packhound.rules.compile import compile_plan
from packhound.rules.literals import LiteralSet
from packhound.rules.plan import HuntPlan
from packhound.sensor.agent import Agent, AgentSettings
from packhound.sensor.kernel.copies import WINDOW
from packhound.sensor.kernel.events import F_HOLD, F_QUIET, F_STREAM, FORWARD, FRAGMENT, UNHOLD, YIELDS
from packhound.sensor.kernel.portable import PortableKernel
from packhound.sensor.kernel.tables import InterfacePrograms, KernelTables, inspect_tables
from packhound.sensor.tap.frames import Block, Drops, Interface
from tests.fuzz import seeds
from tests.fuzz.target import Broken, Target, is_own, sound
from tests.fuzz.turns import Turn, pack, unpack

try:
    from packhound.sensor.kernel import _scan as native
except ImportError:  # no compiler here: the twin alone is driven
    native = None  # type: ignore[assignment]

LINKTYPES = (1, 101, 113, 0, 276, 105, 127, 107, 50, 9, 228, 229, 12, 108, 109, 51)
CONFIGS = (DecodeConfig(), DecodeConfig(max_depth=1, vlan_is_tenant=True, vxlan_ports=(53,), gtpu_ports=()))
START, SECOND = 1_700_000_000_000_000_000, 1_000_000_000
STEPS = (0, 1000, SECOND // 100, SECOND, 31 * SECOND, 400 * SECOND, -SECOND, 7)


def _packet_seeds() -> list[bytes]:
    found = []
    for linktype, several in seeds.frames():
        if linktype in LINKTYPES:
            found.append(pack((LINKTYPES.index(linktype), data) for data in several))
    return found


def _linktype(turn: Turn) -> int:
    return LINKTYPES[turn.order & 15]


# frames ----------------------------------------------------------------------------------------------------------


def _decode(data: bytes) -> None:
    for turn in unpack(data):
        for config in CONFIGS:
            frame = decode(turn.data, linktype=_linktype(turn), config=config)
            _inside(frame, len(turn.data))
            if native is not None:
                theirs = native.decode_one(turn.data, _linktype(turn), config)
                if theirs != dataclasses.asdict(frame):
                    raise Broken(f"decoders differ: {theirs} {frame}")


def _inside(frame: Frame, size: int) -> None:
    ends = (frame.l3, frame.l4, frame.payload, frame.payload + frame.payload_len)
    if frame.status != Status.FRAGMENT and not all(0 <= each <= size for each in ends):
        raise Broken(f"decode points outside its {size} bytes: {frame}")


def _fragments(data: bytes) -> None:
    whole = Reassembler(max_datagrams=8, max_bytes=64 * 1024, timeout_ns=30 * SECOND)
    now = START
    for turn in unpack(data):
        now += STEPS[turn.order >> 5]
        frame = decode(turn.data, linktype=_linktype(turn))
        packet = turn.data
        for _ in range(16):
            if frame.status != Status.FRAGMENT:
                break
            found = whole.add(frame, packet, now=now)
            if isinstance(found, Malformed) and not is_own(found.reason):
                raise Broken(found.reason)
            if not isinstance(found, bytes):
                break
            frame, packet = decode_datagram(found, piece=frame, config=CONFIGS[0]), found
            _inside(frame, len(packet))
        else:
            raise Broken("datagrams inside datagrams without end")
        if whole.held > 64 * 1024 or len(whole) > 8:
            raise Broken(f"{whole.held} bytes of {len(whole)} datagrams are held")


def _fragment_seeds() -> list[bytes]:
    found = []
    for linktype, several in seeds.frames():
        pieces = [each for each in several if decode(each, linktype=linktype).status is Status.FRAGMENT]
        if pieces and linktype in LINKTYPES:
            found.append(pack((LINKTYPES.index(linktype), data) for data in pieces))
    datagram = bytes.fromhex("45000044000120001101000a0a0000010a000002") + bytes(48)
    cut = [bytearray(datagram[:44]) for _ in range(2)]
    cut[0][2:4], cut[1][2:4] = b"\0\x2c", b"\0\x2c"
    cut[0][6:8], cut[1][6:8] = b"\x20\0", b"\0\x03"
    return [*found, pack((1, bytes(each)) for each in cut)]


# detection -------------------------------------------------------------------------------------------------------


def _detect(data: bytes) -> None:
    """The first turn's order says over what: 0-2 TCP and UDP with odd ports, else one of the other protocols."""
    turns = unpack(data)
    if not turns:
        return
    proto = (6, 17, 6, 17, 6, 17, 1, 58, 88, 89, 103, 112, 132, 2, 50, 47)[turns[0].order >> 1 & 15]
    ours, theirs = [0, 0, 0, 0], [0, 0, 0, 0]
    for count, turn in enumerate(turns[:8], 1):
        asked = {
            "proto": proto, "sport": PORTS[turn.order >> 5], "dport": PORTS[turn.order >> 2 & 7],
            "direction": turn.direction, "payload_packets": count,
        }  # fmt: skip
        found = detect(turn.data, scratch=ours, **asked)
        if not isinstance(found.app, App) or not 0 <= found.confidence <= 100:
            raise Broken(f"detection says {found}")
        if native is not None:
            other = native.detect_one(turn.data, scratch=theirs, **asked)
            if other != tuple(map(int, found)) or ours != theirs:
                raise Broken(f"detections differ: {other} {theirs}, {found} {ours}")


PORTS = (53, 5060, 40000, 123, 137, 25, 520, 1812)


def _detect_seeds() -> list[bytes]:
    order = {6: 0, 17: 2, 1: 12, 58: 14, 88: 16, 89: 18, 132: 24}
    found = []
    for (_, proto), several in seeds.conversations().items():
        for script in several[:12]:
            turns = unpack(script)
            if proto in order and turns:
                found.append(pack((turn.order & 1 | order[proto], turn.data[:200]) for turn in turns[:4]))
    return found


# the engine: two kernels, one capture ------------------------------------------------------------------------------


def block_of(turns: list[Turn]) -> Block:
    """The packets of turns as a block whose data ends where the last packet ends."""
    sizes = [len(turn.data) for turn in turns]
    ends = np.cumsum(np.array(sizes, np.uint64)) if sizes else np.zeros(0, np.uint64)
    caplen = np.array(sizes, np.uint32)
    ts, now = [], START
    for turn in turns:
        now += STEPS[turn.order >> 5]
        ts.append(now)
    longer = np.array([(0, 100)[turn.order >> 4 & 1] for turn in turns], np.uint32)
    return Block(
        b"".join(turn.data for turn in turns), (ends - caplen).astype(np.uint64), caplen, caplen + longer,
        np.array(ts, np.int64), np.array([turn.order & 15 for turn in turns], np.uint16), 1,
    )  # fmt: skip


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


@cache
def _settings() -> tuple[tuple[KernelTables, bool, list[InterfacePrograms]], ...]:
    drop = ((6, 0, 0, 0),)
    programs = []
    for linktype in LINKTYPES:
        found = compile_expression("udp or port 80", linktype=linktype)
        capture = compile_expression("not port 22", linktype=linktype)
        programs.append((linktype, found if isinstance(found, tuple) else drop, capture))
    plain = [InterfacePrograms(linktype, None, (found,)) for linktype, found, _ in programs]
    fussy = [InterfacePrograms(n, c if isinstance(c, tuple) else None, (found,)) for n, found, c in programs]
    return (inspect_tables(), False, plain), (hunting_tables(), True, fussy)


def _engine(data: bytes) -> None:
    turns = unpack(data)
    if not turns:
        return
    block = block_of(turns)
    tables, decide, programs = _settings()[len(data) & 1]
    capacity, hold = ((64, 1 << 20), (3, 600))[len(data) >> 1 & 1]
    ours = drive(PortableKernel(capacity=capacity), block, tables, programs, decide=decide, hold=hold)
    if native is None:
        return
    theirs = drive(native.Kernel(capacity=capacity), block, tables, programs, decide=decide, hold=hold)
    different = [at for at, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b]
    if different or len(ours) != len(theirs):
        raise Broken(f"kernels differ at {different[:3]} of {len(ours)}, {len(theirs)}")


def drive(
    kernel: Any, block: Block, tables: KernelTables, programs: list[InterfacePrograms], *, decide: bool, hold: int
) -> list[Any]:
    """Walk a block as the engine does, in a plain way; everything that the kernel says on the way."""
    kernel.set_hold_limits(8, 4096, hold)
    kernel.load(tables)
    if tables.base_fset:
        kernel.define_fset(1, need=1, free=False)
    kernel.set_interfaces(programs)
    kernel.set_copies(WINDOW if len(block) & 1 else 0)
    kernel.watch(4, bytes((10, 0, 0, 1)) + bytes(12), 4000)
    said: list[Any] = []
    at = 0
    while at < len(block):
        events, at = kernel.scan(block, at)
        said.append(events.tobytes())
        if decide:
            said += [_answer(kernel, block, event) for event in events if not event["flags"] & FRAGMENT]
    said.append(kernel.drain().tobytes())
    kernel.age_held(int(block.ts[-1]) - SECOND)
    said.append(kernel.given_up())
    kernel.expire(int(block.ts[-1]) + 40 * SECOND)
    said.append(kernel.drain().tobytes())
    kernel.flush()
    said += [kernel.drain().tobytes(), kernel.given_up(), kernel.counters()]
    counted = said[-1]
    fates = sum(counted[each] for each in ("forwarded", "held", "unmatched", "sampled_out", "duplicate_capture", "yielded"))
    if not decide and counted["seen"] != fates:
        raise Broken(f"{counted['seen']} packets were seen, {fates} have a fate: {counted}")
    return said


def _answer(kernel: Any, block: Block, event: Any) -> Any:
    """A decision that depends on nothing but the event, so that both kernels get the same."""
    slot, serial, flags = int(event["slot"]), int(event["flow"]), int(event["flags"])
    if slot < 0:
        return None
    if flags & UNHOLD and not flags & YIELDS:
        return kernel.take_held(slot, serial)
    if not flags & YIELDS:
        return None
    i, turn = int(event["pkt"]), serial % 4
    if turn == 0:
        kernel.set_flow(slot, serial, set_flags=F_STREAM, clear_flags=F_HOLD, fset=(0, 1))
        return kernel.take_held(slot, serial)
    if turn == 1:
        kernel.set_flow(slot, serial, set_flags=F_QUIET)
        return kernel.drop_held(slot, serial)
    if turn == 2 and not flags & FORWARD:
        row = (
            int(block.ts[i]), int(block.wirelen[i]), int(block.iface[i]), block.first_number + i, block.packet(i), serial,
            int(event["dir"]), int(event["app"]), int(event["payload"]),
        )  # fmt: skip
        return kernel.hold(slot, serial, row)
    return kernel.flow(slot).tobytes()


# the whole sensor: kernel, reassembly, dissection, filters ----------------------------------------------------------

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
metadata: {name: small, namespace: t}
spec: {match: {field: port, equals: [53, 80, 5060]}, pcapFilter: "less 900"}
"""


class Shelf:
    """A tap of one block, of any of the link types."""

    fault = None

    def __init__(self, block: Block) -> None:
        self.interfaces = [Interface(f"if{at}", linktype, 0, at) for at, linktype in enumerate(LINKTYPES)]
        self._block = block

    def blocks(self) -> Iterator[Block]:
        """The block."""
        yield self._block

    def drops(self) -> Drops:
        """None."""
        return Drops()

    def conditions(self) -> list[Any]:
        """None."""
        return []

    def stop(self) -> None:
        """Nothing to stop."""

    def close(self) -> None:
        """Nothing to close."""


@cache
def _plan() -> HuntPlan:
    loaded = load_text(FILTERS, file="filters")
    result = compile_plan(loaded.objects, revision=1, now=0, check_pcap=check_pcap)  # type: ignore[arg-type]
    if loaded.bad or result.refused:
        raise Broken(f"{loaded.bad} {result.refused}")
    return result.plan


def _sensor(data: bytes) -> None:
    turns = unpack(data)
    if not turns:
        return
    block = block_of(turns)
    modes = ("portable",) if native is None else ("portable", "native")
    said = [look(block, mode, hunts=bool(len(data) & 1)) for mode in modes]
    for what in said[0]:
        if said[0][what] != said[-1][what]:
            raise Broken(f"{what} differ: {said[0][what]!r:.300} {said[-1][what]!r:.300}")


def look(block: Block, mode: str, *, hunts: bool) -> dict[str, Any]:
    """Everything that the sensor says of the packets: `hunts` with filters, else as `packhound inspect`."""
    messages: list[Any] = []
    flows: list[Any] = []
    packets_: list[Any] = []

    def batch(each: Any) -> None:
        packets_.append((each.blob, each.ts.tobytes(), each.fset.tobytes(), dict(each.fsets), [f[3] for f in each.facts]))

    agent = Agent(
        Shelf(block), settings=AgentSettings(kernel=mode, capacity=64), on_batch=batch,
        on_flows=lambda ended, hosts, wanted: flows.append((ended.tobytes(), dict(hosts), dict(wanted))),
        on_message=messages.append, inspect=not hunts,
    )  # fmt: skip
    if hunts:
        agent.set_plan(_plan())
    agent.run()
    sound([each.fact for each in messages])
    if not all(map(is_own, agent.engine.malformed)):
        raise Broken(f"reasons {agent.engine.malformed}")
    counters = agent.counters()
    rest = counters["captured"] - sum(counters[k] for k in ("matched", "unmatched", "sampled_out", "shed"))
    if rest or counters["held"] or agent.engine.streams["waiting"]:
        raise Broken(f"the books do not balance: {counters} {agent.engine.streams}")
    return {
        "messages": messages, "flows": flows, "packets": packets_, "counters": counters, "streams": agent.engine.streams,
        "malformed": agent.engine.malformed,
    }  # fmt: skip


def targets() -> list[Target]:
    """What sees packets."""
    return [
        Target("decode", _decode, _packet_seeds, group="packets"),
        Target("fragments", _fragments, _fragment_seeds, group="packets"),
        Target("detect", _detect, _detect_seeds, group="packets"),
        Target("engine", _engine, _packet_seeds, group="engine"),
        Target("sensor", _sensor, _packet_seeds, group="engine"),
    ]
