"""A capture written packet by packet: Ethernet and IPv4 between hosts 10.0.0.N, times in milliseconds."""

from __future__ import annotations

import struct
from pathlib import Path

from tests.support import hellos
from tests.support.capture_files import pcap_header, record

START = 1_700_000_000
SYN, SYN_ACK, ACK, DATA, FIN = 0x02, 0x12, 0x10, 0x18, 0x11


def ipv4(src: int, dst: int, proto: int, body: bytes) -> bytes:
    """A frame from host `src` to host `dst`."""
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0x4000, 64, proto, 0)
    return bytes(12) + b"\x08\x00" + head + bytes((10, 0, 0, src, 10, 0, 0, dst)) + body


def udp(src: int, sport: int, dst: int, dport: int, payload: bytes) -> bytes:
    """A UDP frame."""
    return ipv4(src, dst, 17, struct.pack(">HHHH", sport, dport, 8 + len(payload), 0) + payload)


def tcp(src: int, sport: int, dst: int, dport: int, flags: int, seq: int, ack: int, payload: bytes = b"") -> bytes:
    """A TCP frame."""
    return ipv4(src, dst, 6, struct.pack(">HHIIBBHHH", sport, dport, seq, ack, 0x50, flags, 64000, 0, 0) + payload)


class Tape:
    """Frames in the order given, `step` ms apart."""

    def __init__(self, *, step: float = 10) -> None:
        self.frames: list[tuple[float, bytes]] = []
        self.now = 0.0
        self._step = step

    def add(self, *frames: bytes, at: float | None = None) -> Tape:
        """Put frames at the end, or at time `at` (ms) and on."""
        if at is not None:
            self.now = at
        for each in frames:
            self.frames.append((self.now, each))
            self.now += self._step
        return self

    def save(self, path: Path) -> Path:
        """Write it as a pcap file."""
        path.write_bytes(self.data())
        return path

    def data(self) -> bytes:
        """The bytes of a pcap file."""
        return pcap_header() + b"".join(
            record(START + int(ms // 1000), round(ms % 1000 * 1000), frame) for ms, frame in self.frames
        )

    @property
    def bytes(self) -> list[bytes]:
        """The frames alone."""
        return [frame for _, frame in self.frames]


def tls(host: str, *, sport: int, server: int = 2, pieces: int = 1) -> list[bytes]:
    """A TCP connection whose ClientHello (in `pieces` segments) names `host`, with an answer and an end."""
    hello = hellos.record(22, hellos.handshake(1, hellos.client_hello((0x1301, 0x1302), hellos.sni(host))))
    out = [
        tcp(1, sport, server, 443, SYN, 100, 0), tcp(server, 443, 1, sport, SYN_ACK, 500, 101),
        tcp(1, sport, server, 443, ACK, 101, 501),
    ]  # fmt: skip
    size, seq = -(-len(hello) // pieces), 101
    for at in range(0, len(hello), size):
        out.append(tcp(1, sport, server, 443, DATA, seq, 501, hello[at : at + size]))
        seq += len(hello[at : at + size])
    answer = hellos.record(22, hellos.handshake(2, hellos.server_hello(0x1301)))
    out.append(tcp(server, 443, 1, sport, DATA, 501, seq, answer))
    out.append(tcp(1, sport, server, 443, DATA, seq, 501 + len(answer), hellos.record(23, bytes(64))))
    return out


def sip(
    first: str,
    *,
    call: str,
    cseq: str,
    sdp: str = "",
    user: str = "alice",
    peer: str = "bob",
    extra: tuple[str, ...] = (),
) -> bytes:
    """A SIP message."""
    lines = [
        first, "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK1", f"From: <sip:{user}@example.org>;tag=1",
        f"To: <sip:{peer}@example.org>", f"Call-ID: {call}", f"CSeq: {cseq}", *extra,
    ]  # fmt: skip
    if sdp:
        lines.append("Content-Type: application/sdp")
    return "\r\n".join([*lines, f"Content-Length: {len(sdp)}", "", sdp]).encode()


def offer(host: int, port: int) -> str:
    """An SDP body: audio at 10.0.0.host:port."""
    return f"v=0\r\no=- 1 1 IN IP4 10.0.0.{host}\r\ns=-\r\nc=IN IP4 10.0.0.{host}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"


def rtp(sequence: int, ssrc: int) -> bytes:
    """One RTP packet of 20 ms of A-law."""
    return struct.pack(">BBHII", 0x80, 8, sequence, sequence * 160, ssrc) + bytes([0xD5]) * 160


def rtcp(ssrc: int) -> bytes:
    """A receiver report without blocks and an SDES."""
    return struct.pack(">BBHI", 0x80, 201, 1, ssrc) + struct.pack(">BBHIBB", 0x81, 202, 2, ssrc, 1, 1) + b"a\0"


def phone_call(
    *,
    call: str = "c1@x",
    user: str = "alice",
    peer: str = "bob",
    sip_port: int = 5060,
    media: tuple[int, int] = (4000, 5000),
    ok: tuple[str, ...] = (),
    seconds: float = 0.4,
) -> list[bytes]:
    """INVITE, early media, 200, ACK, RTP and RTCP both ways, BYE, 200: host 1 calls host 2. `ok`: more headers of the
    answer."""
    a, b = media

    def say(first: str, cseq: str, sdp: str = "", *, back: bool = False, extra: tuple[str, ...] = ()) -> bytes:
        body = sip(first, call=call, cseq=cseq, sdp=sdp, user=user, peer=peer, extra=extra)
        return udp(2, 5060, 1, sip_port, body) if back else udp(1, sip_port, 2, 5060, body)

    out = [
        say(f"INVITE sip:{peer}@example.org SIP/2.0", "1 INVITE", offer(1, a)),
        say("SIP/2.0 100 Trying", "1 INVITE", back=True),
        say("SIP/2.0 180 Ringing", "1 INVITE", back=True),
        udp(2, b, 1, a, rtp(1, 22)), udp(2, b, 1, a, rtp(2, 22)),
        say("SIP/2.0 200 OK", "1 INVITE", offer(2, b), back=True, extra=ok),
        say(f"ACK sip:{peer}@example.org SIP/2.0", "1 ACK"),
    ]  # fmt: skip
    for n in range(int(seconds * 50)):
        out += [udp(1, a, 2, b, rtp(n, 11)), udp(2, b, 1, a, rtp(n + 3, 22))]
    out += [udp(1, a + 1, 2, b + 1, rtcp(11)), udp(2, b + 1, 1, a + 1, rtcp(22))]
    return [*out, say(f"BYE sip:{peer}@example.org SIP/2.0", "2 BYE"), say("SIP/2.0 200 OK", "2 BYE", back=True)]
