"""The one connection to a broker: made, lost and made again for ever.

Promise: the only door to nats-py. Each connection is a client of its own that never reconnects by itself: credentials,
certificates and addresses are read anew for each, waits have full jitter, and a lost connection is told of at once,
also when its socket hangs. Nothing is buffered while there is none. One asyncio loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from packhound.kit.bus.messages import Away, Headers, Message
from packhound.kit.bus.settings import BusSettings, login, tls_context
from packhound.kit.errors import Stop
from packhound.kit.retry import Backoff

HIGH_WATER = 2 << 20
CLOSE_SECONDS = 2.0
_PENDING = 1 << 16  # our own queues bound what waits; nats-py only passes on
_CRLF = "\r\n"
_BAD_SUBJECT = re.compile(r"\s|^$")
_BAD_VALUE = str.maketrans("\r\n", "  ")
_PERMISSION = "permissions violation"

Deliver = Callable[[Message], None]


class _Client(Client):
    """nats-py's client for one connection. It tells of its end before it tidies up: closing a socket whose peer is gone
    can take as long as TCP tries, and nats-py waits for that first."""

    def __init__(self, ended: Callable[[str], None], *, secure: bool) -> None:
        super().__init__()
        self.ended = ended
        self._secure = secure

    def _connect_command(self) -> bytes:
        if self._secure and not self._server_info.get("tls_required"):
            raise errors.Error("the broker does not use TLS; credentials are not sent in the clear")
        return super()._connect_command()

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        if not self.is_closed:
            self.ended(str(self._err or "connection closed"))
            self._pending, self._pending_data_size = [], 0
            self.abort()
        await super()._close(status, do_cbs)

    async def _process_op_err(self, e: Exception) -> None:
        self._err = self._err or e
        await super()._process_op_err(e)

    def abort(self) -> None:
        """Drop the socket, whatever is in it."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            writer.transport.abort()

    def tune(self, silent_seconds: float) -> None:
        """Make the kernel give up on a peer that acknowledges nothing, and let writes run ahead."""
        writer = getattr(self._transport, "_io_writer", None)
        if writer is None:
            return
        writer.transport.set_write_buffer_limits(high=HIGH_WATER)
        plain: socket.socket | None = writer.get_extra_info("socket")
        if plain is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            with contextlib.suppress(OSError):
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(silent_seconds * 1000))

    async def _send_command(self, cmd: bytes, priority: bool = False) -> None:
        """Write at once: nats-py would queue, and its pings, which we wait for, would overtake subscriptions."""
        if self._transport is not None and not self.is_closed:
            self._transport.write(cmd)

    async def put(self, command: bytes) -> None:
        """Write a command at once and wait while too much waits to go out. nats-py's own way swallows cancellation."""
        transport = self._transport
        if transport is None or self.is_closed:
            raise Away("the connection is closed")
        transport.write(command)
        await transport.drain()  # type: ignore[no-untyped-call]


class Inbound:
    """A subscription as the connection keeps it: made again on every new connection."""

    __slots__ = ("deliver", "denied", "queue", "sid", "subject")

    def __init__(self, subject: str, queue: str, deliver: Deliver) -> None:
        self.subject, self.queue, self.deliver = subject, queue, deliver
        self.sid: Any = None
        self.denied = ""


