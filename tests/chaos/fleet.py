"""The fleet under test: processes that are really started and really killed, and what they left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from packhound.fleet.permissions import user
from packhound.processor.shared.redis import RedisSettings, RedisState
from tests.chaos.hosts import NET, Hosts, inside
from tests.support.hunting import recorded

PACKHOUND = [sys.executable, "-m", "packhound.console.cli"]
NATS_PORT, REDIS_PORT = 4222, 6379
FLEET = "chaos"
MARK = re.compile(rb"PHCHAOS!(..)(.{8})", re.DOTALL)


@dataclass
class Process:
    name: str
    words: list[str]
    environ: dict[str, str]
    log: Path
    popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.popen = subprocess.Popen(self.words, env={**os.environ, **self.environ}, stdout=out, stderr=out,
                                          stdin=subprocess.DEVNULL, start_new_session=True)  # fmt: skip

    @property
    def alive(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    def send(self, number: int) -> None:
        """A signal to the process itself (`ip netns exec` becomes it)."""
        if self.alive:
            assert self.popen is not None
            self.popen.send_signal(number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        if self.popen is not None:
            self.popen.wait(10)

    def stop(self, within: float = 40.0) -> int | None:
        self.send(signal.SIGTERM)
        if self.popen is None:
            return None
        try:
            return self.popen.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            return None


@dataclass
class Fleet:
    folder: Path
    hosts: Hosts
    processors: int = 2
    spool_mib: int = 256
    processes: dict[str, Process] = field(default_factory=dict)

    # processes -------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        users, self.logins = [], {}
        sensors = [f"sensor-{n}" for n in range(1, len(self.hosts.names) + 1)]
        processors = [f"processor-{n}" for n in range(1, self.processors + 1)]
        for role, names in (("sensor", sensors), ("processor", processors), ("publisher", ["cli"])):
            for name in names:
                users.append(user(role, FLEET, name, name=f"{role}-{name}", password=f"secret-{name}"))
                (self.folder / f"{name}.user").write_text(f"{role}-{name}")
                (self.folder / f"{name}.password").write_text(f"secret-{name}")
        (self.folder / "nats.json").write_text(json.dumps({
            "listen": f"0.0.0.0:{NATS_PORT}", "max_payload": 1 << 20,
            "jetstream": {"store_dir": str(self.folder / "nats"), "max_file_store": 4 << 30},
            "authorization": {"users": users},
        }))  # fmt: skip
        (self.folder / "redis").mkdir(exist_ok=True)
        server = Path(sys.executable).with_name("nats-server")
        self._add("broker", inside(self.hosts.core, [server, "-c", self.folder / "nats.json"]))
        self._add("redis", inside(self.hosts.core, [
            "redis-server", "--bind", f"{NET}.1", "--port", REDIS_PORT, "--dir", self.folder / "redis", "--appendonly",
            "yes", "--save", "", "--protected-mode", "no",
        ]))  # fmt: skip
        for name in processors:
            self._add(name, inside(self.hosts.core, [*PACKHOUND, "processor"]), self._processor(name))
        for n, name in enumerate(sensors, 1):
            words = inside(self.hosts.names[n - 1], [*PACKHOUND, "sensor", "-i", "cap0"])
            self._add(name, words, self._sensor(name))

    def _add(self, name: str, words: list[str], environ: dict[str, str] | None = None) -> None:
        self.processes[name] = Process(name, words, environ or {}, self.folder / f"{name}.log")

    def common(self, name: str) -> dict[str, str]:
        return {
            "PACKHOUND_FLEET_NAME": FLEET, "PACKHOUND_FLEET_NODE": name, "PACKHOUND_NATS_URLS": f"nats://{NET}.1:{NATS_PORT}",
            "PACKHOUND_NATS_USER_FILE": str(self.folder / f"{name}.user"),
            "PACKHOUND_NATS_PASSWORD_FILE": str(self.folder / f"{name}.password"), "PACKHOUND_LOG_FORMAT": "json",
        }  # fmt: skip

    def _sensor(self, name: str) -> dict[str, str]:
        return {**self.common(name), "PACKHOUND_SPOOL_DIR": str(self.folder / name / "spool"),
                "PACKHOUND_SPOOL_MIB": str(self.spool_mib)}  # fmt: skip

    def _processor(self, name: str) -> dict[str, str]:
        return {**self.common(name), "PACKHOUND_OUTPUT_OUT": str(self.out(name)),
                "PACKHOUND_SHARED_REDIS": f"redis://{NET}.1:{REDIS_PORT}/0"}  # fmt: skip

    def out(self, name: str) -> Path:
        return self.folder / name / "out"

    def start(self) -> None:
        for name in ("broker", "redis"):
            self.processes[name].start()
        time.sleep(0.7)
        for name in self.of("processor"):
            self.processes[name].start()
        self.apply()
        for name in self.of("sensor"):
            self.processes[name].start()
        self.await_(lambda: len(self.heard()) == len(self.hosts.names), 20, "sensors with a plan")

    def of(self, prefix: str) -> list[str]:
        return [name for name in self.processes if name.startswith(prefix)]

    def apply(self) -> None:
        path = self.folder / "filter.yaml"
        path.write_text(yaml.safe_dump({
            "apiVersion": "packhound.dev/v1alpha1", "kind": "ClusterHuntFilter", "metadata": {"name": "marked"},
            "spec": {"pcapFilter": "udp dst port 7777", "actions": {"record": {}}},
        }))  # fmt: skip
        self.cli("filter", "apply", path, "--wait", "0")

    def cli(self, *words: object) -> Any:
        """A command of a person, from the core."""
        done = subprocess.run([*PACKHOUND, *map(str, words), "--json"], env={**os.environ, **self.common("cli")},
                              capture_output=True, text=True, timeout=60)  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{words}: {done.stderr or done.stdout}")
        return json.loads(done.stdout)

    def heard(self) -> list[str]:
        return [row["node"] for row in self.cli("sensors") if row["state"] == "ok" and row["revision"]]

    @staticmethod
    def await_(holds: Any, seconds: float, what: str) -> None:
        deadline = time.monotonic() + seconds
        last: object = None
        while time.monotonic() < deadline:
            try:
                if holds():
                    return
            except (RuntimeError, OSError, subprocess.SubprocessError) as error:
                last = error
            time.sleep(0.25)
        raise AssertionError(f"never came about: {what} ({last})")

    # the end ---------------------------------------------------------------------------------------------------------

    def drain(self, within: float = 90.0) -> None:
        """Everything is healed: wait until nothing waits, then stop in order."""
        for each in self.processes.values():
            if not each.alive:
                each.start()
        self.await_(lambda: all(row["waiting"] == 0 and row["state"] == "ok" and row["age_seconds"] < 12
                                for row in self.cli("sensors")), within, "empty spools")  # fmt: skip
        for name in self.of("sensor"):
            self.processes[name].stop()
        self.await_(self.broker_empty, within, "an empty stream")
        for name in self.of("processor"):
            self.processes[name].stop()

    def broker_empty(self) -> bool:
        import asyncio

        import nats

        async def look() -> int:
            client = await nats.connect(f"nats://{NET}.1:{NATS_PORT}", user="publisher-cli", password="secret-cli",
                                        inbox_prefix=f"_INBOX.{FLEET}.publisher.cli".encode(), connect_timeout=3)  # fmt: skip
            try:
                answer = await client.request(f"$JS.API.STREAM.INFO.ph-{FLEET}-b", b"", timeout=3)
                return int(json.loads(answer.data)["state"]["messages"])
            finally:
                await client.close()

        return asyncio.run(look()) == 0

    def end(self) -> None:
        for name in reversed(list(self.processes)):
            self.processes[name].kill()

    # what is left ----------------------------------------------------------------------------------------------------

    def ids(self) -> Counter[tuple[int, int]]:
        """(host, number) of every packet in every recording of every processor."""
        found: Counter[tuple[int, int]] = Counter()
        for name in self.of("processor"):
            for path in sorted(self.out(name).rglob("*.pcapng")):
                if path.name.startswith("."):
                    continue
                for packet in recorded(path):
                    mark = MARK.search(packet.data)
                    if mark:
                        found[int.from_bytes(mark[1], "big"), int.from_bytes(mark[2], "big")] += 1
        return found

    def shared(self) -> RedisState:
        return RedisState(RedisSettings(f"redis://{NET}.1:{REDIS_PORT}/0"), fleet=FLEET)

    def processed(self) -> dict[tuple[str, int], Counter[str]]:
        """What processors say became of packets, by sensor and epoch."""
        found: dict[tuple[str, int], Counter[str]] = {}
        for entry, count in self.shared().books().items():
            if entry.kind == "sensor":
                found.setdefault((entry.name, entry.epoch), Counter())[entry.counter] += count
        return found

    def sensor_logs(self) -> dict[str, list[dict[str, Any]]]:
        """Log lines of every sensor, JSON ones."""
        found: dict[str, list[dict[str, Any]]] = {}
        for name in self.of("sensor"):
            rows = []
            for line in self.processes[name].log.read_text("utf-8", "replace").splitlines():
                if line.startswith("{"):
                    rows.append(json.loads(line))
            found[name] = rows
        return found
