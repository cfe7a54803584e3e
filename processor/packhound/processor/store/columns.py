"""The tables: which columns each has, of which type, and which time decides its hour.

Promise: values only; names are registry names (`packhound.fields`), so a column reads like a leaf of a filter. Columns
of `messages` are whatever the dissectors declare that they fill.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from packhound.fields import FIELDS, Type
from packhound.net.flowrow import FLOW_COLUMNS
from packhound.net.session import FIELDS_FILLED

#: Fields of which one message can hold several: lists in every table.
SEVERAL = frozenset({
    "sip.user", "sip.uri", "phone.number", "sip.imsi", "sip.imei", "rtp.codec", "sdp.connection", "sdp.media",
    "dns.qname", "dns.qtype", "dns.qclass", "dns.answer", "dns.a", "dns.aaaa", "dns.cname", "dns.ttl",
    "dns.edns.option", "rtcp.type", "rtcp.ssrc", "tls.alpn", "tls.cert.names", "tls.cert.chain",
    "tls.offered.ciphers", "tls.offered.groups", "tls.offered.versions", "quic.type", "quic.versions",
    "bgp.capabilities", "bgp.community", "bgp.family", "bgp.next_hop", "bgp.prefix", "bgp.rd", "bgp.withdrawn",
    "dhcp.dns", "dhcp.parameters", "dhcp.router", "dhcpv6.address", "dhcpv6.dns", "dhcpv6.domain",
    "dhcpv6.parameters", "dhcpv6.prefix", "dhcpv6.relay_peer", "dhcpv6.status", "dhcpv6.type", "dhcpv6.vendor_class",
    "diameter.address", "diameter.subscriber", "eigrp.external", "eigrp.k", "eigrp.metric", "eigrp.next_hop",
    "eigrp.origin_as", "eigrp.origin_router", "eigrp.route", "email.from", "email.from.name", "email.mailbox",
    "email.reply_to", "email.to", "icmp.gateway", "icmp.group", "icmp.prefix", "kerberos.etype", "kerberos.padata",
    "ldap.attribute", "ldap.reference", "mqtt.topic", "nbns.address", "nbns.name", "nbns.node_name", "nbns.type",
    "ospf.link", "ospf.lsa.id", "ospf.lsa.router", "ospf.lsa.type", "ospf.neighbor", "ospf.prefix", "rip.metric",
    "rip.next_hop", "rip.route", "smb.dialect", "snmp.oid", "snmp.value", "ssh.cipher", "ssh.compression",
    "ssh.host_key", "ssh.kex", "ssh.mac",
})  # fmt: skip
_TYPES = {Type.NUMBER: "BIGINT", Type.BOOL: "BOOLEAN"}


class Table(NamedTuple):
    """A table: its folder and view name, types by column, the column (ns since the epoch) that decides the hour."""

    name: str
    columns: Mapping[str, str]
    time: str


def _type_of(name: str) -> str:
    row = FIELDS.get(name)
    kind = _TYPES.get(row.type, "VARCHAR") if row else "VARCHAR"
    return f"{kind}[]" if name in SEVERAL else kind


def _message_columns() -> dict[str, str]:
    columns = {
        "kind": "VARCHAR", "time_ns": "BIGINT", "flow.id": "UBIGINT", "flow.community_id": "VARCHAR",
        "interface": "VARCHAR", "filter": "VARCHAR[]",
    }  # fmt: skip
    filled = sorted(frozenset[str]().union(*FIELDS_FILLED.values()))
    return columns | {name: _type_of(name) for name in filled}


CALL_COLUMNS: Mapping[str, str] = {
    "sip.call_id": "VARCHAR", "sip.from": "VARCHAR", "sip.to": "VARCHAR", "sip.user": "VARCHAR[]",
    "phone.number": "VARCHAR[]", "sip.user_agent": "VARCHAR[]", "call.is_call": "BOOLEAN", "call.state": "VARCHAR",
    "call.end_reason": "VARCHAR", "call.start_ns": "BIGINT", "call.ringing_ns": "BIGINT", "call.answer_ns": "BIGINT",
    "call.end_ns": "BIGINT", "call.last_ns": "BIGINT", "call.messages": "UINTEGER",
    "call.methods": "MAP(VARCHAR, UINTEGER)", "call.responses": "MAP(VARCHAR, UINTEGER)", "call.media": "VARCHAR[]",
    "rtp.codec": "VARCHAR[]", "call.peers": "VARCHAR[]", "call.rtp_packets": "UBIGINT",
    "call.rtcp_packets": "UBIGINT", "call.media_flows": "UINTEGER", "call.recordings": "VARCHAR[]",
    "filter": "VARCHAR[]", "k8s.pods": "VARCHAR[]",
}  # fmt: skip
ALERT_COLUMNS: Mapping[str, str] = {
    "time_ns": "BIGINT", "filter": "VARCHAR", "alert.severity": "VARCHAR", "alert.subject": "VARCHAR",
    "flow.id": "UBIGINT", "flow.community_id": "VARCHAR", "sip.call_id": "VARCHAR", "app.protocol": "VARCHAR",
}  # fmt: skip

POD_FIELDS = ("namespace", "pod.name", "workload", "node.name")  #: of the pod at an end
POD_COLUMNS = {f"k8s.{end}.{name}": "VARCHAR" for end in ("src", "dst") for name in POD_FIELDS}

FLOWS = Table("flows", {**FLOW_COLUMNS, **POD_COLUMNS}, "flow.last_ns")
CALLS = Table("calls", CALL_COLUMNS, "call.last_ns")
MESSAGES = Table("messages", _message_columns(), "time_ns")
ALERTS = Table("alerts", ALERT_COLUMNS, "time_ns")
TABLES = (FLOWS, CALLS, MESSAGES, ALERTS)
