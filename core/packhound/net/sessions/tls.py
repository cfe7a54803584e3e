"""A TLS connection over TCP, and the hello of DTLS over UDP: hellos and certificates until encryption starts.

Promise: holds at most `max_bytes` a direction; never raises.
"""

from __future__ import annotations

from packhound.net.facts import Fact, Malformed
from packhound.net.octets import Octets, Short
from packhound.net.tls import HANDSHAKE, Handshake, RecordReader, certificate_fact, client_hello_fact, server_hello_fact
from packhound.net.tls_messages import (
    CERTIFICATE,
    CLIENT_HELLO,
    SERVER_HELLO,
    SERVER_HELLO_DONE,
    parse_client_hello,
    parse_server_hello,
)

MAX_MISSED = 8  # chunks without a hello before a direction is given up
MAX_DTLS_MESSAGES = 8
MAX_DTLS_RECORDS = 32


class TlsStream:
    """Both directions of one TLS connection; done when neither has more in the clear."""

    __slots__ = ("_max_bytes", "_may_miss", "_missed", "_quiet", "_readers", "_spoke", "done")

    def __init__(self, *, max_bytes: int, preface: int = 0) -> None:
        """`preface`: chunks of another protocol that each direction may say first (a proxy's, STARTTLS)."""
        self._readers = [RecordReader(max_bytes=max_bytes), RecordReader(max_bytes=max_bytes)]
        self._spoke = [False, False]
        self._missed = [0, 0]  # chunks that came while no record could be read
        self._max_bytes = max_bytes
        self._may_miss = preface or MAX_MISSED
        self._quiet = preface > 0
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read the next bytes of one direction and return the hellos and certificates they complete.

        A direction that has said nothing yet starts anew where a chunk starts with a hello: stray bytes, the preface of
        another protocol or a loss may come before it.
        """
        if self._readers[direction].closed and not self._restarts(direction, data):
            self._settle()
            return []
        found = self._push(direction, data)
        reader = self._readers[direction]
        torn = reader.closed and reader.reason and reader.seen > len(data)
        if torn and self._restarts(direction, data):  # what was held before this chunk was no TLS
            found = self._push(direction, data)
        self._settle()
        return found

    def _push(self, direction: int, data: bytes) -> list[Fact | Malformed]:
        reader = self._readers[direction]
        found: list[Fact | Malformed] = []
        for message in reader.push(data):
            fact = read_message(message)
            if fact:
                found.append(fact)
                self._spoke[direction] = True
        if reader.reason and not self._spoke[direction] and not self._quiet:
            found.append(Malformed(reader.reason))
        return found

    def gap(self, direction: int, size: int) -> None:
        """Give up on what is torn: record boundaries behind the gap are unknown."""
        self._readers[direction].close()
        self._settle()

    def _restarts(self, direction: int, data: bytes) -> bool:
        """Begin a new reader where nothing was said yet and a hello starts here."""
        if self._spoke[direction] or self._missed[direction] >= self._may_miss:
            return False
        self._missed[direction] += 1
        if not starts_hello(data):
            return False
        self._readers[direction] = RecordReader(max_bytes=self._max_bytes)
        return True

    def _settle(self) -> None:
        self.done = all(
            self._readers[each].closed and (self._spoke[each] or self._missed[each] >= self._may_miss)
            for each in (0, 1)
        )


def starts_hello(data: bytes) -> bool:
    """Tell whether bytes start with a handshake record that starts with a hello."""
    return (
        len(data) > 5
        and data[0] == HANDSHAKE
        and data[1] == 3
        and data[2] < 5
        and data[5] in (CLIENT_HELLO, SERVER_HELLO)
    )


def read_message(message: Handshake, *, transport: str = "t", quic_version: str = "") -> Fact | Malformed | None:
    """Return what one handshake message says; None for a type that says nothing. `transport` as in JA4."""
    if message.type == CLIENT_HELLO:
        client = parse_client_hello(message.body, dtls=transport == "d")
        if isinstance(client, Malformed):
            return client
        return client_hello_fact(client, transport=transport, quic_version=quic_version)
    if message.type == SERVER_HELLO:
        server = parse_server_hello(message.body)
        return server if isinstance(server, Malformed) else server_hello_fact(server)
    if message.type == CERTIFICATE:
        return certificate_fact(message)
    return None


class DtlsDatagrams:
    """DTLS 1.0-1.2 (RFC 6347): handshake fragments put together per direction and message number."""

    __slots__ = ("_max_bytes", "_parts", "_reported", "_size", "_sizes", "done")

    def __init__(self, *, max_bytes: int) -> None:
        self._parts: dict[tuple[int, int], bytearray] = {}
        self._sizes: dict[tuple[int, int], int] = {}
        self._reported: set[tuple[int, int]] = set()
        self._size = 0
        self._max_bytes = max_bytes
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read the records of one datagram."""
        found: list[Fact | Malformed] = []
        cursor = Octets(data)
        try:
            for _ in range(MAX_DTLS_RECORDS):
                if len(cursor) < 13:
                    break
                kind, major = cursor.number(1), cursor.number(2) >> 8
                epoch = cursor.number(2)
                cursor.skip(6)
                record = cursor.vector(2)
                if major == 0xFE and kind == HANDSHAKE and not epoch:
                    self._record(direction, record, found)
        except Short:
            if not found:
                found.append(Malformed("DTLS record is cut short"))
        return found

    def gap(self, direction: int, size: int) -> None:
        """Datagrams have no gaps."""

    def _record(self, direction: int, record: Octets, found: list[Fact | Malformed]) -> None:
        while len(record) >= 12:
            kind, size = record.number(1), record.number(3)
            number, offset = record.number(2), record.number(3)
            piece = record.vector(3).rest()
            if kind not in (CLIENT_HELLO, SERVER_HELLO, CERTIFICATE, SERVER_HELLO_DONE):
                continue
            body = piece if len(piece) == size else self._join(direction, number, size, offset, piece)
            if body is None or (direction, number) in self._reported:
                continue
            self._reported.add((direction, number))
            fact = read_message(Handshake(kind, body), transport="d")
            if fact:
                found.append(fact)
            self.done = self.done or len(self._reported) >= MAX_DTLS_MESSAGES

    def _join(self, direction: int, number: int, size: int, offset: int, piece: bytes) -> bytes | None:
        """Add a fragment; return the body when its pieces, which senders cut without overlap, fill it."""
        key = (direction, number)
        if key not in self._parts:
            if self._size + size > self._max_bytes:
                return None
            self._size += size
            self._parts[key] = bytearray()  # grows as pieces come: a size is only what the sender says
            self._sizes[key] = size
        body = self._parts[key]
        if self._sizes[key] != size or offset != len(body) or offset + len(piece) > size:
            return None
        body += piece
        return bytes(body) if len(body) == size else None
