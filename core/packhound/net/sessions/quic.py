"""A QUIC connection: the hellos out of the Initial packets of both sides.

Promise: bounded packets and bytes per connection; never raises.
"""

from __future__ import annotations

from packhound.net import quic
from packhound.net.facts import Fact, Malformed, Value
from packhound.net.quic_crypto import InitialKeys, initial_keys, salt_of, unprotect
from packhound.net.sessions.tls import read_message
from packhound.net.tls import Handshake
from packhound.net.tls_messages import CLIENT_HELLO, SERVER_HELLO

MAX_DATAGRAMS = 64
MAX_MESSAGES = 4  # hellos of one connection: two of each side at most (HelloRetryRequest)
MAX_KINDS = 16  # kinds of packets of one connection that are told
FIELDS = frozenset({
    "quic.sni", "quic.version", "quic.type", "quic.dcid", "quic.scid", "quic.versions", "quic.error", "quic.reason",
})  # fmt: skip


class _Side:
    """One sender's Initial CRYPTO stream and how far its messages were read."""

    __slots__ = ("read", "stream")

    def __init__(self) -> None:
        self.stream = quic.CryptoStream()
        self.read = 0


class QuicDatagrams:
    """Initial packets that the keys of the client's first one open; done when the handshake has moved on."""

    __slots__ = ("_client", "_datagrams", "_hello", "_keys", "_kinds", "_messages", "_sides", "_version", "done")

    def __init__(self) -> None:
        self._keys: tuple[InitialKeys, InitialKeys] | None = None  # client's and server's
        self._version = 0
        self._client = 0  # direction that the client's packets have
        self._sides = (_Side(), _Side())
        self._hello = b""  # the client's last one: sent again after a Retry, it says nothing new
        self._datagrams = 0
        self._messages = 0
        self._kinds: set[tuple[int, int, int]] = set()  # direction, version, type of the packets told
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read one datagram."""
        if self.done:
            return []
        self._datagrams += 1
        google = self._google(data)
        if google:
            return [google]
        packets = quic.parse_datagram(data)
        if isinstance(packets, Malformed):
            self._settle(direction, later=True)
            return [] if data and not data[0] & 0x80 else [packets]
        found: list[Fact | Malformed] = []
        if self._is_new(direction, packets):
            found.append(packets_fact(packets))
        for packet in packets:
            if packet.type == quic.INITIAL and packet.number_at:
                self._initial(direction, packet, found)
        self._settle(direction, later=packets[-1].type == quic.HANDSHAKE)
        return found

    def gap(self, direction: int, size: int) -> None:
        """Datagrams have no gaps."""

    def _is_new(self, direction: int, packets: list[quic.LongHeader]) -> bool:
        """Tell whether a datagram holds a kind of packet that this side has not sent yet; remember it."""
        fresh = {(direction, packet.version, packet.type) for packet in packets} - self._kinds
        if len(self._kinds) + len(fresh) > MAX_KINDS:
            return False
        self._kinds |= fresh
        return bool(fresh)

    def _settle(self, direction: int, *, later: bool) -> None:
        """Be done when the client, its hello read, goes on to packets that cannot be read, or at the caps."""
        moved_on = later and self._keys is not None and direction == self._client and self._sides[direction].read > 0
        self.done = moved_on or self._datagrams >= MAX_DATAGRAMS or self.done

    def _initial(self, direction: int, packet: quic.LongHeader, found: list[Fact | Malformed]) -> None:
        """Decrypt one Initial and add the hellos that it completes."""
        payload = self._open(direction, packet) if self._messages < MAX_MESSAGES else None
        if payload is None:
            return
        frames = quic.initial_frames(payload)
        if isinstance(frames, Malformed):
            found.append(frames)
            return
        if frames.close:
            found.append(close_fact(packet, frames.close))
        side = self._sides[direction]
        for offset, piece in frames.crypto:
            side.stream.push(offset, piece)
        stream = side.stream.contiguous()
        if stream[:4] == b"CHLO":  # Google QUIC Q050: its own handshake inside IETF packets
            self._add_google(stream, quic.version_text(packet.version), found)
            return
        while len(stream) - side.read >= 4:
            size = 4 + int.from_bytes(stream[side.read + 1 : side.read + 4], "big")
            kind = stream[side.read]
            if kind not in (CLIENT_HELLO, SERVER_HELLO):
                found.append(Malformed("Initial CRYPTO stream holds no hello"))
                self.done = True
            if self.done or len(stream) - side.read < size:
                return
            self._message(Handshake(kind, stream[side.read + 4 : side.read + size]), packet.version, found)
            side.read += size

    def _message(self, message: Handshake, version: int, found: list[Fact | Malformed]) -> None:
        if message.type == CLIENT_HELLO:
            if message.body == self._hello:
                return
            self._hello = message.body
        self._messages += 1
        fact = read_message(message, transport="q", quic_version=quic.version_text(version))
        if fact:
            found.append(fact)

    def _open(self, direction: int, packet: quic.LongHeader) -> bytes | None:
        """Decrypt with the keys of this connection, else with those of the packet's own connection id."""
        if self._keys and self._version == packet.version:
            keys = self._keys[0 if direction == self._client else 1]
            payload = unprotect(packet.packet, packet.number_at, keys)
            if payload is not None:
                return payload
        pair = initial_keys(packet.dcid, packet.version)
        payload = unprotect(packet.packet, packet.number_at, pair[0]) if pair else None
        if payload is None or pair is None:
            return None
        self._keys, self._version, self._client = pair, packet.version, direction
        self._sides = (_Side(), _Side())  # a Retry or another connection on the same ports starts anew
        return payload

    def _google(self, data: bytes) -> Fact | None:
        """Return the fact of a Google QUIC CHLO in the clear (public header with version, up to Q046)."""
        version = google_version(data)
        if not version:
            return None
        found: list[Fact | Malformed] = []
        self._add_google(data, version, found)
        return found[0] if found and isinstance(found[0], Fact) else None

    def _add_google(self, data: bytes, version: str, found: list[Fact | Malformed]) -> None:
        sni = quic.google_client_hello(data)
        if sni is None:
            return
        self.done = True
        fields: dict[str, Value] = {"quic.version": version}
        if sni:
            fields["quic.sni"] = sni
        found.append(Fact("quic", fields))


