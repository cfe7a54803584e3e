"""Publishing through the bus against a bare nats-py publisher: 48 KiB messages into a stream with file storage.

One process publishes, one thread of it; the broker is on the same machine. Both rates come from the same run, in turn,
so their ratio means something on any machine: `python bench/bench_bus.py [messages] [rounds]`.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

import nats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from packhound.kit.bus import Bus, BusSettings, Stored, StreamSpec, ensure_stream
from tests.support.nats_server import nats_server

SIZE = 48 << 10
WINDOW = 64


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def bare(url: str, count: int, data: bytes, tag: str) -> None:
    """A loop of js.publish_async with as many in flight as the bus has."""
    client = await nats.connect(url)
    js = client.jetstream(publish_async_max_pending=WINDOW)
    acks = [await js.publish_async("bench.b.0.n", data, headers={"Nats-Msg-Id": f"{tag}-{n}"}) for n in range(count)]
    await asyncio.gather(*acks)
    await client.close()


async def ours(url: str, count: int, data: bytes, tag: str) -> None:
    async with await Bus.connect(BusSettings((url,), "bench", window=WINDOW)) as bus:
        await bus.ready(5)
        acks = [await bus.publish("bench.b.0.n", data, {"Nats-Msg-Id": f"{tag}-{n}"}) for n in range(count)]
        assert all(isinstance(each, Stored) for each in await asyncio.gather(*acks))


async def main(url: str, count: int, rounds: int) -> None:
    data = bytes(range(256)) * (SIZE // 256)
    spec = StreamSpec("bench", ("bench.>",), "workqueue", "new", 6 << 30, duplicates_ns=120 * 10**9)
    async with await Bus.connect(BusSettings((url,), "bench")) as bus:
        await bus.ready(5)
        await ensure_stream(bus, spec)
        rates: dict[str, list[tuple[float, float]]] = {"bare": [], "ours": []}
        for number in range(rounds):
            for name, publish in (("bare", bare), ("ours", ours)):
                await bus.api("STREAM.PURGE.bench")
                began, used = time.perf_counter(), cpu()
                await publish(url, count, data, f"{name}{number}")
                rates[name].append((time.perf_counter() - began, cpu() - used))
    for name, rows in rates.items():
        wall, busy = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"{name}: {count / wall:8.0f} msg/s  {count * SIZE / wall / 1e6:6.0f} MB/s  {busy / count * 1e6:5.0f} us of CPU each")
    ratios = [b[0] / a[0] for a, b in zip(rates["ours"], rates["bare"], strict=True)]
    print(f"ours/bare, median of {rounds}: {statistics.median(ratios):.2f} (from {min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    wanted = [int(each) for each in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as folder, nats_server(Path(folder)) as server, contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(server.url, *(wanted + [4000, 5][len(wanted) :])))
