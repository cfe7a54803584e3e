"""One round: a fresh fleet, traffic on every host, a fault, healing, draining, the audit."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.audit import Gap, Sent, Verdict, audit
from tests.chaos.fleet import Fleet, await_
from tests.chaos.hosts import Hosts, disk

TRAFFIC = 8.0


@dataclass(frozen=True)
class Fault:
    """`inject` does it and heals it while traffic flows. `disks`: folders on file systems of their own, by size;
    `environ`: settings by the beginning of a process' name; `may_lose`: causes of loss that are right here; `lacks`: what this
    machine would need for it and has not."""

    name: str
    inject: Callable[[Round], None]
    about: str
    sensors: int = 2
    processors: int = 2
    rate: int = 2000
    size: int = 700
    environ: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    disks: Mapping[str, str] = field(default_factory=dict)
    may_lose: frozenset[str] = frozenset()
    after: Callable[[Round], None] | None = None
    slow: bool = False
    lacks: str = ""


@dataclass
class Round:
    fault: Fault
    seed: int
    fleet: Fleet
    hosts: Hosts
    random: random.Random
    began: float = field(default_factory=time.monotonic)
    gaps: list[Gap] = field(default_factory=list)
    gone: int = 0
    notes: list[str] = field(default_factory=list)
    numbers: dict[str, float] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    rss: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    generators: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    # what faults need ------------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        self.notes.append(f"{time.monotonic() - self.began:5.1f} s  {text}")

    def wait(self, low: float, high: float | None = None) -> float:
        seconds = low if high is None else self.random.uniform(low, high)
        time.sleep(seconds)
        return seconds

    def check(self, good: bool, what: str) -> None:
        if not good:
            self.wrong.append(what)

    def kill(self, name: str, *, down: float = 0.5) -> None:
        """kill -9, and a new start after `down` seconds."""
        at = time.time_ns()
        self.fleet.processes[name].kill()
        self.say(f"kill -9 {name}, down for {down:.1f} s")
        time.sleep(down)
        self.again(name, at, killed=True)

    def again(self, name: str, down_at: int, *, killed: bool) -> None:
        """Start a process again that ended at `down_at`; of a sensor note how long nobody captured."""
        self.fleet.processes[name].start()
        if name.startswith("sensor"):
            await_(lambda: self.fleet.in_force(name), 60, f"{name} with a plan again")
            self.gaps.append(Gap(int(name.rpartition("-")[2]), down_at, time.time_ns(), killed))

    def takeover(self, name: str) -> float:
        """kill -9 a processor and wait until others have, and work on, each of its shards; seconds."""
        state = self.fleet.shared()
        try:
            mine = sorted(shard for shard, who in self.fleet.holders().items() if who == name)
            self.fleet.processes[name].kill()
            began = time.monotonic()
            left = {shard: _streams(state.load(shard)) for shard in mine}
            leased = 0.0
            while time.monotonic() - began < 30 and left:
                time.sleep(0.05)
                leases = state.roster().leases
                taken = [s for s in mine if s in leases and not leases[s].holder.startswith(f"{name}/")]
                leased = leased or (time.monotonic() - began if len(taken) == len(mine) else 0.0)
                for shard in taken:
                    if shard in left and _streams(state.load(shard)) != left[shard]:
                        del left[shard]
            took = time.monotonic() - began
        finally:
            state.close()
        self.say(f"kill -9 {name}: its {len(mine)} shards leased to others after {leased:.2f} s, all worked on after "
                 f"{took:.2f} s")  # fmt: skip
        self.check(took < 10, f"take-over of {name} took {took:.1f} s")
        self.numbers["takeover_s"] = max(self.numbers.get("takeover_s", 0.0), took)
        return took

    # traffic ---------------------------------------------------------------------------------------------------------

    def log_of(self, host: int) -> Path:
        return self.fleet.folder / f"sent-{host}.log"

    def traffic(self) -> None:
        for host in range(1, len(self.hosts.names) + 1):
            self.generators[host] = self.hosts.traffic(
                host, rate=self.fault.rate, size=self.fault.size, log=self.log_of(host), host=host
            )

    def quiet(self) -> None:
        for each in self.generators.values():
            each.send_signal(signal.SIGTERM)
        for each in self.generators.values():
            each.wait(10)

    def _sample(self) -> None:
        while not self._over.wait(0.5):
            for name in self.fleet.of("sensor"):
                process = self.fleet.processes[name]
                if process.alive:
                    self.rss.setdefault(name, []).append((time.monotonic() - self.began, process.rss))

    # all of it -------------------------------------------------------------------------------------------------------

    def run(self) -> Verdict:
        fault, fleet = self.fault, self.fleet
        sampler = threading.Thread(target=self._sample, daemon=True)
        fleet.start()
        sampler.start()
        self.say("fleet is up: every sensor has the plan, every shard an owner")
        began = time.monotonic()
        self.traffic()
        self.wait(1.0, 3.0)
        fault.inject(self)
        time.sleep(max(1.0, TRAFFIC - (time.monotonic() - began)))
        self.quiet()
        self.say("traffic ends")
        self.say(f"drained: {', '.join(fleet.drain())}")
        self._over.set()
        sampler.join()
        if fault.after is not None:
            fault.after(self)
        sent = {host: Sent(self.log_of(host)) for host in self.generators}
        found = audit(fleet, sent, self.gaps, may_lose=fault.may_lose, gone=self.gone)
        found.wrong += self.wrong
        return found


def _streams(saved: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    return {key: value for key, value in saved.items() if key.startswith(b"s|")}


@dataclass
class Outcome:
    fault: str
    seed: int
    good: bool
    seconds: float
    numbers: Counter[str]
    measured: dict[str, float]
    text: str


def play(fault: Fault, seed: int, folder: Path, *, keep: bool = False) -> Outcome:
    """Run one round in `folder`, which is removed when all was well."""
    began = time.monotonic()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lines = [f"round {fault.name} seed {seed}: {fault.about}"]
    with ExitStack() as stack:
        hosts = stack.enter_context(Hosts(2))
        for name, size in fault.disks.items():
            stack.enter_context(disk(folder / name, size))
        fleet = Fleet(folder, hosts, sensors=fault.sensors, processors=fault.processors, environ=fault.environ)
        stack.callback(fleet.end)
        fleet.prepare()
        this = Round(fault, seed, fleet, hosts, random.Random(f"{fault.name}-{seed}"))
        found = Verdict()
        try:
            found = this.run()
        except Exception as error:
            found.wrong += [*this.wrong, f"{type(error).__name__}: {error}"]
        finally:
            this._over.set()
            for each in this.generators.values():
                each.kill()
        lines += [f"  {note}" for note in this.notes] + found.lines
        for name, samples in this.rss.items():
            sizes = [size for _, size in samples]
            lines.append(f"  {name} RSS MiB first {sizes[0] >> 20} most {max(sizes) >> 20} last {sizes[-1] >> 20}")
    good = not found.wrong
    seconds = time.monotonic() - began
    summary = " ".join(f"{name} {count}" for name, count in found.numbers.items())
    lines.append(f"  {'GOOD' if good else 'BAD'} in {seconds:.0f} s: {summary}")
    lines += [f"    ! {each}" for each in found.wrong]
    if good and not keep:
        shutil.rmtree(folder, ignore_errors=True)
    return Outcome(fault.name, seed, good, seconds, found.numbers, this.numbers, "\n".join(lines))
