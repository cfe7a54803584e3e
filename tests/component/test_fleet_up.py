"""A whole fleet on this host, as real processes: it records what one process would, drains, and moves shards safely."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from packhound.processor.store.tables import Answer, query
from tests.support.fleet_processes import EXAMPLES, PACKHOUND, Fleet, Wire, fleet, ids, marked, packets, until
from tests.support.hunting import call, write_filters
from tests.support.nats_server import nats_server, needs_nats
from tests.support.redis_server import needs_redis

pytestmark = needs_nats
CAPTURES = [EXAMPLES / "captures" / name for name in ("call.pcapng", "web.pcapng")]
SETTLED = ("recorded", "processed_only", "duplicates_dropped")


class Up:
    """`packhound up` as a process."""

    def __init__(self, out: Path, *words: object) -> None:
        self.out = out
        self.popen = subprocess.Popen(
            [*PACKHOUND, "up", *map(str, words), "--out", str(out), "--json"], text=True, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True, env={**os.environ, "PACKHOUND_TELEMETRY_LISTEN": ""},
        )  # fmt: skip
        assert self.popen.stdout
        first = self.popen.stdout.readline()
        self.told = json.loads(first) if first else {}

    @property
    def pids(self) -> dict[str, int]:
        return {each["name"]: each["pid"] for each in self.told["processes"]}

    def end(self, number: int = 0, *, within: float = 60.0) -> dict:
        """Wait for its end; the books that it gives."""
        if number:
            self.popen.send_signal(number)
        out, self.err = self.popen.communicate(timeout=within)
        assert self.popen.returncode == 0, (out, self.err)
        return json.loads(out.strip().splitlines()[-1])["books"]

    def __enter__(self) -> Up:
        return self

    def __exit__(self, *_: object) -> None:
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            self.popen.send_signal(signal.SIGTERM)
            self.popen.communicate(timeout=30)

    @property
    def outs(self) -> list[Path]:
        return sorted(self.out.glob("processor-*/"))


NOT_COMPARED = {"flow.id", "call.recordings"}  # the sensor's own number, and places in folders


def rows(folders: list[Path], table: str) -> Counter[str]:
    """Every row of a table with every column, wherever it was written."""
    found: Counter[str] = Counter()
    for folder in folders:
        answer = query(f"SELECT * FROM {table}", folder)
        assert isinstance(answer, Answer), answer
        for row in answer.rows:
            cells = {name: value for name, value in zip(answer.columns, row, strict=True) if value is not None}
            found[repr(sorted((name, cells[name]) for name in cells.keys() - NOT_COMPARED))] += 1
    return found


@pytest.mark.parametrize("redis", [pytest.param(True, marks=needs_redis), False], ids=["redis", "sqlite"])
def test_a_fleet_records_what_one_process_would(tmp_path, redis):
    filters = EXAMPLES / "filters"
    words = ["-r", *CAPTURES, "-f", filters, "--once", *([] if redis else ["--no-redis"])]
    with Up(tmp_path / "fleet", *words) as up:
        assert {"sensor-1", "sensor-2", "processor-1", "processor-2"} < set(up.pids)
        assert ("redis-server" in up.pids) is redis
        books = up.end()
    code, _, said = call("run", *(w for each in CAPTURES for w in ("-r", each)), "-f", filters, "--out", tmp_path / "one")
    assert code == 0, said
    for calls in (False, True):
        many, one = (Counter((p.ts, p.data, p.wirelen, tuple(sorted(p.filters))) for p in packets(*where, calls=calls))
                     for where in (up.outs, [tmp_path / "one"]))  # fmt: skip
        assert many == one
        assert one
    for table in ("flows", "calls", "messages", "alerts"):
        many, one = rows(up.outs, table), rows([tmp_path / "one"], table)
        assert many == one, table
        assert one
    assert books["residual"] == 0
    assert set(books["sensors"]) == {"sensor-1", "sensor-2"}
    recorded = sum(each["recorded"] for each in books["sensors"].values())
    assert recorded == len(packets(tmp_path / "one")) == sum(each["matched"] for each in books["sensors"].values())
    assert books["filters"]["demo/alice"]["matched"] == books["filters"]["demo/alice"]["recorded"] > 0


def test_ctrl_c_drains_and_a_processor_that_was_killed_costs_nothing(tmp_path):
    wires = [Wire(tmp_path / f"{n}.pipe", host=n, rate=1500) for n in (1, 2)]
    filters = write_filters(tmp_path / "f.yaml", marked())
    words = ["-r", *(each.path for each in wires), "-f", filters, "--no-redis"]
    with Up(tmp_path / "fleet", *words) as up:
        until(lambda: all(each.sent > 1500 for each in wires), what="traffic")
        os.kill(up.pids["processor-1"], signal.SIGKILL)
        until(lambda: all(each.sent > 4500 for each in wires), what="more traffic")
        books = up.end(signal.SIGINT)
    sent = sum(each.end() for each in wires)
    assert "processor-1 ended with code -9 and is started again" in up.err
    assert books["residual"] == 0
    seen, matched, recorded = (sum(each[key] for each in books["sensors"].values()) for key in ("seen", "matched", "recorded"))
    assert 3000 < seen == matched == recorded <= sent
    found = ids(*up.outs)
    assert set(found.values()) == {1}
    assert len(found) == recorded
    for host in (1, 2):  # the first so many, without a gap: the rest was still in the pipe
        numbers = [number for who, number in found if who == host]
        assert sorted(numbers) == list(range(1, len(numbers) + 1))


def test_bad_filters_and_nothing_to_capture_end_it_before_anything_starts(tmp_path):
    bad = write_filters(tmp_path / "bad.yaml", marked(), {**marked("other"), "spec": {"pcapFilter": "udp nonsense"}})
    code, out, said = call("up", "-r", CAPTURES[0], "-f", bad, "--once", "--out", tmp_path / "x")
    assert (code, out) == (3, "")
    assert "nothing was changed" in said
    assert "t/other" in said
    assert "pcapFilter" in said
    assert not list((tmp_path / "x").glob("*.log"))
    code, _, said = call("up", "--out", tmp_path / "y")
    assert code == 2
    assert "-r FILE" in said


@pytest.fixture
def running(tmp_path):
    with nats_server(tmp_path / "nats") as server, fleet(tmp_path / "fleet", nats=server.url) as made:
        yield made


def owners(running: Fleet) -> dict[str, int]:
    """How many shards each processor has, by its own word."""
    return {each.name: int(each.metrics()["packhound_shards"]) for each in running.processes
            if each.name.startswith("p") and each.popen.poll() is None}  # fmt: skip


def test_shards_move_to_whoever_joins_and_from_whoever_leaves_and_nothing_is_lost_or_doubled(running):
    assert running.command("filter", "apply", running.filters(marked()), "--wait", "0")[0] == 0
    first = running.processor("p1")
    wire = running.wire("n1", rate=1000)
    running.sensor("n1", wire, "--wait-for-plan", "60")
    until(lambda: owners(running) == {"p1": 16}, what="p1 has all")
    running.processor("p2")
    until(lambda: owners(running) == {"p1": 8, "p2": 8}, what="each has half", every=0.2)
    until(lambda: wire.sent > 3000)
    assert first.stop() == 0
    until(lambda: owners(running) == {"p2": 16}, what="p2 has all", every=0.2)
    sensor, second = running.processes[1:3]
    wire.write(500)
    sent = wire.end()
    assert sensor.popen.wait(30) == 0  # the pipe ended, everything was delivered
    until(lambda: running.books().sensor("n1").recorded == sent, what="all settled", every=0.2)
    assert second.stop() == 0
    found = ids(running.out("p1"), running.out("p2"))
    assert found == Counter({(1, number): 1 for number in range(1, sent + 1)})
    assert all(ids(running.out(name)) for name in ("p1", "p2"))
    account = running.books().sensor("n1")
    assert (account.recorded, account.duplicates_dropped, account.lost) == (sent, 0, {})