class Connection:
    """Keeps one connection up. `up` hears of each new one, subscriptions made; `down` hears why one was lost; `refused`
    hears what the broker does not permit, in its words and in lower case. `connects` counts connections so far."""

    def __init__(
        self,
        settings: BusSettings,
        *,
        up: Callable[[], None],
        down: Callable[[str], None],
        refused: Callable[[str], None],
    ) -> None:
        self.settings = settings
        self.connected = asyncio.Event()
        self.reason = "not connected yet"
        self.connects = 0
        self.max_payload = 1 << 20
        self._up, self._down, self._refused = up, down, refused
        self._client: _Client | None = None
        self._lost = asyncio.Event()
        self._inbound: dict[int, Inbound] = {}
        self._backoff = Backoff(settings.retry, uniform=random.random)
        self._task: asyncio.Task[None] | None = None
        self._urls = list(settings.urls)

    def start(self) -> None:
        """Begin to connect; returns at once."""
        random.shuffle(self._urls)
        self._task = asyncio.get_running_loop().create_task(self._keep(), name="bus")

    async def close(self) -> None:
        """Send what was written, then end for good."""
        client = self._client
        if client is not None and self.connected.is_set():
            with contextlib.suppress(Exception):  # a broker that is gone does not answer
                async with asyncio.timeout(CLOSE_SECONDS):
                    await client.flush()
        task, self._task = self._task, None
        while task is not None and not task.done():
            task.cancel()  # more than once: nats-py swallows a cancellation here and there
            await asyncio.wait({task}, timeout=0.2)
        await self._drop("closed")

    # the loop ------------------------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            began = time.monotonic_ns()
            if await self._dial():
                self.connects += 1
                self.connected.set()
                self._up()
                await self._lost.wait()
                self._backoff.worked(time.monotonic_ns() - began)
            await self._drop(self.reason)
            await asyncio.sleep(self._backoff.next_ns() / 1e9)

    async def _dial(self) -> bool:
        """One attempt at the next address: True when the connection is up and everybody is subscribed again."""
        self._urls.append(self._urls.pop(0))
        self._lost = lost = asyncio.Event()

        def ended(reason: str) -> None:
            if self._client is client and not lost.is_set():
                self._note(reason)
                self._away()
                lost.set()

        try:
            tls = tls_context(self.settings)
            client = self._client = _Client(ended, secure=tls is not None)
            async with asyncio.timeout(self.settings.connect_timeout):
                await self._connect(client, self._urls[-1], tls)
                client.tune(self.settings.silent_seconds)
                self.max_payload = client.max_payload
                for inbound in list(self._inbound.values()):
                    await self._subscribe(client, inbound)
                await client.flush()
        except (errors.Error, OSError, TimeoutError, Stop) as error:
            self._note(error.reason if isinstance(error, Stop) else _words(error))
            return False
        return not lost.is_set()

    async def _connect(self, client: _Client, url: str, tls: ssl.SSLContext | None) -> None:
        connecting = True

        async def on_error(error: Exception) -> None:
            if connecting:
                raise error  # one attempt is one attempt: nats-py would go on by its own rules
            self._complained(error)

        hostname = self.settings.tls.hostname if self.settings.tls else ""
        options: dict[str, Any] = login(self.settings)
        if tls is not None:
            options |= {"tls": tls} | ({"tls_hostname": hostname} if hostname else {})
        await client.connect(
            servers=[url],
            name=self.settings.name,
            error_cb=on_error,
            allow_reconnect=False,
            connect_timeout=self.settings.connect_timeout,  # type: ignore[arg-type]
            ping_interval=self.settings.ping_seconds,  # type: ignore[arg-type]
            max_outstanding_pings=3,
            inbox_prefix=self.settings.inbox,
            **options,
        )
        connecting = False

    async def _drop(self, reason: str) -> None:
        client, self._client = self._client, None
        self._note(reason)
        self._away()
        if client is None:
            return
        for inbound in self._inbound.values():
            inbound.sid = None
        client.abort()
        with contextlib.suppress(Exception):  # what fails in tidying up is of no use to anybody
            async with asyncio.timeout(CLOSE_SECONDS):
                await client.close()

    def _away(self) -> None:
        """Tell at once: who sends without end must not find the dead connection still up."""
        if self.connected.is_set():
            self.connected.clear()
            self._down(self.reason)

    def _note(self, reason: str) -> None:
        self.reason = reason.removeprefix("nats: ")[:300]

    def _complained(self, error: Exception) -> None:
        words = _words(error)
        if not words.startswith(_PERMISSION):
            return
        for inbound in self._inbound.values():
            if words.startswith(f"{_PERMISSION} for subscription") and f'"{inbound.subject.lower()}"' in words:
                inbound.denied = words
        self._refused(words)

    # traffic -------------------------------------------------------------------------------------------------------

    async def send(self, subject: str, data: bytes, *, reply: str = "", headers: Headers | None = None) -> None:
        """Write one message. Raises Away."""
        client = self._client
        if client is None or not self.connected.is_set():
            raise Away(self.reason)
        command = _command(subject, data, reply, headers)
        try:
            await client.put(command)
        except (OSError, RuntimeError) as error:
            client.ended(_words(error))
            raise Away(_words(error)) from None

    def listen(self, number: int, inbound: Inbound) -> None:
        """Keep a subscription; it is made on the next connection, or by `subscribed` on this one."""
        self._inbound[number] = inbound

    async def subscribed(self, number: int) -> None:
        """Make the subscription now; returns when the broker has it. No connection: it is made on the next."""
        client = self._client
        if client is None or not self.connected.is_set():
            return
        with contextlib.suppress(errors.Error, OSError):  # then the connection is lost, and the next one makes it
            await self._subscribe(client, self._inbound[number])
            await client.flush()

    async def unlisten(self, number: int, *, drain: bool = False) -> None:
        """End a subscription, with `drain` after what is under way has come; returns when the broker knows. Twice is no
        error."""
        inbound = self._inbound.pop(number, None)
        if inbound is None or inbound.sid is None or not self.connected.is_set():
            return
        with contextlib.suppress(errors.Error, OSError, TimeoutError, Away):
            async with asyncio.timeout(self.settings.request_timeout):
                await (inbound.sid.drain() if drain else inbound.sid.unsubscribe())
                await self.flush()

    async def flush(self) -> None:
        """Wait until the broker has seen all that was written. Raises Away."""
        client = self._client
        if client is None or not self.connected.is_set():
            raise Away(self.reason)
        try:
            await client.flush(timeout=max(1, int(self.settings.request_timeout)))
        except (errors.Error, OSError) as error:
            raise Away(_words(error)) from None

    async def _subscribe(self, client: _Client, inbound: Inbound) -> None:
        deliver = inbound.deliver

        async def on_message(message: Msg) -> None:
            deliver(Message(message.subject, message.data, message.headers or {}, message.reply))

        inbound.sid = await client.subscribe(
            inbound.subject, queue=inbound.queue, cb=on_message, pending_msgs_limit=_PENDING, pending_bytes_limit=0
        )


def _command(subject: str, data: bytes, reply: str, headers: Headers | None) -> bytes:
    if _BAD_SUBJECT.search(subject):
        raise ValueError("a subject has no blanks and is not empty")
    target = f"{subject} {reply}" if reply else subject
    if not headers:
        return b"".join((f"PUB {target} {len(data)}{_CRLF}".encode(), data, b"\r\n"))
    block = "".join(f"{name}: {value.translate(_BAD_VALUE)}{_CRLF}" for name, value in headers.items())
    head = f"NATS/1.0{_CRLF}{block}{_CRLF}".encode()
    return b"".join((f"HPUB {target} {len(head)} {len(head) + len(data)}{_CRLF}".encode(), head, data, b"\r\n"))


def _words(error: BaseException) -> str:
    text = str(error).removeprefix("nats: ") or type(error).__name__
    return "no answer in time" if isinstance(error, TimeoutError) and not str(error) else text
