"""The configuration that the chart writes for broker and shared state, given to the real servers: roles can do their
work, and nothing else."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from packhound.fleet.permissions import inbox
from packhound.fleet.streams import Layout, Limits, ensure
from packhound.kit.bus import Bucket, Bus, BusSettings, Denied, Refused, Rejected, Stored
from packhound.processor.shared.redis import RedisSettings, RedisState
from packhound.processor.shared.state import Unavailable
from tests.support.helm import needs_helm, pick, render
from tests.support.loop import bounded
from tests.support.nats_server import BINARY as NATS
from tests.support.nats_server import needs_nats
from tests.support.redis_server import BINARY as REDIS
from tests.support.redis_server import needs_redis

pytestmark = needs_helm
ROLES = ("operator", "processor", "sensor")
LAYOUT = Layout("main", shards=2, limits=Limits(packets=16 << 20))
LAB = Layout("lab", shards=1, limits=LAYOUT.limits)
NAMES = LAYOUT.subjects


class Server:
    """A process with a folder, and where it listens."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.url = f"nats://127.0.0.1:{port}"

    def settings(self, role: str, node: str) -> BusSettings:
        return BusSettings((self.url,), node, user=role, password_file=str(self.folder / role),
                           inbox=inbox(role, "main", node))  # type: ignore[arg-type]  # fmt: skip


def _secrets(objects: list[dict[str, Any]], name: str) -> dict[str, str]:
    found = pick(objects, "Secret", name, "packhound")
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("nats")
    objects = render({"nats": {"fleets": ["lab"], "streams": {"packets": "1Gi"}}})
    text = pick(objects, "ConfigMap", "packhound-nats")["data"]["nats.conf"]
    text = text.replace("0.0.0.0:4222", "127.0.0.1:-1").replace("0.0.0.0:8222", "127.0.0.1:-1")
    config = folder / "nats.conf"
    config.write_text(text.replace('"/data"', json.dumps(str(folder / "data"))) + f"ports_file_dir: {json.dumps(str(folder))}\n")
    passwords = _secrets(objects, "packhound-nats-server")
    for role, password in passwords.items():
        (folder / role).write_text(password)
    env = {"POD_NAME": "packhound-nats-0", **{f"{role.upper()}_PASSWORD": each for role, each in passwords.items()}}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([NATS, "-c", config], env=env, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while not (ports := "".join(each.read_text() for each in folder.glob("*.ports"))):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.02)
        yield Server(folder, int(json.loads(ports)["nats"][0].rpartition(":")[2]))
    finally:
        process.kill()
        process.wait(10)


async def _joined(server: Server, role: str, node: str) -> Bus:
    bus = await Bus.connect(server.settings(role, node))
    await bus.ready(30)
    return bus


@needs_nats
@bounded()
async def test_each_role_can_do_its_work_and_no_more(broker: Server) -> None:
    operator = await _joined(broker, "operator", "operator")
    processor = await _joined(broker, "processor", "packhound-main-processor-0")
    sensor = await _joined(broker, "sensor", "node-1.example")
    try:
        for role, layout in ((operator, LAYOUT), (processor, LAYOUT), (processor, LAB), (operator, LAB)):
            assert (await ensure(role, layout)).faults == ()
        await Bucket(operator, NAMES.plans_bucket).put("node.node-1_example", b"plan")
        entry = await Bucket(sensor, NAMES.plans_bucket).get("node.node-1_example")
        assert entry is not None
        assert entry.value == b"plan"
        assert isinstance(await sensor.store(NAMES.packets(1, "node-1.example"), b"parcel"), Stored)
        assert isinstance(await processor.store(NAMES.packets(1, "n"), b"x"), Refused)
        for role, key in ((sensor, "node.node-1_example"), (processor, "all")):
            with pytest.raises((Denied, Rejected)):
                await Bucket(role, NAMES.plans_bucket).put(key, b"mine")
        with pytest.raises((Denied, Rejected)):
            await sensor.api(f"STREAM.DELETE.{NAMES.packets_stream}")
        unnamed = await ensure(operator, Layout("other", shards=1))  # a fleet that the values do not name
        assert (unnamed.made, len(unnamed.faults)) == ((), 7)
    finally:
        for bus in (operator, processor, sensor):
            await bus.close()


