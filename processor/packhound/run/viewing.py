"""What subscribers get, as a person looks at it: lines, JSON, a pcapng that grows.

Promise: text from the wire is sanitised in lines and comments, and ASCII JSON in `--json`; comments are made as those
of recordings are. Bounded: what is remembered of flows is forgotten by age. One thread.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import numpy as np

from packhound.net import pcapng
from packhound.net.detect import name_of
from packhound.net.flowrow import address_text
from packhound.net.frame import decode
from packhound.net.sanitise import printable, token
from packhound.processor.store.comments import Comments
from packhound.processor.track.flows import FlowNotes
from packhound.run.show import as_json
from packhound.wire.batch import Batch

FLOWS_KNOWN = 16_384  #: of one sensor and shard
SOURCES = 1024
SHOWN = 200  #: characters of one value in a line
PodOf = Callable[[str, int], str]
Row = Mapping[str, Any]
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6", 132: "sctp"}
_PORTED = frozenset({6, 17, 33, 132, 136})
# What a line says of a message, where it has it.
_TELLING = (
    "sip.method", "sip.status", "sip.from", "sip.to", "http.method", "http.host", "http.path", "http.status",
    "dns.qname", "dns.qtype", "dns.rcode", "tls.sni", "tls.version", "rtp.ssrc",
)  # fmt: skip
_FLOW = (
    "app.protocol", "flow.host", "flow.packets.fwd", "flow.packets.rev", "flow.bytes", "flow.state", "flow.end",
)  # fmt: skip
_CALL = (
    "call.state", "call.end_reason", "call.answer_ns", "call.end_ns", "call.messages", "call.rtp_packets", "rtp.codec",
    "call.peers", "k8s.pods",
)  # fmt: skip


def nobody(_address: str, _at: int) -> str:
    """No pod is known."""
    return ""


class Remarks:
    """The comment of every packet, as recordings have it. `pod` names the pod of an address at a time."""

    def __init__(self, pod: PodOf = nobody) -> None:
        self._pod = pod
        self._sources: OrderedDict[tuple[int, str, int], tuple[FlowNotes, Comments, dict[str, float]]] = OrderedDict()

    def renamed(self) -> None:
        """Pods came or went: comments are made anew."""
        for key, (notes, _, rates) in self._sources.items():
            self._sources[key] = notes, Comments(notes.community, rates=rates, ends=self._ends(notes)), rates

    def options(self, batch: Batch) -> list[bytes]:
        """Options of every packet of `batch`."""
        key = batch.shard, batch.sensor, batch.epoch
        if key not in self._sources:
            notes = FlowNotes(capacity=FLOWS_KNOWN)
            self._sources[key] = notes, Comments(notes.community, ends=self._ends(notes)), {}
            if len(self._sources) > SOURCES:
                self._sources.popitem(last=False)
        self._sources.move_to_end(key)
        notes, comments, rates = self._sources[key]
        notes.see(batch)
        fresh = rates | {name: each.rate for name, each in batch.actions.items() if each.rate < 1}
        if fresh != rates:
            rates.update(fresh)
            comments.use(rates)
        return comments.options(batch)

    def _ends(self, notes: FlowNotes) -> Callable[[int, int], tuple[str, str]]:
        def ends(serial: int, now: int) -> tuple[str, str]:
            known = notes.of(serial).ends
            return (self._pod(known[0].address, now), self._pod(known[1].address, now)) if len(known) == 2 else ("", "")

        return ends


class Capture:
    """Packets of batches as one pcapng section. `packets`, `bytes` so far."""

    def __init__(self, remarks: Remarks, *, comment: str = "") -> None:
        self._remarks, self._comment = remarks, comment
        self._interfaces: dict[tuple[str, str, int, int], int] = {}
        self._counts: Counter[int] = Counter()
        self._begin, self._end = 0, 0
        self.packets = 0

    def head(self) -> bytes:
        """What the file begins with."""
        return pcapng.section_header(application="packhound", comment=printable(self._comment))

    def blocks(self, batch: Batch, *, most: int | None = None) -> bytes:
        """The packets of a batch, at most `most`, after what describes their interfaces."""
        rows = np.arange(len(batch) if most is None else min(len(batch), most), dtype=np.int64)
        if not len(rows):
            return b""
        out = bytearray()
        local = np.zeros(len(batch.interfaces), np.uint32)
        for index in np.unique(batch.iface[rows]).tolist():
            local[index], described = self._interface(batch, index)
            out += described
        options = self._remarks.options(batch)[: len(rows)]
        data, _ = pcapng.packet_blocks(
            ts=batch.ts[rows], caplen=batch.caplen[rows], wirelen=batch.wirelen[rows], iface=local[batch.iface[rows]],
            start=batch.offsets[rows], blob=batch.blob, options=options,
        )  # fmt: skip
        numbers, counts = np.unique(local[batch.iface[rows]], return_counts=True)
        self._counts.update(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))
        self._begin = min(self._begin or int(batch.ts[rows].min()), int(batch.ts[rows].min()))
        self._end = max(self._end, int(batch.ts[rows].max()))
        self.packets += len(rows)
        return bytes(out + data)

    def _interface(self, batch: Batch, index: int) -> tuple[int, bytes]:
        each = batch.interfaces[index]
        key = batch.sensor, each.name, each.linktype, each.snaplen
        known = self._interfaces.get(key)
        if known is not None:
            return known, b""
        self._interfaces[key] = number = len(self._interfaces)
        sensor = f"sensor {token(batch.sensor)}"
        return number, pcapng.interface_description(
            name=printable(each.name), linktype=each.linktype, snaplen=each.snaplen, description=sensor
        )

    def tail(self, *, comment: str = "") -> bytes:
        """What the file ends with: counts by interface."""
        return b"".join(
            pcapng.interface_statistics(index=number, start=self._begin, end=self._end, comment=comment,
                                        delivered=self._counts[number])
            for number in self._interfaces.values()
        )  # fmt: skip


# lines ---------------------------------------------------------------------------------------------------------------


def packet_rows(batch: Batch, pod: PodOf = nobody) -> list[dict[str, Any]]:
    """Each packet as a row under registry names; text is raw from the wire."""
    messages: dict[int, list[dict[str, Any]]] = {}
    for at, _, _, fact in batch.facts:
        messages.setdefault(at, []).append({"kind": fact.kind, **fact.fields})
    rows = []
    for at in range(len(batch)):
        interface = batch.interfaces[int(batch.iface[at])]
        now = int(batch.ts[at])
        row: dict[str, Any] = {"time_ns": now, "sensor": batch.sensor, "interface": interface.name}
        row |= _header(batch.packet(at), interface.linktype, now, pod)
        row |= {"app.protocol": name_of(int(batch.app[at])), "length": int(batch.wirelen[at]),
                "filter": list(batch.fsets[int(batch.fset[at])])}  # fmt: skip
        if batch.flow[at]:
            row["flow.id"] = int(batch.flow[at])
        if batch.calls is not None and batch.calls[at]:
            row["sip.call_id"] = batch.calls[at]
        if at in messages:
            row["messages"] = messages[at]
        rows.append(row)
    return rows


def _header(data: bytes, linktype: int, now: int, pod: PodOf) -> dict[str, Any]:
    frame = decode(data, linktype=linktype)
    if not frame.ip_version:
        return {}
    found: dict[str, Any] = {}
    for end, raw, port in (("src", frame.src, frame.sport), ("dst", frame.dst, frame.dport)):
        found[f"ip.{end}"] = address = address_text(raw, version=frame.ip_version)
        if frame.l4 and frame.proto in _PORTED:
            found[f"port.{end}"] = port
        if name := pod(address, now):
            found[f"k8s.{end}.pod"] = name
    return found | {"ip.proto": frame.proto}


def json_of(kind: str, row: Row) -> str:
    """A row as a line of ASCII JSON."""
    return as_json({"event": kind, **row}).replace("\x7f", "\\u007f")


def line_of(kind: str, row: Row) -> str:
    """A row as a line for a person, sanitised whole."""
    return {"packets": _packet_line, "flows": _flow_line, "calls": _call_line}[kind](row)


def _packet_line(row: Row) -> str:
    parts = [_clock(row["time_ns"]), _said(row["sensor"]), _said(row["app.protocol"]), _ends(row), f"{row['length']}B"]
    for message in row.get("messages", ()):
        parts += [_said(message["kind"]), *_pairs(message, _TELLING)]
    if "sip.call_id" in row:
        parts.append(f"call={_said(row['sip.call_id'])}")
    return " ".join([*parts, _filters(row)])


def _flow_line(row: Row) -> str:
    return " ".join([_clock(row.get("flow.last_ns", 0)), "flow", _ends(row), *_pairs(row, _FLOW), _filters(row)])


def _call_line(row: Row) -> str:
    start, end = row.get("call.start_ns") or 0, row.get("call.end_ns") or row.get("call.last_ns") or 0
    parts = [_clock(end), "call", _said(row.get("sip.from") or "?"), ">", _said(row.get("sip.to") or "?")]
    if start and end >= start:
        parts.append(f"{(end - start) / 1e9:.1f}s")
    shown = [name for name in _CALL if not name.endswith("_ns")]
    return " ".join([*parts, *_pairs(row, shown), f"call={_said(row.get('sip.call_id') or '?')}", _filters(row)])


def _ends(row: Row) -> str:
    if "ip.src" not in row:
        return "no IP"
    proto = row.get("ip.proto") or 0
    return f"{_PROTOCOLS.get(proto, proto)} {_end(row, 'src')} > {_end(row, 'dst')}"


def _end(row: Row, end: str) -> str:
    address, port = _said(row[f"ip.{end}"]), row.get(f"port.{end}")
    place = address if port is None else f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    pod = row.get(f"k8s.{end}.pod") or "/".join(
        str(row[key]) for key in (f"k8s.{end}.namespace", f"k8s.{end}.pod.name") if row.get(key)
    )
    return f"{place} ({_said(pod)})" if pod else place


def _pairs(row: Row, names: Any) -> list[str]:
    return [
        f"{name.rpartition('.')[2]}={_said(row[name])}" for name in names if row.get(name) not in (None, "", [], ())
    ]


def _filters(row: Row) -> str:
    return "filter=" + ",".join(_said(name) for name in row.get("filter") or ())


def _said(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(_said, value[:8]))
    return printable(str(value), limit=SHOWN)


def _clock(now: int) -> str:
    try:
        whole = datetime.fromtimestamp(now // 1_000_000_000).astimezone()
        return f"{whole:%H:%M:%S}.{now % 1_000_000_000 // 1000:06}"
    except (ValueError, OverflowError, OSError):
        return "-"