def packets_fact(packets: list[quic.LongHeader]) -> Fact:
    """Return the `quic` fact of a datagram: what its packets are, whose ids the first one bears."""
    first = packets[0]
    fields: dict[str, Value] = {}
    if first.type == quic.NEGOTIATION:
        fields["quic.versions"] = tuple(map(quic.version_text, quic.negotiated(first)))
    else:
        fields["quic.version"] = quic.version_text(first.version)
    if salt_of(first.version) is not None or first.type == quic.NEGOTIATION:  # else types are those of another version
        fields["quic.type"] = tuple(dict.fromkeys(quic.TYPES[packet.type] for packet in packets))
    fields |= {"quic.dcid": first.dcid.hex(), "quic.scid": first.scid.hex()}
    return Fact("quic", {name: value for name, value in fields.items() if value not in ("", ())})


def close_fact(packet: quic.LongHeader, close: quic.Close) -> Fact:
    """Return the `quic` fact of a connection that ends before its handshake does."""
    fields: dict[str, Value] = {"quic.version": quic.version_text(packet.version), "quic.error": close.error}
    if close.reason:
        fields["quic.reason"] = close.reason
    return Fact("quic", fields)


def google_version(data: bytes) -> str:
    """Return the version (`Q043`) of a Google QUIC header: public flags with version bit, or a long header."""
    if len(data) < 16:
        return ""
    first = data[0]
    if first & 0x80:
        at = 1
    elif first & 0x01:
        at = 1 + (8 if first & 0x08 else 0)
    else:
        return ""
    name = data[at : at + 4]
    return name.decode("ascii") if name[:1] == b"Q" and name[1:].isdigit() else ""
