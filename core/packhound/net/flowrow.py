"""Flow records as rows under registry names: what `inspect` prints and the `flows` table stores.

Promise: pure; columns first (no Python object per number of a record), rows are made of the same columns. One row per
record, in the order given. `.fwd` columns count from the initiator, `.rev` from the responder. Host names are raw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address
from typing import Any

import numpy as np
import numpy.typing as npt

from packhound.net.community import community_id
from packhound.net.detect import name_of
from packhound.net.flow import End, Method, State
from packhound.net.transport import TCP

Column = npt.NDArray[Any]

# Column -> field of FLOW_DTYPE, index in its pair (None: no pair). Copied as they are.
_COPIED: tuple[tuple[str, str, int | None], ...] = (
    ("flow.id", "serial", None), ("flow.first_ns", "first", None), ("flow.last_ns", "last", None),
    ("ip.proto", "proto", None), ("port.src", "sport", None), ("port.dst", "dport", None), ("vlan.id", "vlan", None),
    ("tunnel.id", "tenant", None), ("app.confidence", "confidence", None),
    ("flow.packets.fwd", "packets", 0), ("flow.packets.rev", "packets", 1),
    ("flow.bytes.fwd", "bytes", 0), ("flow.bytes.rev", "bytes", 1),
    ("flow.payload.fwd", "payload", 0), ("flow.payload.rev", "payload", 1),
    ("flow.tcp.flags.fwd", "tcp_flags", 0), ("flow.tcp.flags.rev", "tcp_flags", 1),
    ("flow.tcp.syn", "syn", None), ("flow.tcp.fin", "fin", None), ("flow.tcp.rst", "rst", None),
    ("flow.tcp.rtt_ns", "rtt", None),
)  # fmt: skip
# Sums of both ways.
_SUMMED = (
    ("flow.bytes", "bytes"), ("flow.tcp.retransmissions", "retransmissions"), ("flow.tcp.out_of_order", "out_of_order"),
    ("flow.tcp.zero_window", "zero_window"),
)  # fmt: skip

#: Type of every column in tables, in the order of a row.
FLOW_COLUMNS: Mapping[str, str] = {
    "flow.id": "UBIGINT", "flow.community_id": "VARCHAR", "flow.first_ns": "BIGINT", "flow.last_ns": "BIGINT",
    "ip.src": "VARCHAR", "port.src": "USMALLINT", "ip.dst": "VARCHAR", "port.dst": "USMALLINT",
    "ip.proto": "UTINYINT", "vlan.id": "USMALLINT", "tunnel.id": "UINTEGER", "interface": "VARCHAR",
    "app.protocol": "VARCHAR", "app.confidence": "UTINYINT", "app.method": "VARCHAR", "flow.host": "VARCHAR",
    "filter": "VARCHAR[]", "flow.packets.fwd": "UBIGINT", "flow.packets.rev": "UBIGINT", "flow.bytes": "UBIGINT",
    "flow.bytes.fwd": "UBIGINT", "flow.bytes.rev": "UBIGINT", "flow.payload.fwd": "UBIGINT",
    "flow.payload.rev": "UBIGINT", "flow.state": "VARCHAR", "flow.end": "VARCHAR", "flow.tcp.flags.fwd": "UTINYINT",
    "flow.tcp.flags.rev": "UTINYINT", "flow.tcp.syn": "UINTEGER", "flow.tcp.fin": "UINTEGER",
    "flow.tcp.rst": "UINTEGER", "flow.tcp.retransmissions": "UINTEGER", "flow.tcp.out_of_order": "UINTEGER",
    "flow.tcp.zero_window": "UINTEGER", "flow.tcp.rtt_ns": "BIGINT",
}  # fmt: skip
_TCP_ONLY = frozenset(name for name in FLOW_COLUMNS if name.startswith("flow.tcp."))


def flow_columns(
    records: npt.NDArray[Any],
    *,
    hosts: Mapping[int, str] | None = None,
    filters: Mapping[int, Sequence[str]] | None = None,
    interfaces: Sequence[str] = (),
) -> dict[str, Column]:
    """Return the columns of `records` (FLOW_DTYPE) by registry name, in the order of `FLOW_COLUMNS`, of one length.

    Times in ns since the epoch, `flow.tcp.rtt_ns` -1 where it was not seen. `hosts` and `filters` give host name and
    names of the filters by serial, `interfaces` the name of an interface by index. Text columns hold str, None where
    nothing is known; `filter` holds tuples.
    """
    serials = records["serial"].tolist()
    found: dict[str, Column] = {
        "flow.community_id": _text(_communities(records)),
        "ip.src": _text(_addresses(records, "src")),
        "ip.dst": _text(_addresses(records, "dst")),
        "interface": _text([interfaces[i] if i < len(interfaces) else None for i in records["iface"].tolist()]),
        "app.protocol": _named(records["app"], name_of),
        "app.method": _named(records["method"], _member(Method)),
        "flow.host": _text([hosts.get(serial) for serial in serials] if hosts else [None] * len(serials)),
        "filter": _tuples(filters, serials),
        "flow.state": _named(records["state"], _member(State)),
        "flow.end": _named(records["end"], _member(End)),
    }
    for name, source, index in _COPIED:
        found[name] = records[source] if index is None else records[source][:, index]
    for name, source in _SUMMED:
        found[name] = records[source].sum(axis=1, dtype=np.uint64)
    return {name: found[name] for name in FLOW_COLUMNS}


def flow_rows(
    records: npt.NDArray[Any],
    *,
    hosts: Mapping[int, str] | None = None,
    filters: Mapping[int, Sequence[str]] | None = None,
    interfaces: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Return one dict per record: `kind` `flow`, the columns of `flow_columns` as plain values; what is unknown (no
    name, no VLAN, no round trip) or does not apply (TCP columns of a UDP flow) is left out.
    """
    columns = flow_columns(records, hosts=hosts, filters=filters, interfaces=interfaces)
    names = tuple(columns)
    return [
        _row(dict(zip(names, values, strict=True)))
        for values in zip(*(column.tolist() for column in columns.values()), strict=True)
    ]


