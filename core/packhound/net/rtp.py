"""RTP and RTCP headers (RFC 3550), and the codecs that have a fixed payload type (RFC 3551).

Promise: one packet in, one value out; linear, never raises. Whether a flow is RTP at all is decided by
`packhound.net.detect`: any bytes that start with version 2 can look like it.
"""

from __future__ import annotations

from dataclasses import dataclass

from packhound.net.facts import Malformed

# RFC 3551 tables 4 and 5 (payload type -> encoding name, clock rate in Hz)
STATIC_CODECS: dict[int, tuple[str, int]] = {
    0: ("PCMU", 8000), 3: ("GSM", 8000), 4: ("G723", 8000), 5: ("DVI4", 8000), 6: ("DVI4", 16000), 7: ("LPC", 8000),
    8: ("PCMA", 8000), 9: ("G722", 8000), 10: ("L16", 44100), 11: ("L16", 44100), 12: ("QCELP", 8000), 13: ("CN", 8000),
    14: ("MPA", 90000), 15: ("G728", 8000), 16: ("DVI4", 11025), 17: ("DVI4", 22050), 18: ("G729", 8000),
    25: ("CelB", 90000), 26: ("JPEG", 90000), 28: ("nv", 90000), 31: ("H261", 90000), 32: ("MPV", 90000),
    33: ("MP2T", 90000), 34: ("H263", 90000),
}  # fmt: skip

MAX_RTCP_PACKETS = 64  # in one compound datagram


@dataclass(frozen=True, slots=True)
class RtpPacket:
    """An RTP header. `payload` is the offset of the media behind CSRC list and extension, `padding` in bytes."""

    payload_type: int
    marker: bool
    seq: int
    timestamp: int
    ssrc: int
    csrc: tuple[int, ...]
    payload: int
    padding: int


@dataclass(frozen=True, slots=True)
class RtcpPacket:
    """One packet of an RTCP compound: `type` 200 SR, 201 RR, 202 SDES, 203 BYE, 204 APP, 205/206 feedback, 207 XR."""

    type: int
    count: int
    ssrc: int
    length: int


def parse(data: bytes) -> RtpPacket | Malformed:
    """Read the header of an RTP packet (RFC 3550 section 5.1)."""
    if len(data) < 12:
        return Malformed("RTP header is cut short", len(data))
    first, second = data[0], data[1]
    if first >> 6 != 2:
        return Malformed("RTP version is not 2")
    sources = first & 0x0F
    payload = 12 + 4 * sources
    if payload > len(data):
        return Malformed("RTP contributing sources run past the packet", 12)
    csrc = tuple(int.from_bytes(data[at : at + 4], "big") for at in range(12, payload, 4))
    if first & 0x10:
        if payload + 4 > len(data):
            return Malformed("RTP header extension is cut short", payload)
        payload += 4 + 4 * int.from_bytes(data[payload + 2 : payload + 4], "big")
        if payload > len(data):
            return Malformed("RTP header extension runs past the packet", payload)
    padding = data[-1] if first & 0x20 and payload < len(data) else 0
    return RtpPacket(
        payload_type=second & 0x7F,
        marker=bool(second & 0x80),
        seq=int.from_bytes(data[2:4], "big"),
        timestamp=int.from_bytes(data[4:8], "big"),
        ssrc=int.from_bytes(data[8:12], "big"),
        csrc=csrc,
        payload=payload,
        padding=min(padding, len(data) - payload),
    )


def is_rtcp(data: bytes) -> bool:
    """Tell RTCP from RTP on one port (RFC 5761 section 4): second byte 192-223."""
    return len(data) >= 8 and data[0] >> 6 == 2 and 192 <= data[1] <= 223


def parse_rtcp(data: bytes) -> list[RtcpPacket] | Malformed:
    """Read the packets of an RTCP compound (RFC 3550 section 6.1); of SRTCP the first, whose header is in the clear."""
    if not is_rtcp(data):
        return Malformed("not an RTCP header")
    found: list[RtcpPacket] = []
    at = 0
    while at + 8 <= len(data) and len(found) < MAX_RTCP_PACKETS:
        if data[at] >> 6 != 2 or not 192 <= data[at + 1] <= 223:
            break  # SRTCP: what follows the first packet is encrypted
        length = 4 * (int.from_bytes(data[at + 2 : at + 4], "big") + 1)
        ssrc = int.from_bytes(data[at + 4 : at + 8], "big")
        found.append(RtcpPacket(data[at + 1], data[at] & 0x1F, ssrc, length))
        at += length
    return found
