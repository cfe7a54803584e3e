"""Batches made by hand, or of a whole capture with every packet wanted."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from packhound.net.facts import Fact
from packhound.processor.store.segments import Recorder
from packhound.sensor.tap.files import CaptureFile
from packhound.sensor.tap.frames import Interface
from packhound.wire.batch import Batch

ETHERNET = 1
START = 1_700_000_000_123_456_789
"""2023-11-14 22:13:20 UTC and some nanoseconds."""
SECOND = 1_000_000_000
WANTED = {1: ("voice/alice",)}


def udp_packet(number: int = 0, *, sport: int = 40000, dport: int = 5060, size: int = 40) -> bytes:
    """Ethernet, IPv4, UDP from 10.0.0.1 to 10.0.0.2, `size` bytes of payload that start with `number`."""
    payload = number.to_bytes(4, "big").ljust(size, b".")
    udp = sport.to_bytes(2, "big") + dport.to_bytes(2, "big") + (8 + size).to_bytes(2, "big") + b"\0\0" + payload
    head = bytes((0x45, 0)) + (20 + len(udp)).to_bytes(2, "big") + bytes((0, 0, 0, 0, 64, 17, 0, 0))
    return bytes(12) + b"\x08\x00" + head + bytes((10, 0, 0, 1, 10, 0, 0, 2)) + udp


def batch_of(
    packets: Sequence[bytes],
    *,
    ts: Sequence[int] | None = None,
    sequence: int = 1,
    fset: Sequence[int] | int = 1,
    fsets: dict[int, tuple[str, ...]] | None = None,
    flow: Sequence[int] | int = 1,
    app: int = 0,
    interfaces: Sequence[Interface] = (),
    iface: Sequence[int] | int = 0,
    facts: Sequence[tuple[int, int, int, Fact]] = (),
    calls: Sequence[str | None] | None = None,
    wirelen: Sequence[int] | None = None,
    direction: Sequence[int] | int = 255,
) -> Batch:
    """A batch of `packets`, a millisecond apart when no times are given."""
    count = len(packets)
    lengths = [len(each) for each in packets]
    called: Any = None
    if calls is not None:
        called = np.empty(count, object)
        called[:] = list(calls)
    return Batch(
        ts=np.array(ts if ts is not None else [START + i * 1_000_000 for i in range(count)], np.int64),
        caplen=np.array(lengths, np.uint32),
        wirelen=np.array(wirelen or lengths, np.uint32),
        iface=np.full(count, 0, np.uint16) + np.array(iface, np.uint16),
        flow=np.full(count, 0, np.uint64) + np.array(flow, np.uint64),
        fset=np.full(count, 0, np.uint32) + np.array(fset, np.uint32),
        direction=np.full(count, 0, np.uint8) + np.array(direction, np.uint8),
        app=np.full(count, app, np.uint8),
        blob=b"".join(packets),
        fsets=fsets or WANTED,
        interfaces=list(interfaces) or [Interface("eth0", ETHERNET, 262144, 0)],
        facts=list(facts),
        sequence=sequence,
        calls=called,
    )


def batches_of(capture: Path, *, size: int = 512) -> Iterator[Batch]:
    """Every packet of a capture, wanted by one filter, in batches."""
    tap = CaptureFile(capture)
    try:
        sequence = 0
        for block in tap.blocks():
            if block is None:
                continue
            for at in range(0, len(block), size):
                rows = range(at, min(at + size, len(block)))
                sequence += 1
                yield batch_of(
                    [block.packet(row) for row in rows],
                    ts=[int(block.ts[row]) for row in rows],
                    wirelen=[int(block.wirelen[row]) for row in rows],
                    iface=[int(block.iface[row]) for row in rows],
                    interfaces=tap.interfaces,
                    flow=0,
                    sequence=sequence,
                )
    finally:
        tap.close()


def abandon(root: Path, *, cut: int) -> Path:
    """A recording as a killed process leaves it, its last `cut` bytes not written."""
    recorder = Recorder(root, name="hunt")
    recorder.write(batch_of([udp_packet(i) for i in range(4)]), [b""] * 4)
    segment = recorder._open
    assert segment
    os.ftruncate(segment.pending.fd, segment.size - cut)
    os.close(segment.pending.fd)
    return segment.pending.final
