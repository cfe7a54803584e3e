"""The native and the portable walks give the same rows for the same bytes, however broken."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from packhound.sensor.tap import index
from packhound.sensor.tap.files import CaptureFile
from packhound.sensor.tap.frames import Arrays
from tests.support.capture_files import enhanced, interface, pcap_header, read, record, section
from tests.support.corpus import CORPUS, captures, needs_corpus

needs_native = pytest.mark.skipif(index._native is None, reason="the native kernel is not built")

PCAP = pcap_header() + b"".join(record(n, n, bytes(n)) for n in range(12))
PCAPNG = section() + interface(snaplen=9) + b"".join(enhanced(n << 31, bytes(n)) for n in range(9)) + section(order=">")


def _both(path: Path, budget: int) -> list[object]:
    results: list[object] = []
    native = index._native
    for walk in (native, None):
        index._native = walk
        try:
            tap = CaptureFile(path, budget=budget)
            results.append((read(tap), str(tap.fault), tap.drops(), tap.interfaces))
            tap.close()
        finally:
            index._native = native
    return results


@needs_native
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    base=st.sampled_from([PCAP, PCAPNG]),
    edits=st.lists(st.tuples(st.integers(0, 600), st.sampled_from([0, 1, 2, 5, 6, 127, 128, 255])), max_size=8),
    cut=st.integers(0, 600),
)
def test_twins_agree_on_broken_files(tmp_path: Path, base: bytes, edits: list[tuple[int, int]], cut: int) -> None:
    content = bytearray(base)
    for where, value in edits:
        content[where % len(content)] = value
    path = tmp_path / "x"
    path.write_bytes(content[: max(cut, 4)])
    native, portable = _both(path, 4096)
    assert native == portable


@needs_native
@needs_corpus
def test_twins_agree_on_a_sample_of_the_corpus() -> None:
    for name in captures()[::9]:
        if (CORPUS / name).stat().st_size < 200_000:
            native, portable = _both(CORPUS / name, 1 << 14)
            assert native == portable, name


def _ring_block(packets: list[dict[str, int]], *, size: int = 8192) -> bytearray:
    """A retired TPACKET_V3 block; each packet: mac, caplen, status, tci, tpid, kind, step (0: the last)."""
    memory = bytearray((n * 37) % 256 for n in range(size))
    struct.pack_into("=IIIIII", memory, 0, 1, 48, 1, len(packets), 48, size)
    pos = 48
    for packet in packets:
        if pos + 80 > size:
            break
        caplen, mac = packet.get("caplen", 60), packet.get("mac", 120)
        header = (packet.get("step", 512), 7, 9, caplen, caplen + 5, packet.get("status", 1), mac, mac)
        struct.pack_into("=IIIIIIHH", memory, pos, *header)
        struct.pack_into("=IIH", memory, pos + 28, 0, packet.get("tci", 0), packet.get("tpid", 0))
        sll = struct.pack("=HHiHBB", 17, 8, 3, 772, packet.get("kind", 0), packet.get("halen", 6))
        memory[pos + 48 : pos + 60] = sll
        pos += packet.get("step", 512)
    return memory


def _walk(memory: bytearray, *, mode: int, snaplen: int, incoming_only: bool) -> tuple[list[tuple[int, ...]], bytes]:
    import numpy as np

    arrays = Arrays(64)
    address = np.frombuffer(memory, np.uint8).ctypes.data
    used = index.walk_ring(
        memoryview(memory), address, arrays, iface=3, snaplen=snaplen, mode=mode, incoming_only=incoming_only
    )
    return [tuple(int(column[n]) for column in arrays.columns()) for n in range(used)], bytes(memory)


ring_packets = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "mac": st.sampled_from([0, 91, 92, 106, 120, 8000, 65535]),
            "caplen": st.sampled_from([0, 11, 12, 13, 60, 300, 9000, 2**32 - 20]),
            "status": st.sampled_from([1, 0x11, 0x51, 0x41]),
            "tci": st.sampled_from([5, 0xFFFF, 0x12345]),
            "tpid": st.sampled_from([0x8100, 0x88A8]),
            "kind": st.integers(0, 4),
            "halen": st.integers(0, 255),
            "step": st.sampled_from([0, 512, 4000, 2**31]),
        },
    ),
    max_size=12,
)


@needs_native
@settings(max_examples=300, deadline=None)
@given(packets=ring_packets, mode=st.integers(0, 2), snaplen=st.sampled_from([0, 13, 262144]), incoming=st.booleans())
def test_ring_twins_agree(packets: list[dict[str, int]], mode: int, snaplen: int, *, incoming: bool) -> None:
    native = _walk(_ring_block(packets), mode=mode, snaplen=snaplen, incoming_only=incoming)
    saved, index._native = index._native, None
    try:
        portable = _walk(_ring_block(packets), mode=mode, snaplen=snaplen, incoming_only=incoming)
    finally:
        index._native = saved
    assert native == portable


def test_a_stripped_tag_goes_back_into_the_frame(walker: str) -> None:
    memory = _ring_block([{"status": 0x51, "tci": 0x2005, "tpid": 0x88A8}])
    plain = bytes(memory[48 + 120 : 48 + 180])
    rows, after = _walk(memory, mode=index.ETHERNET, snaplen=0, incoming_only=False)
    assert rows == [(164, 64, 69, 7_000_000_009, 3)]
    assert after[164:228] == plain[:12] + b"\x88\xa8\x20\x05" + plain[12:]


def test_a_cooked_packet_gets_its_header(walker: str) -> None:
    memory = _ring_block([{"kind": 4, "halen": 6}])
    rows, after = _walk(memory, mode=index.COOKED, snaplen=0, incoming_only=False)
    assert rows == [(152, 76, 81, 7_000_000_009, 3)]
    assert after[152:158] == struct.pack(">HHH", 4, 772, 6)
    assert after[166:168] == b"\x08\x00"
