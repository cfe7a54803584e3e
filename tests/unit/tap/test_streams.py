"""Compressed files, pipes and standard input: told by content, bounded, stoppable."""

from __future__ import annotations

import gzip
import os
import threading
import time
from pathlib import Path

import pytest

from packhound.sensor.tap import files
from packhound.sensor.tap.files import CaptureFile
from tests.support.capture_files import pcap_header, read, record

CAPTURE = pcap_header() + b"".join(record(n, n, bytes([n % 251]) * 100) for n in range(2_000))


def _names(path: Path) -> tuple[int, str]:
    tap = CaptureFile(path)
    return len(read(tap)), str(tap.fault)


def test_gzip_of_several_members_with_padding(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(gzip.compress(CAPTURE[:5000]) + gzip.compress(CAPTURE[5000:]) + bytes(512))
    assert _names(path) == (2_000, "None")


def test_zstd_of_several_frames(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    path = tmp_path / "x.bin"
    path.write_bytes(zstandard.compress(CAPTURE[:5000]) + zstandard.compress(CAPTURE[5000:]))
    assert _names(path) == (2_000, "None")


def test_a_cut_gzip_gives_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    noise = pcap_header() + b"".join(record(n, n, os.urandom(500)) for n in range(2_000))
    path.write_bytes(gzip.compress(noise)[:600_000])
    count, fault = _names(path)
    assert 1_000 < count < 2_000
    assert "gzip data is cut short" in fault


def test_corrupt_compression_is_a_fault(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(CAPTURE))
    packed[len(packed) // 2] ^= 0xFF
    path = tmp_path / "x.gz"
    path.write_bytes(packed)
    assert "corrupt" in _names(path)[1]


def test_a_zstd_bomb_stays_small(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    resource = pytest.importorskip("resource")
    path = tmp_path / "bomb.zst"
    engine = zstandard.ZstdCompressor().compressobj()
    head = engine.compress(pcap_header() + record(1, 1, b"x"))
    path.write_bytes(head + b"".join(engine.compress(bytes(1 << 20)) for _ in range(400)) + engine.flush())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tap = CaptureFile(path)
    count = sum(len(block) for block in tap.blocks() if block is not None)
    assert count > 1_000_000  # zeros are records of no length
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("packed", [False, True])
def test_a_pipe_ticks_while_silent_and_delivers_at_once(monkeypatch: pytest.MonkeyPatch, *, packed: bool) -> None:
    out, into = os.pipe()
    monkeypatch.setattr(files, "_open", lambda _path: out)
    tap = CaptureFile("-")
    data = gzip.compress(CAPTURE) if packed else CAPTURE
    feed = tap.blocks()
    assert next(feed) is None
    os.write(into, data[: len(data) // 2])
    first = next(feed)
    assert packed or (first is not None and len(first))
    os.write(into, data[len(data) // 2 :])
    os.close(into)
    rest = [block for block in feed if block is not None]
    assert (0 if first is None else len(first)) + sum(map(len, rest)) == 2_000 or packed
    assert tap.fault is None
    tap.close()


def test_stop_wakes_a_reader_of_a_silent_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    out, into = os.pipe()
    monkeypatch.setattr(files, "_open", lambda _path: out)
    tap = CaptureFile("-")
    os.write(into, CAPTURE[:1000])
    counts: list[int] = []
    reader = threading.Thread(target=lambda: counts.extend(len(block) for block in tap.blocks() if block is not None))
    reader.start()
    deadline = time.monotonic() + 5
    while not counts and time.monotonic() < deadline:
        os.sched_yield()
    tap.stop()
    reader.join(2)
    assert not reader.is_alive()
    assert counts == [8]
    assert tap.fault is None
    tap.close()
    os.close(into)
