"""A real redis-server of a test's own: free port, appended to a file; killed, restarted, made to hang."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

BINARY = shutil.which("redis-server")
STARTED = 10.0

needs_redis = pytest.mark.skipif(BINARY is None, reason="needs redis-server")


class RedisServer:
    """Started by `start`. Every write is on disk before it is answered, as in the fleets that we set up."""

    def __init__(self, folder: Path, *, password: str = "", host: str = "127.0.0.1") -> None:
        self.folder, self.password, self.host = folder, password, host
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        atexit.register(self.kill)

    @property
    def url(self) -> str:
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}{self.host}:{self.port}/0"

    def start(self) -> RedisServer:
        """Start and wait until it answers; a port that somebody else took meanwhile is no reason to fail."""
        assert self.process is None or self.process.poll() is not None, "it runs"
        for _ in range(1 if self.port else 5):
            port = self.port or _free_port(self.host)
            self._launch(port)
            if self._wait(port):
                self.port = port
                return self
            self.kill()
        raise AssertionError(f"redis-server did not start:\n{self.log[-2000:]}")

    def _launch(self, port: int) -> None:
        assert BINARY is not None
        command = [
            BINARY, "--bind", self.host, "--port", str(port), "--dir", str(self.folder), "--save", "",
            "--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no",
            "--logfile", str(self.folder / "redis.log"), "--maxmemory-policy", "noeviction",
        ]  # fmt: skip
        if self.password:
            command += ["--requirepass", self.password]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def _wait(self, port: int) -> bool:
        deadline = time.monotonic() + STARTED
        assert self.process is not None
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((self.host, port), timeout=1) as made:
                made.sendall(b"PING\r\n")
                answer = made.recv(64)
                if answer.startswith((b"+PONG", b"-NOAUTH")):
                    return True
            time.sleep(0.02)
        return False

    @property
    def log(self) -> str:
        return (self.folder / "redis.log").read_text(errors="replace")

    def signal(self, number: int) -> None:
        """STOP and CONT make it hang and go on."""
        assert self.process is not None
        os.kill(self.process.pid, number)

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

    def restart(self, *, empty: bool = False, kill: bool = True) -> RedisServer:
        """End and start again on the same port, `empty` without anything that it had stored."""
        (self.kill if kill else self.stop)()
        if empty:
            for each in self.folder.glob("appendonlydir/*"):
                each.unlink()
        return self.start()


@contextlib.contextmanager
def redis_server(folder: Path, *, password: str = "") -> Iterator[RedisServer]:
    """A server for a block."""
    server = RedisServer(folder, password=password)
    try:
        yield server.start()
    finally:
        server.kill()
        atexit.unregister(server.kill)


def _free_port(host: str) -> int:
    with socket.socket() as made:
        made.bind((host, 0))
        return int(made.getsockname()[1])
