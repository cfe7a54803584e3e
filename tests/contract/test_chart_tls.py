"""Certificates and reservations that the chart writes, given to real brokers: who gets in, how many fleets fit, copies."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from packhound.api.huntfleet import HuntFleet
from packhound.fleet.permissions import inbox
from packhound.fleet.streams import Layout, Limits, ensure
from packhound.kit.bus import Away, Bus, BusSettings, Stored, TlsFiles
from packhound.operator import settings
from packhound.operator.desired import objects_of
from packhound.run import links
from packhound.run.options import Options
from tests.support.certificates import Authority
from tests.support.fleet_processes import fleet, until
from tests.support.helm import environment, needs_helm, pick, pods, refusal, render
from tests.support.kube import free_ports
from tests.support.loop import bounded
from tests.support.nats_server import BINARY as NATS
from tests.support.nats_server import needs_nats

pytestmark = [needs_helm, needs_nats]
SEALED: dict[str, Any] = {"tls": {"enabled": True, "clientCertificates": True}}
SMALL = {"packets": "16Mi", "dead": "8Mi", "plans": "8Mi", "filters": "8Mi", "status": "8Mi", "pods": "8Mi"}


def data_of(objects: list[dict[str, Any]], name: str, namespace: str = "packhound") -> dict[str, bytes]:
    found = pick(objects, "Secret", name, namespace)
    return {key: base64.b64decode(value) for key, value in found["data"].items()}


class Broker:
    """nats-server as the chart's StatefulSet would run it, on loopback."""

    def __init__(
        self, folder: Path, objects: list[dict[str, Any]], *, number: int, routes: tuple[int, ...], instead: Mapping[str, str]
    ) -> None:
        self.folder = folder / f"broker-{number}"
        self.secrets = self.folder / "secrets"
        self.secrets.mkdir(parents=True)
        text = pick(objects, "ConfigMap", "packhound-nats")["data"]["nats.conf"]
        for old, new in (("0.0.0.0:4222", "127.0.0.1:-1"), ("0.0.0.0:8222", "127.0.0.1:-1"), ('"/data"', json.dumps(str(self.folder / "data"))),
                         ("/run/secrets/nats/", f"{self.secrets}/"), *instead.items()):  # fmt: skip
            text = text.replace(old, new)
        for each, port in enumerate(routes):
            text = text.replace(f"packhound-nats-{each}.packhound-nats-peers.packhound.svc:6222", f"localhost:{port}")
        if routes:
            text = text.replace("0.0.0.0:6222", f"127.0.0.1:{routes[number]}")
        (self.folder / "nats.conf").write_text(text + f"ports_file_dir: {json.dumps(str(self.folder))}\n")
        mounted = [each for each in objects if each["metadata"]["name"] == "packhound-nats-server-tls"]
        for name, data in data_of(objects, "packhound-nats-server-tls").items() if mounted else ():
            (self.secrets / name).write_bytes(data)
        passwords = {role: each.decode() for role, each in data_of(objects, "packhound-nats-server").items()}
        for role, password in passwords.items():
            (self.folder / role).write_text(password)
        self.env = {"POD_NAME": f"packhound-nats-{number}", **{f"{role.upper()}_PASSWORD": each for role, each in passwords.items()}}
        self.log = self.folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([NATS, "-c", self.folder / "nats.conf"], env=self.env, stdout=log, stderr=log)

    @property
    def port(self) -> int:
        return int(json.loads(self.ports())["nats"][0].rpartition(":")[2])

    def ports(self) -> str:
        """What the broker wrote of its ports, a moment after it says that it is ready."""
        return "".join(each.read_text() for each in self.folder.glob("*.ports"))

    def started(self) -> Broker:
        deadline = time.monotonic() + 60
        while b"Server is ready" not in self.log.read_bytes() or not self.ports():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)
        return self

    def settings(self, role: str, tls: TlsFiles | None, *, fleet: str = "main") -> BusSettings:
        scheme = "nats" if tls is None else "tls"
        return BusSettings((f"{scheme}://localhost:{self.port}",), role, user=role, password_file=str(self.folder / role), tls=tls,
                           inbox=inbox(role, fleet, role))  # type: ignore[arg-type]  # fmt: skip

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


@contextlib.contextmanager
def running(
    folder: Path, values: Mapping[str, Any], instead: Mapping[str, str] | None = None
) -> Iterator[tuple[list[Broker], list[dict[str, Any]]]]:
    objects = render({"nats": values})
    count = int(values.get("replicas", 1))
    routes = tuple(free_ports(count)) if count > 1 else ()
    brokers = [Broker(folder, objects, number=number, routes=routes, instead=instead or {}) for number in range(count)]
    try:
        yield [each.started() for each in brokers], objects
    finally:
        for each in brokers:
            each.kill()


