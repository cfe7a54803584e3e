"""The fleet under test: processes that are really started and really killed, and how they are asked how they do."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
import yaml

from packhound.fleet.permissions import user
from packhound.processor.shared.redis import RedisSettings, RedisState
from packhound.wire.subjects import Subjects
from tests.chaos.hosts import NET, Hosts, inside

PACKHOUND = [sys.executable, "-m", "packhound.console.cli"]
NATS_PORT, REDIS_PORT = 4222, 6379
FLEET = "chaos"
NAMES = Subjects(FLEET)
_PRCTL = ctypes.CDLL(None).prctl


def _with_us() -> None:
    _PRCTL(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nothing is left when we are killed


@dataclass
class Process:
    name: str
    words: list[str]
    environ: dict[str, str]
    log: Path
    popen: subprocess.Popen[bytes] | None = None
    over: bool = False  # it ended as it should and is not started again

    def start(self) -> None:
        with self.log.open("ab") as out:
            self.popen = subprocess.Popen(self.words, env={**os.environ, **self.environ}, stdout=out, stderr=out,
                                          stdin=subprocess.DEVNULL, start_new_session=True,
                                          preexec_fn=_with_us)  # fmt: skip

    @property
    def alive(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    @property
    def pid(self) -> int:
        assert self.popen is not None
        return self.popen.pid

    def send(self, number: int) -> None:
        if self.alive:
            assert self.popen is not None
            self.popen.send_signal(number)

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        if self.popen is not None:
            self.popen.wait(10)

    def stop(self, within: float = 45.0) -> int | None:
        """SIGTERM; its exit code, None when it had to be killed."""
        self.send(signal.SIGTERM)
        return self.ended(within)

    def ended(self, within: float = 45.0) -> int | None:
        if self.popen is None:
            return None
        try:
            return self.popen.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    @property
    def rss(self) -> int:
        with suppress(OSError, IndexError, ValueError):
            return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * 4096
        return 0

    def rows(self) -> list[dict[str, Any]]:
        """Its log, as far as lines are JSON."""
        found = []
        if self.log.exists():
            for line in self.log.read_text("utf-8", "replace").splitlines():
                if line.startswith("{"):
                    with suppress(ValueError):
                        found.append(json.loads(line))
        return found


@dataclass
class Fleet:
    """`sensors` on the first hosts, `processors` in the core. `environ`: more settings, by the beginning of a name."""

    folder: Path
    hosts: Hosts
    sensors: int = 2
    processors: int = 2
    environ: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    codes: dict[str, int | None] = field(default_factory=dict)

    # processes -------------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        sensors = [f"sensor-{n}" for n in range(1, self.sensors + 1)]
        processors = [f"processor-{n}" for n in range(1, self.processors + 1)]
        users: list[dict[str, Any]] = [{"user": "admin", "password": "admin"}]
        for role, names in (("sensor", sensors), ("processor", processors), ("publisher", ["cli"])):
            for name in names:
                users.append(user(role, FLEET, name, name=name, password=f"secret-{name}"))  # type: ignore[arg-type]
                (self.folder / f"{name}.user").write_text(name)
                (self.folder / f"{name}.password").write_text(f"secret-{name}")
        (self.folder / "nats.json").write_text(json.dumps({
            "listen": f"0.0.0.0:{NATS_PORT}", "max_payload": 1 << 20,
            "jetstream": {"store_dir": str(self.folder / "nats"), "max_file_store": 16 << 30, "max_memory_store": 1 << 26},
            "authorization": {"users": users},
        }))  # fmt: skip
        (self.folder / "redis").mkdir(exist_ok=True)
        server = Path(sys.executable).with_name("nats-server")
        self.add("broker", inside(self.hosts.core, [server, "-c", self.folder / "nats.json"]))
        self.add("redis", inside(self.hosts.core, [
            "redis-server", "--bind", f"{NET}.1", "--port", str(REDIS_PORT), "--dir", self.folder / "redis",
            "--appendonly", "yes", "--save", "", "--protected-mode", "no", "--enable-debug-command", "yes",
        ]))  # fmt: skip
        for n, name in enumerate(processors, 1):
            self.add(name, inside(self.hosts.core, [*PACKHOUND, "processor"]), self._processor(name, n))
        for n, name in enumerate(sensors, 1):
            self.add_sensor(name, node=name, host=n)

    def add(self, name: str, words: list[str], environ: Mapping[str, str] | None = None) -> Process:
        more = {k: v for start, each in self.environ.items() if name.startswith(start) for k, v in each.items()}
        made = self.processes[name] = Process(name, words, {**(environ or {}), **more}, self.folder / f"{name}.log")
        return made

    def add_sensor(self, name: str, *, node: str, host: int) -> Process:
        words = inside(self.hosts.names[host - 1], [*PACKHOUND, "sensor", "-i", "cap0"])
        return self.add(name, words, {
            **self.common(node), "PACKHOUND_SPOOL_DIR": str(self.folder / name / "spool"),
            "PACKHOUND_TELEMETRY_LISTEN": "0.0.0.0:9100",
        })  # fmt: skip

    def common(self, name: str) -> dict[str, str]:
        return {
            "PACKHOUND_FLEET_NAME": FLEET, "PACKHOUND_FLEET_NODE": name, "PACKHOUND_NATS_URLS": f"nats://{NET}.1:{NATS_PORT}",
            "PACKHOUND_NATS_USER_FILE": str(self.folder / f"{name}.user"),
            "PACKHOUND_NATS_PASSWORD_FILE": str(self.folder / f"{name}.password"), "PACKHOUND_LOG_FORMAT": "json",
        }  # fmt: skip

    def _processor(self, name: str, n: int) -> dict[str, str]:
        return {**self.common(name), "PACKHOUND_OUTPUT_OUT": str(self.out(name)),
                "PACKHOUND_SHARED_REDIS": f"redis://{NET}.1:{REDIS_PORT}/0",
                "PACKHOUND_TELEMETRY_LISTEN": f"0.0.0.0:{9200 + n}"}  # fmt: skip

    def out(self, name: str) -> Path:
        return self.folder / name / "out"

    def of(self, prefix: str) -> list[str]:
        return [name for name in self.processes if name.startswith(prefix)]

    def start(self) -> None:
        for name in ("broker", "redis"):
            self.processes[name].start()
        await_(lambda: _port(NATS_PORT) and _port(REDIS_PORT), 15, "broker and Redis")
        for name in self.of("processor"):
            self.processes[name].start()
        self.apply()
        for name in self.of("sensor"):
            self.processes[name].start()
        await_(lambda: all(self.in_force(name) for name in self.of("sensor")), 40, "sensors with a plan")
        self.await_balance()

    def apply(self) -> None:
        path = self.folder / "filter.yaml"
        path.write_text(yaml.safe_dump({
            "apiVersion": "packhound.dev/v1alpha1", "kind": "ClusterHuntFilter", "metadata": {"name": "marked"},
            "spec": {"pcapFilter": "udp dst port 7777", "actions": {"record": {}}},
        }))  # fmt: skip
        self.cli("filter", "apply", path, "--wait", "0")

    def empty_broker(self) -> None:
        """What the broker keeps is gone; it must not run."""
        assert not self.processes["broker"].alive
        shutil.rmtree(self.folder / "nats")

    def end(self) -> None:
        for name in reversed(list(self.processes)):
            self.processes[name].send(signal.SIGCONT)
            self.processes[name].kill()

    # questions -------------------------------------------------------------------------------------------------------

    def cli(self, *words: object) -> Any:
        """A command of a person, from the core."""
        environ = {**os.environ, **self.common("cli"), **self.environ.get("cli", {})}
        done = subprocess.run([*PACKHOUND, *map(str, words), "--json"], env=environ,
                              capture_output=True, text=True, timeout=60)  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{words}: {done.stderr or done.stdout}")
        return json.loads(done.stdout)

    def metrics(self, name: str) -> dict[str, float]:
        """What a process exports, by name and labels; empty when it does not answer."""
        words = self.processes[name].words
        host = next((self.hosts.address(n) for n, ns in enumerate(self.hosts.names, 1) if ns in words), f"{NET}.1")
        port = self.processes[name].environ["PACKHOUND_TELEMETRY_LISTEN"].rpartition(":")[2]
        found = {}
        with suppress(OSError), urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=2) as answer:
            for line in answer.read().decode().splitlines():
                if line and not line.startswith("#"):
                    key, _, value = line.rpartition(" ")
                    found[key] = float(value)
        return found

    def in_force(self, name: str) -> bool:
        found = self.metrics(name)
        return found.get("packhound_plan_revision", 0) > 0 and found.get("packhound_link_up", 0) > 0

    def waiting(self, name: str) -> float:
        """Packets and parcels that a sensor has not got rid of; -1 when it does not say."""
        found = self.metrics(name)
        if not found:
            return -1
        return found["packhound_spool_packets"] + found["packhound_spool_bytes"] + found["packhound_in_flight_parcels"]

    def shared(self) -> RedisState:
        return RedisState(RedisSettings(f"redis://{NET}.1:{REDIS_PORT}/0"), fleet=FLEET)

    def holders(self) -> dict[int, str]:
        """Who has which shard, as Redis says."""
        state = self.shared()
        try:
            return {shard: lease.holder.partition("/")[0] for shard, lease in state.roster().leases.items()}
        finally:
            state.close()

    def await_balance(self) -> None:
        await_(self.balanced, 40, "every shard owned")

    def balanced(self) -> bool:
        held = list(self.holders().values())
        counts = [held.count(name) for name in self.of("processor")]
        return len(held) == 16 and max(counts) - min(counts) <= 1

    def ask(self, subject: str, question: Mapping[str, Any] | None = None, *, within: float = 4.0) -> dict[str, Any]:
        """Ask the broker's API as its administrator."""

        async def go() -> dict[str, Any]:
            client = await _connected()
            try:
                data = json.dumps(question).encode() if question is not None else b""
                answer = await client.request(f"$JS.API.{subject}", data, timeout=within)
                found: dict[str, Any] = json.loads(answer.data)
                return found
            finally:
                await client.close()

        return asyncio.run(go())

    def say(self, messages: Sequence[tuple[str, bytes, dict[str, str]]], *, login: str = "admin") -> list[str]:
        """Publish, one by one; what the broker complained of."""

        async def go() -> list[str]:
            wrong: list[str] = []

            async def complained(error: Exception) -> None:
                wrong.append(str(error))

            client = await _connected(login, complained)
            for subject, data, headers in messages:
                if client.is_closed:
                    client = await _connected(login, complained)
                try:
                    await client.publish(subject, data, headers=headers or None)
                    await client.flush(timeout=3)
                except Exception as error:
                    wrong.append(f"{subject}: {error}")
            await client.close()
            return wrong

        return asyncio.run(go())

    def in_stream(self) -> int:
        """Parcels that wait in the broker."""
        with suppress(OSError, nats.errors.Error, KeyError, TimeoutError):
            return int(self.ask(f"STREAM.INFO.{NAMES.packets_stream}")["state"]["messages"])
        return -1

    # the end ---------------------------------------------------------------------------------------------------------

    def drain(self, within: float = 90.0) -> list[str]:
        """Everything is healed: wait until nothing waits, then stop in order: sensors, then processors. How long each
        step took."""
        began, steps = time.monotonic(), []

        def step(name: str) -> None:
            steps.append(f"{name} {time.monotonic() - began:.1f} s")

        for each in self.processes.values():
            if not each.alive and not each.over:
                each.start()
        time.sleep(0.5)
        self.await_balance()
        step("every shard owned")
        sensors = [name for name in self.of("sensor") if not self.processes[name].over]
        await_(lambda: all(self.waiting(name) == 0 for name in sensors), within, "empty spools")
        step("spools empty")
        self._stop(sensors)
        step("sensors stopped")
        await_(lambda: self.in_stream() == 0, within, "an empty stream")
        step("stream empty")
        self._stop(self.of("processor"))
        step("processors stopped")
        return steps

    def _stop(self, names: Sequence[str]) -> None:
        for name in names:
            self.processes[name].send(signal.SIGTERM)
        for name in names:
            self.codes[name] = self.processes[name].ended()


async def _connected(login: str = "admin", complained: Any = None) -> Any:
    async def quiet(_: Exception) -> None:
        return None

    password = "admin" if login == "admin" else f"secret-{login}"
    return await nats.connect(f"nats://{NET}.1:{NATS_PORT}", user=login, password=password, connect_timeout=3,
                              allow_reconnect=False, error_cb=complained or quiet)  # fmt: skip


def _port(port: int) -> bool:
    with suppress(OSError), socket.create_connection((f"{NET}.1", port), timeout=0.5):
        return True
    return False


def await_(holds: Callable[[], Any], seconds: float, what: str) -> float:
    """Wait until it holds; how long that took. Raises AssertionError."""
    began = time.monotonic()
    last: object = None
    while time.monotonic() - began < seconds:
        try:
            if holds():
                return time.monotonic() - began
        except Exception as error:
            last = error
        time.sleep(0.1)
    raise AssertionError(f"never came about: {what} ({last})")
