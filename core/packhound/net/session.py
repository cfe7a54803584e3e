"""From an application id to the session that dissects a flow, and the fields each kind of fact can hold.

Promise: sessions are sans-I/O, bounded by `max_bytes` a direction, never raise on wire bytes, and take `now` (packet
time, ns) as an argument. One session per flow, one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from packhound.net import (
    arp,
    bgp,
    dhcp,
    dhcpv6,
    diameter,
    dns,
    eigrp,
    grpc_facts,
    hassh,
    http_headers,
    icmp,
    kerberos,
    ldap,
    mqtt,
    netbios,
    ntp,
    ospf,
    radius,
    rip,
    sip_fields,
    smb,
    snmp,
    socks,
    ssdp,
    ssh,
    stun,
    tls,
    websocket,
)
from packhound.net.detect import App
from packhound.net.facts import Fact, Malformed
from packhound.net.sessions import datagrams, mail, quic
from packhound.net.sessions.datagrams import MediaDatagrams, SipDatagrams
from packhound.net.sessions.dns import DnsDatagrams, DnsStream
from packhound.net.sessions.http1 import HttpStream
from packhound.net.sessions.http2 import Http2Stream
from packhound.net.sessions.infra import Datagrams
from packhound.net.sessions.infra_streams import (
    LdapStream,
    kerberos_stream,
    mqtt_stream,
    nbss_stream,
    smb_stream,
    stun_stream,
)
from packhound.net.sessions.openvpn import OpenVpnDatagrams, OpenVpnStream
from packhound.net.sessions.quic import QuicDatagrams
from packhound.net.sessions.routing import BgpStream, DiameterStream
from packhound.net.sessions.routing_sctp import SctpPackets
from packhound.net.sessions.shared_port import SharedPort
from packhound.net.sessions.socks import SocksStream
from packhound.net.sessions.streams import SipStream, SshStream
from packhound.net.sessions.tls import TlsStream
from packhound.net.signatures.apps import EIGRP_P, ICMP_P, ICMPV6_P, OSPF_P, SCTP_P

MAX_BYTES = 64 * 1024
TCP, UDP = 6, 17


class Session(Protocol):
    """Dissects one flow. `done`: nothing more to learn, the rest of the flow need not be handed over."""

    done: bool

    def feed(self, direction: int, data: bytes, *, now: int) -> list[Fact | Malformed]:
        """Take one datagram (UDP) or the next bytes in order (TCP) of `direction` (0 initiator, 1 responder)."""

    def gap(self, direction: int, size: int) -> None:
        """Learn that `size` bytes of a TCP direction were never seen."""


FIELDS_FILLED: Mapping[str, frozenset[str]] = {
    "sip": sip_fields.FIELDS,
    "rtp": datagrams.RTP_FIELDS,
    "rtcp": datagrams.RTCP_FIELDS,
    "dns": dns.TIMED_FIELDS,
    "mdns": dns.FIELDS,
    "llmnr": dns.FIELDS,
    "tls.client_hello": tls.CLIENT_HELLO_FIELDS,
    "tls.server_hello": tls.SERVER_HELLO_FIELDS,
    "tls.certificate": tls.CERTIFICATE_FIELDS,
    "quic": quic.FIELDS,
    "http.request": http_headers.REQUEST_FIELDS,
    "http.response": http_headers.RESPONSE_FIELDS,
    "grpc": grpc_facts.FIELDS,
    "socks": socks.FIELDS,
    "websocket": websocket.FIELDS,
    "ssh": ssh.FIELDS,
    "arp": arp.FIELDS,
    "bgp": bgp.FIELDS,
    "icmp": icmp.FIELDS,
    "rip": rip.FIELDS,
    "diameter": diameter.FIELDS,
    "eigrp": eigrp.FIELDS,
    "ospf": ospf.FIELDS,
    "icmpv6": icmp.FIELDS_6,
    "dhcp": dhcp.FIELDS,
    "dhcpv6": dhcpv6.FIELDS,
    "snmp": snmp.FIELDS,
    "ntp": ntp.FIELDS,
    "ssdp": ssdp.FIELDS,
    "nbns": netbios.NBNS_FIELDS,
    "nbdgm": netbios.NBDGM_FIELDS,
    "nbss": netbios.NBSS_FIELDS,
    "ldap": ldap.FIELDS,
    "ssh.kexinit": hassh.FIELDS,
    "radius": radius.FIELDS,
    "kerberos": kerberos.FIELDS,
    "smb": smb.FIELDS,
    **mail.FIELDS_FILLED,
    "stun": stun.FIELDS,
    "mqtt": mqtt.FIELDS,
}

#: Protocols read no further than to the hello of the TLS that they switch to, and how many chunks come before it.
_BEFORE_TLS = (App.RDP, App.XMPP, App.POSTGRESQL, App.MYSQL, App.IRC)
PREFACE = 24

_OPENERS: Mapping[tuple[int, int], Callable[[int], Session]] = {
    (App.SIP, UDP): lambda _: SipDatagrams(),
    (App.SIP, TCP): lambda cap: SipStream(max_bytes=cap),
    (App.RTP, UDP): lambda _: MediaDatagrams(),
    (App.RTCP, UDP): lambda _: MediaDatagrams(),
    (App.DNS, UDP): lambda _: DnsDatagrams(kind="dns"),
    (App.DNS, TCP): lambda _: DnsStream(kind="dns"),
    (App.MDNS, UDP): lambda _: DnsDatagrams(kind="mdns"),
    (App.LLMNR, UDP): lambda _: DnsDatagrams(kind="llmnr"),
    (App.LLMNR, TCP): lambda _: DnsStream(kind="llmnr"),
    (App.TLS, TCP): lambda cap: TlsStream(max_bytes=cap),
    **dict.fromkeys(((app, TCP) for app in _BEFORE_TLS), lambda cap: TlsStream(max_bytes=cap, preface=PREFACE)),
    (App.DTLS, UDP): lambda cap: SharedPort(max_bytes=cap),
    (App.OPENVPN, UDP): lambda cap: OpenVpnDatagrams(max_bytes=cap),
    (App.OPENVPN, TCP): lambda cap: OpenVpnStream(max_bytes=cap),
    (App.QUIC, UDP): lambda _: QuicDatagrams(),
    (App.HTTP, TCP): lambda cap: HttpStream(max_bytes=cap),
    (App.HTTP2, TCP): lambda cap: Http2Stream(max_bytes=cap),
    (App.SOCKS, TCP): lambda cap: SocksStream(max_bytes=cap),
    (App.SSH, TCP): lambda cap: SshStream(max_bytes=cap),
    (App.BGP, TCP): lambda _: BgpStream(),
    (App.OSPF, OSPF_P): lambda _: Datagrams(ospf.read),
    (App.EIGRP, EIGRP_P): lambda _: Datagrams(eigrp.read),
    (App.DIAMETER, TCP): lambda cap: DiameterStream(max_bytes=cap),
    (App.SCTP, SCTP_P): lambda cap: SctpPackets(max_bytes=cap),
    (App.RIP, UDP): lambda _: Datagrams(rip.read),
    (App.ICMP, ICMP_P): lambda _: Datagrams(icmp.read4),
    (App.ICMPV6, ICMPV6_P): lambda _: Datagrams(icmp.read6),
    (App.DHCP, UDP): lambda _: Datagrams(dhcp.dhcp_facts),
    (App.DHCPV6, UDP): lambda _: Datagrams(dhcpv6.dhcpv6_facts),
    (App.SNMP, UDP): lambda _: Datagrams(snmp.snmp_facts),
    (App.NTP, UDP): lambda _: Datagrams(ntp.ntp_facts),
    (App.SSDP, UDP): lambda _: Datagrams(ssdp.ssdp_facts),
    (App.NBNS, UDP): lambda _: Datagrams(netbios.nbns_facts),
    (App.NBDGM, UDP): lambda _: Datagrams(netbios.nbdgm_facts),
    (App.NBSS, TCP): nbss_stream,
    (App.LDAP, TCP): lambda cap: LdapStream(max_bytes=cap),
    (App.LDAP, UDP): lambda _: Datagrams(ldap.cldap_facts),
    (App.RADIUS, UDP): lambda _: Datagrams(radius.radius_facts),
    (App.KERBEROS, UDP): lambda _: Datagrams(kerberos.kerberos_facts),
    (App.KERBEROS, TCP): kerberos_stream,
    (App.SMB, TCP): smb_stream,
    (App.SMTP, TCP): mail.smtp_stream,
    (App.IMAP, TCP): mail.imap_stream,
    (App.POP3, TCP): mail.pop3_stream,
    (App.FTP, TCP): mail.ftp_stream,
    (App.STUN, UDP): lambda cap: SharedPort(max_bytes=cap),
    (App.TURN, UDP): lambda _: Datagrams(stun.stun_facts),
    (App.STUN, TCP): stun_stream,
    (App.TURN, TCP): stun_stream,
    (App.MQTT, TCP): mqtt_stream,
}


#: What reads a frame that belongs to no flow, by application.
_FRAMES: Mapping[int, Callable[[bytes], list[Fact | Malformed]]] = {App.ARP: arp.read}


def read_frame(app: int, data: bytes) -> list[Fact | Malformed]:
    """Read a frame that belongs to no flow: its messages, none when nothing dissects it."""
    reader = _FRAMES.get(app)
    return reader(data) if reader else []


def open_session(app: int, *, proto: int, max_bytes: int = MAX_BYTES) -> Session | None:
    """Return a session for a flow of application `app` over IP protocol `proto`; None when none dissects it."""
    opener = _OPENERS.get((app, proto))
    return opener(max_bytes) if opener else None
