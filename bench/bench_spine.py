"""The spine against tcpdump: reading an IMIX capture, full path without recording, on one core.

    python bench/bench_spine.py [--runs 5] [--core 0] [--json] [CAPTURE]

Each round runs `tcpdump -r F -w /dev/null` and, each in its own process pinned to the same core, our path from the file
through decode, flow table, detection, prefilter, verdicts and batches (batches are dropped): without filters, with
1,000 networks, with 1,000 names on text protocols (HTTP Host, DNS question), and with 1,000 names on TLS and QUIC server
names. Our time includes opening the file and loading the plan, not starting Python. Medians and ratios.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

DATA = Path(__file__).parent / "data" / "imix.pcap"
CASES = {
    "no filter": (),
    "1000 networks": ("ip.addr",),
    "1000 names, HTTP and DNS": ("http.host", "dns.qname"),
    "1000 names, TLS and QUIC": ("tls.sni",),
}


def names() -> list[str]:
    """1,000 domains: twenty that the capture holds, the rest it does not."""
    rng = random.Random(3)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    made = ["".join(rng.choice(letters) for _ in range(rng.randrange(6, 20))) + ".com" for _ in range(980)]
    return [f"host-{i * 991:06d}.example.net" for i in range(20)] + made


def networks() -> list[str]:
    """1,000 networks: twenty that hold addresses of the capture, the rest do not."""
    return [f"10.0.{i * 12}.0/28" for i in range(20)] + [f"172.{16 + i % 16}.{i % 250}.0/24" for i in range(980)]


def peak_mib() -> float:
    """Peak resident set of this process (VmHWM: ru_maxrss would remember who started us)."""
    line = next(each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def once(capture: str, case: str) -> dict[str, float]:
    """One run in this process."""
    from packhound.api.load import load_text
    from packhound.rules.compile import compile_plan
    from packhound.sensor.agent import Agent, AgentSettings, check_pcap
    from packhound.sensor.tap.files import CaptureFile

    plan = None
    if CASES[case]:
        operator, values = ("in", networks()) if case == "1000 networks" else ("domain", names())
        leaves = ", ".join(f"{{field: {field}, {operator}: [{', '.join(values)}]}}" for field in CASES[case])
        text = ("apiVersion: packhound.dev/v1alpha1\nkind: HuntFilter\nmetadata: {name: bench}\n"
                f"spec: {{match: {{any: [{leaves}]}}}}\n")  # fmt: skip
        loaded = load_text(text)
        assert not loaded.bad, loaded.bad
        plan = compile_plan(loaded.objects, revision=1, now=0, check_pcap=check_pcap).plan
    packets = 0

    def count(batch: object) -> None:
        nonlocal packets
        packets += len(batch)  # type: ignore[arg-type]

    gc.collect()
    gc.freeze()  # as `run` does
    start = time.perf_counter()
    tap = CaptureFile(capture)
    agent = Agent(tap, settings=AgentSettings(), on_batch=count, on_flows=lambda *_: None)
    if plan is not None:
        agent.set_plan(plan)
    agent.run()
    seconds = time.perf_counter() - start
    seen = agent.counters()["seen"]
    rss = peak_mib()
    return {"seconds": seconds, "packets": seen, "matched": packets, "rss_mib": rss}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture", nargs="?", default=str(DATA))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--core", default="0")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--once", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.once:
        print(json.dumps(once(args.capture, args.once)))
        return
    if not Path(args.capture).is_file():
        subprocess.run([sys.executable, str(Path(__file__).parent / "make_imix.py")], check=True)
    pin = ["taskset", "-c", args.core]
    with open(args.capture, "rb") as handle:  # into the page cache
        while handle.read(1 << 24):
            pass
    tcpdump: list[float] = []
    ours: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
    for _ in range(args.runs):
        start = time.perf_counter()
        subprocess.run([*pin, "tcpdump", "-r", args.capture, "-w", "/dev/null"], check=True, capture_output=True)
        tcpdump.append(time.perf_counter() - start)
        for case in CASES:
            command = [*pin, sys.executable, __file__, args.capture, "--once", case]
            ours[case].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    base = statistics.median(tcpdump)
    rows = []
    for case, found in ours.items():
        seconds = statistics.median(each["seconds"] for each in found)
        packets = found[0]["packets"]
        rows.append({"case": case, "seconds": seconds, "ns_per_packet": seconds / packets * 1e9, "ratio": base / seconds,
                     "matched": found[0]["matched"], "rss_mib": max(each["rss_mib"] for each in found)})  # fmt: skip
    if args.json:
        print(json.dumps({"tcpdump_seconds": base, "packets": packets, "cases": rows}))
        return
    print(f"tcpdump -r F -w /dev/null: {base:.3f} s, {base / packets * 1e9:.0f} ns a packet ({packets:,.0f} packets)")
    for row in rows:
        print(f"{row['case']:<28}{row['seconds']:.3f} s  {row['ns_per_packet']:.0f} ns a packet  "
              f"{row['ratio']:.2f}x tcpdump  matched {row['matched']:,.0f}  RSS {row['rss_mib']:.0f} MiB")  # fmt: skip


if __name__ == "__main__":
    main()
