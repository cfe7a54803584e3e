"""Delivery of a real sensor process into JetStream with file storage, against a bare nats-py publisher.

    python bench/bench_delivery.py [--packets 400000] [--rounds 5] [--core 0] [--json] [CAPTURE]

The sensor reads an IMIX capture of which it wants everything: decode, flows, dissection, verdicts, shards, encoding,
spool on disk, broker. The bare publisher sends as many messages of the sensor's mean size with `js.publish_async`, as
many in flight, ids as the sensor has them, and does nothing else. Both run in turn, each alone on the same core, the
broker on another; what counts is the time between the first and the last message by the broker's own clock, so starting
Python does not. With `--profile` the sensor runs under cProfile, capture thread and loop, and prints the top of both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import nats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from packhound.api.huntfilter import ClusterHuntFilter
from packhound.fleet.plans import PlanSource
from packhound.fleet.streams import Layout, ensure
from packhound.kit.bus import Bus, BusSettings
from packhound.rules.compile import compile_plan
from packhound.sensor.agent import Agent, AgentSettings
from packhound.sensor.kernel import gatherer
from packhound.sensor.link.nats import NatsLink
from packhound.sensor.outbox import Outbox
from packhound.sensor.sender import Sender
from packhound.sensor.service import BATCH
from packhound.sensor.sharder import Sharder
from packhound.sensor.spool import Spool, SpoolLimits
from packhound.sensor.tap.merge import open_captures
from packhound.wire.batch import Batch
from tests.support.nats_server import nats_server

DATA = Path(__file__).parent / "data" / "imix.pcap"
LAYOUT = Layout("bench")
NAMES = LAYOUT.subjects
WINDOW = 64
EVERYTHING = {
    "apiVersion": "packhound.dev/v1alpha1", "kind": "ClusterHuntFilter", "metadata": {"name": "all"},
    "spec": {"pcapFilter": "ip or ip6"},
}  # fmt: skip


async def bare(url: str, count: int, size: int, tag: str) -> None:
    """What a publisher in a few lines does."""
    client = await nats.connect(url)
    js = client.jetstream(publish_async_max_pending=WINDOW)
    data = os.urandom(size)
    subjects = [NAMES.packets(shard, "bare") for shard in range(LAYOUT.shards)]
    acks = [
        await js.publish_async(subjects[n % len(subjects)], data, headers={"Nats-Msg-Id": f"{tag}-{n}", "Ph-Kind": "packets"})
        for n in range(count)
    ]  # fmt: skip
    await asyncio.gather(*acks)
    await client.close()


async def delivery(url: str, folder: Path, capture: Path, packets: int) -> None:
    """What a sensor does with batches: shards, parcels, spool, sender, link."""
    batches: list[Batch] = []
    tap = open_captures([str(capture)])
    agent = Agent(tap, settings=AgentSettings(count=packets, batch=BATCH), on_batch=batches.append, on_flows=lambda *_: None)
    agent.set_plan(compile_plan([ClusterHuntFilter.model_validate(EVERYTHING)], revision=1, now=0, check_pcap=lambda _: None).plan)
    agent.run()
    tap.close()
    epoch = secrets.randbits(62)
    spool = Spool(folder / "spool", sensor="n1", epoch=epoch, cluster="", limits=SpoolLimits(cap=8 << 30))
    sharder = Sharder(sensor="n1", epoch=epoch, number=spool.number, gather=gatherer(agent.kernel))
    async with await Bus.connect(BusSettings((url,), "bench")) as bus:
        await bus.ready(10)
        sender = Sender(spool, NatsLink(bus, NAMES, node="n1"))
        outbox = Outbox(spool, sender, asyncio.get_running_loop())
        task = asyncio.create_task(sender.run())

        def capture_thread() -> None:
            for batch in batches:
                outbox.put(sharder.batch(batch))

        await asyncio.to_thread(capture_thread)
        while len(spool):  # noqa: ASYNC110  # a spool has no event
            await asyncio.sleep(0.002)
        task.cancel()
    spool.close()
    shutil.rmtree(folder / "spool")


def sensor(url: str, folder: Path, capture: Path, packets: int, *, pin: list[str], profile: bool) -> dict[str, Any]:
    """Run a sensor to the end of the capture; its books."""
    spool = folder / "spool"
    environ = {
        "PACKHOUND_FLEET_NAME": LAYOUT.fleet, "PACKHOUND_FLEET_NODE": "n1", "PACKHOUND_NATS_URLS": url,
        "PACKHOUND_SPOOL_DIR": str(spool), "PACKHOUND_SPOOL_MIB": "8192", "PACKHOUND_CAPTURE_COUNT": str(packets),
        "PACKHOUND_LOG_FORMAT": "json", "PACKHOUND_FLEET_GRACE_SECONDS": "600",
    }  # fmt: skip
    program = ["-c", PROFILED] if profile else ["-m", "packhound.console.cli"]
    words = [*pin, sys.executable, *program, "sensor", "-r", str(capture), "--wait-for-plan", "20"]
    done = subprocess.run(words, env={**os.environ, **environ}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(spool, ignore_errors=True)
    if profile:
        print(done.stdout)
    rows = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    return dict(next(row for row in rows if row["event"] == "sensor stopped")["books"])


PROFILED = """
import cProfile, pstats, sys, time
from packhound.sensor.service import SensorService
capture = SensorService._capture
def profiled(self, *given):
    mine = cProfile.Profile(time.thread_time)
    mine.runcall(capture, self, *given)
    print("CAPTURE THREAD"); pstats.Stats(mine).sort_stats("tottime").print_stats(28)
