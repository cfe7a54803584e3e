"""Infrastructure protocols against tshark: whole messages by frame, as multisets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from packhound.net import dhcpv6, ntp, snmp

if TYPE_CHECKING:
    from tests.oracle.score import Check

Row = dict[str, Any]
Key = tuple[Any, ...]
Compare = Callable[["Check", str, Row, list[Row]], None]


def messages(kind: str, theirs: Callable[[Row], Iterable[Key]], ours: Callable[[Row], Key]) -> Compare:
    """Compare one kind of fact: `theirs` gives the messages of a peer's row, `ours` that of our row."""

    def run(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
        from tests.oracle.score import compare  # it imports this module

        wanted = Counter((row["frame"], *key) for row in peer["expected"] for key in theirs(row))
        mine = [row for row in rows if row["kind"] == kind]
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


CHECKS: dict[str, tuple[str, Compare]] = {
    "tshark_dhcp": ("dhcp", messages("dhcp", _dhcp_theirs, _dhcp_ours)),
    "tshark_dhcpv6": ("dhcpv6", messages("dhcpv6", _dhcpv6_theirs, lambda row: (row["dhcpv6.type"],))),
    "tshark_snmp": ("snmp", messages("snmp", _snmp_theirs, _snmp_ours)),
    "tshark_ntp": ("ntp", messages("ntp", _ntp_theirs, _ntp_ours)),
}
