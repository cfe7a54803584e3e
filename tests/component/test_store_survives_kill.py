"""A processor killed at any moment leaves files that are absent or whole, and the next start takes up the rest."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from packhound.net import pcapng
from packhound.processor.service import Processor
from packhound.processor.store.tables import Answer, query
from tests.support.batches import START, batches_of

WRITER = """
import sys
from pathlib import Path
from packhound.net.facts import Fact
from packhound.processor.service import Processor, ProcessorSettings
from packhound.processor.store.segments import Limits
from tests.support.batches import START, batch_of, udp_packet
processor = Processor(Path(sys.argv[1]), ProcessorSettings(segment=Limits(bytes=300_000), flush=0), clock=lambda: START)
print("ready", flush=True)
sequence = 0
while True:
    sequence += 1
    fact = Fact("dns", {"dns.qname": (f"n{sequence}.example",)})
    packets = [udp_packet(sequence * 64 + at, size=900) for at in range(64)]
    times = [START + sequence * 300_000_000 + at for at in range(64)]
    processor.accept(batch_of(packets, ts=times, sequence=sequence, facts=[(0, 1, times[0], fact)]))
"""


@pytest.mark.parametrize("seed", range(5))
def test_killed_at_a_random_moment(tmp_path, seed):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    time.sleep(random.Random(seed).uniform(0.05, 1.2))
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    published = list(tmp_path.rglob("*.pcapng"))
    for path in published:
        data = path.read_bytes()
        assert pcapng.whole_blocks(data)[0] == len(data)
    found = query("SELECT count(*) FROM messages", tmp_path)
    assert isinstance(found, Answer), found
    before = {path: path.read_bytes() for path in published}
    processor = Processor(tmp_path, clock=lambda: START)
    assert not list(tmp_path.rglob("*.part"))
    assert all(path.read_bytes() == data for path, data in before.items())
    packets = [
        batch.packet(i)[42:46]
        for path in sorted(tmp_path.rglob("*.pcapng"))
        for batch in batches_of(path)
        for i in range(len(batch))
    ]
    assert [int.from_bytes(each, "big") for each in packets] == list(range(64, 64 + len(packets)))
    processor.close()
