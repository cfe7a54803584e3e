"""Infrastructure protocols against tshark: whole messages by frame, as multisets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from packhound.net import dhcpv6, ldap, ntp, snmp

if TYPE_CHECKING:
    from tests.oracle.score import Check

Row = dict[str, Any]
Key = tuple[Any, ...]
Compare = Callable[["Check", str, Row, list[Row]], None]


def messages(
    kind: str, theirs: Callable[[Row], Iterable[Key]], ours: Callable[[Row], Key], *, port: int = 0
) -> Compare:
    """Compare one kind of fact: `theirs` gives the messages of a peer's row, `ours` that of our row. `port`: the peer
    finds the protocol by this port alone; what we find elsewhere has no peer."""

    def run(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
        from tests.oracle.score import compare  # it imports this module

        wanted = Counter((row["frame"], *key) for row in peer["expected"] for key in theirs(row))
        mine = [row for row in rows if row["kind"] == kind and (not port or port in (row["port.src"], row["port.dst"]))]
        if peer.get("truncated"):  # the list was cut: what lies behind its last frame has no peer
            last = max(row["frame"] for row in peer["expected"])
            mine = [row for row in mine if row["frame"] <= last]
        compare(check, capture, wanted, Counter((row["frame"], *ours(row)) for row in mine))

    return run


def listed(value: Any) -> list[str]:
    """What the peer gives for a key: a value, several, or none."""
    return [str(each) for each in value] if isinstance(value, list) else [] if value is None else [str(value)]


def one(value: Any) -> str:
    """First of what the peer lists, empty where it has none."""
    return next(iter(listed(value)), "")


def ascii_only(text: str) -> str:
    """Text with every character outside printable ASCII as ?: peers show such bytes in ways of their own."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text)


# --- DHCP ------------------------------------------------------------------------------------------------------------

_DHCP = ("DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM")


def _address(value: Any) -> str:
    """An address, empty for the zero that says there is none."""
    return "" if one(value) == "0.0.0.0" else one(value)


def _dhcp_theirs(row: Row) -> Iterator[Key]:
    kind = int(one(row["msg_type"]))
    yield (
        _DHCP[kind - 1] if kind <= len(_DHCP) else str(kind), one(row["client_mac"]), ascii_only(one(row.get("hostname"))),
        _address(row.get("requested_ip")), _address(row["your_ip"]), ascii_only(one(row.get("vendor_class"))),
    )  # fmt: skip


def _dhcp_ours(row: Row) -> Key:
    return (
        row["dhcp.type"], row.get("dhcp.client_mac", ""), ascii_only(row.get("dhcp.hostname", "")),
        row.get("dhcp.requested_ip", ""), row.get("dhcp.your_ip", ""), ascii_only(row.get("dhcp.vendor_class", "")),
    )  # fmt: skip


# --- DHCPv6 ----------------------------------------------------------------------------------------------------------


def _dhcpv6_theirs(row: Row) -> Iterator[Key]:
    yield (tuple(dhcpv6.TYPES[int(each)] for each in listed(row["msg_type"])),)


# --- SNMP ------------------------------------------------------------------------------------------------------------


def _snmp_theirs(row: Row) -> Iterator[Key]:
    pdu = one(row.get("pdu_type"))
    yield (
        snmp.VERSIONS[int(one(row.get("version", row.get("msg_version"))))], ascii_only(one(row.get("community"))),
        snmp.PDUS[int(pdu)] if pdu else "", tuple(listed(row.get("oids"))),
    )  # fmt: skip


def _snmp_ours(row: Row) -> Key:
    return (
        row["snmp.version"], ascii_only(row.get("snmp.community", "")), row.get("snmp.pdu", ""), row.get("snmp.oid", ()),
    )  # fmt: skip


# --- NTP -------------------------------------------------------------------------------------------------------------


def _ntp_theirs(row: Row) -> Iterator[Key]:
    yield row["version"], ntp.MODES[int(row["mode"])], row.get("stratum", "")


def _ntp_ours(row: Row) -> Key:
    return str(row["ntp.version"]), row["ntp.mode"], str(row.get("ntp.stratum", ""))


# --- SSDP ------------------------------------------------------------------------------------------------------------

_SSDP = ("method", "host", "uri", "status", "server", "user_agent")


def _ssdp_theirs(row: Row) -> Iterator[Key]:
    yield tuple(ascii_only(one(row.get(name))) for name in _SSDP)


def _ssdp_ours(row: Row) -> Key:
    return tuple(ascii_only(str(row.get(f"ssdp.{name}", ""))) for name in _SSDP)


# --- NetBIOS names ---------------------------------------------------------------------------------------------------


def _nbns_key(response: bool, names: Iterable[str], types: Iterable[str]) -> Key:
    """Each name with its type once: the peer repeats the name of a record, with words for its suffix."""
    pairs = zip(names, types, strict=False)
    return response, tuple(dict.fromkeys((name if "<" in name else "no NetBIOS name", kind) for name, kind in pairs))


def _nbns_theirs(row: Row) -> Iterator[Key]:
    names = (name.partition(" (")[0].partition("Illegal")[0] for name in row["name"])
    yield _nbns_key(row["response"][0], names, row["type"])


