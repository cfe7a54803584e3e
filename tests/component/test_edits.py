"""Filters edited while a run goes on: in force without a restart; a bad edit is refused and the last good one stays."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.hunting import Ran, hunt_filter, leaf, write_filters
from tests.support.tape import Tape, phone_call, tls, udp

pytestmark = pytest.mark.timeout(60)

PACKHOUND = Path(sys.executable).with_name("packhound")


class Piped:
    """`packhound run -r -`, fed a few packets at a time."""

    def __init__(self, where: Path, filters: Path) -> None:
        self.out = where / "out"
        self.log = where / "log"
        self._log = self.log.open("w")
        self.process = subprocess.Popen(
            [PACKHOUND, "run", "-r", "-", "-f", filters, "--out", self.out, "--json"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
        )  # fmt: skip
        self.tape = Tape()
        self._sent = 0
        self.wait(bool)

    def rows(self) -> list[dict[str, Any]]:
        """What the log says so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def wait(self, wanted: Callable[[list[dict[str, Any]]], bool]) -> None:
        """Wait for the log to say so."""
        deadline = time.monotonic() + 20
        while not wanted(self.rows()):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def feed(self, *frames: bytes) -> None:
        """Put packets into the pipe and let them be read."""
        self.tape.add(*frames)
        whole = self.tape.data()
        assert self.process.stdin is not None
        self.process.stdin.write(whole[self._sent :])
        self.process.stdin.flush()
        self._sent = len(whole)
        time.sleep(0.4)

    def edit(self, write: Callable[[], object], said: str) -> dict[str, Any]:
        """Edit filters; the log line that tells of it."""
        before = len(self.rows())
        write()
        self.wait(lambda rows: any(row["event"].startswith(said) for row in rows[before:]))
        return next(row for row in self.rows()[before:] if row["event"].startswith(said))

    def finish(self) -> Ran:
        """Close the pipe; what it printed."""
        printed, _ = self.process.communicate(timeout=20)
        self._log.close()
        return Ran(self.process.returncode, json.loads(printed), self.log.read_text(), self.out).balanced()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "filters"
    made.mkdir()
    return made


def test_an_edit_applies_to_what_comes_and_a_bad_one_changes_nothing(tmp_path: Path, folder: Path) -> None:
    file = write_filters(folder / "a.yaml", hunt_filter("a", pcapFilter="port 1"))
    run = Piped(tmp_path, folder)
    frames = [udp(1, 9, 2, port, bytes([n])) for n in range(4) for port in (1, 2)]
    run.feed(*frames[:2])
    told = run.edit(lambda: write_filters(file, hunt_filter("a", pcapFilter="port 2")), "filters in force")
    assert told["revision"] == 2
    run.feed(*frames[2:4])
    told = run.edit(lambda: write_filters(file, hunt_filter("a", pcapFilter="port nosuch")), "filter refused")
    assert str(file) in told["where"]
    assert "spec.pcapFilter" in told["where"]
    run.feed(*frames[4:6])
    told = run.edit(lambda: file.write_text("kind: [broken\n"), "filter refused")
    assert f"{file}:" in told["where"]
    run.feed(*frames[6:])
    ran = run.finish()
    assert [p.data for p in ran.packets()] == [frames[0], frames[3], frames[5], frames[7]]
    assert ran.outcome["revision"] == 2


def test_files_come_and_go(tmp_path: Path, folder: Path) -> None:
    write_filters(folder / "a.yaml", hunt_filter("a", pcapFilter="port 1"))
    run = Piped(tmp_path, folder)
    frames = [udp(1, 9, 2, port, bytes([n])) for n in range(3) for port in (1, 2)]
    run.feed(*frames[:2])
    run.edit(lambda: write_filters(folder / "b.yaml", hunt_filter("b", pcapFilter="port 2")), "filters in force")
    run.feed(*frames[2:4])
    told = run.edit((folder / "a.yaml").unlink, "filters in force")
    assert told["filters"] == ["t/b"]
    run.feed(*frames[4:])
    ran = run.finish()
    assert [p.data for p in ran.packets()] == [frames[0], frames[2], frames[3], frames[5]]


def test_a_filter_that_comes_in_mid_call_takes_the_rest_of_the_call(tmp_path: Path, folder: Path) -> None:
    write_filters(folder / "a.yaml", hunt_filter("other", leaf("sip.user", "equals", "nobody")))
    run = Piped(tmp_path, folder)
    frames = phone_call()
    run.feed(*frames[:14])
    run.edit(
        lambda: write_filters(folder / "b.yaml", hunt_filter("alice", leaf("sip.user", "equals", "alice"))),
        "filters in force",
    )
    run.feed(*frames[14:])
    ran = run.finish()
    taken = [p.data for p in ran.packets()]
    assert taken[-len(frames[14:]) :] == frames[14:]


def test_a_filter_that_comes_in_mid_flow_takes_the_rest_of_the_flow(tmp_path: Path, folder: Path) -> None:
    write_filters(folder / "a.yaml", hunt_filter("first", leaf("tls.sni", "prefix", "a.")))
    run = Piped(tmp_path, folder)
    frames = tls("a.example", sport=4100)
    run.feed(*frames[:4])
    run.edit(
        lambda: write_filters(folder / "a.yaml", hunt_filter("second", leaf("tls.sni", "suffix", ".example"))),
        "filters in force",
    )
    run.feed(*frames[4:])
    ran = run.finish()
    assert [p.data for p in ran.packets()] == frames
    assert [p.filters for p in ran.packets()] == [["t/first"]] * 4 + [["t/second"]] * 2


def test_suspend_and_an_expired_ttl_stop_matching(tmp_path: Path, folder: Path) -> None:
    write_filters(folder / "a.yaml", hunt_filter("a", pcapFilter="port 1"))
    write_filters(folder / "b.yaml", hunt_filter("b", pcapFilter="port 2", schedule={"ttl": "1s"}))
    run = Piped(tmp_path, folder)
    frames = [udp(1, 9, 2, port, bytes([n])) for n in range(3) for port in (1, 2)]
    run.feed(*frames[:2])
    run.edit(lambda: time.sleep(0.5), "filters in force")
    run.feed(*frames[2:4])
    run.edit(
        lambda: write_filters(folder / "a.yaml", hunt_filter("a", pcapFilter="port 1", suspend=True)),
        "filters in force",
    )
    run.feed(*frames[4:])
    ran = run.finish()
    assert [p.data for p in ran.packets()] == [frames[0], frames[1], frames[2]]
