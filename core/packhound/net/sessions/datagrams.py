"""Protocols whose every datagram stands alone: SIP over UDP, and RTP with its RTCP.

Promise: bounded work per datagram; never raises.
"""

from __future__ import annotations

from packhound.net import rtp, sip
from packhound.net.facts import Fact, Malformed, Value
from packhound.net.sip_fields import sip_fact

MAX_MESSAGES = 32  # SIP messages of one datagram
MAX_STREAMS = 16  # RTP streams reported per flow
RTP_FIELDS = frozenset({"rtp.ssrc", "rtp.payload_type", "rtp.seq", "rtp.timestamp", "rtp.marker", "rtp.codec"})
RTCP_FIELDS = frozenset({"rtcp.type", "rtcp.ssrc"})


class SipDatagrams:
    """SIP over UDP. Keep-alives (RFC 5626: CR LF, RFC 3261 implementations: NUL) say nothing and are no error."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read one datagram, which may hold several messages."""
        found: list[Fact | Malformed] = []
        data = data.lstrip(b"\r\n\0 ")
        while data and len(found) < MAX_MESSAGES:
            message = sip.parse(data)
            if isinstance(message, Malformed):
                found.append(message)
                break
            found.append(sip_fact(message))
            data = _after(data, message)
        return found

    def gap(self, direction: int, size: int) -> None:
        """Datagrams have no gaps."""


def _after(data: bytes, message: sip.SipMessage) -> bytes:
    """Return what follows the message when it is another SIP message (Content-Length decides where it starts)."""
    size = sip.message_size(data)
    if size is None or not message.complete:
        return b""
    rest = data[size:].lstrip(b"\r\n\0 ")
    return rest if sip.starts_message(rest) else b""


class MediaDatagrams:
    """RTP and RTCP, on one port or two: one fact for the first packet of each stream, not one per packet."""

    __slots__ = ("_seen", "done")

    def __init__(self) -> None:
        self._seen: set[tuple[int, str, int, int]] = set()
        self.done = False

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Read one datagram; facts only for a stream (direction, SSRC, payload type) that is new."""
        found: list[Fact | Malformed] = []
        if not data or data[0] >> 6 != 2:
            return found  # STUN, DTLS or TURN channel data on the media's port (RFC 7983)
        if rtp.is_rtcp(data):
            packets = rtp.parse_rtcp(data)
            if isinstance(packets, Malformed):
                return [packets]
            fresh = (each for each in packets if self._is_new(direction, "rtcp", each.ssrc, each.type))
            return [Fact("rtcp", {"rtcp.type": each.type, "rtcp.ssrc": each.ssrc}) for each in fresh]
        packet = rtp.parse(data)
        if isinstance(packet, Malformed):
            return [packet]
        if self._is_new(direction, "rtp", packet.ssrc, packet.payload_type):
            found.append(rtp_fact(packet))
        return found

    def gap(self, direction: int, size: int) -> None:
        """Datagrams have no gaps."""

    def _is_new(self, direction: int, kind: str, ssrc: int, number: int) -> bool:
        stream = (direction, kind, ssrc, number)
        if self.done or stream in self._seen:
            return False
        self._seen.add(stream)
        self.done = len(self._seen) >= MAX_STREAMS
        return True


def rtp_fact(packet: rtp.RtpPacket) -> Fact:
    """Return the `rtp` fact of one packet; the codec only where its payload type is a fixed one."""
    fields: dict[str, Value] = {
        "rtp.ssrc": packet.ssrc,
        "rtp.payload_type": packet.payload_type,
        "rtp.seq": packet.seq,
        "rtp.timestamp": packet.timestamp,
        "rtp.marker": packet.marker,
    }
    codec = rtp.STATIC_CODECS.get(packet.payload_type)
    if codec:
        fields["rtp.codec"] = codec[0]
    return Fact("rtp", fields)
