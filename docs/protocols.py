"""Write docs/protocols.md: what finds each protocol, what is read of it, and what proves both.

    python docs/protocols.py [--check]

Captures are looked for where the corpus is (`PACKHOUND_CORPUS`, or ../shared/corpus); without it the page is kept.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from packhound.fields import FIELDS  # noqa: E402  # run from a checkout
from packhound.net.detect import PROTOCOLS, Protocol  # noqa: E402
from packhound.net.session import open_session  # noqa: E402

PAGE = ROOT / "docs" / "protocols.md"
HEAD = """# Protocols

Made by `python docs/protocols.py`; do not edit. *Found by*: the signature (`packhound.net.signatures`; by content, ports only break
ties; `app.confidence` and `app.method` say how sure and how). *Fields*: what a filter can name; all of them with their proofs in
[fields](fields.md). *Proof*: a capture of the corpus whose flow is called so, else the test that has its bytes from the specification.
*Compared by*: checks of `make score` ([truth](truth.md)); `ndpi_flows` and `zeek_conn` compare the names of flows. That a filter on
each kind of message matches in a real capture, and one beside it does not: `tests/oracle/test_filters_match.py`. Random and
encrypted payloads and counters that look like RTP stay unknown: `tests/unit/net/test_detect.py`.

| protocol | over | found by | fields | proof | compared by |
|---|---|---|---|---|---|
"""
TAIL = """
Not flows of their own but known inside others: gRPC (HTTP/2, `grpc.*`), WebSocket (HTTP/1, `websocket.*`), HTTP/3 (QUIC, `tls.alpn`
`h3`), DNS over TLS, HTTPS and QUIC (`dns.encrypted`: `dot`, `doh`, `doq`, by ALPN, port and names of resolvers), TLS behind STARTTLS,
STLS, AUTH TLS, StartTLS, RDP, XMPP, PostgreSQL, MySQL, IRC, SOCKS, CONNECT and OpenVPN, DTLS and RTP behind STUN (the flow is called by
what it turns out to carry), Diameter and others over SCTP. ESP and IKE over UDP 4500 are `ike` when the flow begins with IKE.
"""
IP = {6: "TCP", 17: "UDP", 1: "IP 1", 2: "IP 2", 50: "IP 50", 58: "IP 58", 88: "IP 88", 89: "IP 89", 103: "IP 103",
      112: "IP 112", 132: "IP 132"}  # fmt: skip
#: Checks that compare the messages of a protocol.
CHECKS: Mapping[str, str] = {
    "dns": "tshark_dns, zeek_dns", "mdns": "tshark_mdns", "llmnr": "tshark_llmnr", "nbns": "tshark_nbns",
    "tls": "tshark_tls_client_hello, tshark_tls_server_hello, ja4, zeek_x509", "dtls": "tshark_tls_client_hello",
    "quic": "tshark_quic, ja4, zeek_quic", "http": "tshark_http, zeek_http", "http2": "tshark_http2",
    "sip": "sip_calls, zeek_sip", "rtp": "rtp_streams", "ssh": "tshark_ssh", "smtp": "tshark_smtp", "ftp": "tshark_ftp",
    "imap": "tshark_imap", "pop3": "tshark_pop3", "ntp": "tshark_ntp", "dhcp": "tshark_dhcp", "dhcpv6": "tshark_dhcpv6",
    "ssdp": "tshark_ssdp", "bgp": "tshark_bgp, tcpdump_text", "ldap": "tshark_ldap", "snmp": "tshark_snmp",
    "ospf": "tshark_ospf, tcpdump_text", "eigrp": "tshark_eigrp, tcpdump_text", "icmp": "tshark_icmp",
    "icmpv6": "tshark_icmp", "arp": "tshark_arp", "smb": "zeek_smb_files, arkime_sessions",
    "kerberos": "suricata_eve_filters", "mqtt": "suricata_eve_filters", "socks": "zeek_socks",
}  # fmt: skip
_ROW = re.compile(r"^\| `([a-z0-9]+)` \|.*\| (?:`([^`]+)`|-) \| [^|]* \|$")
SPECIFIED = "tests/unit/net/test_detect.py"


def proofs() -> dict[str, str]:
    """Smallest capture in which a flow is called by each protocol's name."""
    from tests.oracle.score import rows_of
    from tests.support.corpus import CORPUS, captures

    found: dict[str, str] = {}
    for capture in sorted(captures(), key=lambda name: (CORPUS / name).stat().st_size):
        if "fuzz" not in capture and "oobr" not in capture:
            for row in rows_of(capture):
                name = row["app.protocol"] if row["kind"] == "flow" else "arp" if row["kind"] == "arp" else ""
                found.setdefault(name, capture.removeprefix("captures/"))
    return found


def written() -> dict[str, str]:
    """Proofs that the page names."""
    rows = (_ROW.match(line) for line in PAGE.read_text().splitlines()) if PAGE.is_file() else ()
    return {row[1]: row[2] for row in rows if row and row[2]}


def page(proved: Mapping[str, str]) -> str:
    """Return the whole page."""
    rows = [row for row in PROTOCOLS if row.detected or row.name == "arp"]
    return HEAD + "\n".join(_line(row, proved) for row in rows) + "\n" + TAIL


def _line(row: Protocol, proved: Mapping[str, str]) -> str:
    over = ", ".join(IP[number] for number in row.transports) or "Ethernet"
    return (
        f"| `{row.name}` | {over} | {_found_by(row)} | {', '.join(_fields(row)) or '-'} | "
        f"`{proved.get(row.name, SPECIFIED)}` | {CHECKS.get(row.name, 'flows')} |"
    )


def _found_by(row: Protocol) -> str:
    if row.name == "arp":
        return "ethertype"
    return "IP protocol number" if not {6, 17} & set(row.transports) else "content"


def _fields(row: Protocol) -> Iterator[str]:
    """Groups of fields with their number, those that its sessions fill."""
    if row.name != "arp" and not any(open_session(row.app, proto=proto) for proto in row.transports):
        return
    groups: dict[str, int] = {}
    for field in FIELDS.values():
        if row.name in field.protocols or (row.name == "arp" and field.name.startswith("arp.")):
            first = field.name.partition(".")[0]
            groups[first] = groups.get(first, 0) + 1
    yield from (f"`{first}.*` ({count})" for first, count in groups.items())


def main() -> None:
    """Write the page; with `--check` end with a word about it when it is stale."""
    from tests.support.corpus import CORPUS

    check = "--check" in sys.argv[1:]
    fresh = page(written() if check or not CORPUS.is_dir() else proofs())
    if not check:
        PAGE.write_text(fresh)
    elif PAGE.read_text() != fresh:
        sys.exit("docs/protocols.md is stale: run `python docs/protocols.py`")


if __name__ == "__main__":
    main()
