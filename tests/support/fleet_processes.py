"""A fleet on this host as real processes: sensors that read pipes, processors, a broker; what they say and record."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import signal
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from packhound.processor.shared.sqlite import SqliteState
from packhound.wire.books import Books
from tests.support.capture_files import pcap_header
from tests.support.hunting import Recorded, recorded, write_filters
from tests.support.objects import hunt_filter

PACKHOUND = (sys.executable, "-m", "packhound.console.cli")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FLEET = "t"
MARK = b"PHTEST!"
WAIT = 60.0  #: seconds: nothing takes so long but on a machine that is overloaded


def marked(name: str = "marked", **spec: Any) -> dict[str, Any]:
    """The filter for the packets of a `Wire`."""
    return hunt_filter(name, pcapFilter="udp dst port 7777", **spec)


def until(holds: Callable[[], Any], *, within: float = WAIT, what: str = "", every: float = 0.05) -> Any:
    """Wait until `holds()` gives something true, which is given on; what it raises meanwhile does not count."""
    deadline, last = time.monotonic() + within, None
    while time.monotonic() < deadline:
        try:
            if found := holds():
                return found
        except (OSError, KeyError, IndexError, ValueError, AssertionError) as error:
            last = error
        time.sleep(every)
    raise AssertionError(f"never came about: {what or holds} ({last})")


class Process:
    """A packhound process. `rows`: what it logged; `port` of its health server; it dies with the test."""

    def __init__(self, folder: Path, name: str, words: Sequence[object], environ: dict[str, str], *, code: str = "") -> None:
        self.name, self.log = name, folder / f"{name}.log"
        command = [sys.executable, "-c", code, *map(str, words)] if code else [*PACKHOUND, *map(str, words)]
        self.out = folder / f"{name}.out"
        with self.log.open("ab") as log, self.out.open("ab") as out:
            self.popen = subprocess.Popen(
                command, env={**os.environ, "PACKHOUND_LOG_FORMAT": "json", **environ}, stdin=subprocess.DEVNULL,
                stdout=out, stderr=log, start_new_session=True,
            )  # fmt: skip
        atexit.register(self.kill)

    @property
    def rows(self) -> list[dict[str, Any]]:
        lines = self.log.read_text("utf-8", "replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def said(self, event: str, **fields: Any) -> dict[str, Any] | None:
        """The last thing of that kind that it logged."""
        found = [row for row in self.rows if row["event"] == event and fields.items() <= row.items()]
        return found[-1] if found else None

    def port(self, part: str = "health") -> int:
        """The port on which its health, or its `processor` gRPC, is served."""

        def listening() -> dict[str, Any] | None:
            found = self.said("listening", part=part)
            if found is None and self.popen.poll() is not None:
                tail = self.log.read_text("utf-8", "replace")[-2000:]
                raise RuntimeError(f"{self.name} ended with {self.popen.returncode} before it listened:\n{tail}")
            return found

        return int(until(listening, what=f"{self.name} listens")["port"])

    def get(self, page: str) -> tuple[int, str]:
        """A page of its health server."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port()}/{page}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def probe(self, page: str) -> tuple[int, list[str]]:
        code, text = self.get(page)
        return code, json.loads(text)["reasons"]

    def metrics(self) -> dict[str, float]:
        """Every series by `name{labels}`."""
        lines = [line for line in self.get("metrics")[1].splitlines() if line and not line.startswith("#")]
        return {series: float(value) for series, _, value in (line.rpartition(" ") for line in lines)}

    def send(self, number: int) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        atexit.unregister(self.kill)
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(10)

    def stop(self, number: int = signal.SIGTERM, *, within: float = WAIT) -> int:
        """Ask it to end; its exit code."""
        if self.popen.poll() is None:
            self.send(number)
        return self.popen.wait(within)


class Wire:
    """A pipe into which numbered packets are written; the sensor that reads it sees a capture without end. `flows` tell
    how many conversations the packets belong to. Nothing is written before `rate` is above 0 (packets a second)."""

    def __init__(self, path: Path, *, host: int = 1, flows: int = 24, rate: float = 0.0, size: int = 200) -> None:
        self.path, self.host, self.flows, self.rate, self.size = path, host, flows, rate, size
        self.sent = 0
        self._ended = threading.Event()
        os.mkfifo(path)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(BrokenPipeError, OSError), self.path.open("wb", buffering=0) as pipe:
            pipe.write(pcap_header(magic=0xA1B23C4D))
            due = 0.0
            while not self._ended.wait(0.01):
                due = min(due + self.rate * 0.01, self.rate) if self.rate else 0.0
                lot = int(due)
                due -= lot
                if lot:
                    pipe.write(b"".join(self._record(self.sent + n + 1) for n in range(lot)))
                    self.sent += lot

    def _record(self, number: int) -> bytes:
        data = numbered(self.host, number, flow=number % self.flows, size=self.size)
        now = time.time_ns()
        return struct.pack("<IIII", now // 10**9, now % 10**9, len(data), len(data)) + data

    def write(self, count: int, *, within: float = WAIT) -> int:
        """Have about `count` more written; how many were since the start."""
        goal = self.sent + count
        self.rate = max(self.rate, count / 0.5)
        until(lambda: self.sent >= goal, within=within, what="packets written")
        self.rate = 0.0
        return self.sent

    def end(self) -> int:
        """End the capture; how many packets were written. A sensor that was never there is not waited for."""
        self._ended.set()
        with contextlib.suppress(OSError):
            os.close(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK))
        self._thread.join(5)
        return self.sent