def _nbns_ours(row: Row) -> Key:
    return _nbns_key(row["nbns.response"], row.get("nbns.name", ()), map(str, row.get("nbns.type", ())))


# --- mDNS and LLMNR --------------------------------------------------------------------------------------------------


def _dns_theirs(row: Row) -> Iterator[Key]:
    names = tuple("." if name == "<Root>" else ascii_only(name) for name in row["qname"])
    addresses = (tuple(sorted(row.get(name, ()))) for name in ("a", "aaaa", "cname"))
    yield (
        int(row["id"], 16), row["response"][0], tuple(row["rcode"]), names, tuple(row["qtype"]), row["answers"][0],
        *addresses,
    )  # fmt: skip


def _dns_ours(row: Row) -> Key:
    addresses = (tuple(sorted(row.get(f"dns.{name}", ()))) for name in ("a", "aaaa", "cname"))
    return (
        row["dns.id"], row["dns.response"], tuple(listed(row.get("dns.rcode"))),
        tuple(map(ascii_only, row.get("dns.qname", ()))), tuple(map(str, row.get("dns.qtype", ()))),
        str(row["dns.answers"]), *addresses,
    )  # fmt: skip


# --- LDAP ------------------------------------------------------------------------------------------------------------

_LDAP = {tag & 0x1F: name for tag, name in ldap.OPERATIONS.items()}
_LDAP_RESULTS = {name for name in _LDAP.values() if name.endswith(("Response", "Done", "Resp"))} - {
    "intermediateResponse"
}


def _ldap(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Messages by who sent them, without the frame: the peer reads those of a SASL buffer when the buffer is whole."""
    from tests.oracle.score import compare  # it imports this module

    wanted = Counter(key for row in peer["expected"] for key in _ldap_theirs(row))
    compare(check, capture, wanted, Counter(_ldap_ours(row) for row in rows if row["kind"] == "ldap"))


def _ldap_theirs(row: Row) -> Iterator[Key]:
    """Each message of a frame; the peer lists names and results of all of them in order, those of its kind."""
    names, bases, results = (iter(listed(row.get(key))) for key in ("bind_name", "base", "result"))
    for number, tag in zip(listed(row["message_id"]), listed(row["op"]), strict=True):
        name = _LDAP[int(tag)]
        said = next({"bindRequest": names, "searchRequest": bases}.get(name, iter(())), "")
        result = next(results, "") if name in _LDAP_RESULTS else ""
        yield row["src"], row["sport"], row["dst"], row["dport"], int(number), name, ascii_only(said), result


def _ldap_ours(row: Row) -> Key:
    name = row["ldap.operation"]
    said = row.get("ldap.dn", "") if name in ("bindRequest", "searchRequest") else ""
    return (
        row["ip.src"], row["port.src"], row["ip.dst"], row["port.dst"], row["ldap.message_id"], name, ascii_only(said),
        str(row.get("ldap.result", "")),
    )  # fmt: skip


# --- SSH -------------------------------------------------------------------------------------------------------------


def _ssh(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Banners and fingerprints by frame; the peer finds them on port 22 alone."""
    from tests.oracle.score import compare  # it imports this module

    wanted = Counter(
        (row["frame"], ascii_only(one(row.get("banner"))).rstrip(), one(row.get("hassh")), one(row.get("hassh_server")))
        for row in peer["expected"]
    )
    ours: Counter[Key] = Counter()
    for row in rows:
        if 22 not in (row.get("port.src"), row.get("port.dst")):
            continue
        if row["kind"] == "ssh":
            banner = f"SSH-{row['ssh.version']}-{row.get('ssh.software', '')}"
            ours[row["frame"], ascii_only(banner), "", ""] += 1
        elif row["kind"] == "ssh.kexinit":
            ours[row["frame"], "", row.get("ssh.hassh", ""), row.get("ssh.hassh_server", "")] += 1
    compare(check, capture, wanted, ours)


CHECKS: dict[str, tuple[str, Compare]] = {
    "tshark_dhcp": ("dhcp", messages("dhcp", _dhcp_theirs, _dhcp_ours)),
    "tshark_dhcpv6": ("dhcpv6", messages("dhcpv6", _dhcpv6_theirs, lambda row: (row["dhcpv6.type"],))),
    "tshark_snmp": ("snmp", messages("snmp", _snmp_theirs, _snmp_ours)),
    "tshark_ntp": ("ntp", messages("ntp", _ntp_theirs, _ntp_ours)),
    "tshark_ssdp": ("ssdp", messages("ssdp", _ssdp_theirs, _ssdp_ours, port=1900)),
    "tshark_nbns": ("nbns", messages("nbns", _nbns_theirs, _nbns_ours)),
    "tshark_mdns": ("mdns", messages("mdns", _dns_theirs, _dns_ours)),
    "tshark_ldap": ("ldap", _ldap),
    "tshark_ssh": ("ssh", _ssh),
    "tshark_llmnr": ("llmnr", messages("llmnr", _dns_theirs, _dns_ours)),
}
