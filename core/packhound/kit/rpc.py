"""gRPC: servers and channels with mutual TLS 1.3, whose certificates are read again when their files change.

Promise: the only door to grpc (generated stubs beside). Without certificates only loopback is served, in clear. Peers
are told apart by the common name of their certificate. One event loop.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from packhound.kit.errors import BadInput, Usage, from_os

# The C core has no switch for the lowest version. Where TLS 1.2 may use none but pre-shared keys, which nobody here
# has, it can agree on nothing: only TLS 1.3, whose suites this does not name, is left.
os.environ.setdefault("GRPC_SSL_CIPHER_SUITES", "PSK-AES128-CBC-SHA")

MAX_MESSAGE = 4 << 20
KEEPALIVE = (
    ("grpc.keepalive_time_ms", 10_000), ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1), ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.max_send_message_length", MAX_MESSAGE),
)  # fmt: skip
_SERVER = (*KEEPALIVE, ("grpc.http2.min_ping_interval_without_data_ms", 5_000), ("grpc.so_reuseport", 0))
RpcError = grpc.aio.AioRpcError
StatusCode = grpc.StatusCode


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: our key and chain, and the authorities whose certificates a peer must show."""

    chain: Path
    key: Path
    authorities: Path

    def read(self) -> tuple[bytes, bytes, bytes]:
        """Chain, key and authorities as they are now. Raises BadInput or NotPermitted naming the file."""
        try:
            found = self.chain.read_bytes(), self.key.read_bytes(), self.authorities.read_bytes()
        except OSError as error:
            raise from_os(error, what="cannot read certificate") from error
        for data, path in zip(found, (self.chain, self.key, self.authorities), strict=True):
            if b"-----BEGIN " not in data:
                raise BadInput(f"{path} is not a PEM file")
        return found

    def stamp(self) -> tuple[tuple[int, int, int], ...]:
        """What changes when a file does."""
        rows = [os.stat(path) for path in (self.chain, self.key, self.authorities)]
        return tuple((row.st_mtime_ns, row.st_size, row.st_ino) for row in rows)


def certificates(chain: Path | None, key: Path | None, authorities: Path | None) -> Certificates | None:
    """All three files, or None when none is given. Raises Usage when some are."""
    given = (chain, key, authorities)
    if not any(given):
        return None
    if chain is None or key is None or authorities is None:
        raise Usage("TLS needs all three: certificate, key and authorities (ca)")
    return Certificates(chain, key, authorities)


def new_server(listen: str, *, tls: Certificates | None, client_certificates: bool = True) -> tuple[Any, int]:
    """A server that listens on `listen` (host:port, port 0: any free one), not started; and its port.

    Raises Usage for an address without TLS that is not loopback, BadInput for one that cannot be used.
    """
    server = grpc.aio.server(options=_SERVER)
    try:
        if tls is None:
            _refuse_open(listen)
            port = server.add_insecure_port(listen)
        else:
            port = server.add_secure_port(listen, _server_credentials(tls, client_certificates))
    except RuntimeError as error:
        raise BadInput(f"cannot listen on {listen}: {error}") from error
    if not port:
        raise BadInput(f"cannot listen on {listen}")
    return server, port


def _refuse_open(listen: str) -> None:
    host = listen.rpartition(":")[0].strip("[]")
    try:
        safe = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        safe = False
    if not safe and not listen.startswith("unix:"):
        raise Usage(f"{listen} would be served without TLS: give a certificate, or listen on loopback")


def _server_credentials(tls: Certificates, client_certificates: bool) -> Any:
    seen = tls.stamp()

    def configuration() -> Any:
        chain, key, authorities = tls.read()
        return grpc.ssl_server_certificate_configuration([(key, chain)], authorities)

    def fetch() -> Any:
        """Called for every handshake; None keeps what is in force, so a half-written file does no harm."""
        nonlocal seen
        try:
            now = tls.stamp()
            if now == seen:
                return None
            fresh = configuration()
        except (OSError, BadInput):
            return None
        seen = now
        return fresh

    return grpc.dynamic_ssl_server_credentials(configuration(), fetch, client_certificates)


def new_channel(target: str, *, tls: Certificates | None, name: str = "") -> Any:
    """A channel to `target` (host:port); `name`: what its certificate must be for, when not the host.

    With certificates they are read now: open a new channel to use newer ones (`Certificates.stamp` tells).
    """
    if tls is None:
        _refuse_open(target)
        direct = (("grpc.enable_http_proxy", 0),)  # this host, whatever proxy the environment names
        return grpc.aio.insecure_channel(target, options=(*KEEPALIVE, *direct))
    chain, key, authorities = tls.read()
    options = (*KEEPALIVE, ("grpc.ssl_target_name_override", name)) if name else KEEPALIVE
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(authorities, key, chain), options=options)


def peer_name(context: Any) -> str:
    """Common name of the certificate that the caller showed; empty without one."""
    names = context.auth_context().get("x509_common_name") or [b""]
    return str(names[0].decode("utf-8", "replace"))


def bearer(context: Any) -> str:
    """The token of the caller's `authorization: Bearer` metadata; empty without one."""
    for key, value in context.invocation_metadata() or ():
        if key == "authorization" and isinstance(value, str) and value[:7].lower() == "bearer ":
            return value[7:].strip()
    return ""


def token_check(path: Path | None) -> Callable[[str], bool]:
    """A check of tokens against those of a file (one a line, read at each check so that it can be changed); without a
    file none passes. Compares in constant time."""

    def check(token: str) -> bool:
        if path is None or not token:
            return False
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return False
        found = [hmac.compare_digest(token.encode(), line.strip().encode()) for line in lines if line.strip()]
        return any(found)

    return check
