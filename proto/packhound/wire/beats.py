"""What sensors say every few seconds, what processors answer, and which media endpoints everybody shall watch.

Promise: pure values with checked codecs (canonical JSON, deflated); whatever the bytes, the only exception is
BadMessage. Times are ns since the epoch on the clock of whoever the field names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from ipaddress import ip_address
from typing import Any, NamedTuple

from packhound.wire import checked
from packhound.wire.books import Books
from packhound.wire.checked import MAX_TIME, BadMessage
from packhound.wire.plans import MAX_EPOCH, PlanAck
from packhound.wire.subjects import MAX_NODE

MAX_BEAT = 4 << 20  #: of a heartbeat, bytes unpacked
MAX_INTERFACES = 1024
MAX_CONDITIONS = 256
MAX_ENDPOINTS = 256
MAX_CALL = 1024
MAX_WATCH_FILTERS = 1024
MAX_CORES = 4096
MAX_TOP_PODS = 5
MAX_TOP_FILTERS = 4096


class InterfaceState(NamedTuple):
    """An interface as the sensor has it: `state` as the tap says (`up`, `down`, `gone`, ...), packets captured on it,
    packets that kernel and card dropped."""

    name: str
    linktype: int
    state: str = "up"
    captured: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What `node` says of itself: cumulative `books` of this `epoch` (`Books.as_dict`, nothing else survives the
    wire), the plan in force, the spool,
    how it works (`modes`: capture, kernel, attribution, link, ...; `state`: `ok`, `degraded`, `draining`, ...),
    `cpu` in cores, `rss` in bytes, and by how much the processors' clock is ahead of its own. `pods`: packets by filter
    and pod (`namespace/name`) of this node, cumulative, of its busiest ones."""

    node: str
    epoch: int
    sent_ns: int
    started_ns: int = 0
    cluster: str = ""
    revision: int = 0
    digest: str = ""
    books: Mapping[str, Any] = field(default_factory=dict)
    spool_bytes: int = 0
    spool_packets: int = 0
    oldest_ns: int = 0
    link: str = ""
    state: str = "ok"
    clock_offset_ns: int = 0
    rss: int = 0
    cpu: float = 0.0
    modes: Mapping[str, str] = field(default_factory=dict)
    interfaces: tuple[InterfaceState, ...] = ()
    conditions: tuple[str, ...] = ()
    version: str = ""
    pods: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The heartbeat as plain values; what is too much for a reader is cut."""
        return asdict(self) | {
            "interfaces": [each._asdict() for each in self.interfaces[:MAX_INTERFACES]],
            "conditions": [each[: checked.MAX_TEXT] for each in self.conditions[:MAX_CONDITIONS]],
        }

    @classmethod
    def of_dict(cls, row: Mapping[str, Any]) -> Heartbeat:
        """Read plain values. Raises BadMessage."""
        return cls(
            node=_node(row, "node"),
            epoch=checked.number(row, "epoch", high=MAX_EPOCH),
            sent_ns=checked.number(row, "sent_ns"),
            started_ns=checked.number(row, "started_ns", default=0),
            cluster=checked.text(row, "cluster", default=""),
            revision=checked.number(row, "revision", default=0),
            digest=checked.text(row, "digest", limit=64, default=""),
            books=_books(row),
            spool_bytes=checked.number(row, "spool_bytes", default=0),
            spool_packets=checked.number(row, "spool_packets", default=0),
            oldest_ns=checked.number(row, "oldest_ns", default=0),
            link=checked.text(row, "link", default=""),
            state=checked.text(row, "state", limit=64, default="ok"),
            clock_offset_ns=checked.number(row, "clock_offset_ns", low=-MAX_TIME, default=0),
            rss=checked.number(row, "rss", default=0),
            cpu=checked.fraction(row, "cpu", high=MAX_CORES, default=0.0),
            modes=checked.entries(row, "modes", checked.text, limit=64),
            interfaces=checked.items(row, "interfaces", _interface, limit=MAX_INTERFACES),
            conditions=checked.texts(row, "conditions", limit=MAX_CONDITIONS),
            version=checked.text(row, "version", limit=64, default=""),
            pods=checked.entries(row, "pods", _pods, limit=MAX_TOP_FILTERS),
        )

    def encode(self) -> bytes:
        """The heartbeat as bytes."""
        return checked.pack(self.as_dict())

    @classmethod
    def decode(cls, data: bytes, *, limit: int = MAX_BEAT) -> Heartbeat:
        """Read a heartbeat. Raises BadMessage."""
        return cls.of_dict(checked.unpack(data, limit=limit))


@dataclass(frozen=True, slots=True)
class BeatReply:
    """A processor's answer to a heartbeat: when it came and when the answer left, on the processor's clock."""

    received_ns: int
    replied_ns: int
    processor: str

    def encode(self) -> bytes:
        """The reply as bytes."""
        return checked.pack(asdict(self))

    @classmethod
    def decode(cls, data: bytes) -> BeatReply:
        """Read a reply. Raises BadMessage."""
        row = checked.unpack(data, limit=1 << 16)
        return cls(
            checked.number(row, "received_ns"), checked.number(row, "replied_ns"), _node(row, "processor")
        )

    def offset(self, *, sent_ns: int, got_ns: int) -> ClockOffset:
        """Compare clocks (as NTP does): the beat left at `sent_ns`, this came at `got_ns`, on the sensor's clock.

        >>> BeatReply(received_ns=1_050, replied_ns=1_060, processor="p").offset(sent_ns=40, got_ns=70)
        ClockOffset(offset_ns=1000, error_ns=10)
        """
        ahead = (self.received_ns - sent_ns) + (self.replied_ns - got_ns)
        away = (got_ns - sent_ns) - (self.replied_ns - self.received_ns)
        return ClockOffset(ahead // 2, max(0, away) // 2)


class ClockOffset(NamedTuple):
    """By how much the processor's clock is ahead of the sensor's, and by how much that may be wrong."""

    offset_ns: int
    error_ns: int


@dataclass(frozen=True, slots=True)
class MediaWatch:
    """Media of `call` is expected at `endpoints` (address, port) until `expires_ns`; `filters` want it. `node` read
    the announcement. `over`: the call ended, the watch goes at once."""

    call: str
    filters: tuple[str, ...]
    endpoints: tuple[tuple[str, int], ...]
    expires_ns: int
    node: str
    over: bool = False

    def encode(self) -> bytes:
        """The watch as bytes, of as many endpoints and filters as a reader takes."""
        made = asdict(self)
        return checked.pack(
            made | {"endpoints": made["endpoints"][:MAX_ENDPOINTS], "filters": made["filters"][:MAX_WATCH_FILTERS]}
        )

    @classmethod
    def decode(cls, data: bytes) -> MediaWatch:
        """Read a watch; addresses come in their canonical form. Raises BadMessage."""
        row = checked.unpack(data, limit=1 << 20)
        call = checked.text(row, "call", limit=MAX_CALL)
        if not call:
            raise BadMessage("call is empty")
        return cls(
            call=call,
            filters=checked.texts(row, "filters", limit=MAX_WATCH_FILTERS),
            endpoints=checked.items(row, "endpoints", _endpoint, limit=MAX_ENDPOINTS),
            expires_ns=checked.number(row, "expires_ns"),
            node=_node(row, "node"),
            over=row.get("over") is True,
        )


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """The last that a node said of itself, as its key in the bucket of status holds it."""

    heartbeat: Heartbeat | None = None
    ack: PlanAck | None = None

    def encode(self) -> bytes:
        """The status as bytes."""
        return checked.pack({
            "heartbeat": self.heartbeat.as_dict() if self.heartbeat else None,
            "ack": self.ack.as_dict() if self.ack else None,
        })  # fmt: skip

    @classmethod
    def decode(cls, data: bytes, *, limit: int = MAX_BEAT + (1 << 20)) -> NodeStatus:
        """Read a status. Raises BadMessage."""
        row = checked.unpack(data, limit=limit)
        beat, ack = row.get("heartbeat"), row.get("ack")
        return cls(
            None if beat is None else Heartbeat.of_dict(checked.rows(beat)),
            None if ack is None else PlanAck.of_dict(checked.rows(ack)),
        )


def _node(row: Mapping[str, Any], key: str) -> str:
    found = checked.text(row, key, limit=MAX_NODE)
    if not found:
        raise BadMessage(f"{key} is empty")
    return found


def _books(row: Mapping[str, Any]) -> Mapping[str, Any]:
    found = checked.rows(row.get("books", {}))
    return Books.of_dict(found).as_dict() if found else {}


def _pods(row: Mapping[str, Any], key: str) -> Mapping[str, int]:
    return checked.entries(row, key, checked.number, limit=MAX_TOP_PODS)


def _interface(value: Any) -> InterfaceState:
    row = checked.rows(value)
    return InterfaceState(
        checked.text(row, "name", limit=256),
        checked.number(row, "linktype", high=0xFFFF),
        checked.text(row, "state", limit=64, default="up"),
        checked.number(row, "captured", default=0),
        checked.number(row, "dropped", default=0),
    )


def _endpoint(value: Any) -> tuple[str, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise BadMessage("an endpoint is not an address and a port")
    row = {"address": value[0], "port": value[1]}
    try:
        address = ip_address(checked.text(row, "address", limit=64))
    except ValueError:
        raise BadMessage("an endpoint has no address") from None
    return str(address), checked.number(row, "port", low=1, high=65535)
