"""Dissected messages of a capture, without the engine: tap, decode, reassembly and sessions joined in the plainest way.

For tests that compare dissectors with other tools: the caller says which flow is which application.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from packhound.net.detect import detect
from packhound.net.facts import Fact, Malformed
from packhound.net.fragments import Reassembler
from packhound.net.frame import Frame, Status, decode
from packhound.net.reassembly import Gap, StreamReassembler
from packhound.net.session import Session, open_session
from packhound.sensor.tap.files import CaptureFile

TCP, UDP = 6, 17
FIN, SYN, RST, ACK = 1, 2, 4, 16


class Endpoint(NamedTuple):
    """Address as text, and port."""

    address: str
    port: int


class Said(NamedTuple):
    """A fact (or why there is none), the capture frame that completed it, who sent it to whom."""

    frame: int
    proto: int
    src: Endpoint
    dst: Endpoint
    fact: Fact | Malformed


Chooser = Callable[[int, Endpoint, Endpoint], list[Session]]
MAX_UNDECIDED = 8  # payload packets of a flow that detection may look at


class Packet(NamedTuple):
    """Capture frame number, time (ns), what decode says, and the bytes it says it of."""

    number: int
    ts: int
    frame: Frame
    data: bytes


@dataclass(slots=True)
class _Flow:
    first: Endpoint
    sessions: list[Session]
    streams: tuple[StreamReassembler, StreamReassembler] = field(
        default_factory=lambda: (StreamReassembler(), StreamReassembler())
    )
    isn: int = -1
    ends: list[Endpoint] = field(default_factory=list)
    undecided: bool = False
    waiting: list[Packet] = field(default_factory=list)
    scratch: list[int] = field(default_factory=lambda: [0, 0, 0, 0])


def packets(path: str) -> Iterator[Packet]:
    """Every packet of a capture that is IP, with IP fragments put together at their last piece."""
    tap = CaptureFile(path)
    whole = Reassembler()
    try:
        for block in tap.blocks():
            if block is None:
                continue
            for index in range(len(block.offset)):
                start = int(block.offset[index])
                data = bytes(memoryview(block.data)[start : start + int(block.caplen[index])])
                linktype = tap.interfaces[int(block.iface[index])].linktype
                frame, ts = decode(data, linktype=linktype), int(block.ts[index])
                if frame.status is Status.FRAGMENT:
                    joined = whole.add(frame, data, now=ts)
                    if isinstance(joined, bytes):
                        data, frame = joined, decode(joined, linktype=101)
                if frame.ip_version:
                    yield Packet(block.first_number + index, ts, frame, data)
            if block.release:
                block.release()
    finally:
        tap.close()


def icmp_frames(path: str) -> set[int]:
    """Numbers of the frames that are ICMP or ICMPv6."""
    return {packet.number for packet in packets(path) if packet.frame.proto in (1, 58)}


def dissect(path: str, choose: Chooser | None = None) -> Iterator[Said]:
    """Yield what the sessions that `choose(proto, source, destination)` opens say of the capture's flows.

    Without `choose`, detection decides on the first payload packets of each flow.
    """
    flows: dict[tuple[int, int, frozenset[Endpoint]], _Flow] = {}
    for packet in packets(path):
        f = packet.frame
        if f.proto not in (TCP, UDP) or not f.l4:
            continue
        src, dst = _endpoint(f, f.src, f.sport), _endpoint(f, f.dst, f.dport)
        key = (f.proto, f.tenant, frozenset((src, dst)))
        flow = flows.get(key)
        opens = f.proto == TCP and f.tcp_flags & (SYN | ACK) == SYN
        if flow is None or (opens and flow.isn not in (-1, f.seq)):
            if flow is not None:
                yield from _flush(packet, flow)
            sessions = choose(f.proto, src, dst) if choose else []
            flow = flows[key] = _Flow(src, sessions, ends=[src, dst], undecided=choose is None)
        if opens:
            flow.isn = f.seq
        if flow.undecided:
            flow.waiting.append(packet)
            if _decide(packet, flow):
                for each in flow.waiting:
                    yield from _hand_over(each, flow)
                flow.waiting.clear()
        elif flow.sessions:
            yield from _hand_over(packet, flow)
    for flow in flows.values():
        yield from _flush(packet, flow)


def _decide(packet: Packet, flow: _Flow) -> bool:
    """Ask detection; True once the flow has a session or never will."""
    f = packet.frame
    payload = packet.data[f.payload : f.payload + f.payload_len]
    if not payload:
        return False
    count = sum(each.frame.payload_len > 0 for each in flow.waiting)
    verdict = detect(
        payload, proto=f.proto, sport=f.sport, dport=f.dport, direction=_direction(packet, flow),
        scratch=flow.scratch, payload_packets=count,
    )  # fmt: skip
    if not verdict.app and count < MAX_UNDECIDED:
        return False
    flow.undecided = False
    session = open_session(verdict.app, proto=f.proto)
    flow.sessions = [session] if session else []
    return True


def _direction(packet: Packet, flow: _Flow) -> int:
    return 0 if _endpoint(packet.frame, packet.frame.src, packet.frame.sport) == flow.first else 1


def _hand_over(packet: Packet, flow: _Flow) -> Iterator[Said]:
    f = packet.frame
    direction = _direction(packet, flow)
    payload = packet.data[f.payload : f.payload + f.payload_len]
    if f.proto == UDP:
        if payload:
            yield from _feed(packet, flow, direction, [payload])
        return
    stream = flow.streams[direction]
    if f.tcp_flags & SYN:
        stream.start(f.seq)
        seq = f.seq + 1
    else:
        seq = f.seq
    yield from _feed(packet, flow, direction, stream.push(seq & 0xFFFFFFFF, payload, packet.ts, size=f.payload_wire))


def _feed(packet: Packet, flow: _Flow, direction: int, chunks: list[bytes | Gap] | list[bytes]) -> Iterator[Said]:
    src, dst = flow.ends if direction == 0 else flow.ends[::-1]
    for chunk in chunks:
        for session in flow.sessions:
            if isinstance(chunk, Gap):
                session.gap(direction, chunk.size)
                continue
            for fact in session.feed(direction, bytes(chunk), now=packet.ts):
                yield Said(packet.number, packet.frame.proto, src, dst, fact)


def _flush(packet: Packet, flow: _Flow) -> Iterator[Said]:
    for direction in (0, 1):
        yield from _feed(packet, flow, direction, flow.streams[direction].flush())


def _endpoint(f: Frame, address: bytes, port: int) -> Endpoint:
    return Endpoint(str(ipaddress.ip_address(address[:4] if f.ip_version == 4 else address)), port)
