"""Which application protocol a flow speaks, from the bytes of its first payload packets; ports only break ties.

Promise: pure; the ordered signatures are the specification that kernel/_detect.pxi is tested against. UNKNOWN is an
answer: what is decided is kept for the flow's life (but STUN, see `refine`), so a miss costs less than a false verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from packhound.net.signatures import datagrams, greetings, headers, media, names, secure, stores, streams, text
from packhound.net.signatures.apps import BY_NAME, EVERY, PROTOCOLS, TCP, UDP, App, Protocol, name_of
from packhound.net.signatures.look import TWO_PACKETS, Found, Look

__all__ = [
    "BY_NAME", "EVERY", "GIVE_UP_AFTER", "PROTOCOLS", "TCP", "UDP", "UNDECIDED", "App", "Protocol", "Verdict", "detect",
    "name_of", "refine",
]  # fmt: skip

GIVE_UP_AFTER = 8  # payload packets of a flow, both directions together, after which it stays unknown

Signature = Callable[[Look], Found | None]

# The order is the priority: what has a magic number before what has a shape, what a greeting leaves open last.
OVER_TCP: tuple[Signature, ...] = (
    text.ssh, text.sip, text.rtsp, text.http2, text.http, text.vnc, text.xmpp, text.redis, streams.bittorrent,
    secure.tls, streams.bgp, media.stun_tcp, streams.smb, streams.nbss, stores.mqtt, stores.amqp, stores.nats,
    stores.postgresql, stores.mongodb, stores.kafka, streams.diameter, streams.rdp, streams.kerberos, streams.ldap,
    streams.dcerpc, streams.rpc, stores.mysql, names.dns_tcp, secure.openvpn_tcp, streams.socks, streams.modbus,
    streams.skinny, streams.telnet, text.syslog,
    greetings.smtp, greetings.ftp, greetings.pop3, greetings.imap, greetings.irc,
)  # fmt: skip
OVER_UDP: tuple[Signature, ...] = (
    text.sip, text.ssdp, text.mgcp, text.megaco, datagrams.bittorrent, media.stun, secure.dtls, datagrams.dhcp,
    secure.quic, names.dns_udp, names.nbdgm, datagrams.snmp, datagrams.kerberos, datagrams.cldap, secure.ike,
    secure.wireguard, secure.openvpn, datagrams.rdp, datagrams.radius, datagrams.rpc, datagrams.dhcpv6, datagrams.rip,
    datagrams.tftp, text.syslog, datagrams.coap, datagrams.ntp, media.rtcp, media.rtp,
)  # fmt: skip


class Verdict(NamedTuple):
    """What one packet decides: protocol, confidence in per cent, method (1 content, 2 content over two packets)."""

    app: App
    confidence: int
    method: int


UNDECIDED = Verdict(App.UNKNOWN, 0, 0)


def detect(
    payload: bytes, *, proto: int, sport: int, dport: int, direction: int, scratch: list[int], payload_packets: int
) -> Verdict:
    """Judge one payload packet of a flow without verdict. `scratch` (four 32-bit words, zero at first) is kept for
    the flow between calls and written in place; `payload_packets` counts this packet."""
    del payload_packets  # no signature asks yet; the caller gives up at GIVE_UP_AFTER
    if not payload:
        return UNDECIDED
    if proto not in {TCP, UDP}:
        found = headers.by_number(proto, payload)
        return Verdict(App(found.app), found.confidence, found.method) if found else UNDECIDED
    look = Look(payload, sport, dport, direction, scratch)
    for signature in OVER_TCP if proto == TCP else OVER_UDP:
        found = signature(look)
        if found is not None:
            return Verdict(App(found.app), found.confidence, found.method)
    return UNDECIDED


def refine(
    payload: bytes, *, app: int, proto: int, sport: int, dport: int, direction: int, scratch: list[int]
) -> Verdict:
    """Judge one payload packet of a flow that began as STUN over UDP: DTLS or media that it carries (RFC 7983) is what
    it is for. UNDECIDED while there is neither, and for every other flow."""
    if app != App.STUN or proto != UDP or not payload or not 20 <= payload[0] < 192:
        return UNDECIDED
    look = Look(payload, sport, dport, direction, scratch)
    found = secure.dtls(look) if payload[0] < 64 else media.rtp(look) if payload[0] >= 128 else None
    return Verdict(App(found.app), found.confidence, TWO_PACKETS) if found else UNDECIDED
