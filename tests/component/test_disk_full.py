"""A full disk costs what did not fit, counted by cause, and nothing that was there before."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from packhound.net import pcapng
from packhound.net.facts import Fact
from packhound.processor.service import Processor, ProcessorSettings
from packhound.processor.store.segments import Limits
from packhound.processor.store.tables import Answer, query
from packhound.wire.books import Books
from tests.support.batches import START, batch_of, batches_of, udp_packet

SIZE = 1 << 20


@pytest.fixture
def small_disk(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a tmpfs")
    where = tmp_path / "small"
    where.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(where)], check=False).returncode:
        pytest.skip("cannot mount a tmpfs here")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def batches(count: int, start: int = 0):
    for number in range(start, start + count):
        packets = [udp_packet(number * 64 + at, size=900) for at in range(64)]
        fact = Fact("dns", {"dns.qname": (f"{os.urandom(300).hex()}.example",)})
        yield batch_of(
            packets, sequence=number + 1, ts=[START + number * 64 + at for at in range(64)], facts=[(0, 1, START, fact)]
        )


def readable(root: Path) -> int:
    total = 0
    for path in root.rglob("*.pcapng"):
        data = path.read_bytes()
        assert pcapng.whole_blocks(data)[0] == len(data), path
        total += sum(len(batch) for batch in batches_of(path))
    return total


def test_a_full_disk_costs_packets_with_a_cause_and_nothing_published(small_disk):
    settings = ProcessorSettings(segment=Limits(bytes=200_000))
    processor = Processor(small_disk, settings, clock=lambda: START)
    matched = 0
    earlier: dict[Path, bytes] = {}
    for batch in batches(30):
        processor.accept(batch)
        matched += len(batch)
        if processor.conditions():
            earlier = earlier or {path: path.read_bytes() for path in processor.recordings}
    assert [each.reason for each in processor.conditions()] == ["disk_full"]
    books = processor.close()
    sensor = Books()
    sensor.sensor("").seen = matched
    sensor.settle("", {("voice/alice",): matched}, "matched")
    books.add(sensor)
    account = books.sensor("")
    assert books.residual() == 0
    assert account.lost["disk_full"] > 0
    assert account.recorded + account.lost["disk_full"] == matched
    assert readable(small_disk) == account.recorded
    assert earlier
    assert all(path.read_bytes() == data for path, data in earlier.items())
    assert not list(small_disk.rglob("*.part"))
    assert processor.tables["messages"].lost["disk_full"] + processor.tables["messages"].written == 30


def test_writing_goes_on_when_there_is_room_again(small_disk):
    processor = Processor(small_disk, clock=lambda: START)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(700_000))
    for batch in batches(10):
        processor.accept(batch)
    assert processor.conditions()
    ballast.unlink()
    for batch in batches(3, start=10):
        processor.accept(batch)
    assert not processor.conditions()
    books = processor.close()
    assert readable(small_disk) == books.sensor("").recorded
    found = query("SELECT count(*) FROM messages", small_disk)
    assert isinstance(found, Answer)
    assert found.rows == [(13,)]