@needs_nats
def test_nobody_comes_in_without_a_password(broker: Server) -> None:
    with socket.create_connection(("127.0.0.1", broker.port), timeout=5) as made:
        made.recv(65536)
        made.sendall(b'CONNECT {"verbose":false}\r\nPING\r\n')
        assert b"Authorization Violation" in made.recv(65536)


@needs_nats
def test_a_cluster_of_brokers_has_a_configuration_that_is_taken(tmp_path: Path) -> None:
    objects = render({"nats": {"replicas": 3, "storage": {"maxFile": "2Gi"}}})
    text = pick(objects, "ConfigMap", "packhound-nats")["data"]["nats.conf"]
    assert text.count("nats-route://") == 3
    assert "nats-route://packhound-nats-2.packhound-nats-peers.packhound.svc:6222" in text
    config = tmp_path / "nats.conf"
    config.write_text(text.replace('"/data"', json.dumps(str(tmp_path))))
    env = {"POD_NAME": "packhound-nats-2", **{f"{role.upper()}_PASSWORD": "p123" for role in ROLES}}
    done = subprocess.run([NATS, "-t", "-c", config], env=env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    stateful = pick(objects, "StatefulSet", "packhound-nats")["spec"]
    assert stateful["serviceName"] == "packhound-nats-peers"
    assert stateful["template"]["spec"]["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "DoNotSchedule"


@needs_redis
def test_redis_serves_processors_and_its_probe_and_nobody_else(tmp_path: Path) -> None:
    objects = render()
    text = pick(objects, "ConfigMap", "packhound-redis")["data"]["redis.conf"]
    acl = pick(objects, "Secret", "packhound-redis-server")["stringData"]["users.acl"]
    (tmp_path / "users.acl").write_text(acl)
    (tmp_path / "password").write_text(_secrets(objects, "packhound-redis")["password"])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = text.replace("bind * -::*", "bind 127.0.0.1").replace("port 6379", f"port {port}").replace("dir /data", f"dir {tmp_path}")
    (tmp_path / "redis.conf").write_text(text.replace("/run/secrets/redis/", f"{tmp_path}/"))
    assert REDIS is not None
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([REDIS, tmp_path / "redis.conf"], stdout=log, stderr=log, env={"PATH": os.environ["PATH"]})
    state = RedisState(RedisSettings(f"redis://127.0.0.1:{port}/0", password_file=str(tmp_path / "password")), fleet="main")
    stranger = RedisState(RedisSettings(f"redis://127.0.0.1:{port}/0"), fleet="main")
    try:
        deadline = time.monotonic() + 10
        while b"Ready to accept" not in (tmp_path / "log").read_bytes():
            assert process.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert state.caution() == ""
        assert "p-0" in state.beat("p-0", {}).members
        assert state.acquire("p-0", 0) is not None
        assert state.load(0) == {} or state.load(0)
        with pytest.raises(Unavailable):
            stranger.beat("p-1", {})
        for command in (("flushall",), ("config", "get", "*"), ("get", "other"), ("keys", "*"), ("acl", "list")):
            with pytest.raises(Exception, match=r"(?i)permission"):
                state._client.execute_command(*command)
        if cli := shutil.which("redis-cli"):
            probe = pick(objects, "StatefulSet", "packhound-redis")["spec"]["template"]["spec"]["containers"][0]
            command = probe["readinessProbe"]["exec"]["command"]
            assert command[0] == "redis-cli"
            done = subprocess.run([cli, "-p", str(port), *command[1:]], capture_output=True, text=True, timeout=10)
            assert (done.returncode, done.stdout.strip()) == (0, "PONG")
            done = subprocess.run([cli, "-p", str(port), *command[1:-1], "get", "ph:x"], capture_output=True, text=True, timeout=10)
            assert done.returncode != 0
    finally:
        state.close()
        stranger.close()
        process.kill()
        process.wait(10)
