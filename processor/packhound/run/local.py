"""The servers of a local fleet: an embedded nats-server, and Redis where there is one, as children of `packhound up`.

Promise: they listen on loopback only, their data and passwords are below the folder given and readable by its owner
alone. Each child is in a session of its own, so that Ctrl-C reaches it through us and in our order.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from packhound.fleet.permissions import Role, user
from packhound.kit.errors import BadInput

UP_WITHIN = 10.0


@dataclass(slots=True)
class Child:
    """A process of ours. `where` for people."""

    name: str
    process: subprocess.Popen[bytes]
    where: str
    log: Path

    @property
    def alive(self) -> bool:
        """It runs."""
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended; False when it has not."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def end(self, seconds: float = 5.0) -> None:
        """Ask it to end, then make it."""
        self.signal(signal.SIGTERM)
        if not self.wait(seconds):
            self.signal(signal.SIGKILL)
            self.wait(5.0)


@dataclass(slots=True)
class Login:
    """Files that hold a user's name and password for the broker."""

    user: Path
    password: Path


@dataclass(slots=True)
class Nats:
    """The broker: its child, address, and logins by (role, node)."""

    child: Child
    url: str
    logins: dict[tuple[str, str], Login] = field(default_factory=dict)


def start(
    name: str, command: Sequence[str], *, folder: Path, where: str = "", environ: dict[str, str] | None = None
) -> Child:
    """Start a child whose output goes to `folder`/`name`.log. Raises BadInput when it cannot be started."""
    log = folder / f"{name}.log"
    try:
        with log.open("ab") as out:
            process = subprocess.Popen(  # noqa: S603 - our own programs, no shell
                list(command), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, **(environ or {})},
            )  # fmt: skip
    except OSError as error:
        raise BadInput(f"cannot start {name}: {error.strerror or error}") from error
    return Child(name, process, where, log)


def free_port() -> int:
    """A port of loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def find(program: str) -> str | None:
    """A program beside our Python, else on the PATH."""
    beside = Path(sys.executable).with_name(program)
    return str(beside) if beside.exists() else shutil.which(program)


def start_nats(folder: Path, *, fleet: str, users: Sequence[tuple[Role, str]], port: int = 0) -> Nats:
    """A nats-server with JetStream on files and one user a process. Raises BadInput."""
    program = find("nats-server")
    if program is None:
        raise BadInput("nats-server is not installed", notes=("pip install 'packhound[local]', or give --nats URL",))
    port = port or free_port()
    logins: dict[tuple[str, str], Login] = {}
    rows = []
    keys = folder / "keys"
    keys.mkdir(0o700, parents=True, exist_ok=True)
    for role, node in users:
        login = _login(keys, role, node)
        logins[role, node] = login
        rows.append(user(role, fleet, node, name=login.user.read_text(), password=login.password.read_text()))
    config = folder / "nats.json"
    _private(config, json.dumps({
        "listen": f"127.0.0.1:{port}", "server_name": f"packhound-{fleet}", "max_payload": 1 << 20,
        "jetstream": {"store_dir": str(folder / "nats"), "max_file_store": 16 << 30, "max_memory_store": 64 << 20},
        "authorization": {"users": rows},
    }))  # fmt: skip
    child = start("nats-server", [program, "-c", str(config)], folder=folder, where=f"nats://127.0.0.1:{port}")
    _await_port(child, port)
    return Nats(child, f"nats://127.0.0.1:{port}", logins)


def _login(keys: Path, role: str, node: str) -> Login:
    """The login of a process, the same as last time in the same folder."""
    stem = f"{role}-{node}".replace("/", "_")
    login = Login(keys / f"{stem}.user", keys / f"{stem}.password")
    if not login.password.exists():
        _private(login.user, f"{role}-{node}")
        _private(login.password, secrets.token_urlsafe(24))
    return login


def _private(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)


def start_redis(folder: Path) -> Child | None:
    """A Redis that writes every change to its log; None where it is not installed."""
    program = find("redis-server")
    if program is None:
        return None
    data = folder / "redis"
    data.mkdir(0o700, exist_ok=True)
    port = free_port()
    child = start(
        "redis-server",
        [program, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(data), "--appendonly", "yes",
         "--appendfsync", "always", "--save", "", "--daemonize", "no"],
        folder=folder, where=f"redis://127.0.0.1:{port}/0",
    )  # fmt: skip
    _await_port(child, port)
    return child


def _await_port(child: Child, port: int) -> None:
    deadline = time.monotonic() + UP_WITHIN
    while time.monotonic() < deadline:
        if not child.alive:
            break
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
            return
        time.sleep(0.05)
    child.end(1.0)
    tail = child.log.read_text("utf-8", "replace").splitlines()[-3:] if child.log.exists() else []
    raise BadInput(f"{child.name} did not come up", notes=(*tail, f"its output: {child.log}"))