def files(folder: Path, data: Mapping[str, bytes], *, shown: bool = True) -> TlsFiles:
    folder.mkdir(parents=True, exist_ok=True)
    for name, each in data.items():
        (folder / name).write_bytes(each)
    ours = (str(folder / "tls.crt"), str(folder / "tls.key")) if shown else ("", "")
    return TlsFiles(str(folder / "ca.crt"), *ours)


async def _refused(asked: BusSettings) -> str:
    bus = await Bus.connect(asked)
    try:
        with pytest.raises(Away):
            await bus.ready(3)
        return bus.reason
    finally:
        await bus.close()


@bounded(60)
async def test_who_has_a_certificate_of_the_authority_gets_in_and_nobody_else(tmp_path: Path) -> None:
    with running(tmp_path, SEALED) as ((broker,), objects):
        mine = data_of(objects, "packhound-nats-tls", "packhound-sensors")
        ours = data_of(objects, "packhound-nats-tls")
        assert mine["tls.key"] != ours["tls.key"]
        assert "ca.key" not in mine | ours | data_of(objects, "packhound-nats-server-tls")
        for role, data in (("sensor", mine), ("processor", ours), ("operator", ours)):
            bus = await Bus.connect(broker.settings(role, files(tmp_path / role, data)))
            try:
                await bus.ready(20)
                if role == "processor":
                    assert (await ensure(bus, Layout("main", shards=1))).faults == ()
            finally:
                await bus.close()
        assert await _refused(broker.settings("sensor", files(tmp_path / "bare", mine, shown=False)))
        assert await _refused(broker.settings("sensor", None))
        stranger = Authority(tmp_path, "somebody else").issue("packhound-nats")
        wrong = {"ca.crt": mine["ca.crt"], "tls.crt": stranger.chain.read_bytes(), "tls.key": stranger.key.read_bytes()}
        assert await _refused(broker.settings("sensor", files(tmp_path / "wrong", wrong)))
        elsewhere = {**mine, "ca.crt": stranger.authorities.read_bytes()}
        assert "certificate" in (await _refused(broker.settings("sensor", files(tmp_path / "elsewhere", elsewhere)))).lower()


@bounded(120)
async def test_three_brokers_keep_copies_and_go_on_when_one_dies(tmp_path: Path) -> None:
    values = {**SEALED, "replicas": 3, "streams": {"replicas": 3, **SMALL}}
    with running(tmp_path, values) as (brokers, objects):
        operator = settings.read(environ=environment(render({"nats": values}))).value
        layout = Layout("main", 2, operator.streams.limits, operator.fleet.replicas)
        tls = files(tmp_path / "c", data_of(objects, "packhound-nats-tls"))
        bus = await Bus.connect(brokers[0].settings("processor", tls))
        try:
            await bus.ready(30)
            deadline = time.monotonic() + 60  # they choose a leader first
            while (made := await ensure(bus, layout)).faults:
                assert time.monotonic() < deadline, made.faults
            told = await bus.api(f"STREAM.INFO.{layout.subjects.packets_stream}")
            assert told["config"]["num_replicas"] == 3
            assert len(told["cluster"]["replicas"]) == 2
            assert told["config"]["max_bytes"] == 16 << 20
            sensor = await Bus.connect(brokers[0].settings("sensor", tls))
            try:
                await sensor.ready(20)
                brokers[2].kill()
                deadline = time.monotonic() + 60
                while not isinstance(await sensor.store(layout.subjects.packets(1, "n1"), b"parcel"), Stored):
                    assert time.monotonic() < deadline
            finally:
                await sensor.close()
        finally:
            await bus.close()


@bounded(60)
async def test_as_many_fleets_fit_as_the_chart_says(tmp_path: Path) -> None:
    """What is refused when it is rendered is what the broker would refuse."""
    values = {"streams": SMALL, "storage": {"maxFile": "112Mi"}, "fleets": ["lab"]}
    limits = settings.read(environ=environment(render({"nats": values}))).value.streams.limits
    with running(tmp_path, values) as ((broker,), _):
        assert [await _faults(broker, fleet, limits) for fleet in ("main", "lab")] == [(), ()]
    assert "too little. Fleets: 2, each reserves 56Mi" in refusal({"nats": values | {"storage": {"maxFile": "111Mi"}}})
    with running(tmp_path / "less", values, {"max_file: 112Mi": "max_file: 111Mi"}) as ((broker,), _):
        assert await _faults(broker, "main", limits) == ()
        faults = await _faults(broker, "lab", limits)
    assert any("insufficient storage" in each for each in faults), faults