class Line:
    """A pipe for frames that are given one by one, stamped with the time at which they are."""

    def __init__(self, path: Path) -> None:
        self.path = path
        os.mkfifo(path)
        self._frames: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with contextlib.suppress(BrokenPipeError, OSError), self.path.open("wb", buffering=0) as pipe:
            pipe.write(pcap_header(magic=0xA1B23C4D))
            while (data := self._frames.get()) is not None:
                pipe.write(data)

    def put(self, *frames: bytes) -> None:
        """Let frames come by."""
        for data in frames:
            now = time.time_ns()
            self._frames.put(struct.pack("<IIII", now // 10**9, now % 10**9, len(data), len(data)) + data)

    def end(self) -> None:
        """End the capture."""
        self._frames.put(None)
        with contextlib.suppress(OSError):
            os.close(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK))
        self._thread.join(5)


def numbered(host: int, number: int, *, flow: int = 0, size: int = 200) -> bytes:
    """A UDP packet to port 7777 that says who made it and which it is."""
    body = MARK + struct.pack(">HQ", host, number) + bytes(size)
    udp = struct.pack(">HHHH", 20000 + flow, 7777, 8 + len(body), 0) + body
    ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), number & 0xFFFF, 0x4000, 64, 17, 0,
                     bytes((10, host, 0, flow)), bytes((10, 200, 0, 1)))  # fmt: skip
    return bytes(12) + b"\x08\x00" + ip + udp


def ids(*folders: Path) -> Counter[tuple[int, int]]:
    """(host, number) of every packet in the recordings of these folders, files per call left aside."""
    found: Counter[tuple[int, int]] = Counter()
    for packet in packets(*folders):
        at = packet.data.find(MARK)
        if at >= 0:
            found[struct.unpack_from(">HQ", packet.data, at + len(MARK))] += 1
    return found


def packets(*folders: Path, calls: bool = False) -> list[Recorded]:
    """Every packet that was published below these folders, in files per call or in the others."""
    paths = [path for folder in folders for path in sorted((folder / "recordings").rglob("*.pcapng"))]
    return [each for path in paths if ("calls" in path.parts) is calls and path.name[0] != "." for each in recorded(path)]


class Fleet:
    """Processes below `folder`, which share `nats` (empty: no broker) and a SQLite file. `more`: variables of all."""

    def __init__(self, folder: Path, *, nats: str = "", more: dict[str, str] | None = None) -> None:
        self.folder, self.nats = folder, nats
        self.shared = folder / "shared.sqlite"
        self.environ = {
            "PACKHOUND_FLEET_NAME": FLEET, "PACKHOUND_NATS_URLS": nats, "PACKHOUND_TELEMETRY_LISTEN": "127.0.0.1:0",
            **(more or {}),
        }  # fmt: skip
        self.processes: list[Process] = []
        self.wires: list[Wire | Line] = []

    def wire(self, name: str, **options: Any) -> Wire:
        made = Wire(self.folder / f"{name}.pipe", **options)
        self.wires.append(made)
        return made

    def line(self, name: str) -> Line:
        made = Line(self.folder / f"{name}.pipe")
        self.wires.append(made)
        return made

    def start(self, name: str, *words: object, code: str = "", **environ: object) -> Process:
        more = {f"PACKHOUND_{key.upper()}": str(value) for key, value in environ.items()}
        made = Process(self.folder, name, words, self.environ | {"PACKHOUND_FLEET_NODE": name} | more, code=code)
        self.processes.append(made)
        return made

    def sensor(self, name: str, source: Path | Wire | Line, *words: object, code: str = "", **environ: object) -> Process:
        where = source if isinstance(source, Path) else source.path
        return self.start(name, "sensor", "-r", where, "--spool", self.folder / name / "spool", *words, code=code, **environ)

    def processor(self, name: str, *words: object, code: str = "", **environ: object) -> Process:
        environ = {"shared_sqlite": self.shared, "output_out": self.out(name)} | environ
        return self.start(name, "processor", *words, code=code, **environ)

    def out(self, name: str) -> Path:
        return self.folder / name / "out"

    def filters(self, *filters: dict[str, Any], name: str = "filters.yaml") -> Path:
        return write_filters(self.folder / name, *filters)

    def command(self, *words: object) -> tuple[int, str, str]:
        """A command of a person, in a process of its own: exit code, standard output, standard error."""
        done = subprocess.run(
            [*PACKHOUND, *map(str, words)], env={**os.environ, **self.environ}, capture_output=True, text=True, timeout=60
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def ask(self, *words: object) -> Any:
        """A command that works, as JSON."""
        code, out, err = self.command(*words, "--json")
        assert code == 0, (words, out, err)
        return json.loads(out)

    def books(self) -> Books:
        """The processors' side, of all sensors and epochs."""
        from packhound.processor.shared.entries import books_of

        with contextlib.closing(SqliteState(self.shared)) as state:
            return books_of(state.books())

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self.processes:
            each.kill()
        for wire in self.wires:
            wire.end()


@contextlib.contextmanager
def fleet(folder: Path, **options: Any) -> Iterator[Fleet]:
    """A fleet for a block."""
    folder.mkdir(exist_ok=True)
    with Fleet(folder, **options) as made:
        yield made
