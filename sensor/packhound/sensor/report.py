"""What a sensor says of itself: its books, its heartbeat, its metrics, its health.

Promise: reads counters, changes none; values only. The books of one epoch are cumulative; at rest they balance.
"""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from packhound.kit.metrics import Descriptor, Sample
from packhound.sensor.sender import Sent
from packhound.sensor.tap.frames import Tap
from packhound.wire.beats import Heartbeat, InterfaceState
from packhound.wire.books import BROKER_REFUSED, DISK_FULL, IO_ERROR, MALFORMED, SPOOL_FULL, Books

SECOND = 1_000_000_000
OTHER = "other"
CAUSES = (SPOOL_FULL, DISK_FULL, IO_ERROR, BROKER_REFUSED, MALFORMED, "oversize", OTHER)
DESCRIPTORS = (
    Descriptor("packhound_packets", "counter", "packets by stage and what became of them", ("stage", "outcome")),
    Descriptor("packhound_kernel_dropped_packets", "counter", "packets that kernel or card dropped", ("cause",)),
    Descriptor("packhound_ring_fill_ratio", "gauge", "share of the fullest capture ring that waits for us, 0 to 1"),
    Descriptor("packhound_lost_packets", "counter", "matched packets that were lost", ("cause",)),
    Descriptor("packhound_flows", "gauge", "flows in the table"),
    Descriptor("packhound_held_packets", "gauge", "packets kept back until their flow is decided"),
    Descriptor("packhound_open_packets", "gauge", "matched packets in batches that are not closed yet"),
    Descriptor("packhound_spool_bytes", "gauge", "bytes that wait to be delivered"),
    Descriptor("packhound_spool_packets", "gauge", "packets that wait to be delivered"),
    Descriptor("packhound_spool_oldest_seconds", "gauge", "age of the oldest parcel that waits"),
    Descriptor("packhound_in_flight_parcels", "gauge", "parcels sent and not acknowledged yet"),
    Descriptor("packhound_sent_parcels", "counter", "parcels by what the far side answered", ("outcome",)),
    Descriptor("packhound_plan_revision", "gauge", "revision of the plan in force"),
    Descriptor("packhound_plan_rejected", "counter", "plans that could not be applied"),
    Descriptor("packhound_plan_malformed", "counter", "plans that could not be read or were for others"),
    Descriptor("packhound_pods_malformed", "counter", "tables of pods that could not be read"),
    Descriptor("packhound_media_watches", "gauge", "calls whose media is watched by more than one sensor", ("whose",)),
    Descriptor("packhound_media_watches_dropped", "counter", "media watches that there was no room for"),
    Descriptor("packhound_media_watches_malformed", "counter", "media watches of others that could not be read"),
    Descriptor("packhound_link_up", "gauge", "1 while parcels go out"),
    Descriptor("packhound_clock_offset_seconds", "gauge", "by how much the processors' clock is ahead"),
    Descriptor("packhound_malformed_messages", "counter", "messages that could not be dissected"),
    Descriptor("packhound_stream_bytes", "counter", "bytes of dissected TCP streams that were not read once", ("why",)),
    Descriptor("packhound_stream_waiting_bytes", "gauge", "memory of TCP segments that wait for a missing one"),
    Descriptor("packhound_interface_up", "gauge", "interfaces that are captured on, by state", ("state",)),
)


class Deliveries(Protocol):
    """What is known of parcels on their way."""

    def books(self) -> Mapping[str, Any]:
        """Packets `delivered`, `in_flight`, `spooled`, `resent`, and `lost` by cause, of this epoch."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes that wait."""

    @property
    def waiting_packets(self) -> int:
        """Packets that wait, of older epochs too."""

    @property
    def oldest_ns(self) -> int:
        """When the oldest parcel that waits was made, ns since the epoch; 0: none waits."""

    @property
    def in_flight(self) -> int:
        """Parcels sent and not acknowledged."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who speaks."""

    node: str
    epoch: int
    cluster: str
    started_ns: int
    version: str
    modes: Mapping[str, str]


def books_of(
    node: str, counters: Mapping[str, int], by_filter: Mapping[str, int], deliveries: Mapping[str, Any], *, open_: int,
    lost_by_filter: Mapping[tuple[str, str], int] | None = None,
    delivered_by_filter: Mapping[str, int] | None = None,
) -> Books:  # fmt: skip
    """The books of a sensor: the engine's side and the spool's. `open_`: packets matched and not in a parcel yet;
    `lost_by_filter`: packets by filter and cause."""
    books = Books()
    mine = books.sensor(node)
    for name in ("seen", "unmatched", "sampled_out", "duplicate_capture", "matched"):
        setattr(mine, name, counters.get(name, 0))
    mine.unmatched += counters.get("held", 0)
    for cause, key in (("kernel", "dropped_kernel"), ("interface", "dropped_interface")):
        if counters.get(key):
            mine.kernel_dropped[cause] = counters[key]
    if counters.get("shed"):
        mine.shed["budget"] = counters["shed"]
    mine.delivered, mine.spooled = deliveries["delivered"], deliveries["spooled"]
    mine.in_flight, mine.resent = deliveries["in_flight"] + open_, deliveries.get("resent", 0)
    mine.lost.update(deliveries.get("lost", {}))
    for name, count in by_filter.items():
        books.filter(name).matched = count
    for (name, cause), count in dict(lost_by_filter or {}).items():
        books.filter(name).lost[cause] += count
    for name, count in dict(delivered_by_filter or {}).items():
        books.filter(name).delivered = count
    for account in books.filters.values():
        account.in_flight = max(0, account.matched - account.delivered - account.lost.total())
    return books