async def _faults(broker: Broker, fleet: str, limits: Limits) -> tuple[str, ...]:
    bus = await Bus.connect(broker.settings("processor", None, fleet=fleet))
    try:
        await bus.ready(20)
        return (await ensure(bus, Layout(fleet, 1, limits))).faults
    finally:
        await bus.close()


def test_whoever_makes_streams_is_told_the_same(tmp_path: Path) -> None:
    """The operator, and through it the processors."""
    values = {"nats": {**SEALED, "replicas": 3, "streams": {"replicas": 3, **SMALL}}}
    found = settings.read(environ=environment(render(values))).value
    operator = Layout("main", found.fleet.shards, found.streams.limits, found.fleet.replicas)
    fleet = HuntFleet.model_validate({"metadata": {"name": "main"}, "spec": {}})
    made = {name: spec for name, _, spec in pods(objects_of(fleet, settings.site(found, {})))}
    for name, spec in made.items():
        env = {row["name"]: row.get("value", "n1") for row in spec["containers"][0]["env"]}
        options = Options.model_validate(_nested(env))
        assert str(options.nats.ca).startswith("/run/secrets/packhound/nats-tls/"), name
        assert options.nats.cert is not None
        mounts = {each["mountPath"] for each in spec["containers"][0]["volumeMounts"]}
        assert str(options.nats.ca.parent) in mounts  # type: ignore[union-attr]
        assert any((each.get("secret") or {}).get("secretName") == "packhound-nats-tls" for each in spec["volumes"])
        if name.startswith("StatefulSet"):
            assert links.layout(options) == operator
    assert operator.limits.packets == 16 << 20
    assert operator.replicas == 3


def test_real_processes_meet_over_it_with_what_their_pods_are_given(tmp_path: Path) -> None:
    """Sensor and processor, started with the variables and files of the pods that the operator makes."""
    with running(tmp_path, SEALED) as ((broker,), objects), fleet(tmp_path / "fleet", nats="") as made:
        found = settings.read(environ=environment(render({"nats": SEALED}))).value
        site = settings.site(found, {})
        main = HuntFleet.model_validate({"metadata": {"name": "main"}, "spec": {}})
        roles = {}
        for role, space, (_, _, spec) in zip(("processor", "sensor"), ("packhound", "packhound-sensors"), pods(objects_of(main, site)), strict=True):
            secrets = tmp_path / role / "secrets"
            files(secrets / "nats-tls", data_of(objects, site.nats_tls_secret, space))
            files(secrets / "nats", data_of(objects, site.nats_secret, space))
            env = {row["name"]: row.get("value", f"{role}-0").replace("/run/secrets/packhound", str(secrets)) for row in spec["containers"][0]["env"]}
            ours = {"PACKHOUND_NATS_URLS": f"tls://localhost:{broker.port}", "PACKHOUND_TELEMETRY_LISTEN": "127.0.0.1:0",
                    "PACKHOUND_GRPC_LOCAL": "127.0.0.1:0", "PACKHOUND_OUTPUT_OUT": str(tmp_path / "out"), "PACKHOUND_SHARED_REDIS": "",
                    "PACKHOUND_SHARED_PASSWORD_FILE": "", "PACKHOUND_SHARED_SQLITE": str(tmp_path / "shared.sqlite"),
                    "PACKHOUND_SPOOL_DIR": str(tmp_path / "spool"), "PACKHOUND_CAPTURE_INTERFACES": ""}  # fmt: skip
            roles[role] = {name.removeprefix("PACKHOUND_"): value for name, value in (env | ours).items() if value}
        processor = made.start("processor-0", "processor", **roles["processor"])
        until(lambda: processor.probe("readyz")[0] == 200, within=120, what="the processor is ready")
        sensor = made.start("sensor-0", "sensor", "-r", made.wire("n1", rate=5).path, **roles["sensor"])
        until(lambda: sensor.probe("readyz")[1] == ["no plan yet"], within=120, what="its link is open")  # nobody gives it one
        until(lambda: processor.metrics()['packhound_sensors{state="heard"}'] == 1, within=120, what="the sensor is heard")


def _nested(env: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in env.items():
        section, _, key = name.removeprefix("PACKHOUND_").lower().partition("_")
        lists = {"urls", "interfaces"}
        found.setdefault(section, {})[key] = value.split(",") if key in lists else yaml.safe_load(value) if value.isdigit() else value
    return found
