"""Infrastructure protocols over TCP whose messages say their size: LDAP, Kerberos, NetBIOS sessions, SMB, STUN, MQTT.

Promise: each direction holds at most `max_bytes`: of a larger message its head is read and the rest passed over; after
a gap or broken framing the next chunk that starts with a message begins anew, `MAX_MISSED` chunks without one end the
direction; never raises.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from packhound.net import kerberos, ldap, mqtt, netbios, smb, stun
from packhound.net.facts import Fact, Malformed, Value
from packhound.net.sessions.tls import TlsStream, starts_hello

MAX_MISSED = 32
MAX_ASKED = 8  # requests to turn to TLS that are remembered

#: Size of the message that the bytes start with, its header too; 0 when more of them are needed, negative when no
#: message starts there.
Measure = Callable[[bytes | bytearray], int]
Read = Callable[[int, bytes], Sequence[Fact | Malformed]]


class _Side:
    """One direction: what is held, how much of a message is still to pass, whether its framing is lost."""

    __slots__ = ("buffer", "closed", "lost", "missed", "skip")

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.skip = 0
        self.lost = True  # until the first message: a capture may begin inside one
        self.missed = 0
        self.closed = False


class Framed:
    """Messages of both directions, framed by `measure` and read by `read(direction, message)`; `name` is for reasons.

    `keep`: bytes of a message that are read at most; `rest` takes the bytes behind them as they come. `starts`: a
    stricter measure that finds the first message, and the next one where the framing was lost.
    """

    __slots__ = ("_keep", "_measure", "_name", "_read", "_rest", "_sides", "_starts", "done")

    def __init__(
        self, name: str, measure: Measure, read: Read, *, keep: int, rest: Read | None = None,
        starts: Measure | None = None,
    ) -> None:  # fmt: skip
        self._name = name
        self._measure = measure
        self._read = read
        self._keep = keep
        self._starts = starts or measure
        self._rest = rest or (lambda _, __: ())
        self._sides = (_Side(), _Side())
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read the next bytes of one direction and return what the messages in them say."""
        side = self._sides[direction]
        found: list[Fact | Malformed] = []
        if side.skip and not side.closed:
            passed = data[: side.skip]
            side.skip -= len(passed)
            data = data[len(passed) :]
            found += self._rest(direction, passed)
        if side.closed or not data or (side.lost and not self._begins(side, data)):
            return found
        side.buffer += data
        while side.buffer and not side.closed and self._next(direction, side, found):
            pass
        return found

    def gap(self, direction: int, size: int) -> None:
        """Go on when only a part that is passed over was lost; else wait for the start of a message."""
        side = self._sides[direction]
        if side.skip >= size and not side.buffer:
            side.skip -= size
        else:
            self._lose(side)

    def between(self, direction: int) -> bool:
        """Tell whether a message may start here."""
        side = self._sides[direction]
        return not side.buffer and not side.skip

    def close(self) -> None:
        """End the session: what follows is not ours to read."""
        for side in self._sides:
            side.closed = True
            side.buffer.clear()
        self.done = True

    def _begins(self, side: _Side, data: bytes) -> bool:
        if self._starts(data) >= 0:
            side.lost = False
            return True
        side.missed += 1
        side.closed = side.missed >= MAX_MISSED
        self.done = all(each.closed for each in self._sides)
        return False

    def _next(self, direction: int, side: _Side, found: list[Fact | Malformed]) -> bool:
        """Read one message off the front of the buffer; False when it is not whole or not there."""
        size = self._measure(side.buffer)
        if size < 0:
            found.append(Malformed(f"{self._name} stream lost its framing"))
            self._lose(side)
            return False
        kept = min(size, self._keep)
        if not size or len(side.buffer) < kept:
            return False
        message, rest = bytes(side.buffer[:kept]), bytes(side.buffer[kept:size])
        side.skip = size - kept - len(rest)
        del side.buffer[:size]
        found += self._read(direction, message)
        if rest:
            found += self._rest(direction, rest)
        return True

    @staticmethod
    def _lose(side: _Side) -> None:
        side.buffer.clear()
        side.skip, side.lost = 0, True


def nbss_size(data: bytes | bytearray) -> int:
    """Size of the NetBIOS session packet at the start (RFC 1002 section 4.3.1)."""
    if not data:
        return 0
    if data[0] not in (0, 0x81, 0x82, 0x83, 0x84, 0x85) or (len(data) > 1 and data[0] and data[1] & 0xFE):
        return -1
    if len(data) < 4:
        return 0
    return 4 + int.from_bytes(data[1:4], "big")


