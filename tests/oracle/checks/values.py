"""Values that Suricata, Arkime, Zeek and ipfixprobe name, in the fields that hold them here: capture by capture.

These peers cut traffic into events and sessions of their own, so what is compared is that a value they name is named by
us too, under one of the fields of the tables. Keys that are not in a table have no field here.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.oracle.score import Check

Row = dict[str, Any]
Table = Mapping[str, tuple[str, ...]]
NAMES = ("dns.qname", "dns.answer")

EVE: Table = {
    "http.http_method": ("http.method",), "http.hostname": ("http.host",),
    "http.url": ("http.url",), "http.status": ("http.status",), "http.http_user_agent": ("http.user_agent",),
    "dns.id": ("dns.id",), "dns.rrname": NAMES, "dns.queries[].rrname": NAMES, "mdns.queries[].rrname": NAMES,
    "llmnr.queries[].rrname": NAMES, "dns.grouped.A[]": ("dns.a",), "dns.grouped.AAAA[]": ("dns.aaaa",),
    "dns.grouped.CNAME[]": ("dns.cname",), "tls.sni": ("tls.sni",), "tls.ja3.hash": ("tls.ja3",),
    "tls.ja3s.hash": ("tls.ja3s",), "tls.ja4": ("tls.ja4",), "quic.ja4": ("tls.ja4",), "quic.sni": ("quic.sni",),
    "ssh.client.proto_version": ("ssh.version",), "ssh.server.proto_version": ("ssh.version",),
    "ssh.client.software_version": ("ssh.software",), "ssh.server.software_version": ("ssh.software",),
    "ssh.client.hassh.hash": ("ssh.hassh",), "ssh.server.hassh.hash": ("ssh.hassh_server",),
    "smtp.mail_from": ("email.from",), "smtp.rcpt_to[]": ("email.to",), "smtp.helo": ("email.argument",),
    "email.subject": ("email.subject",), "smb.filename": ("smb.file", "smb.share"), "smb.share": ("smb.share",),
    "smb.ntlmssp.user": ("smb.user",), "smb.ntlmssp.host": ("smb.host",), "smb.ntlmssp.domain": ("smb.domain",),
    "krb5.cname": ("kerberos.cname",), "krb5.sname": ("kerberos.sname",),
    "krb5.realm": ("kerberos.realm", "kerberos.client_realm"), "mqtt.connect.client_id": ("mqtt.client_id",),
    "mqtt.connect.username": ("mqtt.username",), "mqtt.publish.topic": ("mqtt.topic",),
    "mqtt.subscribe.topics[].topic": ("mqtt.topic",), "dhcp.client_mac": ("dhcp.client_mac",),
    "dhcp.dhcp_type": ("dhcp.type",), "dhcp.hostname": ("dhcp.hostname",), "dhcp.routers[]": ("dhcp.router",),
    "dhcp.dns_servers[]": ("dhcp.dns",), "ldap.request.search_request.base_object": ("ldap.dn",),
    "pop3.request.command": ("email.command",), "ftp.command": ("ftp.command",), "ftp_data.command": ("ftp.command",),
    "ftp_data.filename": ("ftp.argument",), "snmp.community": ("snmp.community",), "sip.method": ("sip.method",),
    "sip.code": ("sip.status",),
}  # fmt: skip
ARKIME: Table = {
    "network.community_id": ("flow.community_id",), "dns[].queryHost": NAMES, "dns[].answers[].ip": ("dns.a", "dns.aaaa"),
    "http.host[]": ("http.host",), "http.method[]": ("http.method",), "http.statuscode[]": ("http.status",),
    "http.useragent[]": ("http.user_agent",), "email.src[]": ("email.from", "email.reply_to"),
    "email.dst[]": ("email.to", "email.cc"), "email.id[]": ("email.message_id",), "email.subject[]": ("email.subject",),
    "sip.callid[]": ("sip.call_id",), "sip.method[]": ("sip.method",), "sip.statuscode[]": ("sip.status",),
    "sip.useragent[]": ("sip.user_agent",), "snmp.community[]": ("snmp.community",), "snmp.version[]": ("snmp.version",),
    "smb.domain[]": ("smb.domain",), "smb.host[]": ("smb.host",), "smb.user[]": ("smb.user",),
    "smb.share[]": ("smb.share",), "tls.ja3[]": ("tls.ja3",), "tls.ja3s[]": ("tls.ja3s",), "bgp.type[]": ("bgp.type",),
    "socks.host": ("socks.host",), "socks.port": ("socks.port",), "network.vlan.id[]": ("vlan.id",),
}  # fmt: skip
#: Zeek's logs that no check of messages compares whole.
ZEEK: Mapping[str, Table] = {
    "zeek_ssl": {"server_name": ("tls.sni",), "cert_chain_fps[]": ("tls.cert.sha256", "tls.cert.chain")},
    "zeek_quic": {"server_name": ("quic.sni",), "client_protocol": ("tls.alpn",), "client_initial_dcid": ("quic.dcid",)},
    "zeek_sip": {
        "call_id": ("sip.call_id",), "method": ("sip.method",), "user_agent": ("sip.user_agent",),
        "status_code": ("sip.status",),
    },
    "zeek_socks": {"request.name": ("socks.host",), "request_p": ("socks.port",)},
    "zeek_smb_mapping": {"path": ("smb.share",)},
    "zeek_smb_files": {"name": ("smb.file",), "path": ("smb.share",)},
    "zeek_ssh": {
        "kex_alg": ("ssh.kex",), "host_key_alg": ("ssh.host_key",), "cipher_alg": ("ssh.cipher",), "mac_alg": ("ssh.mac",),
    },
    "zeek_dhcp": {
        "mac": ("dhcp.client_mac",), "assigned_addr": ("dhcp.your_ip",), "host_name": ("dhcp.hostname",),
        "requested_addr": ("dhcp.requested_ip",), "msg_types[]": ("dhcp.type",),
    },
    "zeek_ntp": {"version": ("ntp.version",), "stratum": ("ntp.stratum",)},
    "zeek_ldap": {"message_id": ("ldap.message_id",)},
    "zeek_ldap_search": {"message_id": ("ldap.message_id",), "base_object": ("ldap.dn",)},
    "zeek_ftp": {"command": ("ftp.command",), "reply_code": ("ftp.status",)},
    "zeek_smtp": {
        "mailfrom": ("email.from",), "rcptto[]": ("email.to",), "subject": ("email.subject",),
        "msg_id": ("email.message_id",), "helo": ("email.argument",),
    },
}  # fmt: skip
IPFIXPROBE: Mapping[str, Table] = {
    "ipfixprobe_sip": {
        "SIP_CALL_ID": ("sip.call_id",), "SIP_USER_AGENT": ("sip.user_agent",), "SIP_REQUEST_URI": ("sip.uri",),
    },
    "ipfixprobe_quic": {"QUIC_SNI": ("quic.sni",)},
    "ipfixprobe_ntp": {"NTP_STRATUM": ("ntp.stratum",), "NTP_VERSION": ("ntp.version",)},
    "ipfixprobe_dnssd": {"DNSSD_QUERIES": NAMES},
}  # fmt: skip


def paths(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Keys of nested values as `a.b[].c`, with their plain values."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from paths(each, f"{at}.{key}" if at else re.sub(r"\[\d+\]", "[]", key))
    elif isinstance(value, list):
        for each in value:
            yield from paths(each, at if at.endswith("[]") else f"{at}[]")
    else:
        yield re.sub(r"\[\d+\]", "[]", at), value


def plain(value: Any) -> str:
    """A value as every peer may write it: small letters, no angle brackets, no origin, backslashes escaped or not."""
    text = re.sub(r"\\+", "/", str(value).lower().strip("<> ").rstrip("."))
    return re.sub(r"[^\x20-\x7e]+", "?", re.sub(r"(?<=.):[0-9]+$", "", re.sub("^http://[^/]*(?=/)", "", text)))


def _ours(rows: list[Row]) -> Mapping[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        for name, value in row.items():
            for each in value if isinstance(value, (tuple, list)) else (value,):
                found[name].add(plain(each))
    return found


def named(table: Table, *, key: str = "") -> Callable[[Check, str, Row, list[Row]], None]:
    """Every value that the peer's table knows is among ours. `key`: where a row keeps what it names."""

    def run(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
        if "max_arg" in str(peer.get("redefs")):  # the test cuts what is logged
            return
        ours = _ours(rows)
        wanted = {
            (at, each)
            for row in peer["expected"] if row.get("count", 1)
            for at, value in paths(row.get(key, {}) if key else row) if at in table
            for each in (plain(value).split(";") if at == "DNSSD_QUERIES" else [plain(value)]) if each not in _NOTHING
        }  # fmt: skip
        for at, value in sorted(wanted):
            if any(value in ours.get(name, ()) for name in table[at]):
                check.equal += 1
            else:
                check.note(capture, f"only the peer names this {at}", value)

    return run


#: Nothing, and what peers write in words of their own where there is nothing: a root, a state, no value.
_NOTHING = ("", "-", "(empty)", "none", "root", "init", "share_root", "sasl data", "0.0.0.0")
CHECKS: dict[str, tuple[str, Callable[[Check, str, Row, list[Row]], None]]] = {
    "suricata_eve_filters": ("suricata_eve_filters", named(EVE, key="match")),
    "arkime_sessions": ("arkime_sessions", named(ARKIME)),
    **{name: (name, named(table)) for name, table in ZEEK.items()},
    **{name: (name, named(table)) for name, table in IPFIXPROBE.items()},
}
