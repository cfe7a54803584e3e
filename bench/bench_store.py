"""What storing costs: ns per packet of the recording path, per row of a table. Medians; run it alone."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from packhound.net.flow import FLOW_DTYPE
from packhound.net.flowrow import flow_columns
from packhound.net.pcapng import packet_blocks, packet_options
from packhound.processor.service import Processor
from packhound.processor.store.columns import FLOWS
from packhound.processor.store.tables import TableWriter
from tests.support.batches import START, batch_of, udp_packet

PACKETS, ROUNDS = 512, 400


def median(work, count: int, rounds: int) -> float:
    times = []
    for each in range(rounds):
        start = time.perf_counter_ns()
        work(each)
        times.append((time.perf_counter_ns() - start) / count)
    return statistics.median(times)


def main() -> None:
    for size in (32, 172, 730, 1400):
        packets = [udp_packet(i, size=size) for i in range(PACKETS)]
        batch = batch_of(packets, app=10, flow=[i % 16 + 1 for i in range(PACKETS)])
        options = [
            packet_options(comment="filter=voice/alice protocol=rtp flow=1:LQU9qZlK+B5F3KDmev6m5PMibrg=")
        ] * PACKETS
        build = median(lambda _, b=batch, o=options: packet_blocks(
            ts=b.ts, caplen=b.caplen, wirelen=b.wirelen, iface=b.iface, start=b.offsets[:-1], blob=b.blob, options=o,
        ), PACKETS, ROUNDS)  # fmt: skip
        with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
            processor = Processor(Path(folder), clock=lambda: START)

            def accept(number: int, b=batch, p=processor) -> None:
                b.sequence = number + 1
                p.accept(b)

            whole = median(accept, PACKETS, ROUNDS)
            processor.close()
        print(
            f"{len(packets[0]):5} B packets: blocks {build:6.0f} ns, accept (16 flows, comments, write) {whole:6.0f} ns"
        )
    records = np.zeros(20_000, FLOW_DTYPE)
    records["serial"], records["ip_version"] = np.arange(len(records)), 4
    records["src"][:, 3], records["sport"] = np.arange(len(records)) % 250, np.arange(len(records)) % 60000
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        writer = TableWriter(Path(folder), FLOWS)

        def flows(_: int) -> None:
            writer.add(flow_columns(records))
            writer.flush()

        print(f"flow record to Parquet: {median(flows, len(records), 5):6.0f} ns")


if __name__ == "__main__":
    main()
