"""Memory of a million live flows: resident set before and after, per flow.

    python bench/bench_flows.py [--flows 1000000]
"""

from __future__ import annotations

import argparse
import struct
import time

import numpy as np

from packhound.sensor.kernel import new_kernel
from packhound.sensor.kernel.tables import InterfacePrograms, KernelTables
from packhound.sensor.tap.frames import Block


def resident() -> int:
    """Resident bytes of this process now."""
    with open("/proc/self/statm") as handle:
        return int(handle.read().split()[1]) * 4096


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flows", type=int, default=1_000_000)
    flows = parser.parse_args().flows
    kernel = new_kernel(capacity=flows)
    kernel.load(KernelTables())
    kernel.set_interfaces([InterfacePrograms(1, None)])
    before, start, number = resident(), time.perf_counter(), 0
    head = b"\x02" + bytes(11) + b"\x08\0"
    while number < flows:
        count = min(16384, flows - number)
        packets = [
            head + struct.pack("!BBHHHBBHII", 0x45, 0, 40, 0, 0, 64, 17, 0, 0x0A000000 + i, 0xC0A80001)
            + struct.pack("!HHHH", 1024 + i % 60000, 40000, 20, 0) + bytes(12)
            for i in range(number, number + count)
        ]  # fmt: skip
        size = len(packets[0])
        kernel.scan(
            Block(b"".join(packets), np.arange(count, dtype=np.uint64) * size, np.full(count, size, np.uint32),
                  np.full(count, size, np.uint32), np.full(count, 10**18, np.int64), np.zeros(count, np.uint16), number + 1),
            0,
        )  # fmt: skip
        number += count
    active = kernel.counters()["active"]
    grown = resident() - before
    print(f"{active:,} flows live: RSS {resident() / 2**20:.0f} MiB, {grown / active:.0f} bytes a flow, "
          f"{time.perf_counter() - start:.1f} s with making the packets")  # fmt: skip


if __name__ == "__main__":
    main()