SensorService._capture = profiled
from packhound.console.cli import command
main = cProfile.Profile(time.thread_time)
code = main.runcall(command, sys.argv[1:])
print("LOOP"); pstats.Stats(main).sort_stats("tottime").print_stats(28)
sys.exit(code)
"""


class Stream:
    """The stream of parcels, looked at."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def _api(self, call: str) -> dict[str, Any]:
        async with await Bus.connect(BusSettings((self._url,), "bench")) as bus:
            await bus.ready(10)
            if call == "ensure":
                await ensure(bus, LAYOUT)
                await PlanSource(bus, NAMES, name="bench", clock=lambda: 1).publish([EVERYTHING])
                return {}
            return await bus.api(f"STREAM.{call}.{NAMES.packets_stream}")

    def do(self, call: str) -> dict[str, Any]:
        return asyncio.run(self._api(call))

    def took(self) -> tuple[int, int, float]:
        """Messages, bytes, seconds between the first and the last."""
        state = self.do("INFO")["state"]
        first, last = (_seconds(state[name]) for name in ("first_ts", "last_ts"))
        return state["messages"], state["bytes"], last - first


def _seconds(text: str) -> float:
    """RFC 3339 with nanoseconds."""
    from datetime import datetime

    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole + "+00:00").timestamp() + float(f"0.{fraction or 0}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture", nargs="?", default=str(DATA))
    parser.add_argument("--packets", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", default="0")
    parser.add_argument("--broker-core", default="1")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--bare", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--deliver", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.deliver:
        asyncio.run(delivery(args.deliver[0], Path(args.deliver[1]), Path(args.capture), args.packets))
        return
    if args.bare:
        url, count, size, tag = args.bare
        asyncio.run(bare(url, int(count), int(size), tag))
        return
    if not Path(args.capture).is_file():
        subprocess.run([sys.executable, str(Path(__file__).parent / "make_imix.py")], check=True)
    pin = ["taskset", "-c", args.core] if shutil.which("taskset") and args.core else []
    rows = []
    with tempfile.TemporaryDirectory() as folder, nats_server(Path(folder) / "nats") as server:
        if pin:
            subprocess.run(["taskset", "-apc", args.broker_core, str(server.process.pid)], check=True, capture_output=True)
        stream = Stream(server.url)
        stream.do("ensure")
        for number in range(args.rounds):
            stream.do("PURGE")
            books = sensor(server.url, Path(folder), Path(args.capture), args.packets, pin=pin, profile=args.profile)
            count, size, seconds = stream.took()
            assert books["matched"] == books["delivered"], books
            ours = {"packets": books["matched"], "messages": count, "bytes": size, "seconds": seconds}
            if args.profile:
                print(ours)
                return
            row = {"sensor": ours}
            for who, words in (
                ("delivery", ["--deliver", server.url, folder, "--packets", str(args.packets), args.capture]),
                ("bare", ["--bare", server.url, str(count), str(size // count), f"b{number}"]),
            ):
                stream.do("PURGE")
                subprocess.run([*pin, sys.executable, __file__, *words], check=True)
                row[who] = dict(zip(("messages", "bytes", "seconds"), stream.took(), strict=True))
            rows.append(row)
            if not args.json:
                rate = {who: each["bytes"] / each["seconds"] / 1e6 for who, each in row.items()}
                print(f"round {number + 1}: " + ", ".join(f"{who} {each:.0f} MB/s" for who, each in rate.items()), flush=True)
    rates = {who: [row[who]["bytes"] / row[who]["seconds"] / 1e6 for row in rows] for who in rows[0]}
    ratios = {who: [a / b for a, b in zip(rates[who], rates["bare"], strict=True)] for who in rates if who != "bare"}
    if args.json:
        print(json.dumps({"rounds": rows, "ratio": {who: statistics.median(each) for who, each in ratios.items()}}))
        return
    ours = rows[0]["sensor"]
    print(f"{ours['packets']:,} packets in {ours['messages']:,} messages of {ours['bytes'] // ours['messages'] / 1024:.0f} KiB; medians of {args.rounds}")
    for who, each in rates.items():
        line = f"{who:<9}{statistics.median(each):7.0f} MB/s  ({min(each):.0f} to {max(each):.0f})"
        print(line + (f"  ratio {statistics.median(ratios[who]):.2f} ({min(ratios[who]):.2f} to {max(ratios[who]):.2f})" if who in ratios else ""))


if __name__ == "__main__":
    main()
