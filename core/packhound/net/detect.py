"""Which application protocol a flow speaks, from the bytes of its first payload packets; ports only break ties.

Promise: pure; the ordered signatures are the specification that kernel/_detect.pxi is tested against. UNKNOWN is an
answer: what is decided is kept for the flow's life, so a miss costs less than a false verdict.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from packhound.net import detect_binary, detect_text

TCP, UDP = 6, 17
EVERY = 0xFFFFFFFF


class App(IntEnum):
    """Application protocols by number; numbers are stable, the same in kernel/_detect.pxi."""

    UNKNOWN = 0
    DNS = 1
    MDNS = 2
    LLMNR = 3
    NBNS = 4
    TLS = 5
    DTLS = 6
    QUIC = 7
    HTTP = 8
    SIP = 9
    RTP = 10
    RTCP = 11
    RTSP = 12
    SSH = 13
    SMTP = 14
    FTP = 15
    IMAP = 16
    POP3 = 17
    STUN = 18
    NTP = 19
    DHCP = 20
    SSDP = 21
    BGP = 22


class Protocol(NamedTuple):
    """One row: id, name as in `app.protocol`, IANA transports, payload packets per direction its dissector wants."""

    app: App
    name: str
    transports: tuple[int, ...]
    yield_packets: int


PROTOCOLS: tuple[Protocol, ...] = (
    Protocol(App.UNKNOWN, "unknown", (), 0),
    Protocol(App.DNS, "dns", (UDP, TCP), EVERY),
    Protocol(App.MDNS, "mdns", (UDP,), EVERY),
    Protocol(App.LLMNR, "llmnr", (UDP, TCP), EVERY),
    Protocol(App.NBNS, "nbns", (UDP,), 0),
    Protocol(App.TLS, "tls", (TCP,), 24),
    Protocol(App.DTLS, "dtls", (UDP,), 12),
    Protocol(App.QUIC, "quic", (UDP,), 12),
    Protocol(App.HTTP, "http", (TCP,), EVERY),
    Protocol(App.SIP, "sip", (UDP, TCP), EVERY),
    Protocol(App.RTP, "rtp", (UDP,), 2),
    Protocol(App.RTCP, "rtcp", (UDP,), 2),
    Protocol(App.RTSP, "rtsp", (TCP,), 0),
    Protocol(App.SSH, "ssh", (TCP,), 4),
    Protocol(App.SMTP, "smtp", (TCP,), 0),
    Protocol(App.FTP, "ftp", (TCP,), 0),
    Protocol(App.IMAP, "imap", (TCP,), 0),
    Protocol(App.POP3, "pop3", (TCP,), 0),
    Protocol(App.STUN, "stun", (UDP,), 0),
    Protocol(App.NTP, "ntp", (UDP,), 0),
    Protocol(App.DHCP, "dhcp", (UDP,), 0),
    Protocol(App.SSDP, "ssdp", (UDP,), 0),
    Protocol(App.BGP, "bgp", (TCP,), 0),
)
_NAMES = {int(row.app): row.name for row in PROTOCOLS}
BY_NAME = {row.name: row.app for row in PROTOCOLS}


class Verdict(NamedTuple):
    """What one packet decides: protocol, confidence in per cent, method (1 content, 2 content over two packets)."""

    app: App
    confidence: int
    method: int


UNDECIDED = Verdict(App.UNKNOWN, 0, 0)


def name_of(app: int) -> str:
    """Name of a protocol id as in `app.protocol`."""
    return _NAMES.get(app, "unknown")


def detect(
    payload: bytes, *, proto: int, sport: int, dport: int, direction: int, scratch: list[int], payload_packets: int
) -> Verdict:
    """Judge one payload packet of a flow without verdict. `scratch` (four 32-bit words, zero at first) is kept for
    the flow between calls and written in place; `payload_packets` counts this packet."""
    if not payload:
        return UNDECIDED
    if proto == TCP:
        found = detect_text.over_tcp(payload, direction, scratch) or detect_binary.over_tcp(payload, sport, dport)
    elif proto == UDP:
        found = detect_binary.over_udp(payload, sport, dport) or detect_text.over_udp(payload)
        found = found or detect_binary.media(payload, sport, dport, direction, scratch)
    else:
        found = None
    if found is None:
        return UNDECIDED
    app, confidence, method = found
    return Verdict(App(app), confidence, method)
