"""`packhound up`: a whole fleet on this machine, to try it: broker, sensors, processors, each a process.

Promise: everything it starts ends with it; Ctrl-C stops sensors first, then lets processors finish what the broker
holds, then stops the rest and gives the books (a second Ctrl-C waits for nothing). A child that dies is told of and
started again. Bad filters end it before anything is started.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from packhound.fleet.permissions import Role
from packhound.kit.errors import FAULT, OK, Stop, Usage
from packhound.processor.shared.state import Unavailable
from packhound.run import account, fleet, local, processing, show
from packhound.run.local import Child, Nats
from packhound.run.options import Options
from packhound.wire.books import Books

POLL = 0.2
RESTART_AFTER = 1.0
DRAIN_SECONDS = 60.0
HURRY = 2  #: signals after which nothing is waited for
SQLITE = "shared.sqlite"


@dataclass(frozen=True, slots=True)
class UpSettings:
    """What to run: sensors by capture files or interfaces (one each), processors, shared state by Redis where there is
    one; stop by itself once every file was read and delivered."""

    read: Sequence[str] = ()
    interfaces: Sequence[str] = ()
    processors: int = 2
    redis: bool = True
    filters: Sequence[Path] = ()
    otlp: str = ""
    once: bool = False
    json: bool = False


@dataclass(slots=True)
class _Role:
    name: str
    command: list[str]
    environ: dict[str, str]
    where: str
    child: Child | None = None
    restarts: int = 0
    ended: bool = False
    next_start: float = 0.0


class Up:
    """One local fleet below `folder`."""

    def __init__(self, folder: Path, options: Options, settings: UpSettings) -> None:
        if not settings.read and not settings.interfaces:
            raise Usage("give sensors something to capture: -r FILE (or several), or -i INTERFACE (or several)")
        self._folder, self._options, self._settings = folder, options, settings
        folder.mkdir(0o700, parents=True, exist_ok=True)
        self._nats: Nats | None = None
        self._redis: Child | None = None
        self._roles: list[_Role] = []
        self._stop = 0

    def run(self) -> int:
        """Start, watch, stop; the exit code."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._signalled)
        sources = [*self._settings.read, *self._settings.interfaces]
        sensors = [f"sensor-{n}" for n in range(1, len(sources) + 1)]
        processors = [f"processor-{n}" for n in range(1, self._settings.processors + 1)]
        users: list[tuple[Role, str]] = [("sensor", each) for each in sensors]
        users += [("processor", each) for each in processors]
        users += [("publisher", "cli"), ("viewer", "cli")]
        filters = fleet.objects_of(self._settings.filters) if self._settings.filters else []
        try:
            self._nats = local.start_nats(self._folder, fleet=self._options.fleet.name, users=users)
            self._redis = local.start_redis(self._folder) if self._settings.redis else None
            self._roles = [self._processor(name) for name in processors]
            if filters:
                fleet.at_desk(self._cli(), lambda desk: desk.put(filters, wait=0))
            self._roles += [self._sensor(name, source) for name, source in zip(sensors, sources, strict=True)]
            self._tell()
            self._watch()
            return self._drain()
        finally:
            for role in self._roles:
                if role.child is not None and role.child.alive:
                    role.child.end()
            for child in (self._redis, self._nats.child if self._nats else None):
                if child is not None:
                    child.end()

    def _signalled(self, number: int, frame: object) -> None:
        self._stop += 1

    # what runs -------------------------------------------------------------------------------------------------------

    def _environ(self, role: Role, node: str) -> dict[str, str]:
        assert self._nats is not None
        login = self._nats.logins[role, node]
        found = {
            "PACKHOUND_FLEET_NAME": self._options.fleet.name, "PACKHOUND_FLEET_NODE": node,
            "PACKHOUND_FLEET_SHARDS": str(self._options.fleet.shards), "PACKHOUND_NATS_URLS": self._nats.url,
            "PACKHOUND_NATS_USER_FILE": str(login.user), "PACKHOUND_NATS_PASSWORD_FILE": str(login.password),
            "PACKHOUND_TELEMETRY_OTLP": self._settings.otlp, "PACKHOUND_LOG_FORMAT": "human",
        }  # fmt: skip
        return {name: value for name, value in found.items() if value}

    def _cli(self) -> Options:
        """The settings of a person at this fleet."""
        assert self._nats is not None
        given, login = self._options, self._nats.logins["publisher", "cli"]
        nats = given.nats.model_copy(
            update={"urls": (self._nats.url,), "user_file": login.user, "password_file": login.password}
        )
        shared = given.shared.model_copy(
            update={"redis": self._redis.where if self._redis else "", "sqlite": self._folder / SQLITE}
        )
        telemetry = given.telemetry.model_copy(update={"otlp": self._settings.otlp})
        return given.model_copy(update={"nats": nats, "shared": shared, "telemetry": telemetry})

    def _start(self, name: str, role: Role, node: str, words: list[str], more: dict[str, str], where: str) -> _Role:
        command = [sys.executable, "-m", "packhound.console.cli", *words]
        made = _Role(name, command, {**self._environ(role, node), **more}, where)
        made.child = local.start(name, command, folder=self._folder, where=where, environ=made.environ)
        return made

    def _sensor(self, name: str, source: str) -> _Role:
        flag = "-r" if source in self._settings.read else "-i"
        more = {"PACKHOUND_SPOOL_DIR": str(self._folder / name / "spool")}
        words = ["sensor", flag, source, *(["--wait-for-plan", "10"] if flag == "-r" else [])]
        return self._start(name, "sensor", name, words, more, f"{flag} {source}")

    def _processor(self, name: str) -> _Role:
        out = self._folder / name
        more = {"PACKHOUND_OUTPUT_OUT": str(out)}
        if self._settings.once:
            more["PACKHOUND_FLEET_FINISH_CALLS"] = "true"
        if self._redis is not None:
            more["PACKHOUND_SHARED_REDIS"] = self._redis.where
        else:
            more["PACKHOUND_SHARED_SQLITE"] = str(self._folder / SQLITE)
        return self._start(name, "processor", name, ["processor"], more, f"out {out}")

    def _tell(self) -> None:
        assert self._nats is not None
        rows = [["nats-server", self._nats.child.process.pid, self._nats.url]]
        if self._redis is not None:
            rows.append(["redis-server", self._redis.process.pid, self._redis.where])
        rows += [[role.name, role.child.process.pid, role.where] for role in self._roles if role.child]
        environ = self._environ("publisher", "cli")
        if self._settings.json:
            processes = [dict(zip(("name", "pid", "where"), row, strict=True)) for row in rows]
            show.line(show.as_json({"folder": self._folder, "environment": environ, "processes": processes}))
            sys.stdout.flush()
            return
        show.table(rows, ["WHAT", "PID", "WHERE"])
        show.line()
        show.line("From another shell:")
        for name in ("PACKHOUND_NATS_URLS", "PACKHOUND_NATS_USER_FILE", "PACKHOUND_NATS_PASSWORD_FILE"):
            show.line(f"  export {name}={environ[name]}")
        show.line("  packhound filter apply examples/filters/ ; packhound sensors ; packhound topology")
        show.line(f"Logs are in {self._folder}. Ctrl-C stops everything and loses nothing.")
        sys.stdout.flush()

    # life ------------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        while not self._stop:
            time.sleep(POLL)
            for role in self._roles:
                self._look_at(role)
            sensors = [role for role in self._roles if role.name.startswith("sensor")]
            if self._settings.once and all(role.ended for role in sensors):
                return

    def _look_at(self, role: _Role) -> None:
        if role.child is None or role.child.alive or role.ended:
            return
        code = role.child.process.returncode
        if code == 0 and role.where.startswith("-r "):
            role.ended = True
            show.complain(f"{role.name} has read its file")
            return
        if not role.next_start:
            role.next_start = time.monotonic() + RESTART_AFTER
            show.complain(f"{role.name} ended with code {code} and is started again: {role.child.log}")
        elif time.monotonic() >= role.next_start:
            role.next_start, role.restarts = 0.0, role.restarts + 1
            role.child = local.start(
                role.name, role.command, folder=self._folder, where=role.where, environ=role.environ
            )

    def _drain(self) -> int:
        """Sensors first; processors end once nothing waits for them. The exit code: a fault when the books of files
        that were read to their end do not balance."""
        self._end("sensor")
        self._settle()
        try:
            statuses = fleet.at_desk(self._cli(), lambda desk: desk.statuses(), prepare=False)
        except Stop as stop:
            show.complain(f"the books are not known: {stop.reason}")
            statuses = {}
        self._end("processor")
        if not statuses:
            return OK
        with suppress(Unavailable), closing(processing.shared_state(self._cli())) as state:
            books = account.joined(statuses, state.books())
            self._give(books)
            return FAULT if self._settings.once and books.residual() else OK
        return OK

    def _end(self, prefix: str) -> None:
        mine = [r.child for r in self._roles if r.name.startswith(prefix) and r.child is not None]
        for child in mine:
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + DRAIN_SECONDS
        for child in mine:
            while not child.wait(POLL) and time.monotonic() < deadline and self._stop < HURRY:
                pass
            child.end(1.0)

    def _settle(self) -> None:
        """Wait until processors have settled all that the broker holds, for as long as it becomes less."""
        least, since = -1, time.monotonic()
        while self._stop < HURRY:
            for role in self._roles:
                if role.name.startswith("processor"):
                    self._look_at(role)
            try:
                left: int = fleet.at_desk(self._cli(), lambda desk: desk.waiting(), prepare=False)
            except Stop as stop:
                show.complain(stop.reason)
                return
            if not left:
                return
            if least < 0 or left < least:
                least, since = left, time.monotonic()
            if time.monotonic() - since > DRAIN_SECONDS:
                show.complain(f"{left} parcels stay in the broker; the next start in {self._folder} takes them")
                return
            time.sleep(POLL)

    def _give(self, books: Books) -> None:
        if self._settings.json:
            show.line(show.as_json({"books": books.as_dict()}))
            return
        rows = [
            [name, each.seen, each.matched, each.recorded, each.processed_only, each.duplicates_dropped,
             each.lost.total(), each.spooled + each.in_flight, sum(map(abs, each.residual()))]
            for name, each in sorted(books.sensors.items())
        ]  # fmt: skip
        show.line()
        show.table(rows, ("SENSOR", "SEEN", "MATCHED", "RECORDED", "PROCESSED", "TWICE", "LOST", "WAITING", "RESIDUAL"))


def run(options: Options, settings: UpSettings, *, folder: Path) -> int:
    """Run a local fleet."""
    return Up(folder, options, settings).run()

