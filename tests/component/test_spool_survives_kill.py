"""A process that appends to the spool is killed with -9 at any moment: every record it was told of is there, whole."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time

import pytest

from packhound.sensor.spool import Spool, SpoolLimits

WRITER = """
import sys
from pathlib import Path
from packhound.sensor.parcel import PACKETS, Parcel
from packhound.sensor.spool import Spool, SpoolLimits
epoch = int(sys.argv[2])
spool = Spool(Path(sys.argv[1]), sensor="n1", epoch=epoch, limits=SpoolLimits(segment=1 << 16))
n = 0
while True:
    n += 1
    number = spool.number()
    spool.append(Parcel(number, PACKETS, epoch, n % 4, n, 3, n % 3 == 0, bytes([n % 256]) * (n * 37 % 5000)), {("t/a",): 3})
    if n % 5 == 0:
        for each in spool.next(2):
            print("handed", each.epoch, each.sequence, ".", flush=True)
            spool.done(each.number)
            print("done", each.epoch, each.sequence, ".", flush=True)
    print("appended", epoch, n, ".", flush=True)
"""


@pytest.mark.slow
def test_twenty_rounds(tmp_path):
    dice = random.Random(11)
    appended: dict[int, int] = {}
    done: set[tuple[int, int]] = set()
    handed: set[tuple[int, int]] = set()
    for epoch in range(1, 21):
        with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, str(epoch)], stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout.readline()
            time.sleep(dice.random() * 0.05)
            writer.send_signal(signal.SIGKILL)
            for line in writer.stdout.read().splitlines():
                words = line.split()
                if len(words) < 4:
                    continue  # torn
                what, at, number, _ = words
                if what == "appended":
                    appended[epoch] = int(number)
                elif what == "done":
                    done.add((int(at), int(number)))
                else:
                    handed.add((int(at), int(number)))
    spool = Spool(tmp_path, sensor="n1", epoch=99, limits=SpoolLimits(segment=1 << 16))
    found = {}
    while parcels := spool.next(100):
        for each in parcels:
            identity = each.epoch, each.sequence
            assert identity not in found, "twice"
            assert each.data == bytes([each.sequence % 256]) * (each.sequence * 37 % 5000)
            found[identity] = each
            spool.done(each.number)
    told = {(epoch, n) for epoch, last in appended.items() for n in range(1, last + 1)}
    assert told - set(found) - handed == set(), "appended and gone"
    assert not done & set(found), "done and sent again"
    for epoch, last in appended.items():
        assert spool.recovered.get(epoch, 3 * last) >= 3 * last
    spool.close()
