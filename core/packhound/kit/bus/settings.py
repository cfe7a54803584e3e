"""How to reach a broker: addresses, credentials and certificates, read from files at every attempt to connect.

Promise: secrets are held no longer than an attempt, are never in a `repr`, and a file that was replaced is in force
from the next attempt on. TLS 1.2 or newer, certificates always verified.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from packhound.kit.errors import Usage, from_os
from packhound.kit.retry import RetryPolicy

MAX_SECRET = 64 << 10
_URL = re.compile(r"(nats|tls)://[^\s@/]+", re.ASCII)
_INBOX = re.compile(r"[^\s.*>]+(\.[^\s.*>]+)*")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files: `ca` that signed the broker's certificate (empty: those of the system), `cert` and `key` of ours
    (empty: none). `hostname` that the broker's certificate must have, when it is not that of the address."""

    ca: str = ""
    cert: str = ""
    key: str = ""
    hostname: str = ""


@dataclass(frozen=True, slots=True)
class BusSettings:
    """`urls`: `nats://HOST:PORT` or `tls://HOST:PORT`; `name` as the broker shows it. Credentials, at most one kind:
    `credentials` (a NATS .creds file), `token_file`, or a user (`user`, no secret, or `user_file`) and `password_file`.
    `inbox`: prefix of the subjects of replies, one's own so that nobody else may read them. Times in seconds."""

    urls: tuple[str, ...]
    name: str
    credentials: str = ""
    user: str = ""
    user_file: str = ""
    password_file: str = ""
    token_file: str = ""
    tls: TlsFiles | None = None
    inbox: str = "_INBOX"
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    connect_timeout: float = 5.0
    ack_timeout: float = 15.0
    request_timeout: float = 5.0
    ping_seconds: float = 10.0
    silent_seconds: float = 20.0
    window: int = 64
    window_bytes: int = 16 << 20

    def __post_init__(self) -> None:
        """Raise Usage for what can never work."""
        if not self.urls:
            raise Usage("no address of a broker is given")
        for url in self.urls:
            if not _URL.fullmatch(url):
                raise Usage(f"{url.rpartition('@')[2]!r} is no address of a broker; write nats://HOST:PORT "
                            "(credentials go into files)")  # fmt: skip
        if not _INBOX.fullmatch(self.inbox):
            raise Usage("the inbox prefix must be subject tokens without wildcards")
        kinds = (self.credentials, self.token_file, self.user or self.user_file or self.password_file)
        if sum(map(bool, kinds)) > 1:
            raise Usage("give the broker one kind of credentials: a .creds file, a token, or user and password")
        if bool(self.user or self.user_file) != bool(self.password_file):
            raise Usage("a user for the broker needs a password file, and a password file a user")
        if self.window < 1 or self.window_bytes < 1:
            raise Usage("the window of the bus must let through at least one message")


def check_files(settings: BusSettings) -> None:
    """Read everything once. Raises Usage, BadInput or NotPermitted for what is missing or bad now."""
    login(settings)
    tls_context(settings)


def login(settings: BusSettings) -> dict[str, Any]:
    """Credentials as they are now, as options of the client."""
    if settings.credentials:
        _secret(settings.credentials, "credentials file")
        return {"user_credentials": settings.credentials}
    if settings.token_file:
        return {"token": _secret(settings.token_file, "token file")}
    if settings.password_file:
        return {
            "user": settings.user or _secret(settings.user_file, "user file"),
            "password": _secret(settings.password_file, "password file"),
        }
    return {}


def tls_context(settings: BusSettings) -> ssl.SSLContext | None:
    """The TLS context with the certificates as they are now; None when TLS is not asked for."""
    files = settings.tls
    if files is None and not any(url.startswith("tls://") for url in settings.urls):
        return None
    files = files or TlsFiles()
    context = ssl.create_default_context()
    if files.ca:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # that authority and no other
        _loaded(lambda: context.load_verify_locations(files.ca), "CA certificates", files.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if files.cert:
        _loaded(partial(context.load_cert_chain, files.cert, files.key or None, ""), "certificate and key", files.cert)
    return context


def _loaded(load: Callable[[], object], what: str, path: str) -> None:
    try:
        load()
    except ssl.SSLError as error:
        raise Usage(f"{what} of the bus in {path} cannot be used: {error.reason or 'not PEM'}") from None
    except OSError as error:
        raise from_os(error, what=f"{what} of the bus ({path})") from None


def _secret(path: str, what: str) -> str:
    try:
        with Path(path).open("rb") as handle:
            raw = handle.read(MAX_SECRET + 1)
    except OSError as error:
        raise from_os(error, what=f"{what} of the bus") from None
    if len(raw) > MAX_SECRET:
        raise Usage(f"{what} {path} is larger than {MAX_SECRET} bytes")
    try:
        return raw.decode().strip()
    except UnicodeDecodeError:
        raise Usage(f"{what} {path} is not UTF-8 text") from None
