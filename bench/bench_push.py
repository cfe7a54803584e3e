"""Push latency: from the edit of a filter to the answer of every sensor, with real followers over a real broker.

Each follower has a connection of its own; they are spread over a few processes and apply a plan by decoding it, no
capture. `python bench/bench_push.py [sensors] [edits] [processes] [filters]`; with 0 processes all live in this one.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from packhound.fleet.acks import Acks
from packhound.fleet.plans import PlanFollower, PlanSource, Verdict
from packhound.fleet.streams import Layout, ensure
from packhound.kit.bus import Bus, BusSettings
from tests.support.nats_server import nats_server

LAYOUT = Layout("bench", shards=1)


def some_filter(number: int) -> dict[str, Any]:
    """A filter as people write them."""
    leaf = {"field": "sip.user", "glob": [f"user-{number}*"]}
    return {"kind": "HuntFilter", "metadata": {"name": f"f{number}"}, "spec": {"match": {"any": [leaf]}}}


async def follow(url: str, names: list[str]) -> None:
    """Followers of these names, until cancelled. A sensor holds one plan; hundreds of them in one heap would have the
    collector walk through all of them for each, which no sensor does."""
    gc.disable()
    async with asyncio.TaskGroup() as group:
        for name in names:
            bus = await Bus.connect(BusSettings((url,), name))
            await bus.ready(30)
            follower = PlanFollower(
                bus, LAYOUT.subjects, node=name, epoch=1, apply=lambda _: Verdict(), clock=time.time_ns
            )
            group.create_task(follower.run())


async def main(url: str, sensors: int, edits: int, processes: int, filters: int) -> None:
    rows = [some_filter(n) for n in range(filters)]
    names = [f"node-{n}" for n in range(sensors)]
    async with await Bus.connect(BusSettings((url,), "publisher")) as bus, Acks(bus, LAYOUT.subjects) as acks:
        await bus.ready(5)
        await ensure(bus, LAYOUT)
        source = PlanSource(bus, LAYOUT.subjects, name="bench", clock=time.time_ns)
        here = asyncio.create_task(follow(url, [] if processes else names))
        there = [
            await asyncio.create_subprocess_exec(sys.executable, __file__, "follow", url, *names[n::processes])
            for n in range(processes)
        ]
        try:
            first = await source.publish(rows)
            assert len(await acks.wait(first, count=sensors, within=120)) == sensors
            each: list[float] = []
            last: list[float] = []
            for n in range(edits):
                await asyncio.sleep(0.2)
                arrived: list[float] = []
                began = time.perf_counter()
                plan = await source.publish([*rows, {"edit": n}])
                while len(arrived) < sensors:
                    await acks.wait(plan, count=len(arrived) + 1, within=30)
                    arrived += [time.perf_counter() - began] * (len(acks.of(plan)) - len(arrived))
                each += arrived
                last.append(arrived[-1])
        finally:
            for process in there:
                process.terminate()
            here.cancel()
            await asyncio.gather(here, *(process.wait() for process in there), return_exceptions=True)
    each.sort()
    p50, p99 = (each[len(each) * share // 100] * 1000 for share in (50, 99))
    print(f"{sensors} sensors, {filters} filters, {edits} edits: edit to answer p50 {p50:.0f} ms, p99 {p99:.0f} ms; last answer {max(last) * 1000:.0f} ms")


if __name__ == "__main__":
    if sys.argv[1:2] == ["follow"]:
        asyncio.run(follow(sys.argv[2], sys.argv[3:]))
    else:
        wanted = [int(each) for each in sys.argv[1:]]
        with tempfile.TemporaryDirectory() as folder, nats_server(Path(folder)) as server:
            asyncio.run(main(server.url, *(wanted + [50, 20, 0, 100][len(wanted) :])))