def heartbeat(
    who: Identity, *, books: Books, deliveries: Deliveries, revision: int, digest: str, link: str, state: str,
    offset_ns: int, tap: Tap, conditions: Iterable[str], cpu: float, pods: Mapping[str, Mapping[str, int]],
) -> Heartbeat:  # fmt: skip
    """The heartbeat of now."""
    seen = {each.interface: each.state for each in tap.conditions()}
    interfaces = tuple(
        InterfaceState(each.name, each.linktype, str(seen.get(each.name, "up"))) for each in tap.interfaces[:1024]
    )
    return Heartbeat(
        node=who.node, epoch=who.epoch, sent_ns=time.time_ns(), started_ns=who.started_ns, cluster=who.cluster,
        revision=revision, digest=digest, books=books.as_dict(), spool_bytes=deliveries.waiting_bytes,
        spool_packets=deliveries.waiting_packets, oldest_ns=deliveries.oldest_ns, link=link, state=state,
        clock_offset_ns=offset_ns, rss=rss_bytes(), cpu=cpu, modes=dict(who.modes), interfaces=interfaces,
        conditions=tuple(conditions)[:256], version=who.version, pods=pods,
    )  # fmt: skip


def rss_bytes() -> int:
    """Resident memory of this process now."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def samples(
    books: Books, node: str, *, counters: Mapping[str, int], deliveries: Deliveries, revision: int, rejected: int,
    link_up: bool, offset_ns: int, malformed: int, tap: Tap, now: int, open_: int, sent: Sent,
    streams: Mapping[str, int] | None = None,
) -> Iterable[Sample]:  # fmt: skip
    """The metrics of now. `open_`: packets matched and not in a parcel yet."""
    mine = books.sensor(node)
    for outcome in ("seen", "unmatched", "sampled_out", "duplicate_capture", "matched"):
        yield Sample("packhound_packets", getattr(mine, outcome), ("match", outcome))
    yield Sample("packhound_packets", mine.shed.total(), ("match", "shed"))
    for outcome in ("delivered", "resent"):
        yield Sample("packhound_packets", getattr(mine, outcome), ("deliver", outcome))
    for cause in ("kernel", "interface"):
        yield Sample("packhound_kernel_dropped_packets", mine.kernel_dropped[cause], (cause,))
    known = dict.fromkeys(CAUSES, 0)
    for cause, count in mine.lost.items():
        known[cause if cause in CAUSES else OTHER] += count
    for cause, count in known.items():  # of 0 too: who watches for losses sees the first one
        yield Sample("packhound_lost_packets", count, (cause,))
    yield Sample("packhound_ring_fill_ratio", getattr(tap, "fill", 0.0))
    yield Sample("packhound_flows", counters.get("active", 0))
    yield Sample("packhound_held_packets", counters.get("held", 0))
    yield Sample("packhound_open_packets", open_)
    yield Sample("packhound_spool_bytes", deliveries.waiting_bytes)
    yield Sample("packhound_spool_packets", deliveries.waiting_packets)
    oldest = deliveries.oldest_ns
    yield Sample("packhound_spool_oldest_seconds", (now - oldest) / SECOND if oldest else 0.0)
    yield Sample("packhound_in_flight_parcels", deliveries.in_flight)
    for outcome, count in (
        ("accepted", sent.parcels - sent.duplicates), ("duplicate", sent.duplicates), ("unanswered", sent.again),
        ("paused", sent.paused), ("refused", sent.refused),
    ):  # fmt: skip
        yield Sample("packhound_sent_parcels", count, (outcome,))
    yield Sample("packhound_plan_revision", revision)
    yield Sample("packhound_plan_rejected", rejected)
    yield Sample("packhound_link_up", float(link_up))
    yield Sample("packhound_clock_offset_seconds", offset_ns / SECOND)
    yield Sample("packhound_malformed_messages", malformed)
    if streams is not None:
        for why, name in (("seen_again", "retransmitted"), ("missing", "skipped"), ("abandoned", "abandoned_bytes")):
            yield Sample("packhound_stream_bytes", streams[name], (why,))
        yield Sample("packhound_stream_waiting_bytes", streams["waiting"])
    conditions = {each.interface: str(each.state) for each in tap.conditions()}
    states = Counter({"up": 0}) + Counter(conditions.values())
    states["up"] += sum(each.name not in conditions for each in tap.interfaces)
    for state, count in sorted(states.items()):
        yield Sample("packhound_interface_up", count, (state,))
