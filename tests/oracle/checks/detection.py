"""Which protocol a flow speaks, against nDPI and Zeek: flow by flow, by its ends.

The tables say which of our names a name of theirs stands for. A name that is not in a table has no counterpart (a vendor's
service, a protocol that we do not know): such flows are not compared, nor those that nDPI guesses by port or address.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.oracle.score import Check

Row = dict[str, Any]
Key = tuple[Any, ...]
TRANSPORTS = {"TCP": 6, "UDP": 17, "IGMP": 2}
CONTENT = ("DPI", "DPI (cache)")

#: nDPI's master protocol -> our names. Calls and conferences are RTP, STUN or TURN to us; mail and file transfer over TLS
#: are TLS; whatever nDPI calls by its service inside HTTP, TLS or DNS has these as master. Where the second name is a protocol too
#: (STUN.RTP), either will do.
NDPI = {
    "BGP": {"bgp"}, "BitTorrent": {"bittorrent"}, "COAP": {"coap"}, "CiscoSkinny": {"skinny"}, "DCERPC": {"dcerpc"},
    "DHCP": {"dhcp"}, "DHCPV6": {"dhcpv6"}, "DNS": {"dns"}, "DTLS": {"dtls"}, "FTPS": {"ftp"},
    "FTP_CONTROL": {"ftp"}, "HTTP": {"http", "http2"}, "HTTP_Proxy": {"http"}, "IGMP": {"igmp"}, "IMAP": {"imap"},
    "IMAPS": {"tls"}, "IPSec": {"ike"}, "Jabber": {"xmpp"}, "Kerberos": {"kerberos"}, "LDAP": {"ldap"}, "MDNS": {"mdns"},
    "MQTT": {"mqtt"}, "Megaco": {"megaco"}, "Modbus": {"modbus"}, "MySQL": {"mysql"}, "NFS": {"rpc"}, "NTP": {"ntp"},
    "NetBIOS": {"nbns", "nbdgm", "nbss"}, "OpenVPN": {"openvpn"}, "POP3": {"pop3"}, "POPS": {"tls"},
    "PostgreSQL": {"postgresql"}, "QUIC": {"quic"}, "RDP": {"rdp"}, "RTCP": {"rtcp"}, "RTP": {"rtp", "rtcp"},
    "RTSP": {"rtsp"}, "Radius": {"radius"}, "SIP": {"sip"}, "SMBv1": {"smb"}, "SMBv23": {"smb"}, "SMTP": {"smtp"},
    "SMTPS": {"tls"}, "SNMP": {"snmp"}, "SOCKS": {"socks"}, "SRTP": {"rtp", "rtcp", "turn"}, "SSDP": {"ssdp"},
    "SSH": {"ssh"}, "STUN": {"stun", "turn"}, "Syslog": {"syslog"}, "TLS": {"tls"}, "Telnet": {"telnet"},
    "VNC": {"vnc"}, "WireGuard": {"wireguard"},
}  # fmt: skip
#: Zeek's first service -> our name.
ZEEK = {
    "dce_rpc": "dcerpc", "dns": "dns", "dhcp": "dhcp", "ftp": "ftp", "http": "http", "irc": "irc", "krb": "kerberos",
    "ldap_tcp": "ldap", "ldap_udp": "ldap", "modbus": "modbus", "mysql": "mysql", "ntlm": "ldap", "ntp": "ntp",
    "pop3": "pop3", "quic": "quic", "radius": "radius", "rdp": "rdp", "redis": "redis", "rfb": "vnc", "sip": "sip",
    "smb": "smb", "smtp": "smtp", "snmp": "snmp", "socks": "socks", "ssh": "ssh", "ssl": "tls", "syslog": "syslog",
    "xmpp": "xmpp", "postgresql": "postgresql", "mqtt": "mqtt",
}  # fmt: skip
_SAME = {"mdns": "dns", "llmnr": "dns", "nbns": "dns"}  # Zeek has one name for all that looks like DNS


def _ends(one: tuple[str, int], other: tuple[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((str(ip_address(address)), port) for address, port in (one, other)))


def _ours(rows: list[Row]) -> dict[Key, set[str]]:
    """Protocol, ends -> what we call the flows between them (ports are used again)."""
    found: dict[Key, set[str]] = defaultdict(set)
    for row in rows:
        if row["kind"] == "flow":
            ends = _ends((row["ip.src"], row["port.src"]), (row["ip.dst"], row["port.dst"]))
            found[row["ip.proto"], *ends].add(row["app.protocol"])
    return found


def _readable(row: Row) -> bool:
    try:
        _ends((row["a"], 0), (row["b"], 0))
    except ValueError:  # nDPI cuts long IPv6 addresses
        return False
    return True


def ndpi(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Flows whose protocol nDPI found by content, and those where it found none and we did."""
    ours = _ours(rows)
    for row in peer["expected"]:
        if row["l4"] not in TRANSPORTS or not _readable(row) or row.get("confidence") not in (*CONTENT, "Unknown"):
            continue
        got = ours.get((TRANSPORTS[row["l4"]], *_ends((row["a"], row["a_port"]), (row["b"], row["b_port"]))))
        master, _, service = (row.get("proto") or "").partition(".")
        if got is None or (master not in NDPI and master != "Unknown"):
            continue
        said = (row["l4"], row["a_port"], row["b_port"], row["proto"], sorted(got))
        if master == "Unknown":
            if got == {"unknown"}:
                check.equal += 1
            else:
                check.note(capture, f"nDPI finds nothing, we {'/'.join(sorted(got))}", said)
        elif got & (NDPI[master] | NDPI.get(service, set())):  # STUN.RTP
            check.equal += 1
        else:
            check.note(capture, f"nDPI {master}, we {'/'.join(sorted(got))}", said)


def _services(peer: Row) -> Iterator[tuple[Row, set[str]]]:
    """Rows of Zeek with each service that we know, of tests that leave Zeek's analyzers as they are."""
    if peer.get("custom_script") or peer.get("redefs"):
        return
    for row in peer["expected"]:
        services = {ZEEK[each] for each in row.get("service", "").split(",") if each in ZEEK}
        if services and "id.orig_h" in row and row["proto"] in ("tcp", "udp"):
            yield row, services


def zeek(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Flows to which Zeek gives a service that we know; of several (what LDAP carries, say) one must be ours."""
    ours = _ours(rows)
    for row, wanted in _services(peer):
        ends = _ends((row["id.orig_h"], row["id.orig_p"]), (row["id.resp_h"], row["id.resp_p"]))
        got = ours.get((TRANSPORTS[row["proto"].upper()], *ends), {"no flow"})
        if wanted & {_SAME.get(each, each) for each in got}:
            check.equal += 1
        else:
            check.note(capture, f"Zeek {row['service']}, we {'/'.join(sorted(got))}", ends)


CHECKS = {"ndpi_flows": ("ndpi_flows", ndpi), "zeek_conn": ("zeek_conn", zeek)}
