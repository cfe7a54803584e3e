"""`packhound filter apply|list|rm|status`, `sensors`, `topology`: a person's hands and eyes on a fleet.

Promise: filters are kept in the broker as they were written, and the plan is made of all of them whenever one changes;
whoever applies twice changes nothing. A bad file changes nothing at all.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packhound.api.huntfilter import HuntFilter
from packhound.api.load import BadObject, load_object, path_text
from packhound.api.units import duration_ns
from packhound.fleet.acks import Acks, note_ack
from packhound.fleet.heartbeats import SILENT_NS
from packhound.fleet.plans import PlanSource
from packhound.fleet.status import read_status
from packhound.fleet.streams import ensure
from packhound.kit.bus import Away, Bucket, Bus, BusError
from packhound.kit.errors import BadInput, Usage
from packhound.kit.traces import Traces
from packhound.rules.bpf import check_pcap
from packhound.rules.compile import compile_plan
from packhound.run import links
from packhound.run.filters import files_of, read_file
from packhound.run.options import Options
from packhound.wire.beats import NodeStatus
from packhound.wire.plans import PlanAck, PlanMessage
from packhound.wire.subjects import Subjects

ANSWER_WITHIN = 5.0
CONNECT_WITHIN = 5.0


@dataclass(frozen=True, slots=True)
class Given:
    """One filter as it is kept: the object as written, when it first came (ns)."""

    name: str
    raw: Mapping[str, Any]
    created: int

    @property
    def row(self) -> dict[str, Any]:
        """Its row in a plan."""
        return {"object": dict(self.raw), "created": self.created, "guard": None}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an edit came to: the plan in force, answers by node, nodes that should have answered and did not, seconds
    from the edit to the last answer."""

    plan: PlanMessage
    acks: Mapping[str, PlanAck]
    silent: Sequence[str]
    seconds: float


def as_written(each: HuntFilter) -> dict[str, Any]:
    """A filter as its user wrote it."""
    raw = each.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    return {"apiVersion": each.api_version, "kind": each.kind, **raw}


def objects_of(paths: Sequence[Path]) -> list[HuntFilter]:
    """Every filter of some files and folders. Raises BadInput naming every place that is wrong."""
    bad: list[BadObject] = []
    found: dict[str, HuntFilter] = {}
    for path in files_of(paths):
        loaded = read_file(path)
        bad += loaded.bad
        for made in loaded.objects:
            if not isinstance(made, HuntFilter):
                continue
            if made.full_name in found:
                bad.append(BadObject(str(path), 0, made.kind, "metadata.name", f"{made.full_name} is there twice"))
            found[made.full_name] = made
    result = compile_plan(found.values(), revision=0, now=time.time_ns(), check_pcap=check_pcap)
    bad += [BadObject("", 0, each.filter, path_text(each.path), each.reason) for each in result.refused]
    if not found and not bad:
        raise BadInput(f"no HuntFilter in {', '.join(map(str, paths))}; nothing was changed")
    if bad:
        raise BadInput("nothing was changed: some filters are bad", notes=tuple(str(each).lstrip(": ") for each in bad))
    return list(found.values())