def nbss_stream(cap: int) -> Framed:
    """Return a session for NetBIOS session set-up."""

    def read(_: int, message: bytes) -> list[Fact | Malformed]:
        kind = message[0]
        return [netbios.nbss_fact(kind, message[4:])] if 0x81 <= kind <= 0x84 else []

    return Framed("NetBIOS session", nbss_size, read, keep=min(cap, 1024))


def kerberos_stream(cap: int) -> Framed:
    """Return a session for Kerberos over TCP."""
    return Framed("Kerberos", kerberos.packet_size, lambda _, packet: kerberos.kerberos_facts(packet[4:]), keep=cap)


def smb_stream(cap: int) -> Framed:
    """Return a session for SMB, with a NetBIOS session before it or not; of large messages the head is read."""
    reader = smb.Smb()

    def read(_: int, packet: bytes) -> list[Fact | Malformed]:
        return [] if packet[0] else reader.read(packet[4:])

    return Framed("SMB", nbss_size, read, keep=cap, starts=smb.packet_start)


def stun_stream(cap: int) -> Framed:
    """Return a session for STUN and TURN over TCP; the data of channels is passed over."""
    return Framed("STUN", stun.message_size, lambda _, packet: stun.stun_packet(packet), keep=min(cap, 4096))


def mqtt_stream(cap: int) -> Framed:
    """Return a session for MQTT."""
    reader = mqtt.Mqtt()
    return Framed("MQTT", mqtt.packet_size, lambda _, packet: reader.read(packet), keep=cap, starts=mqtt.packet_start)


class LdapStream:
    """LDAP over TCP, and TLS once it has turned to that (a hello where a message should start is TLS too: the agreement
    may have been lost). After a SASL bind messages come in buffers of their own; those that are only signed are read,
    the others passed over."""

    __slots__ = ("_inner", "_inside", "_max_bytes", "_outer", "_reads", "_tls", "done")

    def __init__(self, *, max_bytes: int) -> None:
        self._outer = Framed(
            "LDAP", ldap.packet_size, self._packet, keep=max_bytes, rest=self._rest, starts=ldap.packet_start
        )
        self._inner = Framed("LDAP", ldap.message_size, self._message, keep=max_bytes)
        self._reads = [False, False]  # the packet that is passed over is a buffer whose text is read
        self._tls: set[Value] = set()  # numbers of the requests to turn to TLS
        self._inside: TlsStream | None = None
        self._max_bytes = max_bytes
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read the next bytes of one direction and return the messages that they complete."""
        if self._inside is None and starts_hello(data) and self._outer.between(direction):
            self._inside = TlsStream(max_bytes=self._max_bytes)
        if self._inside is not None:
            found = self._inside.feed(direction, data, now=now)
            self.done = self._inside.done
            return found
        found = self._outer.feed(direction, data, now=now)
        self.done = self._outer.done and self._inside is None
        return found

    def gap(self, direction: int, size: int) -> None:
        """Wait for the start of a message or buffer; a buffer torn by the gap is not read on."""
        if self._inside is not None:
            self._inside.gap(direction, size)
            self.done = self._inside.done
            return
        self._outer.gap(direction, size)
        self._inner.gap(direction, size)

    def _packet(self, direction: int, packet: bytes) -> list[Fact | Malformed]:
        self._reads[direction] = False
        if packet[0]:
            return self._message(direction, packet)
        text = ldap.signed(packet[4:])
        self._reads[direction] = bool(text)
        return self._inner.feed(direction, text, now=0)

    def _rest(self, direction: int, data: bytes) -> list[Fact | Malformed]:
        return self._inner.feed(direction, data, now=0) if self._reads[direction] else []

    def _message(self, _: int, message: bytes) -> list[Fact | Malformed]:
        found = ldap.read(message)
        if ldap.message_size(message) > len(message):  # cut by our cap, which is no fault of the message
            found = [each for each in found if isinstance(each, Fact)]
        for each in found:
            if isinstance(each, Fact):
                self._watch(each.fields)
        return found

    def _watch(self, fields: Mapping[str, Value]) -> None:
        """Turn to TLS where the server agrees to (RFC 4511 section 4.14)."""
        number, operation = fields["ldap.message_id"], fields["ldap.operation"]
        if operation == "extendedReq" and fields.get("ldap.oid") == ldap.START_TLS and len(self._tls) < MAX_ASKED:
            self._tls.add(number)
        elif operation == "extendedResp" and number in self._tls and fields.get("ldap.result") == 0:
            self._outer.close()
            self._inside = TlsStream(max_bytes=self._max_bytes)