def _row(row: dict[str, Any]) -> dict[str, Any]:
    skip = set() if row["ip.proto"] == TCP else {*_TCP_ONLY, "flow.state"}
    skip |= {name for name in ("vlan.id", "tunnel.id") if not row[name]}
    if row["flow.tcp.rtt_ns"] < 0:
        skip.add("flow.tcp.rtt_ns")
    return {"kind": "flow"} | {k: v for k, v in row.items() if k not in skip and v is not None and v != ()}


def _addresses(records: npt.NDArray[Any], name: str) -> list[str]:
    """Text of an address column; each address is formatted once."""
    known: dict[tuple[int, bytes], str] = {}
    found = []
    for version, raw in zip(records["ip_version"].tolist(), _packed(records[name]), strict=True):
        key = version, raw
        text = known.get(key)
        if text is None:
            text = known[key] = address_text(raw, version=version)
        found.append(text)
    return found


def address_text(raw: bytes, *, version: int) -> str:
    r"""Return an address of 16 bytes (IPv4 in the first four) as text, IPv6 as in RFC 5952.

    >>> address_text(bytes([10, 0, 0, 1]).ljust(16, b"\0"), version=4)
    '10.0.0.1'
    """
    if version == 4:
        return "{}.{}.{}.{}".format(*raw[:4])
    address = IPv6Address(raw)
    return f"::ffff:{address.ipv4_mapped}" if address.ipv4_mapped else str(address)


def _packed(column: npt.NDArray[Any]) -> list[bytes]:
    data = np.ascontiguousarray(column).tobytes()
    return [data[at : at + 16] for at in range(0, len(data), 16)]


def _communities(records: npt.NDArray[Any]) -> list[str]:
    columns = (records[name].tolist() for name in ("ip_version", "proto", "sport", "dport"))
    found = []
    for version, proto, sport, dport, src, dst in zip(
        *columns, _packed(records["src"]), _packed(records["dst"]), strict=True
    ):
        size = 4 if version == 4 else 16
        found.append(community_id(proto=proto, src=src[:size], dst=dst[:size], sport=sport, dport=dport))
    return found


def _text(values: Sequence[str | None]) -> Column:
    column = np.empty(len(values), object)
    column[:] = values
    return column


def _tuples(filters: Mapping[int, Sequence[str]] | None, serials: Sequence[int]) -> Column:
    column = np.empty(len(serials), object)
    for at, serial in enumerate(serials):
        column[at] = tuple(filters.get(serial, ())) if filters else ()
    return column


def _named(column: npt.NDArray[Any], name: Any) -> Column:
    """A column of small numbers as their names."""
    table = np.empty(256, object)
    for number in np.unique(column).tolist():
        table[number] = name(number)
    named: Column = table[column]
    return named


def _member(kind: Any) -> Any:
    values = {int(member): member.name.lower() for member in kind}
    return lambda number: values.get(number, str(number))
