"""Admission over HTTPS, and the certificate that it serves with.

Promise: answers POST /validate and nothing else, each request with a deadline, whether or not this replica leads. A
certificate is taken into use without a restart; what cannot be had from the API is tried again, and the last one stays.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import json
import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from packhound.kit import logs
from packhound.kit.errors import BadInput, from_os
from packhound.operator.admission import review
from packhound.operator.certificates import Bundle, renewed
from packhound.operator.cluster import Cluster
from packhound.operator.errors import ClusterError, Conflict, Missing
from packhound.operator.kinds import SECRET, WEBHOOKS, Ref

PATH = "/validate"
MAX_BODY = 16 << 20
DEADLINE = 10.0
LOOK_EVERY = 600.0
LOOK_SOON = 5.0
log = logs.logger("webhook")


class WebhookServer:
    """Serves until closed; handshakes fail before the first `use`. Raises BadInput or NotPermitted when the address
    cannot be used."""

    def __init__(self, address: tuple[str, int], *, clock: Callable[[], int] = time.time_ns) -> None:
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.minimum_version = ssl.TLSVersion.TLSv1_2
        handler = type("Handler", (_Handler,), {"clock": staticmethod(clock), "tls": self._tls, "counts": {}})
        self.counts: dict[str, int] = handler.counts  # type: ignore[attr-defined]
        try:
            self._server = (_Both if ":" in address[0] else _Server)(address, handler)
        except OSError as error:
            raise from_os(error, what=f"cannot serve admission on {address[0]}:{address[1]}") from error
        self.ready = False
        self._thread = threading.Thread(target=self._server.serve_forever, name="webhook", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port in use (of interest where 0 was asked for)."""
        return int(self._server.server_address[1])

    def use(self, cert: bytes, key: bytes) -> None:
        """Serve with this certificate (PEM) from the next handshake on. Raises BadInput when it is none."""
        with tempfile.NamedTemporaryFile("wb", prefix="packhound-", suffix=".pem") as file:  # readable by us alone
            file.write(cert + b"\n" + key)
            file.flush()
            try:
                self._tls.load_cert_chain(file.name)
            except ssl.SSLError as error:
                raise BadInput(f"the webhook's certificate cannot be used: {error.reason or 'not PEM'}") from None
        self.ready = True

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(DEADLINE)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        return  # a client that went away, or spoke no TLS


class _Both(_Server):
    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


class _Handler(BaseHTTPRequestHandler):
    clock: Callable[[], int]
    tls: ssl.SSLContext
    counts: dict[str, int]
    protocol_version = "HTTP/1.1"
    server_version = "packhound"
    sys_version = ""
    timeout = DEADLINE

    def setup(self) -> None:
        self.request.settimeout(DEADLINE)
        self.request = self.tls.wrap_socket(self.request, server_side=True)  # here, so that one client delays no other
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            self._answer(413, {})
            return
        body = self.rfile.read(int(length))
        if self.path.partition("?")[0] != PATH:
            self._answer(404, {})
            return
        try:
            asked = json.loads(body)
            if not isinstance(asked, dict):
                raise ValueError
        except (ValueError, RecursionError):
            self._answer(400, {})
            return
        answer = review(asked, now=type(self).clock())
        verdict = "allowed" if answer["response"]["allowed"] else "refused"
        self.counts[verdict] = self.counts.get(verdict, 0) + 1
        self._answer(200, answer)

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        if status != 200:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        return


async def follow_files(server: WebhookServer, cert: Path, key: Path) -> None:
    """Serve with the certificate in files (cert-manager writes them), and with what they become; until cancelled."""
    seen = b""
    while True:
        try:
            pair = await asyncio.to_thread(lambda: (cert.read_bytes(), key.read_bytes()))
            if b"".join(pair) != seen:
                server.use(*pair)
                seen = b"".join(pair)
        except (OSError, BadInput) as error:
            log.warning("the webhook's certificate cannot be read", reason=str(error))
        await asyncio.sleep(LOOK_SOON if not seen else 60.0)


class Sealing:
    """A certificate of our own making, shared by replicas through a Secret; its authority goes into the
    ValidatingWebhookConfiguration `configuration` (empty: nowhere)."""

    def __init__(
        self, cluster: Cluster, server: WebhookServer, *, secret: Ref, names: list[str], configuration: str
    ) -> None:
        self._cluster, self._server, self._secret, self._names = cluster, server, secret, names
        self._configuration = configuration
        self._serving = b""

    async def run(self) -> None:
        """Keep it good until cancelled."""
        while True:
            wait = LOOK_EVERY
            try:
                bundle = await self._bundle()
                if bundle.cert != self._serving:
                    self._server.use(bundle.cert, bundle.key)
                    self._serving = bundle.cert
                await self._tell(bundle.ca)
            except Conflict:
                wait = 0.1  # another replica was faster: take what it made
            except (ClusterError, BadInput) as error:
                log.warning("the webhook's certificate cannot be kept", reason=error.reason)
                wait = LOOK_SOON
            await asyncio.sleep(wait)

    async def _bundle(self) -> Bundle:
        try:
            raw = await self._cluster.get(self._secret)
        except Missing:
            raw = None
        had = Bundle.of_data((raw or {}).get("data") or {})
        fresh = await asyncio.to_thread(renewed, had, self._names, now=dt.datetime.now(dt.UTC))
        if fresh is None:
            assert had is not None
            return had
        made = {
            "apiVersion": SECRET.api_version, "kind": SECRET.name, "type": (raw or {}).get("type", "Opaque"),
            "metadata": (raw or {}).get("metadata") or {"name": self._secret.name, "namespace": self._secret.namespace},
            "data": {**((raw or {}).get("data") or {}), **fresh.as_data()},
        }  # fmt: skip
        await (self._cluster.create(made) if raw is None else self._cluster.replace(made))
        log.info("made a certificate for the webhook", names=", ".join(self._names))
        return fresh

    async def _tell(self, ca: bytes) -> None:
        """Put the authority where the API server looks for it."""
        if not self._configuration:
            return
        ref, text = Ref(WEBHOOKS, "", self._configuration), base64.b64encode(ca).decode()
        with contextlib.suppress(Missing):
            found = (await self._cluster.get(ref)).get("webhooks") or []
            steps: list[dict[str, Any]] = []
            for at, each in enumerate(found):
                if (each.get("clientConfig") or {}).get("caBundle") != text:
                    steps.append({"op": "test", "path": f"/webhooks/{at}/name", "value": each["name"]})
                    steps.append({"op": "add", "path": f"/webhooks/{at}/clientConfig/caBundle", "value": text})
            if steps:
                await self._cluster.patch(ref, steps)