class Desk:
    """A connection of somebody who edits filters and looks at the fleet."""

    def __init__(self, bus: Bus, options: Options, traces: Traces) -> None:
        self._bus, self._options, self._traces = bus, options, traces
        self.names = Subjects(options.fleet.name)
        self._bucket = Bucket(bus, self.names.filters_bucket)
        self._source = PlanSource(bus, self.names, name="packhound filter", clock=time.time_ns, traces=traces)

    async def prepare(self) -> None:
        """Make sure that the broker has what a fleet needs."""
        await ensure(self._bus, links.layout(self._options))

    async def given(self) -> list[Given]:
        """The filters that are kept, by name."""
        found = []
        for entry in await self._bucket.entries():
            name = self.names.filter_name(entry.key)
            try:
                row = json.loads(entry.value)
                if name and isinstance(row["object"], dict):
                    found.append(Given(name, row["object"], int(row["created"])))
            except (ValueError, KeyError, TypeError):
                continue
        return sorted(found, key=lambda each: each.name)

    async def put(self, filters: Sequence[HuntFilter], *, wait: float) -> Outcome:
        """Add or replace filters."""
        before = {each.name: each for each in await self.given()}
        for each in filters:
            raw = as_written(each)
            created = before[each.full_name].created if each.full_name in before else time.time_ns()
            value = json.dumps({"object": raw, "created": created}, sort_keys=True).encode()
            await self._bucket.put(self.names.filter_key(each.full_name), value)
        return await self._publish(wait)

    async def remove(self, names: Sequence[str], *, wait: float) -> Outcome:
        """Take filters away. Raises BadInput for a name that is not there."""
        known = {each.name for each in await self.given()}
        missing = [name for name in names if name not in known]
        if missing:
            raise BadInput(f"no such filter: {', '.join(missing)}", notes=(f"there are: {', '.join(sorted(known))}",))
        for name in names:
            await self._bucket.delete(self.names.filter_key(name))
        return await self._publish(wait)

    async def _publish(self, wait: float) -> Outcome:
        began = time.monotonic()
        with self._traces.span("filter.edit", kind="producer", packhound__fleet=self.names.fleet) as span:
            async with Acks(self._bus, self.names) as acks:
                desired = {node for node, each in (await self.statuses()).items() if is_heard(each)}
                plan = await self._source.publish(
                    [each.row for each in await self.given()], traceparent=span.traceparent
                )
                await acks.learn(await self.statuses())
                found = await acks.wait(plan, count=len(desired), within=wait) if desired else {}
            span.set(packhound__revision=plan.revision, packhound__acked=len(found))
            for ack in found.values():
                note_ack(self._traces, ack)
        return Outcome(plan, found, sorted(desired - set(found)), time.monotonic() - began)

    async def current(self) -> PlanMessage | None:
        """The plan in force for every node."""
        return await self._source.current()

    async def waiting(self) -> int:
        """Parcels in the broker that no processor has settled yet."""
        info = await self._bus.api(f"STREAM.INFO.{self.names.packets_stream}")
        return int((info.get("state") or {}).get("messages", 0))

    async def statuses(self) -> Mapping[str, NodeStatus]:
        """The last that every node said of itself."""
        return await read_status(self._bus, self.names)


def is_heard(status: NodeStatus, *, now: int | None = None) -> bool:
    """Tell whether a node was heard lately; the measured difference of clocks is taken into account."""
    beat = status.heartbeat
    if beat is None or beat.state == "stopped":
        return False
    return (time.time_ns() if now is None else now) - (beat.sent_ns + beat.clock_offset_ns) < SILENT_NS


def at_desk(options: Options, work: Callable[[Desk], Coroutine[Any, Any, Any]], *, prepare: bool = True) -> Any:
    """Connect, do `work`, leave; `prepare`: see to it that the broker has what a fleet needs. Raises
    Stop with what to do when the broker cannot be reached."""

    async def go() -> Any:
        traces = links.traces(options, "packhound-cli", "cli")
        bus = await Bus.connect(links.bus_settings(options, "publisher", "cli"))
        try:
            await bus.ready(CONNECT_WITHIN)
            desk = Desk(bus, options, traces)
            if prepare:
                await desk.prepare()
            return await work(desk)
        except Away as away:
            urls = ", ".join(options.nats.urls)
            raise BadInput(f"the broker cannot be reached at {urls}: {away}",
                           notes=("start one with `packhound up`, or set --nats URL",)) from away  # fmt: skip
        except BusError as error:
            raise BadInput(f"the broker refused: {error}") from error
        finally:
            await bus.close()
            traces.close()

    return asyncio.run(go())


def check_names(names: Sequence[str]) -> None:
    """Raise Usage when no name is given."""
    if not names:
        raise Usage("name at least one filter: NAMESPACE/NAME, or NAME of a ClusterHuntFilter")


def state_of(raw: Mapping[str, Any], *, created: int, now: int) -> str:
    """How a filter that first came at `created` stands at `now` (ns): in force, suspended, expired, or not readable."""
    model = loaded(raw)
    if model is None:
        return "not readable"
    if model.spec.suspend:
        return "suspended"
    ttl = model.spec.schedule.ttl
    return "expired" if ttl is not None and created + duration_ns(ttl) <= now else "in force"


def loaded(raw: Mapping[str, Any]) -> HuntFilter | None:
    """The model of an object that is kept; None when this version cannot read it."""
    found = load_object(dict(raw)).objects
    return found[0] if found and isinstance(found[0], HuntFilter) else None
