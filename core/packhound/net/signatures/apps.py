"""Application protocols by number, and what is known of each.

Promise: numbers never change meaning; new protocols take the next free one. The same in kernel/_detect.pxi.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

ICMP_P, IGMP_P, TCP, UDP, ESP_P, ICMPV6_P, EIGRP_P, OSPF_P, PIM_P, VRRP_P, SCTP_P = (
    1, 2, 6, 17, 50, 58, 88, 89, 103, 112, 132,
)  # fmt: skip
EVERY = 0xFFFFFFFF


class App(IntEnum):
    """Application protocols by number; stable, 0 to 255."""

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
    NBDGM = 23
    NBSS = 24
    SMB = 25
    LDAP = 26
    KERBEROS = 27
    SNMP = 28
    DHCPV6 = 29
    OSPF = 30
    EIGRP = 31
    RADIUS = 32
    DIAMETER = 33
    TURN = 34
    HTTP2 = 35
    GRPC = 36
    WEBSOCKET = 37
    HTTP3 = 38
    DOT = 39
    DOH = 40
    DOQ = 41
    MQTT = 42
    REDIS = 43
    KAFKA = 44
    POSTGRESQL = 45
    MYSQL = 46
    MONGODB = 47
    AMQP = 48
    NATS = 49
    WIREGUARD = 50
    OPENVPN = 51
    IKE = 52
    ESP = 53
    BITTORRENT = 54
    RDP = 55
    VNC = 56
    MODBUS = 57
    ICMP = 58
    ICMPV6 = 59
    ARP = 60
    SCTP = 61
    IGMP = 62
    PIM = 63
    VRRP = 64
    TELNET = 65
    SYSLOG = 66
    XMPP = 67
    IRC = 68
    TFTP = 69
    RIP = 70
    SOCKS = 71
    RPC = 72
    DCERPC = 73
    MGCP = 74
    MEGACO = 75
    SKINNY = 76
    COAP = 77


class Protocol(NamedTuple):
    """One row: id, name as in `app.protocol`, IP protocol numbers it runs over, payload packets per direction that its
    dissector wants, and whether a signature finds it yet (a row without one keeps its number and name reserved)."""

    app: App
    name: str
    transports: tuple[int, ...]
    yield_packets: int = 0
    detected: bool = True


PROTOCOLS: tuple[Protocol, ...] = (
    Protocol(App.UNKNOWN, "unknown", (), detected=False),
    Protocol(App.DNS, "dns", (UDP, TCP), EVERY),
    Protocol(App.MDNS, "mdns", (UDP,), EVERY),
    Protocol(App.LLMNR, "llmnr", (UDP, TCP), EVERY),
    Protocol(App.NBNS, "nbns", (UDP,), EVERY),
    Protocol(App.TLS, "tls", (TCP,), 24),
    Protocol(App.DTLS, "dtls", (UDP,), 12),
    Protocol(App.QUIC, "quic", (UDP,), 12),
    Protocol(App.HTTP, "http", (TCP,), EVERY),
    Protocol(App.SIP, "sip", (UDP, TCP), EVERY),
    Protocol(App.RTP, "rtp", (UDP,), 2),
    Protocol(App.RTCP, "rtcp", (UDP,), 2),
    Protocol(App.RTSP, "rtsp", (TCP,)),
    Protocol(App.SSH, "ssh", (TCP,), 8),
    Protocol(App.SMTP, "smtp", (TCP,), EVERY),
    Protocol(App.FTP, "ftp", (TCP,), EVERY),
    Protocol(App.IMAP, "imap", (TCP,), EVERY),
    Protocol(App.POP3, "pop3", (TCP,), EVERY),
    Protocol(App.STUN, "stun", (UDP, TCP), 64),
    Protocol(App.NTP, "ntp", (UDP,), EVERY),
    Protocol(App.DHCP, "dhcp", (UDP,), EVERY),
    Protocol(App.SSDP, "ssdp", (UDP,), EVERY),
    Protocol(App.BGP, "bgp", (TCP,), EVERY),
    Protocol(App.NBDGM, "nbdgm", (UDP,), EVERY),
    Protocol(App.NBSS, "nbss", (TCP,), 4),
    Protocol(App.SMB, "smb", (TCP,), EVERY),
    Protocol(App.LDAP, "ldap", (TCP, UDP), EVERY),
    Protocol(App.KERBEROS, "kerberos", (TCP, UDP), EVERY),
    Protocol(App.SNMP, "snmp", (UDP,), EVERY),
    Protocol(App.DHCPV6, "dhcpv6", (UDP,), EVERY),
    Protocol(App.OSPF, "ospf", (OSPF_P,), EVERY),
    Protocol(App.EIGRP, "eigrp", (EIGRP_P,), EVERY),
    Protocol(App.RADIUS, "radius", (UDP,), EVERY),
    Protocol(App.DIAMETER, "diameter", (TCP,), EVERY),
    Protocol(App.TURN, "turn", (UDP, TCP), 64),
    Protocol(App.HTTP2, "http2", (TCP,), EVERY),
    Protocol(App.GRPC, "grpc", (TCP,), detected=False),
    Protocol(App.WEBSOCKET, "websocket", (TCP,), detected=False),
    Protocol(App.HTTP3, "http3", (UDP,), detected=False),
    Protocol(App.DOT, "dot", (TCP,), detected=False),
    Protocol(App.DOH, "doh", (TCP, UDP), detected=False),
    Protocol(App.DOQ, "doq", (UDP,), detected=False),
    Protocol(App.MQTT, "mqtt", (TCP,), EVERY),
    Protocol(App.REDIS, "redis", (TCP,)),
    Protocol(App.KAFKA, "kafka", (TCP,)),
    Protocol(App.POSTGRESQL, "postgresql", (TCP,), 24),
    Protocol(App.MYSQL, "mysql", (TCP,), 24),
    Protocol(App.MONGODB, "mongodb", (TCP,)),
    Protocol(App.AMQP, "amqp", (TCP,)),
    Protocol(App.NATS, "nats", (TCP,)),
    Protocol(App.WIREGUARD, "wireguard", (UDP,)),
    Protocol(App.OPENVPN, "openvpn", (UDP, TCP), 64),
    Protocol(App.IKE, "ike", (UDP,)),
    Protocol(App.ESP, "esp", (ESP_P,)),
    Protocol(App.BITTORRENT, "bittorrent", (TCP, UDP)),
    Protocol(App.RDP, "rdp", (TCP, UDP), 24),
    Protocol(App.VNC, "vnc", (TCP,)),
    Protocol(App.MODBUS, "modbus", (TCP,)),
    Protocol(App.ICMP, "icmp", (ICMP_P,), EVERY),
    Protocol(App.ICMPV6, "icmpv6", (ICMPV6_P,), EVERY),
    Protocol(App.ARP, "arp", (), detected=False),
    Protocol(App.SCTP, "sctp", (SCTP_P,), EVERY),
    Protocol(App.IGMP, "igmp", (IGMP_P,)),
    Protocol(App.PIM, "pim", (PIM_P,)),
    Protocol(App.VRRP, "vrrp", (VRRP_P,)),
    Protocol(App.TELNET, "telnet", (TCP,)),
    Protocol(App.SYSLOG, "syslog", (UDP, TCP)),
    Protocol(App.XMPP, "xmpp", (TCP,), 24),
    Protocol(App.IRC, "irc", (TCP,), 24),
    Protocol(App.TFTP, "tftp", (UDP,)),
    Protocol(App.RIP, "rip", (UDP,), EVERY),
    Protocol(App.SOCKS, "socks", (TCP,), EVERY),
    Protocol(App.RPC, "rpc", (TCP, UDP)),
    Protocol(App.DCERPC, "dcerpc", (TCP,)),
    Protocol(App.MGCP, "mgcp", (UDP,)),
    Protocol(App.MEGACO, "megaco", (UDP,)),
    Protocol(App.SKINNY, "skinny", (TCP,)),
    Protocol(App.COAP, "coap", (UDP,)),
)
_NAMES = {int(row.app): row.name for row in PROTOCOLS}
BY_NAME = {row.name: row.app for row in PROTOCOLS}


def name_of(app: int) -> str:
    """Name of a protocol id as in `app.protocol`."""
    return _NAMES.get(app, "unknown")
