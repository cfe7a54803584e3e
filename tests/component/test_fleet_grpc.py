"""One sensor, one processor, no broker: plans from files, parcels under mutual TLS, whatever is killed or renewed."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections import Counter
from pathlib import Path

import pytest

from packhound.kit.rpc import Certificates, RpcError, new_channel
from packhound.wire.v1 import events_pb2, events_pb2_grpc
from tests.support.certificates import Authority
from tests.support.fleet_processes import Fleet, Process, fleet, ids, marked, until
from tests.support.hunting import call, write_filters

MATCHED = 'packhound_packets_total{outcome="matched",stage="match"}'
SEEN = 'packhound_packets_total{outcome="seen",stage="match"}'
DELIVERED = 'packhound_packets_total{outcome="delivered",stage="deliver"}'


class Pair:
    """A processor and a sensor `n1` on a pipe, with certificates that lie in `pki` and can be replaced."""

    def __init__(self, made: Fleet, *, rate: float = 0.0) -> None:
        self.made = made
        self.pki = made.folder / "pki"
        self.pki.mkdir()
        self.renew("first")
        self.filters = made.folder / "filters"
        self.filters.mkdir()
        self.port = 0
        self.processor = self.start_processor()
        self.port = self.processor.port("processor")
        self.wire = made.wire("n1", rate=rate)

    def renew(self, name: str) -> None:
        """Certificates of another authority, in the same files."""
        folder = self.made.folder / name
        folder.mkdir()
        authority = Authority(folder, name)
        for who in ("processor", "n1", "person"):
            made = authority.issue(who)
            for path in (made.key, made.chain):
                _replace(path, self.pki / path.name)
        _replace(authority.path, self.pki / "ca.pem")

    def files(self, who: str, pki: Path | None = None) -> Certificates:
        pki = pki or self.pki
        return Certificates(pki / f"{who}.pem", pki / f"{who}.key", pki / "ca.pem")

    def _tls(self, who: str) -> dict[str, object]:
        files = self.files(who)
        return {"grpc_cert": files.chain, "grpc_key": files.key, "grpc_ca": files.authorities}

    def start_processor(self) -> Process:
        self.processor = self.made.processor(
            "p1", grpc_listen=f"127.0.0.1:{self.port}", fleet_filters=self.filters, **self._tls("processor")
        )  # fmt: skip
        return self.processor

    def start_sensor(self) -> Process:
        self.sensor = self.made.sensor(
            "n1", self.wire, "--wait-for-plan", "60", grpc_target=f"127.0.0.1:{self.port}", **self._tls("n1")
        )  # fmt: skip
        return self.sensor

    def ask(self, name: str, request: object, *, tls: Certificates | None = None) -> object:
        """A question of a subscriber."""

        async def go() -> object:
            channel = new_channel(f"127.0.0.1:{self.port}", tls=tls or self.files("person"))
            try:
                stub = events_pb2_grpc.SubscriberStub(channel)
                return await getattr(stub, name)(request, timeout=5)
            finally:
                await channel.close()

        return asyncio.run(go())

    def status(self) -> object:
        """What the processor knows of the sensor."""
        (found,) = self.ask("ListSensors", events_pb2.ListSensorsRequest()).sensors
        return found

    def connections(self) -> set[int]:
        """Ports from which the sensor is connected to the processor."""
        found = set()
        tables = [Path(f"/proc/{self.sensor.popen.pid}/net/{name}").read_text() for name in ("tcp", "tcp6")]
        for line in [line for each in tables for line in each.splitlines()[1:]]:
            local, remote, state = line.split()[1:4]
            if state == "01" and int(remote.rpartition(":")[2], 16) == self.port:
                found.add(int(local.rpartition(":")[2], 16))
        return found

    def finish(self) -> int:
        """End the capture and both processes in order; how many packets there were."""
        sent = self.wire.end()
        assert self.sensor.popen.wait(40) == 0  # everything was delivered
        assert self.processor.stop() == 0
        return sent


def _replace(source: Path, target: Path) -> None:
    fresh = target.with_suffix(".fresh")
    shutil.copy(source, fresh)
    fresh.rename(target)


@pytest.fixture
def pair(tmp_path):
    with fleet(tmp_path / "fleet") as made:
        yield Pair(made)


def test_filters_of_files_reach_the_sensor_and_edits_too(pair: Pair):
    write_filters(pair.filters / "a.yaml", marked())
    sensor = pair.start_sensor()
    until(lambda: sensor.probe("readyz") == (200, []), what="ready")
    until(lambda: pair.processor.metrics()['packhound_sensors{state="heard"}'] == 1)
    first = until(lambda: (found := pair.status()).plan_state == "applied" and found.revision and found)
    assert (first.node, first.link, dict(first.modes)["link"]) == ("n1", "open", "grpc")
    pair.wire.write(200)
    until(lambda: sensor.metrics()[MATCHED] >= 200)
    write_filters(pair.filters / "a.yaml", marked(suspend=True))
    until(lambda: (pair.wire.write(5) and False) or pair.status().revision > first.revision, every=0.2,
          what="the edit is in force")  # fmt: skip
    before, goal = sensor.metrics()[MATCHED], pair.wire.write(100)
    until(lambda: sensor.metrics()[SEEN] >= goal)
    assert sensor.metrics()[MATCHED] == before
    write_filters(pair.filters / "b.yaml", {**marked("bad"), "spec": {"pcapFilter": "nonsense at all"}})
    said = until(lambda: pair.processor.said("filter is not taken"), what="the bad filter is told of")
    assert "b.yaml" in said["where"]
    assert "t/bad" in said["where"] or "HuntFilter bad" in said["where"]
    assert pair.status().revision == first.revision + 1  # what was good stays in force
    conditions = pair.ask("Status", events_pb2.StatusRequest()).conditions
    assert any("b.yaml" in each for each in conditions)
    (listed,) = pair.ask("ListFilters", events_pb2.ListFiltersRequest()).filters
    assert (listed.name, listed.active) == ("t/marked", False)
    assert sensor.popen.poll() is None


def test_a_sensor_that_waits_for_a_plan_is_not_content_with_an_empty_one(pair: Pair):
    """A processor whose folder has no filters yet hands out an empty plan; what comes by is kept for the first filter."""
    sensor = pair.start_sensor()
    until(lambda: pair.status().plan_state == "applied", what="the empty plan is in force")
    assert sensor.probe("startupz")[1] == ["capture has not begun"]
    pair.wire.rate = 500
    until(lambda: pair.wire.sent > 100, what="packets are in the pipe")
    write_filters(pair.filters / "a.yaml", marked())
    until(lambda: sensor.metrics()[DELIVERED] > 300, what="parcels are delivered")
    sent = pair.finish()
    assert ids(pair.made.out("p1")) == Counter({(1, number): 1 for number in range(1, sent + 1)})


def test_kill_9_of_the_processor_under_load_loses_and_doubles_nothing(pair: Pair):
    write_filters(pair.filters / "a.yaml", marked(schedule={"ttl": "1h"}))
    sensor = pair.start_sensor()
    pair.wire.rate = 1500
    memory = pair.made.out("p1") / ".packhound-filters"
    until(lambda: sensor.metrics()[DELIVERED] > 1500, what="parcels are delivered")
    born = json.loads(memory.read_text())
    for _ in range(2):
        pair.processor.kill()
        outage(pair, packets=1000)
        assert sensor.probe("livez") == (200, [])
        goal = sensor.metrics()[DELIVERED] + 1500
        pair.start_processor()
        until(lambda goal=goal: sensor.metrics()[DELIVERED] > goal, what="what waited is delivered")
    sent = pair.finish()
    assert json.loads(memory.read_text()) == born  # no restart prolongs a ttl
    assert ids(pair.made.out("p1")) == Counter({(1, number): 1 for number in range(1, sent + 1)})
    account = pair.made.books().sensor("n1")
    assert (account.recorded, account.lost) == (sent, {})


def outage(pair: Pair, *, packets: int) -> None:
    """Let so many packets come by."""
    goal = pair.wire.sent + packets
    until(lambda: pair.wire.sent > goal, what="traffic goes on")


def test_certificates_of_another_authority_are_taken_up_under_load_without_a_restart(pair: Pair):
    write_filters(pair.filters / "a.yaml", marked())
    sensor = pair.start_sensor()
    pair.wire.rate = 500
    until(lambda: sensor.metrics()[DELIVERED] > 300, what="parcels are delivered")
    old = pair.pki.with_name("old")
    shutil.copytree(pair.pki, old)
    before = pair.connections()
    assert len(before) == 1
    pair.renew("second")
    until(lambda: (now := pair.connections()) and not now & before, what="the sensor connects anew", every=0.2)
    delivered = sensor.metrics()[DELIVERED]
    until(lambda: sensor.metrics()[DELIVERED] > delivered + 300, what="parcels go on")
    assert pair.status().node == "n1"
    with pytest.raises(RpcError):
        pair.ask("Topology", events_pb2.TopologyRequest(), tls=pair.files("person", old))
    assert [each.popen.poll() for each in (sensor, pair.processor)] == [None, None]
    sent = pair.finish()
    assert ids(pair.made.out("p1")) == Counter({(1, number): 1 for number in range(1, sent + 1)})


def test_what_was_not_delivered_waits_in_the_spool_for_the_next_start_after_kill_9(pair: Pair):
    write_filters(pair.filters / "a.yaml", marked())
    sensor = pair.start_sensor()
    pair.wire.rate = 800
    until(lambda: sensor.metrics()[DELIVERED] > 500, what="parcels are delivered")
    pair.processor.stop(signal.SIGINT)
    matched = until(
        lambda: (now := sensor.metrics())["packhound_spool_packets"] > 500 and now[MATCHED] - now["packhound_open_packets"]
    )  # fmt: skip
    sensor.kill()
    pair.wire.end()
    pair.wire = pair.made.wire("n1-again", host=2)
    pair.start_processor()
    again = pair.start_sensor()
    until(lambda: again.metrics()["packhound_spool_packets"] == 0, what="the old epoch is delivered")
    pair.wire.write(100)
    pair.finish()
    found = ids(pair.made.out("p1"))
    assert set(found.values()) == {1}
    numbers = sorted(number for host, number in found if host == 1)
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= matched


def test_what_cannot_be_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("PACKHOUND_FLEET_FILTERS", str(tmp_path))
    for words, says in (
        (["processor", "--nats", ""], "nothing brings parcels"),
        (["processor", "--nats", "nats://127.0.0.1:1"], "without a broker"),
        (["sensor", "-r", Path(__file__).parents[2] / "examples/captures/web.pcapng", "--nats", "", "--spool", tmp_path / "s"],
         "no address of a broker"),
    ):  # fmt: skip
        code, _, said = call(*words, *(["--out", tmp_path / "out"] if words[0] == "processor" else []))
        assert (code, says in said) == (2, True), said
