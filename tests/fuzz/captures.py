"""Capture files: pcap and pcapng, packed or not, through the walkers in C and in Python, which must say the same."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from packhound.net import pcapng as built
from packhound.sensor.tap import index
from packhound.sensor.tap.errors import CaptureError, TapError
from packhound.sensor.tap.files import CaptureFile
from tests.fuzz import seeds
from tests.fuzz.target import Broken, Target

_NATIVE = index._native  # the test is about both
PER_BYTE = 1 / 12  # packets a file byte at most: no record or block is smaller
MOST = 1 << 20  # unpacked bytes that are read of a packed file


def read(data: bytes, budget: int) -> tuple[Any, ...]:
    """Everything that a tap says of a file with these bytes."""
    fd = os.memfd_create("capture")
    try:
        os.write(fd, data)
        tap = CaptureFile(f"/proc/self/fd/{fd}", budget=budget)
    finally:
        os.close(fd)
    try:
        packets = list(_packets(tap))
        fault = tap.fault
        said = (fault.reason, fault.offset) if fault else None
        return packets, said, [repr(each) for each in tap.interfaces], tap.drops(), tap.conditions()
    finally:
        tap.close()


def _packets(tap: CaptureFile) -> Iterator[tuple[Any, ...]]:
    count = size = 0
    for block in tap.blocks():
        if block is None:
            raise Broken("a file makes its reader wait")
        if block.first_number != count + 1:
            raise Broken(f"packet {count + 1} is called {block.first_number}")
        count += len(block)
        for n in range(len(block)):
            start, caplen = int(block.offset[n]), int(block.caplen[n])
            if start + caplen > len(block.data) or int(block.iface[n]) >= len(tap.interfaces):
                raise Broken("a packet lies outside its block, or has no interface")
            yield block.packet(n), int(block.wirelen[n]), int(block.ts[n]), int(block.iface[n])
        size += len(block.data)
        if size > MOST:
            tap.stop()


def _file(data: bytes) -> None:
    try:
        portable = _with(None, data, 4096)
    except TapError as error:
        _own(error)
        return
    if len(portable[0]) > PER_BYTE * len(data) and data[:1] not in (b"\x1f", b"\x28", b"\x50"):
        raise Broken(f"{len(portable[0])} packets of {len(data)} bytes")
    if _NATIVE is None:
        return
    if _with(_NATIVE, data, 4096) != portable:
        raise Broken("walkers differ")


def _with(walker: Any, data: bytes, budget: int) -> tuple[Any, ...]:
    index._native = walker
    try:
        return read(data, budget)
    finally:
        index._native = _NATIVE


def _own(error: TapError) -> None:
    if not isinstance(error, CaptureError) or error.exit_code != 3 or not error.reason.isprintable():
        raise Broken(f"not a fault of the file: {error!r}")


def _packed(data: bytes) -> None:
    """Of a packed file only what unpacks it is asked; whatever it holds is no packet's."""
    try:
        read(data, 4096)
    except TapError as error:
        _own(error)


def _blocks(data: bytes) -> None:
    end, packets = built.whole_blocks(data)
    if not 0 <= end <= len(data) or packets > len(data) / 12:
        raise Broken(f"{packets} packets up to {end} of {len(data)}")
    if built.whole_blocks(data[:end]) != (end, packets):
        raise Broken("what is whole is not whole alone")


def _packed_seeds() -> list[bytes]:
    texts = [text for text in seeds.capture_texts() if len(text) < 3000][:40]
    found = [gzip.compress(text, mtime=0) for text in texts]
    found += [one + two for one, two in pairwise(found[:5])]
    found.append(gzip.compress(bytes(1 << 20), mtime=0))
    try:
        import zstandard
    except ImportError:
        return found
    engine = zstandard.ZstdCompressor()
    found += [engine.compress(text) for text in texts]
    return [*found, engine.compress(bytes(1 << 20)), zlib.compress(texts[0])]


def _capture_seeds() -> list[bytes]:
    return [text for text in seeds.capture_texts() if text[:2] != b"\x1f\x8b"]


def targets() -> list[Target]:
    """The readers."""
    return [
        Target("capture-file", _file, _capture_seeds, group="captures", turns=False, size=12_000),
        Target("capture-packed", _packed, _packed_seeds, group="captures", turns=False, size=8_000),
        Target("pcapng-blocks", _blocks, _capture_seeds, group="captures", turns=False, size=12_000),
    ]
