"""QUIC long headers and the CRYPTO stream of the client's Initial packets (RFC 9000, RFC 9369, drafts, Google QUIC).

Promise: sans-I/O; a datagram in, values out; at most `MAX_PACKETS` packets of a datagram and `MAX_CRYPTO` bytes of
handshake are read; linear; never raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from packhound.net.facts import Malformed
from packhound.net.octets import Octets, Short, numbers
from packhound.net.quic_crypto import is_v2, salt_of
from packhound.net.text import decode

MAX_PACKETS = 16  # coalesced in one datagram
MAX_CRYPTO = 64 * 1024
MAX_FRAMES = 4096
INITIAL, ZERO_RTT, HANDSHAKE, RETRY = 0, 1, 2, 3
NEGOTIATION = -1
TYPES = {INITIAL: "initial", ZERO_RTT: "0rtt", HANDSHAKE: "handshake", RETRY: "retry", NEGOTIATION: "negotiation"}
MAX_VERSIONS = 32  # of a version negotiation
MAX_REASON = 1024
_PADDING, _PING, _ACK, _ACK_ECN, _CRYPTO, _GOOGLE_CRYPTO = 0x00, 0x01, 0x02, 0x03, 0x06, 0x08
_CLOSE = (0x1C, 0x1D)


class Close(NamedTuple):
    """A CONNECTION_CLOSE frame: its error code, and the reason that it gives (empty: none)."""

    error: int
    reason: str


class InitialFrames(NamedTuple):
    """What an Initial packet holds: (offset, data) of its CRYPTO frames in order, and the close, if there is one."""

    crypto: list[tuple[int, bytes]]
    close: Close | None = None


@dataclass(frozen=True, slots=True)
class LongHeader:
    """One packet with a long header. `type` is that of version 1 whatever the version; `packet` is the whole packet.

    `number_at` is the offset of its packet number (0 for Retry and version negotiation, which have none).
    """

    version: int
    type: int
    dcid: bytes
    scid: bytes
    packet: bytes
    number_at: int


def version_text(number: int) -> str:
    """Write a QUIC version as users write it: `1`, `2`, `draft-29`, `Q046`; unknown ones as hex."""
    if number in (1, 0x6B3343CF):
        return "1" if number == 1 else "2"
    if number >> 8 == 0xFF0000:
        return f"draft-{number & 0xFF}"
    name = number.to_bytes(4, "big")
    if name[:1] in b"QT" and name[1:].isdigit():
        return name.decode("ascii")
    return f"0x{number:08x}"


def parse_datagram(data: bytes) -> list[LongHeader] | Malformed:
    """Split a datagram into its coalesced long-header packets; a short header ends the list."""
    found: list[LongHeader] = []
    at = 0
    while at < len(data) and data[at] & 0x80 and len(found) < MAX_PACKETS:
        header = _long_header(data, at)
        if isinstance(header, Malformed):
            return found or header
        found.append(header)
        at += len(header.packet)
    return found or Malformed("no QUIC long header")


def _long_header(data: bytes, at: int) -> LongHeader | Malformed:
    """Read the packet that starts at `at`; without a Length field it takes the rest of the datagram."""
    cursor = Octets(data, at)
    try:
        first = cursor.number(1)
        version = cursor.number(4)
        if version and salt_of(version) is None:
            return _unknown(cursor, data, at, first, version)
        dcid = cursor.vector(1).rest()
        scid = cursor.vector(1).rest()
        if version and max(len(dcid), len(scid)) > 20:
            return Malformed("QUIC connection id is longer than 20", cursor.at)
        kind = (first >> 4 & 0x03) if version else NEGOTIATION
        if version and is_v2(version):
            kind = (kind - 1) & 0x03
        if kind in (NEGOTIATION, RETRY):
            return LongHeader(version, kind, dcid, scid, data[at:], 0)
        if kind == INITIAL:
            cursor.skip(_varint(cursor))  # token
        length = _varint(cursor)
        number_at = cursor.at - at
        cursor.skip(min(length, len(cursor)))  # cut by the snap length: the packet ends with the datagram
    except Short as short:
        return Malformed("QUIC long header is cut short", short.offset)
    return LongHeader(version, kind, dcid, scid, data[at : cursor.at], number_at)


def _unknown(cursor: Octets, data: bytes, at: int, first: int, version: int) -> LongHeader:
    """Read no more than a version we have no keys for allows; it takes the rest of the datagram."""
    kind = first >> 4 & 0x03
    try:
        dcid, scid = cursor.vector(1).rest(), cursor.vector(1).rest()
    except Short:
        dcid = scid = b""
    return LongHeader(version, kind, dcid, scid, data[at:], 0)


def negotiated(packet: LongHeader) -> tuple[int, ...]:
    """Return the versions that a version negotiation packet lists (RFC 9000 section 17.2.1)."""
    cursor = Octets(packet.packet, 5)
    try:
        cursor.vector(1)
        cursor.vector(1)
    except Short:
        return ()
    return numbers(Octets(cursor.data, cursor.at, cursor.at + 4 * MAX_VERSIONS), 4)


def initial_frames(payload: bytes) -> InitialFrames | Malformed:
    """Read the frames of a decrypted Initial payload as far as they are those that it may hold."""
    cursor = Octets(payload)
    found: list[tuple[int, bytes]] = []
    try:
        for _ in range(MAX_FRAMES):
            _skip_padding(cursor)
            if not len(cursor):
                break
            kind = _varint(cursor)
            if kind in (_CRYPTO, _GOOGLE_CRYPTO):
                offset = _varint(cursor)
                found.append((offset, cursor.part(_varint(cursor)).rest()))
            elif kind in (_ACK, _ACK_ECN):
                _skip_ack(cursor, ecn=kind == _ACK_ECN)
            elif kind in _CLOSE:
                return InitialFrames(found, _close(cursor, application=kind == _CLOSE[1]))
            elif kind != _PING:
                malformed = Malformed("frame that an Initial packet must not hold", cursor.at)
                return InitialFrames(found) if found else malformed
    except Short as short:
        return InitialFrames(found) if found else Malformed("QUIC frame is cut short", short.offset)
    return InitialFrames(found)


def _close(cursor: Octets, *, application: bool) -> Close:
    """Read a CONNECTION_CLOSE behind its type (RFC 9000 section 19.19)."""
    error = _varint(cursor)
    if not application:
        _varint(cursor)  # type of the frame that was at fault
    return Close(error, decode(cursor.part(_varint(cursor)).rest()[:MAX_REASON]))


def _skip_padding(cursor: Octets) -> None:
    left = bytes(cursor.data[cursor.at : cursor.end])
    cursor.at += len(left) - len(left.lstrip(bytes((_PADDING,))))


def _skip_ack(cursor: Octets, *, ecn: bool) -> None:
    _varint(cursor)
    _varint(cursor)
    ranges = _varint(cursor)
    _varint(cursor)
    if ranges > len(cursor):
        raise Short(cursor.at)
    for _ in range(2 * ranges + (3 if ecn else 0)):
        _varint(cursor)


def _varint(cursor: Octets) -> int:
    """Read a variable-length integer (RFC 9000 section 16)."""
    first = cursor.number(1)
    size = 1 << (first >> 6)
    value = first & 0x3F
    return value << 8 * (size - 1) | cursor.number(size - 1)


class CryptoStream:
    """Puts the CRYPTO frames of one direction in order, up to `MAX_CRYPTO` bytes."""

    __slots__ = ("_data", "_pieces")

    def __init__(self) -> None:
        self._data = bytearray()
        self._pieces: dict[int, bytes] = {}

    def push(self, offset: int, data: bytes) -> None:
        """Take one frame; what lies behind the cap is dropped, and of two frames at one offset the longer counts."""
        if offset + len(data) <= len(self._data):
            return
        if offset + len(data) > MAX_CRYPTO or len(data) <= len(self._pieces.get(offset, b"")):
            return
        if len(self._pieces) < MAX_FRAMES:
            self._pieces[offset] = data

    def contiguous(self) -> bytes:
        """Return the stream from its start to the first byte that is missing."""
        for offset in sorted(self._pieces):
            if offset > len(self._data):
                break
            piece = self._pieces.pop(offset)
            self._data += piece[len(self._data) - offset :]
        return bytes(self._data)


def google_client_hello(data: bytes) -> str | None:
    """Return the SNI of a Google QUIC CHLO in the clear (Q024-Q046); None when the bytes hold no CHLO.

    The CHLO is a table of tags: 4 bytes `CHLO`, a count, two bytes of padding, then tag and end offset of each value.
    """
    start = data.find(b"CHLO", 0, 128)
    if start < 0:
        return None
    cursor = Octets(data, start + 4)
    try:
        count = int.from_bytes(cursor.take(2), "little")
        cursor.skip(2)
        values = cursor.at + 8 * count
        begin = 0
        for _ in range(min(count, 128)):
            tag, end = cursor.take(4), int.from_bytes(cursor.take(4), "little")
            if tag == b"SNI\0":
                return decode(data[values + begin : values + end]) if values + end <= len(data) else ""
            begin = end
    except Short:
        return ""
    return ""
