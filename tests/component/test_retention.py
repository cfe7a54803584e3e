"""Storage retention through real processes: a processor and `packhound run` remove what is too old, and no more."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.support.fleet_processes import Fleet, Process, fleet, ids, marked, numbered, until
from tests.support.hunting import call, hunt, hunt_filter, recorded
from tests.support.nats_server import nats_server, needs_nats
from tests.support.tape import Tape, udp

HOURS = 3600
EVERYTHING = hunt_filter("all", pcapFilter="udp")


def published(out: Path) -> list[Path]:
    found = [*out.rglob("*.pcapng"), *out.rglob("*.parquet")]
    return sorted(path for path in found if not path.name.startswith("."))


def age(paths: list[Path], seconds: int) -> int:
    """Have the files written that long ago; their bytes."""
    then = time.time() - seconds
    for path in paths:
        os.utime(path, (then, then))
    return sum(path.stat().st_size for path in paths)


def deliver(made: Fleet, name: str, processor: Process, host: int, count: int) -> None:
    """Packets of long ago through a sensor, into published files."""
    frames = [numbered(host, number) for number in range(1, count + 1)]
    before = recorded_of(made)
    sensor = made.sensor(name, Tape().add(*frames).save(made.folder / f"{name}.pcap"), "--wait-for-plan", 60)
    until(lambda: recorded_of(made) == before + count, what=f"{count} packets recorded")
    assert sensor.popen.wait(60) == 0
    assert processor.stop() == 0


def recorded_of(made: Fleet) -> int:
    return sum(each.recorded for each in made.books().sensors.values())


@needs_nats
def test_a_processor_removes_what_is_older_than_it_is_told_to_keep(tmp_path: Path) -> None:
    with nats_server(tmp_path / "nats") as server, fleet(tmp_path / "fleet", nats=server.url) as made:
        first = made.processor("p1")
        until(lambda: first.probe("readyz")[0] == 200, what="the processor is ready")
        made.ask("filter", "apply", made.filters(marked()))
        deliver(made, "s1", first, 1, 50)
        out = made.out("p1")
        old = published(out)
        assert [path.suffix for path in old].count(".pcapng") == 1
        assert {".parquet"} <= {path.suffix for path in old}
        size = age(old, 3 * HOURS)
        mine = old[0].with_name("mine.txt")
        mine.write_text("a person's")
        age([mine], 3 * HOURS)

        keeps = made.processor("p1")  # nothing said: it keeps everything
        until(lambda: keeps.probe("readyz")[0] == 200, what="the processor is ready")
        deliver(made, "s2", keeps, 2, 30)
        fresh = sorted(set(published(out)) - set(old))
        assert published(out) == sorted([*old, *fresh])
        assert fresh

        second = made.processor("p1", output_retention_seconds=2 * HOURS)
        row = until(lambda: second.said("old files removed"), what="old files removed")
        assert (row["files"], row["bytes"]) == (len(old), size)
        metrics = second.metrics()
        assert metrics["packhound_expired_files_total"] == len(old)
        assert metrics["packhound_expired_bytes_total"] == size
        assert metrics["packhound_expiry_failures_total"] == 0
        assert published(out) == fresh  # as old by the time of their packets, and written now
        assert mine.exists()
        assert recorded_of(made) == 80
        deliver(made, "s3", second, 3, 20)
        assert ids(out) == {(2, n): 1 for n in range(1, 31)} | {(3, n): 1 for n in range(1, 21)}
        assert recorded_of(made) == 100


def test_run_removes_what_earlier_runs_left_and_keeps_what_it_writes(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(f"[output]\nretention_seconds = {2 * HOURS}\n")
    one, two = (Tape().add(udp(1, 1000, 2, 2000, bytes([n]) * 9)).save(tmp_path / f"{n}.pcap") for n in (1, 2))
    hunt(tmp_path, one, [EVERYTHING]).balanced()
    old = published(tmp_path / "out")
    age(old, 3 * HOURS)
    ran = hunt(tmp_path, two, [EVERYTHING], "--config", settings).balanced()
    assert not [path for path in old if path.exists() and path.stat().st_mtime < time.time() - HOURS]
    assert [packet.data[-9:] for path in ran.segments() for packet in recorded(path)] == [bytes([2]) * 9]
    assert "old files removed" in ran.said


def test_run_leaves_the_folder_of_a_fleets_processor_alone(tmp_path: Path) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text("[output]\nretention_seconds = 3600\n")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".packhound-folder").write_text("0" * 32)
    capture = Tape().add(udp(1, 1000, 2, 2000, b"x")).save(tmp_path / "x.pcap")
    code, _, said = call("run", "-r", capture, "--out", tmp_path / "out", "--config", settings)
    assert code == 3
    assert "belongs to a fleet's processor" in said
