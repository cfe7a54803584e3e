"""Health and metrics of real processes over HTTP; whose clock counts. docs/metrics.md is held against what they say."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest

from packhound.kit.metrics import Descriptor
from packhound.run import processing
from packhound.sensor import report
from packhound.sensor.tap.live import LiveTap
from packhound.sensor.tap.ring import RingConfig
from tests.support.fleet_processes import Fleet, Process, fleet, marked, numbered, until
from tests.support.nats_server import NatsServer, nats_server, needs_nats
from tests.support.netns import ip, namespace, needs_root, veth, wire
from tests.support.redis_server import RedisServer, needs_redis

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "metrics.md").read_text()
SERIES = re.compile(r"([a-z_]+)(?:\{(.*)\})?")
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
OURS_TO_CHOOSE = {"packhound_build_info"}  # version and ways of working
HOUR = 3600
CLOCK = "import time; real = time.time_ns; base = real(); time.time_ns = lambda: {}; from packhound.console.cli import main; main()"


def exported(row: Descriptor) -> str:
    return row.name + ("_total" if row.kind == "counter" else "")


def documented(part: str) -> list[tuple[str, ...]]:
    """Rows of a table of docs/metrics.md."""
    section = DOCS.partition(f"\n## {part}\n")[2].partition("\n## ")[0]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in section.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize(("part", "module"), [("Sensor", report), ("Processor", processing)])
def test_the_docs_name_every_metric(part, module):
    wanted = [
        (f"`{exported(row)}`", row.kind, ", ".join(f"`{each}`" for each in row.labels) or "none", row.help)
        for row in module.DESCRIPTORS
    ]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in wanted)
    assert documented(part) == wanted, f"docs/metrics.md, {part}, should be:\n{lines}"


def test_units_are_base_units():
    for row in (*report.DESCRIPTORS, *processing.DESCRIPTORS):
        assert not re.search(r"_(ms|us|ns|millis|micros|nanos|minutes|hours|kib|mib|kb|mb|percent|total)(_|$)", row.name), row.name


def check_series(process: Process, descriptors: tuple[Descriptor, ...]) -> dict[str, float]:
    """Every metric that it may emit is there, all labels are documented values."""
    found = process.metrics()
    names = {}
    for series in found:
        name, labels = SERIES.fullmatch(series).groups()
        names.setdefault(name, []).append(dict(LABEL.findall(labels or "")))
    wanted = {exported(row): row for row in descriptors}
    assert wanted.keys() <= names.keys(), wanted.keys() - names.keys()
    strange = {name for name in names if not name.startswith(("process_", "python_"))} - wanted.keys() - OURS_TO_CHOOSE
    assert not strange
    values = {name: set(re.findall(r"`([a-z_]+)`", cells)) for name, cells in label_rows()}
    for name, row in wanted.items():
        for labels in names[name]:
            assert labels.keys() == set(row.labels)
            for label, value in labels.items():
                assert value in values[label], f"docs/metrics.md does not know {label}={value} of {name}"
    (build,) = names["packhound_build_info"]
    assert {"version", "role"} <= build.keys()
    assert "process_resident_memory_bytes" in names
    return found


def label_rows() -> list[tuple[str, str]]:
    """Labels with all values that any of their rows names."""
    found: dict[str, str] = {}
    for cell, values in documented("Labels"):
        name = re.match("`([a-z_]+)`", cell)[1]
        found[name] = found.get(name, "") + values
    return list(found.items())


@needs_nats
def test_every_metric_comes_from_a_real_process_with_documented_labels(tmp_path):
    with nats_server(tmp_path / "nats") as server, fleet(tmp_path / "fleet", nats=server.url) as made:
        assert made.command("filter", "apply", made.filters(marked()), "--wait", "0")[0] == 0
        processor, pipe = made.processor("p1"), made.wire("n1")
        sensor = made.sensor("n1", pipe)
        until(lambda: sensor.probe("readyz")[0] == 200, what="the sensor is ready")
        until(lambda: processor.probe("readyz")[0] == 200, what="the processor is ready")
        assert [each.probe(page) for each in (sensor, processor) for page in ("livez", "startupz")] == [(200, [])] * 4
        assert sensor.get("nowhere")[0] == 404
        sent = pipe.write(600)
        series = 'packhound_packets_total{outcome="recorded",stage="process"}'
        until(lambda: (pipe.write(5) and False) or processor.metrics()[series] >= sent, every=0.2, what="packets are recorded")
        until(lambda: processor.metrics()['packhound_sensors{state="heard"}'] == 1, what="the sensor is heard")
        mine, theirs = check_series(sensor, report.DESCRIPTORS), check_series(processor, processing.DESCRIPTORS)
        for name, least in (
            ('packhound_packets_total{outcome="seen",stage="match"}', 600), ("packhound_plan_revision", 1),
            ('packhound_packets_total{outcome="delivered",stage="deliver"}', 600), ("packhound_link_up", 1),
            ('packhound_sent_parcels_total{outcome="accepted"}', 16), ('packhound_interface_up{state="up"}', 1),
            ("packhound_flows", 24),
        ):  # fmt: skip
            assert mine[name] >= least, name
        for name, least in (
            ("packhound_parcels_total", 16), ("packhound_groups_total", 1), ("packhound_shards", 16),
            ('packhound_shards_moved_total{how="acquired"}', 16), ("packhound_broker_up", 1), ("packhound_shared_up", 1),
        ):  # fmt: skip
            assert theirs[name] >= least, name
        assert all(value == 0 for name, value in mine.items() if name.startswith("packhound_lost_packets"))
        assert 0 < theirs["packhound_group_seconds"] < 10


@needs_nats
def test_a_sensor_says_what_keeps_it_from_being_ready(tmp_path):
    server = NatsServer(tmp_path / "nats").start()
    server.kill()
    try:
        with fleet(tmp_path / "fleet", nats=server.url) as made:
            sensor = made.sensor("n1", made.wire("n1", rate=20))
            until(lambda: sensor.probe("startupz") == (200, []))
            assert sensor.probe("readyz") == (503, ["no plan yet", "link is not open"])
            assert sensor.probe("livez") == (200, [])
            assert sensor.metrics()["packhound_link_up"] == 0
            server.start()
            assert made.command("filter", "apply", made.filters(marked()), "--wait", "0")[0] == 0
            until(lambda: sensor.probe("readyz") == (200, []), what="ready")
            until(lambda: sensor.metrics()['packhound_packets_total{outcome="delivered",stage="deliver"}'])
            server.kill()
            until(lambda: sensor.probe("readyz") == (503, ["link is not open"]), what="not ready without a broker")
            until(lambda: sensor.metrics()["packhound_spool_oldest_seconds"] > 0.5, what="parcels that wait grow old")
            assert sensor.metrics()["packhound_spool_packets"] > 0
            assert sensor.probe("livez") == (200, [])
    finally:
        server.kill()


@needs_nats
@needs_redis
def test_a_processor_says_what_keeps_it_from_being_ready(tmp_path):
    redis = RedisServer(tmp_path / "redis").start()
    redis.kill()
    with nats_server(tmp_path / "nats") as server, fleet(tmp_path / "fleet", nats=server.url) as made:
        try:
            processor = made.processor("p1", shared_redis=redis.url)
            until(lambda: processor.said("shared state is away"))
            assert processor.probe("startupz") == (503, ["the folder is not ours yet"])
            assert processor.probe("readyz") == (503, ["shared state or folder not there yet"])
            assert processor.probe("livez") == (200, [])
            redis.start()
            until(lambda: processor.probe("readyz") == (200, []), what="ready")
            assert processor.probe("startupz") == (200, [])
            server.kill()
            until(lambda: processor.probe("readyz") == (503, ["broker is away"]))
            assert processor.metrics()["packhound_broker_up"] == 0
            redis.signal(signal.SIGSTOP)
            until(lambda: processor.metrics()["packhound_shared_up"] == 0, what="the shared state is missed")
            assert processor.probe("livez") == (200, [])
            redis.signal(signal.SIGCONT)
            until(lambda: processor.metrics()["packhound_shared_up"] == 1)
        finally:
            redis.kill()


# whose clock counts ------------------------------------------------------------------------------------------------


@pytest.fixture
def running(tmp_path):
    with nats_server(tmp_path / "nats") as server, fleet(tmp_path / "fleet", nats=server.url) as made:
        yield made


@needs_nats
def test_a_sensor_whose_clock_is_an_hour_behind_is_measured_and_heard(running: Fleet):
    assert running.command("filter", "apply", running.filters(marked()), "--wait", "0")[0] == 0
    processor = running.processor("p1")
    until(lambda: processor.probe("readyz")[0] == 200)
    sensor = running.sensor("n1", running.wire("n1", rate=50), code=CLOCK.format(f"real() - {HOUR} * 10**9"))
    offset = until(lambda: sensor.metrics()["packhound_clock_offset_seconds"], what="the offset is measured")
    assert abs(offset - HOUR) < 1
    (row,) = until(lambda: [row for row in running.ask("sensors") if row["clock_offset_ms"]])
    assert (row["state"], abs(row["clock_offset_ms"] - HOUR * 1000) < 1000, -1 < row["age_seconds"] < 12) == ("ok", True, True)
    assert processor.metrics()['packhound_sensors{state="heard"}'] == 1
    until(lambda: running.books().sensor("n1").recorded)


@needs_nats
def test_the_clock_of_the_processor_decides_who_is_silent(running: Fleet):
    """Two processors hear the same beats; one clock runs fast and one slowly, so for the fast one the sensor is silent sooner."""
    slow = running.processor("p1", code=CLOCK.format("base + (real() - base) // 4"))
    fast = running.processor("p2", shared_sqlite=running.folder / "other.sqlite", code=CLOCK.format("base + (real() - base) * 5 // 2"))
    sensor = running.sensor("n1", running.wire("n1"))
    states = [f'packhound_sensors{{state="{state}"}}' for state in ("heard", "silent", "stopped")]
    until(lambda: all([each.metrics()[name] for name in states] == [1, 0, 0] for each in (slow, fast)), what="both hear it")
    sensor.send(signal.SIGSTOP)
    began = time.monotonic()
    until(lambda: [fast.metrics()[name] for name in states] == [0, 1, 0], within=50, what="silent on the fast clock")
    assert [slow.metrics()[name] for name in states] == [1, 0, 0]
    assert time.monotonic() - began < 55
    sensor.send(signal.SIGCONT)
    until(lambda: [fast.metrics()[name] for name in states] == [1, 0, 0], what="heard again")
    assert sensor.stop() == 0
    until(lambda: [slow.metrics()[name] for name in states] == [0, 0, 1], what="it said that it stops")


# what only a live interface has ------------------------------------------------------------------------------------


@needs_root
@pytest.mark.needs_root
def test_the_ring_tells_how_full_it_is():
    with namespace():
        veth()
        tap = LiveTap(["left"], config=RingConfig(block_bytes=1 << 16, blocks=8))
        try:
            assert tap.fill == 0
            out = wire("right")
            for number in range(1000):
                out.send(numbered(1, number, size=900))
            until(lambda: tap.fill == 1.0)
            blocks = tap.blocks()
            next(blocks)
            next(blocks)
            assert tap.fill < 1.0
            assert tap.drops().kernel > 0
            out.close()
        finally:
            tap.close()
        assert tap.fill == 0


@needs_nats
@needs_root
@pytest.mark.needs_root
def test_kernel_drops_of_a_live_sensor_are_exported_and_in_its_books(tmp_path):
    with namespace():
        ip("link set lo up")
        veth()
        with nats_server(tmp_path / "nats") as server, fleet(tmp_path / "fleet", nats=server.url) as made:
            assert made.command("filter", "apply", made.filters(marked()), "--wait", "0")[0] == 0
            sensor = made.start("n1", "sensor", "-i", "left", "--spool", tmp_path / "spool", capture_ring_mib=32)
            until(lambda: sensor.probe("readyz")[0] == 200)
            out = wire("right")
            sensor.send(signal.SIGSTOP)
            for number in range(30_000):  # 45 MB into a ring of 32 MiB
                out.send(numbered(1, number, size=1440))
            sensor.send(signal.SIGCONT)
            out.close()
            seen, matched, delivered = (
                f'packhound_packets_total{{outcome="{outcome}",stage="{stage}"}}'
                for outcome, stage in (("seen", "match"), ("matched", "match"), ("delivered", "deliver"))
            )  # fmt: skip
            until(lambda: sensor.metrics()[seen] == 30_000, what="all are seen or dropped")
            until(lambda: (found := sensor.metrics())[delivered] == found[matched], what="all are delivered")
            found = sensor.metrics()
            dropped = found['packhound_kernel_dropped_packets_total{cause="kernel"}']
            assert 1000 < dropped < 30_000
            assert found[matched] == 30_000 - dropped
            assert sensor.stop() == 0
            assert sensor.said("sensor stopped")["books"]["kernel_dropped"] == {"kernel": dropped}


@needs_redis
def test_a_redis_that_would_forget_is_told_of(tmp_path):
    from redis import Redis

    redis = RedisServer(tmp_path / "redis").start()
    Redis.from_url(redis.url).config_set("appendonly", "no")
    with fleet(tmp_path / "fleet") as made:
        processor = made.processor("p1", shared_redis=redis.url, grpc_listen="127.0.0.1:0")
        said = until(lambda: processor.said("shared state may forget"), what="it is told")
        assert "append-only" in said["reason"]
        until(lambda: processor.probe("readyz") == (200, []), what="ready all the same")
    redis.kill()
