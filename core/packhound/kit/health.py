"""Health and metrics over HTTP: `/livez`, `/readyz`, `/startupz`, `/metrics`.

Promise: one thread of its own, a request at a time each with a deadline; answers only GET of these paths. A probe is a
function that returns the reasons against it, none when all is well; they are sentences of ours.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from packhound.kit.errors import from_os
from packhound.kit.metrics import CONTENT_TYPE

Probe = Callable[[], list[str]]
DEADLINE = 5.0


class HealthServer:
    """Serves until closed. `probes`: `livez`, `readyz`, `startupz`; a probe that raises is a reason of its own.

    Raises BadInput or NotPermitted when the address cannot be used.
    """

    def __init__(self, address: tuple[str, int], *, probes: Mapping[str, Probe], metrics: Callable[[], bytes]) -> None:
        handler = type("Handler", (_Handler,), {"probes": dict(probes), "metrics": staticmethod(metrics)})
        try:
            self._server = (_Both if ":" in address[0] else ThreadingHTTPServer)(address, handler)
        except OSError as error:
            raise from_os(error, what=f"cannot serve health and metrics on {address[0]}:{address[1]}") from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port in use (of interest where 0 was asked for)."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(DEADLINE)


class _Both(ThreadingHTTPServer):
    """On an IPv6 address; `::` is every address of both kinds."""

    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class _Handler(BaseHTTPRequestHandler):
    probes: Mapping[str, Probe] = {}
    metrics: Callable[[], bytes]
    timeout = DEADLINE
    server_version = "packhound"
    sys_version = ""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0].strip("/")
        if path == "metrics":
            self._answer(200, type(self).metrics(), CONTENT_TYPE)
            return
        probe = self.probes.get(path)
        if probe is None:
            self._answer(404, b"no such page\n", "text/plain")
            return
        try:
            reasons = probe()
        except Exception as error:  # a probe that breaks is bad news, not the end of the server
            reasons = [f"the probe itself failed: {type(error).__name__}"]
        body = json.dumps({"ok": not reasons, "reasons": reasons}).encode() + b"\n"
        self._answer(503 if reasons else 200, body, "application/json")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        return
