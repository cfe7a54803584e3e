"""What a processor answers to subscribers: filters, sensors, topology, itself; and what sensors without a broker get.

Promise: reads what the process knows, changes nothing of it but the last words of sensors that speak over gRPC.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from packhound.fleet.acks import note_ack
from packhound.kit.traces import OFF, Traces
from packhound.processor.serve.feed import View
from packhound.processor.shared.state import SharedState, Unavailable
from packhound.run.fleet import state_of
from packhound.run.links import VERSION
from packhound.wire.beats import BeatReply, Heartbeat, MediaWatch
from packhound.wire.plans import ALL, PlanAck, PlanMessage
from packhound.wire.v1 import events_pb2 as pb

if TYPE_CHECKING:
    from packhound.run.processing import Processing

SECOND = 1_000_000_000
SILENT_NS = 15 * SECOND


class FleetAnswers:
    """`processing` is the process; `plan` the filters in force for every node, as last read; `relay` brings a media
    watch of a node to all others that are connected to us."""

    def __init__(self, processing: Processing, shared: SharedState, *, traces: Traces = OFF) -> None:
        self._processing, self._shared, self._traces = processing, shared, traces
        self._direct: dict[str, tuple[Heartbeat, int]] = {}
        self._acks: dict[str, PlanAck] = {}
        self.plan: PlanMessage | None = None
        self.relay: Callable[[str, bytes], None] | None = None

    # sensors without a broker ----------------------------------------------------------------------------------------

    def heard(self, node: str, kind: str, data: bytes) -> tuple[str, bytes] | None:
        """A sensor's heartbeat, answer to a plan, or media watch; what is to be said back."""
        now = time.time_ns()
        if kind == "heartbeat":
            beat = Heartbeat.decode(data)
            if beat.node == node:
                self._direct[node] = beat, now
            return "beat_reply", BeatReply(now, time.time_ns(), self._processing.node).encode()
        if kind == "plan_ack":
            ack = PlanAck.decode(data)
            if ack.node == node:
                self._acks[node] = ack
                note_ack(self._traces, ack)
        if kind == "media_watch" and MediaWatch.decode(data).node == node and self.relay is not None:
            self.relay(node, data)
        return None

    def plan_for(self, node: str) -> bytes:
        """The plan that a sensor without a broker gets; empty for none."""
        return b"" if self.plan is None else self.plan.encode()

    # subscribers -----------------------------------------------------------------------------------------------------

    def _beats(self) -> Mapping[str, tuple[Heartbeat, int]]:
        beats = self._processing.beats
        found = {node: (heard.heartbeat, heard.at_ns) for node, heard in beats.nodes().items()} if beats else {}
        return found | self._direct

    def states(self) -> Counter[str]:
        """How many sensors were heard lately, are silent, or said that they stop; by our clock. Any thread."""
        now = time.time_ns()
        found = [(beat.state, at) for beat, at in list(self._beats().values())]
        return Counter(
            "stopped" if state == "stopped" else "silent" if now - at > SILENT_NS else "heard" for state, at in found
        )  # fmt: skip

    def sensors(self, node: str) -> list[pb.SensorStatus]:
        """Sensors that were heard; of one node when it is named."""
        twins = self._processing.beats.twins() if self._processing.beats else {}
        return [_sensor(name, beat, at, self._ack_of(name), twin=name in twins)
                for name, (beat, at) in sorted(self._beats().items()) if node in ("", name)]  # fmt: skip

    def epochs(self) -> set[tuple[str, int]]:
        """Sensors that were heard, each with its epoch."""
        return {(node, beat.epoch) for node, (beat, _) in self._beats().items()}

    def _ack_of(self, node: str) -> PlanAck | None:
        """Its last answer to a plan for every node, however it came."""
        heard = self._processing.acks
        return self._acks.get(node) or (heard.last(node, ALL) if heard is not None else None)

    def filters(self, view: View) -> pb.ListFiltersReply:
        """Filters in force, with what sensors say of them."""
        plan = self.plan or self._processing.plan
        if plan is None:
            return pb.ListFiltersReply()
        found = []
        for row in plan.filters:
            raw = row.get("object", row)
            metadata = raw.get("metadata") or {}
            space = metadata.get("namespace") or ("default" if raw.get("kind") == "HuntFilter" else "")
            name = f"{space}/{metadata.get('name')}" if space else str(metadata.get("name"))
            if view.sees(name):
                created = row.get("created", 0) if "object" in row else time.time_ns()
                found.append(self._filter(name, raw, created))
        return pb.ListFiltersReply(revision=plan.revision, filters=found)

    def _filter(self, name: str, raw: Mapping[str, object], created: int) -> pb.FilterStatus:
        import json

        matched = delivered = 0
        lost: dict[str, int] = {}
        for beat, _ in self._beats().values():
            account = (beat.books.get("filters") or {}).get(name) or {}
            matched += int(account.get("matched", 0))
            for cause, count in (account.get("lost") or {}).items():
                lost[cause] = lost.get(cause, 0) + int(count)
        try:
            for entry, count in self._shared.books().items():
                if entry.kind == "filter" and entry.name == name and entry.counter in ("recorded", "processed_only"):
                    delivered += count
        except Unavailable:
            delivered = 0
        active = state_of(raw, created=created, now=time.time_ns()) == "in force"
        return pb.FilterStatus(
            name=name, source=json.dumps(raw, sort_keys=True), active=active, matched=matched,
            delivered=delivered, lost=lost,
        )  # fmt: skip

    def topology(self) -> pb.TopologyReply:
        """Who is there and owns what."""
        fleet, shards = self._processing.fleet
        processors = []
        try:
            roster = self._shared.roster()
        except Unavailable:
            roster = None
        for member in roster.members if roster else (self._processing.node,):
            mine = [shard for shard, lease in roster.leases.items() if lease.holder == member] if roster else []
            processors.append(pb.ProcessorStatus(name=member, shards=sorted(mine), state="ok", version=VERSION))
        return pb.TopologyReply(fleet=fleet, shards=shards, processors=processors, sensors=self.sensors(""))

    def status(self) -> pb.StatusReply:
        """How this processor is, and the processors' side of the books of the fleet."""
        books: dict[str, int] = {}
        try:
            for entry, count in self._shared.books().items():
                if entry.kind == "sensor":
                    books[entry.counter] = books.get(entry.counter, 0) + count
        except Unavailable:
            books = {}
        return pb.StatusReply(
            processor=self._processing.node, clock_ns=time.time_ns(), started_ns=self._processing.started_ns,
            version=VERSION, books=books, conditions=self._processing.conditions(),
            subscribers=len(self._processing.feed),
        )  # fmt: skip


