"""The field registry: every name a user can write or read anywhere is one row here.

Promise: values only. A HuntFilter leaf, a column, a key of `packhound inspect`, a pcapng comment: all use these names.
A row that nothing fills is refused at admission; a test holds each filled one against the corpus.
Does not belong here: how a value is found (packhound.net) or compared (packhound.rules.values).
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Type(StrEnum):
    """What values of a field are, and so which operators it has."""

    STRING = "string"
    NAME = "name"
    ADDRESS = "address"
    NUMBER = "number"
    PHONE = "phone"
    BOOL = "bool"


OPERATORS: dict[Type, tuple[str, ...]] = {
    Type.STRING: ("equals", "glob", "prefix", "suffix", "contains", "in", "regex"),
    Type.NAME: ("equals", "glob", "prefix", "suffix", "contains", "domain", "in", "regex"),
    Type.ADDRESS: ("equals", "in"),
    Type.NUMBER: ("equals", "in"),
    Type.PHONE: ("equals", "number"),
    Type.BOOL: ("equals",),
}

HEADER = "header"  #: decided by the addresses, ports and tags of any packet
FLOW = "flow"  #: decided by what the flow table knows
POD = "pod"  #: decided by whose address it is, where the pods of a cluster are known


class Field(NamedTuple):
    """One row: name, type, application protocols it can occur in (empty: any), one line of doc, what fills it
    (message kinds, `header`, `flow` or `pod`; empty: nothing in this version), whether a filter may use it."""

    name: str
    type: Type
    protocols: tuple[str, ...]
    doc: str
    filled_by: tuple[str, ...]
    matchable: bool = True

    @property
    def operators(self) -> tuple[str, ...]:
        """Operators that a leaf on this field may use."""
        return OPERATORS[self.type] if self.matchable else ()


S, N, A, D, P, B = Type.STRING, Type.NAME, Type.ADDRESS, Type.NUMBER, Type.PHONE, Type.BOOL
SIP = ("sip",)
MEDIA = ("rtp", "rtcp")  # RTP and RTCP may share one flow (RFC 5761)
DNS = ("dns", "mdns", "llmnr")
TLS = ("tls", "dtls", "quic")
HELLO = ("tls.client_hello",)
HELLOS = (*HELLO, "tls.server_hello")
HTTP = ("http",)
REQUEST, RESPONSE = ("http.request",), ("http.response",)


def _message(protocols: tuple[str, ...], kinds: tuple[str, ...], *rows: tuple[str, Type, str]) -> list[Field]:
    return [Field(name, kind, protocols, doc, kinds) for name, kind, doc in rows]


def _unmatched(
    protocols: tuple[str, ...], kinds: tuple[str, ...], *rows: tuple[str, Type, str]
) -> list[Field]:
    """Messages of frames that belong to no flow: shown, not matched."""
    return [Field(name, kind, protocols, doc, kinds, matchable=False) for name, kind, doc in rows]


def _column(*rows: tuple[str, Type, str]) -> list[Field]:
    return [Field(name, kind, (), doc, (FLOW,), matchable=False) for name, kind, doc in rows]


def _later(*rows: tuple[str, Type, str]) -> list[Field]:
    return [Field(name, kind, (), doc, ()) for name, kind, doc in rows]


_ROWS: list[Field] = [
    *_message((), (HEADER,),
        ("ip.addr", A, "source or destination address of the innermost IP packet"),
        ("ip.src", A, "source address (scope flow: of the flow's initiator)"),
        ("ip.dst", A, "destination address (scope flow: of the flow's responder)"),
        ("ip.proto", D, "IP protocol, by IANA number or name (tcp, udp, icmp, ...)"),
        ("port", D, "source or destination port"),
        ("port.src", D, "source port (scope flow: of the flow's initiator)"),
        ("port.dst", D, "destination port (scope flow: of the flow's responder)"),
        ("vlan.id", D, "outermost VLAN id"),
    ),
    *_message((), (FLOW,),
        ("app.protocol", S, "application protocol found by content (tls, sip, ...)"),
        ("flow.bytes", D, "bytes of the flow so far, both ways, whole frames"),
    ),
    *_message(SIP, ("sip",),
        ("sip.user", S, "user parts of From, To, Contact and the identity headers"),
        ("sip.uri", S, "URIs of the same headers and of the request line"),
        ("sip.from", S, "From header, whole"),
        ("sip.to", S, "To header, whole"),
        ("sip.method", S, "method of the request, or of the request a response answers"),
        ("sip.status", D, "status code of a response"),
        ("sip.reason", S, "reason phrase of a response"),
        ("sip.call_id", S, "Call-ID"),
        ("sip.cseq", D, "CSeq number"),
        ("sip.cseq.method", S, "CSeq method"),
        ("sip.user_agent", S, "User-Agent or Server header"),
        ("sip.via.branch", S, "branch of the topmost Via"),
        ("sip.imsi", S, "IMSI of the subscriber, where an identity carries it (TS 23.003)"),
        ("sip.imei", S, "IMEI of the device (RFC 7254)"),
        ("phone.number", P, "phone numbers of the parties (user parts and tel: URIs)"),
        ("sdp.connection", S, "addresses of the SDP's c= lines"),
        ("sdp.media", S, "media lines of the SDP: kind, port, protocol"),
    ),
    Field("rtp.codec", S, ("sip", *MEDIA), "codecs offered in SDP, or of the fixed payload type seen", ("sip", "rtp")),
    *_message(MEDIA, ("rtp",),
        ("rtp.ssrc", D, "synchronisation source"),
        ("rtp.payload_type", D, "payload type"),
        ("rtp.seq", D, "sequence number"),
        ("rtp.timestamp", D, "media timestamp"),
        ("rtp.marker", B, "marker bit"),
    ),
    *_message(MEDIA, ("rtcp",),
        ("rtcp.type", D, "RTCP packet types of the datagram"),
        ("rtcp.ssrc", D, "senders of the datagram"),
    ),
    *_message(DNS, DNS,
        ("dns.id", D, "transaction id"),
        ("dns.response", B, "a response, not a query"),
        ("dns.opcode", D, "operation code"),
        ("dns.rcode", D, "response code"),
        ("dns.qname", N, "name asked for"),
        ("dns.qtype", D, "type asked for, by number"),
        ("dns.answer", N, "answers as text: addresses and names"),
        ("dns.a", A, "IPv4 addresses answered"),
        ("dns.aaaa", A, "IPv6 addresses answered"),
        ("dns.cname", N, "canonical names answered"),
        ("dns.answers", D, "number of answers"),
    ),
    *_message(TLS, HELLO,
        ("tls.sni", N, "server name that the client asks for"),
        ("tls.ja3", S, "JA3 fingerprint of the ClientHello (MD5)"),
        ("tls.ja4", S, "JA4 fingerprint of the ClientHello"),
        ("tls.quic", B, "the ClientHello came in QUIC"),
    ),
    Field("tls.alpn", S, TLS, "application protocols offered, or the one chosen", HELLOS),
    Field("tls.version", S, TLS, "highest version offered, or the one chosen", HELLOS),
    *_message(TLS, ("tls.server_hello",),
        ("tls.cipher", D, "cipher suite chosen, by number"),
        ("tls.ja3s", S, "JA3S fingerprint of the ServerHello (MD5)"),
    ),
    *_message(("tls", "dtls"), ("tls.certificate",),
        ("tls.cert.subject", S, "subject of the server's certificate"),
        ("tls.cert.issuer", S, "issuer of the server's certificate"),
    ),
    Field("quic.sni", N, ("quic",), "server name in a QUIC ClientHello", ("tls.client_hello", "quic")),
    Field("quic.version", S, ("quic",), "QUIC version", ("tls.client_hello", "quic")),
    *_message(HTTP, REQUEST,
        ("http.method", S, "request method"),
        ("http.path", S, "path of the request target"),
        ("http.host", N, "host asked for, with its port where one is written"),
        ("http.url", S, "http://host/path?query of the request"),
        ("http.user_agent", S, "User-Agent header"),
        ("http.version", S, "HTTP version of the request"),
    ),
    *_message(HTTP, RESPONSE,
        ("http.status", D, "status code"),
        ("http.content_type", S, "Content-Type header"),
        ("http.server", S, "Server header"),
    ),
    *_message(("ssh",), ("ssh",),
        ("ssh.software", S, "software version of the banner"),
        ("ssh.version", S, "protocol version of the banner"),
    ),
    *_message(("dhcp",), ("dhcp",),
        ("dhcp.type", S, "message type (DISCOVER, OFFER, ...), or the operation of plain BOOTP"),
        ("dhcp.xid", D, "transaction id"),
        ("dhcp.client_mac", S, "hardware address of the client"),
        ("dhcp.client_ip", A, "address that the client has"),
        ("dhcp.your_ip", A, "address that the server assigns"),
        ("dhcp.requested_ip", A, "address that the client asks for"),
        ("dhcp.relay_ip", A, "address of the relay agent"),
        ("dhcp.server_id", A, "server identifier"),
        ("dhcp.hostname", N, "host name of the client"),
        ("dhcp.fqdn", N, "client's fully qualified domain name"),
        ("dhcp.domain", N, "domain name that the server gives"),
        ("dhcp.vendor_class", S, "vendor class identifier"),
        ("dhcp.client_id", S, "client identifier, in hex"),
        ("dhcp.parameters", D, "options that the client asks for, in its order"),
        ("dhcp.lease_time", D, "lease time, s"),
        ("dhcp.router", A, "routers that the server gives"),
        ("dhcp.dns", A, "name servers that the server gives"),
    ),
    *_message(("dhcpv6",), ("dhcpv6",),
        ("dhcpv6.type", S, "message types (SOLICIT, REPLY, ...), from the outermost relay inwards"),
        ("dhcpv6.xid", D, "transaction id"),
        ("dhcpv6.client_duid", S, "DUID of the client, in hex"),
        ("dhcpv6.server_duid", S, "DUID of the server, in hex"),
        ("dhcpv6.client_mac", S, "Ethernet address in the client's DUID"),
        ("dhcpv6.fqdn", N, "client's fully qualified domain name"),
        ("dhcpv6.vendor_class", S, "vendor class data"),
        ("dhcpv6.address", A, "addresses asked for or assigned"),
        ("dhcpv6.prefix", S, "prefixes asked for or delegated"),
        ("dhcpv6.parameters", D, "options that the client asks for, in its order"),
        ("dhcpv6.status", D, "status code"),
        ("dhcpv6.dns", A, "name servers that the server gives"),
        ("dhcpv6.domain", N, "domain search list that the server gives"),
        ("dhcpv6.relay_peer", A, "clients or relays that the relays heard"),
    ),
    *_message(("icmp", "icmpv6"), ("icmp", "icmpv6"),
        ("icmp.type", D, "message type, by number"),
        ("icmp.code", D, "message code"),
        ("icmp.id", D, "identifier of an echo or timestamp"),
        ("icmp.seq", D, "sequence number of an echo or timestamp"),
        ("icmp.mtu", D, "MTU of the next hop or of the link"),
        ("icmp.gateway", A, "better router (redirect), or the routers advertised"),
        ("icmp.target", A, "target of neighbour discovery or of an IPv6 redirect"),
        ("icmp.mac", S, "link-layer address in neighbour discovery"),
        ("icmp.prefix", S, "prefixes that a router advertises"),
        ("icmp.group", A, "multicast groups of MLD"),
        ("icmp.quoted.src", A, "source of the packet that an error quotes"),
        ("icmp.quoted.dst", A, "destination of the packet that an error quotes"),
        ("icmp.quoted.proto", D, "IP protocol of the packet that an error quotes"),
        ("icmp.quoted.port.src", D, "source port of the packet that an error quotes"),
        ("icmp.quoted.port.dst", D, "destination port of the packet that an error quotes"),
        ("icmp.note", S, "what the message is part of: traceroute, multicast"),
    ),
    *_unmatched(("arp",), ("arp",),
        ("arp.opcode", D, "operation: 1 request, 2 reply, 3 and 4 RARP"),
        ("arp.hardware", D, "hardware type (1 Ethernet)"),
        ("arp.sender.mac", S, "MAC address of the sender"),
        ("arp.sender.ip", A, "IPv4 address of the sender"),
        ("arp.target.mac", S, "MAC address of the target (zeros in a request)"),
        ("arp.target.ip", A, "IPv4 address asked for or answered to"),
        ("arp.gratuitous", B, "the sender speaks of its own address to all"),
        ("arp.probe", B, "the sender, without an address yet, asks whether one is taken (RFC 5227)"),
    ),
    *_message(("snmp",), ("snmp",),
        ("snmp.version", S, "version: 1, 2c, 2u or 3"),
        ("snmp.community", S, "community of versions 1 and 2c"),
        ("snmp.pdu", S, "PDU type (get-request, response, trap, ...)"),
        ("snmp.request_id", D, "request id"),
        ("snmp.error", D, "error status, when there is one"),
        ("snmp.oid", S, "object identifiers of the variables"),
        ("snmp.value", S, "values of the variables, in the order of the identifiers"),
        ("snmp.enterprise", S, "enterprise of a version 1 trap"),
        ("snmp.agent", A, "agent address of a version 1 trap"),
        ("snmp.user", S, "user name of version 3"),
        ("snmp.engine_id", S, "engine id of version 3, in hex"),
        ("snmp.context", S, "context name of version 3"),
        ("snmp.encrypted", B, "a version 3 message is encrypted"),
    ),
    *_message(("ntp",), ("ntp",),
        ("ntp.version", D, "version"),
        ("ntp.mode", S, "mode (client, server, control, ...)"),
        ("ntp.response", B, "a response, of a control or private message"),
        ("ntp.leap", D, "leap indicator"),
        ("ntp.stratum", D, "stratum"),
        ("ntp.poll", D, "poll interval, log2 s"),
        ("ntp.ref_id", S, "reference id: a code or an address"),
        ("ntp.operation", D, "opcode of a control message, request code of a private one"),
    ),
    *_column(
        ("kind", S, "what a row of output is: flow, or the kind of message"),
        ("frame", D, "capture number of the packet that completed the message, from 1"),
        ("time_ns", D, "time of that packet, ns since the epoch"),
        ("interface", S, "interface it was seen on"),
        ("app.confidence", D, "confidence in app.protocol, per cent"),
        ("app.method", S, "how app.protocol was found"),
        ("flow.id", D, "serial number of the flow"),
        ("flow.community_id", S, "Community ID v1"),
        ("flow.packets.fwd", D, "packets from the initiator"),
        ("flow.packets.rev", D, "packets from the responder"),
        ("flow.bytes.fwd", D, "bytes from the initiator, whole frames"),
        ("flow.bytes.rev", D, "bytes from the responder, whole frames"),
        ("flow.payload.fwd", D, "transport payload from the initiator"),
        ("flow.payload.rev", D, "transport payload from the responder"),
        ("flow.first_ns", D, "time of the first packet, ns since the epoch"),
        ("flow.last_ns", D, "time of the last packet, ns since the epoch"),
        ("flow.state", S, "TCP state at the end"),
        ("flow.end", S, "why the flow ended"),
        ("flow.tcp.syn", D, "SYN packets, both ways"),
        ("flow.tcp.fin", D, "FIN packets, both ways"),
        ("flow.tcp.rst", D, "RST packets, both ways"),
        ("flow.tcp.retransmissions", D, "segments sent again, both ways"),
        ("flow.tcp.rtt_ns", D, "handshake round trip, ns"),
        ("flow.host", N, "host name (SNI, Host, DNS question)"),
        ("filter", S, "names of the filters that wanted it"),
        ("tunnel.id", D, "VXLAN or Geneve network of the flow, plus one; 0: none"),
        ("flow.tcp.flags.fwd", D, "TCP flags seen from the initiator, ORed"),
        ("flow.tcp.flags.rev", D, "TCP flags seen from the responder, ORed"),
        ("flow.tcp.out_of_order", D, "segments that arrived late, both ways"),
        ("flow.tcp.zero_window", D, "segments that announced a window of 0, both ways"),
        ("call.is_call", B, "the dialog holds an INVITE"),
        ("call.state", S, "setup, ringing, established, ended, failed, cancelled"),
        ("call.end_reason", S, "what ended the call"),
        ("call.start_ns", D, "time of its first message, ns since the epoch"),
        ("call.ringing_ns", D, "time of the first 180 or 183"),
        ("call.answer_ns", D, "time of the answer"),
        ("call.end_ns", D, "time of the end"),
        ("call.last_ns", D, "time of its last packet"),
        ("call.messages", D, "SIP messages of the dialog"),
        ("call.methods", S, "requests by method, counted"),
        ("call.responses", S, "responses by status and method, counted"),
        ("call.media", S, "media endpoints announced"),
        ("call.peers", S, "who sent its messages"),
        ("call.rtp_packets", D, "RTP packets of the call"),
        ("call.rtcp_packets", D, "RTCP packets of the call"),
        ("call.media_flows", D, "media flows of the call"),
        ("alert.severity", S, "severity that the filter's alert action names"),
        ("alert.subject", S, "the call or flow that the alert is about"),
    ),
    *_later(
        ("dns.tunnel_score", D, "how much the queries look like a tunnel"),
        ("email.from", S, "sender"), ("email.to", S, "recipient"), ("email.subject", S, "subject"),
        ("email.mailbox", S, "mailbox"), ("email.command", S, "command"), ("ldap.operation", S, "LDAP operation"),
        ("process.name", S, "process of the flow"),
    ),
    *_message((), (POD,),
        ("k8s.namespace", S, "namespace of a pod at either end"),
        ("k8s.pod.name", S, "pod at either end"),
        ("k8s.pod.uid", S, "uid of a pod at either end"),
        ("k8s.pod.label", S, "label of a pod at either end, as key=value"),
        ("k8s.workload", S, "what owns a pod at either end, as Kind/name"),
        ("k8s.node.name", S, "node of a pod at either end"),
        ("container.id", S, "container of a pod at either end"),
    ),
]  # fmt: skip

FIELDS: dict[str, Field] = {row.name: row for row in _ROWS}
assert len(FIELDS) == len(_ROWS), "a field is in the registry twice"
