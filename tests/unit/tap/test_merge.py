"""Several files come out as a merge by head packet would give them, whatever the block sizes."""

from __future__ import annotations

import heapq
import random
from pathlib import Path

import pytest

from packhound.sensor.tap.errors import CaptureError
from packhound.sensor.tap.files import CaptureFile
from packhound.sensor.tap.merge import MergedTap, open_captures
from tests.support.capture_files import enhanced, interface, option, pcap_header, read, record, section


def _merged(files: list[list[tuple[int, bytes]]]) -> list[bytes]:
    """The specification: take the earliest head, the first file where heads are equal."""
    heads = [(packets[0][0], who, 0) for who, packets in enumerate(files) if packets]
    heapq.heapify(heads)
    out = []
    while heads:
        _ts, who, row = heapq.heappop(heads)
        out.append(files[who][row][1])
        if row + 1 < len(files[who]):
            heapq.heappush(heads, (files[who][row + 1][0], who, row + 1))
    return out


@pytest.mark.parametrize("seed", range(6))
def test_order_is_that_of_a_merge_by_head(tmp_path: Path, walker: str, seed: int) -> None:
    rnd = random.Random(seed)
    files = []
    for who in range(rnd.randint(2, 5)):
        ts, packets = rnd.randint(0, 50), []
        for n in range(rnd.choice([0, 1, 40, 900])):
            ts = max(0, ts + rnd.choice([0, 0, 1, 2, 9, -3]))
            packets.append((ts, b"%d-%d-" % (who, n) + bytes(rnd.randint(0, 40))))
        files.append(packets)
        content = pcap_header() + b"".join(record(ts, 0, data) for ts, data in packets)
        (tmp_path / f"{who}.pcap").write_bytes(content)
    taps = [CaptureFile(tmp_path / f"{who}.pcap", budget=4096) for who in range(len(files))]
    tap = MergedTap(taps)
    packets_read = read(tap)
    assert [packet.data for packet in packets_read] == _merged(files)
    for packet in packets_read:
        assert tap.interfaces[packet.iface].name == f"{packet.data.split(b'-')[0].decode()}.pcap"


def test_equal_interfaces_are_one_and_a_fault_spares_the_other_file(tmp_path: Path, walker: str) -> None:
    named = section() + interface(options=option(2, b"eth0"))
    (tmp_path / "a").write_bytes(named + enhanced(1_000, b"a1") + enhanced(3_000, b"a3") + b"\x06")
    (tmp_path / "b").write_bytes(named + enhanced(2_000, b"b2") + enhanced(4_000, b"b4"))
    tap = open_captures([tmp_path / "a", tmp_path / "b"])
    assert [packet.data for packet in read(tap)] == [b"a1", b"b2", b"a3", b"b4"]
    assert [entry.name for entry in tap.interfaces] == ["eth0"]
    assert tap.fault is not None
    assert tap.fault.path == str(tmp_path / "a")


def test_a_missing_file_is_told_before_any_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(pcap_header())
    with pytest.raises(CaptureError, match="absent"):
        open_captures([tmp_path / "a", tmp_path / "absent"])
