"""One fleet on its broker: plans and pod tables out, acknowledgements and heartbeats in.

Promise: the broker's buckets hold the truth about what sensors were told, read whole on every connection; whatever is
asked here is either there afterwards or raises BusError, and asking again is always right. Revisions of a fleet only
grow, also when the broker lost its data or another operator was here. One asyncio loop.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from packhound.fleet.status import read_status
from packhound.fleet.streams import Keeper, Layout, Limits
from packhound.kit import logs
from packhound.kit.bus import Bucket, Bus, BusError, BusSettings, Conflict, Entry, Message, Rejected
from packhound.kit.traces import OFF, Traces
from packhound.operator.carried import Carried, Kept, first_carried, keep, name_of_row
from packhound.operator.hearing import Hearing
from packhound.operator.targeting import NOWHERE, Packed
from packhound.wire.beats import Heartbeat
from packhound.wire.checked import BadMessage
from packhound.wire.plans import PlanAck, PlanMessage, assemble, node_scope
from packhound.wire.pods import BadTable, PodTable, decode
from packhound.wire.subjects import TRACEPARENT, Subjects, untoken

AT_ONCE = 16
ATTEMPTS = 10
NO_STREAM = 10059
YOUNG = 3_000_000_000
LARGE = 32 << 10  # bytes of a plan that are packed in a thread
log = logs.logger("push")


@dataclass(slots=True)
class _Loaded:
    carried: dict[str, Carried] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)
    tables: dict[str, tuple[int, str]] = field(default_factory=dict)
    recalled: list[PodTable] = field(default_factory=list)


class FleetLink:
    """`changed` hears that something is to be looked at again: the broker came or went, a sensor spoke (`node`).
    `ready`: connected, and what the broker holds is known."""

    def __init__(
        self, fleet: str, settings: BusSettings, *, shards: int, replicas: int, name: str, clock: Callable[[], int],
        changed: Callable[[str, str], None], traces: Traces = OFF, limits: Limits | None = None,
    ) -> None:  # fmt: skip
        self.fleet, self.settings, self.ready, self.floor = fleet, settings, False, 0
        self._since, self._once_ready = clock(), False
        self.hearing = Hearing()
        self.faults: tuple[str, ...] = ()
        self._layout = Layout(fleet, shards, limits or Limits(), replicas=replicas)
        self._names = Subjects(fleet)
        self._name, self._clock, self._changed, self._traces = name, clock, changed, traces
        self._known = _Loaded()
        self._revision = 0
        self._bus: Bus | None = None
        self._task: asyncio.Task[None] | None = None

    # connection ------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Begin to connect. Raises Stop for files that are missing."""
        self._bus = await Bus.connect(self.settings)
        self._plans = Bucket(self._bus, self._names.plans_bucket)
        self._pods = Bucket(self._bus, self._names.pods_bucket)
        self._keeper = Keeper(self._bus, self._layout, told=lambda found: setattr(self, "faults", found.faults))
        self._stir = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"link of fleet {self.fleet}")

    async def close(self) -> None:
        """End; twice is no error."""
        self.ready = False
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._bus is not None:
            await self._bus.close()

    @property
    def young(self) -> bool:
        """Whether it was opened a moment ago and may yet become ready."""
        return not self._once_ready and self._clock() - self._since < YOUNG

    @property
    def reason(self) -> str:
        """Why it is not ready."""
        if self._bus is None or not self._bus.connected:
            return self._bus.reason if self._bus else "not connected yet"
        return "; ".join(self.faults) or "the broker is being read"

    async def _run(self) -> None:
        assert self._bus is not None
        bus = self._bus
        unwatch = bus.watch(lambda _: self._moved())
        keeper = asyncio.create_task(self._keeper.run())
        heard = [
            await bus.subscribe(self._names.acks, self._acked, messages=1 << 14),
            await bus.subscribe(self._names.heartbeats, self._beat, messages=1 << 14),
        ]
        try:
            while True:
                self._stir.clear()
                await self._keeper.ready.wait()
                try:
                    await self._load()
                except BusError as error:
                    log.warning("the broker cannot be read", fleet=self.fleet, reason=error.reason)
                    await asyncio.sleep(0.5)
                    continue
                self.ready = self._once_ready = True
                self._changed(self.fleet, "")
                await self._stir.wait()
        finally:
            keeper.cancel()
            unwatch()
            for each in heard:
                await each.close()

    def _moved(self) -> None:
        self.ready = False
        self._stir.set()
        self._changed(self.fleet, "")

    async def _load(self) -> None:
        """Read what the broker holds, plan by plan: nothing but what is needed is kept."""
        assert self._bus is not None
        found = _Loaded()
        for entry in await self._plans.entries("node.>"):
            node = untoken(entry.key.removeprefix("node."))
            if node:  # in a thread: a plan of thousands of filters takes its time
                await asyncio.to_thread(self._read, entry, node, found)
        counter = await self._plans.get(self._names.revision_key)
        revisions = [each.revision for each in found.carried.values()]
        self._revision = max(self._revision, self.floor, _number(counter.value if counter else b""), *revisions, 0)
        for entry in await self._pods.entries("node.>"):
            try:
                table = decode(entry.value)
            except BadTable:
                continue
            found.tables[table.node] = table.revision, table_digest(table)
            found.recalled.append(table)
        now = self._clock()
        for status in (await read_status(self._bus, self._names)).values():
            self.hearing.learn(status, now=now)
        self._revision = max(self._revision, *map(self.hearing.revision, self.hearing.nodes), 0)
        self._known = found

    def _read(self, entry: Entry, node: str, found: _Loaded) -> None:
        try:
            plan = PlanMessage.decode(entry.value)
        except BadMessage:
            return
        if plan.scope != node_scope(node):
            return
        generations = dict(map(name_of_row, plan.filters))
        before = self._known.carried.get(node)
        filters = first_carried(generations, plan.revision, before)
        found.carried[node] = Carried(plan.revision, plan.digest, filters, entry.sequence, plan.created_ns)
        keep(plan, found.kept)

    # what sensors say ------------------------------------------------------------------------------------------------

    async def _acked(self, message: Message) -> None:
        try:
            ack = PlanAck.decode(message.data)
        except BadMessage:
            return
        if self._names.node_of(message.subject) != ack.node or ack.scope != node_scope(ack.node):
            return
        self._revision = max(self._revision, ack.revision)
        if self.hearing.ack(ack, now=self._clock()):
            self._changed(self.fleet, ack.node)

    async def _beat(self, message: Message) -> None:
        try:
            beat = Heartbeat.decode(message.data)
        except BadMessage:
            return
        if self._names.node_of(message.subject) != beat.node:
            return
        self._revision = max(self._revision, beat.revision)
        known = self._known.carried.get(beat.node)
        if self.hearing.beat(beat, now=self._clock()) or (known is not None and beat.revision > known.revision):
            self._changed(self.fleet, beat.node)

    # what sensors are told -------------------------------------------------------------------------------------------

    @property
    def carried(self) -> Mapping[str, Carried]:
        """What every node was last told, NOWHERE too."""
        return self._known.carried

    @property
    def kept(self) -> Mapping[str, Kept]:
        """Filters as the broker had them when we connected."""
        return self._known.kept

    @property
    def tables(self) -> Mapping[str, tuple[int, str]]:
        """Revision and digest of the pod tables that the broker has."""
        return self._known.tables

    def recall(self) -> list[PodTable]:
        """The pod tables that the broker had when we connected; once."""
        found, self._known.recalled = self._known.recalled, []
        return found

    @property
    def revision(self) -> int:
        """The highest revision that is out."""
        return self._revision

    async def publish(
        self, nodes: Iterable[str], make: Callable[[str], Packed], *, traceparent: str = ""
    ) -> dict[str, str]:
        """Put the plans of some nodes in force, those that differ from what is; one revision for all. Gives why it did
        not work, by node: plans that the broker does not take. Raises BusError when it is gone."""
        gate, once = asyncio.Semaphore(AT_ONCE), asyncio.Lock()
        revision = 0

        async def one(node: str) -> tuple[str, str]:
            nonlocal revision
            async with gate:
                plan = make(node)
                digest = hashlib.sha256(plan.filters).hexdigest()
                if not self._differs(plan, digest):
                    return node, ""
                async with once:
                    revision = revision or await self._next()
                try:
                    await self._publish(plan, digest, revision, traceparent)
                except Conflict:
                    raise
                except Rejected as error:
                    return node, error.reason
            return node, ""

        done = await asyncio.gather(*map(one, nodes), return_exceptions=True)
        found: dict[str, str] = {}
        for each in done:
            if isinstance(each, BaseException):
                raise each
            found[each[0]] = each[1]
        return found

    def _differs(self, plan: Packed, digest: str) -> bool:
        known = self._known.carried.get(plan.node)
        if known is None:
            return bool(plan.generations) or plan.node != NOWHERE
        return self.hearing.revision(plan.node) > known.revision or digest != known.digest

    async def _publish(self, plan: Packed, digest: str, revision: int, traceparent: str) -> None:
        """Write a plan where nobody else wrote meanwhile, and announce it."""
        assert self._bus is not None
        key, known = self._names.plan_key(plan.node), self._known.carried.get(plan.node)
        sequence = known.sequence if known is not None else (await self._plans.last(key))[0]
        revision = max(revision, self.hearing.revision(plan.node) + 1)
        created = max(self._clock(), known.created + 1 if known else 0)
        scope = node_scope(plan.node)
        with self._traces.span(
            "plan.publish", parent=traceparent, kind="producer", packhound__scope=scope, packhound__revision=revision,
            packhound__filters=len(plan.generations),
        ) as span:  # fmt: skip
            trace = span.traceparent or traceparent
            work = partial(
                assemble, plan.filters, digest=digest, revision=revision, created_ns=created, scope=scope,
                previous=known.revision if known else 0, publisher=self._name, traceparent=trace,
            )  # fmt: skip
            data = await asyncio.to_thread(work) if len(plan.filters) > LARGE else work()
            try:
                sequence = await self._plans.update(key, data, last=sequence)
            except Conflict:
                await self._again(plan.node, key)
                raise
            filters = first_carried(plan.generations, revision, known)
            self._known.carried[plan.node] = Carried(revision, digest, filters, sequence, created)
            self._revision = max(self._revision, revision)
            headers = {TRACEPARENT: trace} if trace else {}
            await self._bus.say(self._names.plan(plan.node), str(revision).encode(), headers)
        if self.hearing.revision(plan.node) >= revision:
            self._changed(self.fleet, plan.node)  # its answer was here before we knew what it answers

    async def _again(self, node: str, key: str) -> None:
        """Somebody else wrote this plan: see what it is now."""
        self._known.carried.pop(node, None)
        entry = await self._plans.get(key)
        if entry is not None:
            await asyncio.to_thread(self._read, entry, node, self._known)

    async def _next(self) -> int:
        """The next revision of the fleet, that nobody else has."""
        key = self._names.revision_key
        for _ in range(ATTEMPTS):
            sequence, value = await self._plans.last(key)
            self._revision = max(self._revision, self.floor, _number(value or b"")) + 1
            try:
                await self._plans.update(key, str(self._revision).encode(), last=sequence)
            except Conflict:
                continue
            return self._revision
        raise Conflict("others count revisions without end")

    async def drop(self, node: str) -> None:
        """Forget a node that left the fleet."""
        await self._plans.delete(self._names.plan_key(node))
        await self._pods.delete(self._names.pods_key(node))
        self._known.carried.pop(node, None)
        self._known.tables.pop(node, None)
        self.hearing.forget(node)

    async def tell_pods(self, table: PodTable) -> None:
        """Publish the pods of a node. Raises BusError."""
        assert self._bus is not None
        await self._pods.put(self._names.pods_key(table.node), table.encode())
        self._known.tables[table.node] = table.revision, table_digest(table)
        await self._bus.say(self._names.pods(table.node), str(table.revision).encode())

    async def remove(self) -> None:
        """Take everything of the fleet off the broker. Raises BusError."""
        assert self._bus is not None
        for spec in self._layout.streams:
            try:
                await self._bus.api(f"STREAM.DELETE.{spec.config()['name']}")
            except Rejected as error:
                if error.code != NO_STREAM:
                    raise


def table_digest(table: PodTable) -> str:
    """What tells tables of a node apart, but for their revisions."""
    return hashlib.sha256(replace(table, revision=0).encode()).hexdigest()


def _number(text: bytes) -> int:
    return int(text) if text[:20].isdigit() else 0