def _sensor(name: str, beat: Heartbeat, at: int, ack: PlanAck | None, *, twin: bool) -> pb.SensorStatus:
    account = (beat.books.get("sensors") or {}).get(name) or {}
    books: dict[str, int] = {}
    for fate, value in account.items():
        if isinstance(value, Mapping):
            books |= {f"{fate}.{cause}": int(count) for cause, count in value.items()}
        elif isinstance(value, int) and value >= 0:
            books[fate] = value
    state = "stale" if time.time_ns() - at > SILENT_NS and beat.state != "stopped" else beat.state
    conditions = [*beat.conditions, *(["two processes speak for this name: give each its own"] if twin else [])]
    return pb.SensorStatus(
        node=name, epoch=beat.epoch, cluster=beat.cluster, state=state, seen_ns=at, started_ns=beat.started_ns,
        revision=beat.revision, plan_state=ack.state if ack else "", plan_reason=ack.reason if ack else "",
        link=beat.link, spool_bytes=beat.spool_bytes, spool_packets=beat.spool_packets,
        clock_offset_ns=beat.clock_offset_ns, rss=beat.rss, cpu=beat.cpu, modes=dict(beat.modes), books=books,
        interfaces=[each.name for each in beat.interfaces], conditions=conditions, version=beat.version,
    )  # fmt: skip
