"""Hot push: plans from whoever publishes filters to every sensor, and their answers back.

Promise: the bucket holds the truth, an announcement only says that it changed. A sensor reads it when announced, at
start, on every new connection and every half minute; it hands a plan on when that is newer, whole and with the digest
that it claims, and answers for each. Revisions only grow within a bucket; when the broker lost its bucket they grow
from what the publisher knows, and a sensor takes a lower revision only when it was made later. One asyncio loop;
`apply` runs in a thread, one at a time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from packhound.kit.bus import Bucket, Bus, BusError, Conflict, Message, Rejected
from packhound.kit.tasks import happened
from packhound.kit.traces import OFF, Traces
from packhound.wire.checked import BadMessage
from packhound.wire.plans import ALL, APPLIED, REJECTED, PlanAck, PlanMessage, digest_of, node_scope
from packhound.wire.subjects import TRACEPARENT, Subjects

EVERY = 30.0
ATTEMPTS = 20
STALE_LOOKS = 10  # a replica of the bucket may lag behind the announcement
Clock = Callable[[], int]


def key_of(names: Subjects, scope: str) -> str:
    """Key of the plan for `scope`."""
    return names.plan_key_all if scope == ALL else names.plan_key(scope.removeprefix("node/"))


def announced_on(names: Subjects, scope: str) -> str:
    """Subject on which a plan for `scope` is announced."""
    return names.plan_all if scope == ALL else names.plan(scope.removeprefix("node/"))


class PlanSource:
    """Publishes plans. `name` is noted in them; `clock` in ns since the epoch."""

    def __init__(self, bus: Bus, names: Subjects, *, name: str, clock: Clock, traces: Traces = OFF) -> None:
        self._bus, self._names, self._name, self._clock, self._traces = bus, names, name, clock, traces
        self._bucket = Bucket(bus, names.plans_bucket)
        self._known: dict[str, tuple[int, int]] = {}

    def saw(self, scope: str, revision: int, created_ns: int = 0) -> None:
        """Learn of a revision that exists somewhere: no plan of ours will have one that is not higher."""
        known = self._known.get(scope, (0, 0))
        self._known[scope] = max(known[0], revision), max(known[1], created_ns)

    async def publish(
        self, filters: Iterable[Mapping[str, Any]], *, scope: str = ALL, traceparent: str = ""
    ) -> PlanMessage:
        """Put `filters` in force in `scope`; gives the plan that now is. When the bucket has the same filters already
        nothing is written: it may be called whenever in doubt. Raises BusError, Rejected when they are too many."""
        rows = tuple(filters)
        with self._traces.span("plan.publish", parent=traceparent, kind="producer", packhound__scope=scope) as span:
            trace = span.traceparent or traceparent
            for _ in range(ATTEMPTS):
                sequence, current = await self._current(scope)
                if current is not None and current.digest == digest_of(rows):
                    return current
                plan = self._next(rows, scope, current, trace)
                try:
                    await self._bucket.update(key_of(self._names, scope), plan.encode(), last=sequence)
                except Conflict:
                    await asyncio.sleep(random.uniform(0.0, 0.05))  # noqa: S311
                    continue
                self.saw(scope, plan.revision, plan.created_ns)
                span.set(packhound__revision=plan.revision, packhound__filters=len(rows))
                await self.announce(plan)
                return plan
        raise Conflict("others publish plans without end")

    async def announce(self, plan: PlanMessage) -> None:
        """Tell the sensors of `plan` that it is there. Raises Away."""
        headers = {TRACEPARENT: plan.traceparent} if plan.traceparent else {}
        await self._bus.say(announced_on(self._names, plan.scope), str(plan.revision).encode(), headers)

    async def current(self, scope: str = ALL) -> PlanMessage | None:
        """The plan in the bucket; None when there is none that can be read. Raises BusError."""
        return (await self._current(scope))[1]

    async def _current(self, scope: str) -> tuple[int, PlanMessage | None]:
        sequence, value = await self._bucket.last(key_of(self._names, scope))
        try:
            found = None if value is None else PlanMessage.decode(value)
        except BadMessage:
            found = None
        if found is not None:
            self.saw(scope, found.revision, found.created_ns)
        return sequence, found if found is not None and found.scope == scope else None

    def _next(
        self, rows: tuple[Mapping[str, Any], ...], scope: str, current: PlanMessage | None, trace: str
    ) -> PlanMessage:
        revision, created = self._known.get(scope, (0, 0))
        plan = PlanMessage.of(
            rows, revision=revision + 1, created_ns=max(self._clock(), created + 1), scope=scope,
            previous=current.revision if current else 0, publisher=self._name, traceparent=trace,
        )  # fmt: skip
        if len(plan.encode()) > self._bus.max_payload:
            raise Rejected(f"a plan of {len(rows)} filters is larger than the broker takes")
        return plan


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a plan: `rejected` says why it is not in force; `warnings` what of it cannot work here."""

    rejected: str = ""
    warnings: tuple[str, ...] = ()


Apply = Callable[[PlanMessage], Verdict]


class Taker:
    """Takes the plans of one node, whatever link brought them: one at a time, of each scope the newest, in a thread.
    The plan in force stays when `apply` rejects or raises. `held`: the last of each scope, `answers`: what was said."""

    def __init__(self, *, node: str, epoch: int, apply: Apply, clock: Clock, traces: Traces = OFF) -> None:
        self._node, self._epoch = node, epoch
        self._apply, self._clock, self._traces = apply, clock, traces
        self._turn = asyncio.Lock()
        self.held: dict[str, PlanMessage] = {}
        self.answers: dict[str, PlanAck] = {}

    async def take(self, plan: PlanMessage) -> PlanAck | None:
        """Put a plan in force; the answer, None for a plan that is not newer than what is held."""
        async with self._turn:
            held = self.held.get(plan.scope)
            if not is_newer(plan, held):
                return None
            self.held[plan.scope] = plan
            answer = self.answers[plan.scope] = await self._take(plan, held)
            return answer

    async def _take(self, plan: PlanMessage, held: PlanMessage | None) -> PlanAck:
        last = self.answers.get(plan.scope)
        with self._traces.span(
            "plan.apply", parent=plan.traceparent, kind="consumer", packhound__node=self._node,
            packhound__scope=plan.scope, packhound__revision=plan.revision,
        ) as span:  # fmt: skip
            if held is not None and last is not None and held.digest == plan.digest:
                verdict = Verdict(last.reason if last.state == REJECTED else "", last.warnings)
            else:
                verdict = await asyncio.to_thread(self._applied, plan)
            if verdict.rejected:
                span.failed("rejected")
            return PlanAck(
                self._node, self._epoch, plan.revision, plan.digest, REJECTED if verdict.rejected else APPLIED,
                verdict.rejected, self._clock(), plan.scope, verdict.warnings, span.traceparent or plan.traceparent,
            )  # fmt: skip

    def _applied(self, plan: PlanMessage) -> Verdict:
        try:
            return self._apply(plan)
        except Exception as error:  # whatever it is, the plan in force must stay and the answer must go out
            return Verdict(rejected=f"could not be applied: {type(error).__name__}")


class PlanFollower:
    """Follows the plan for every node and the one for `node`, handing what is new to a `Taker`. `told` hears of every
    answer, to keep it in the status."""

    def __init__(
        self,
        bus: Bus,
        names: Subjects,
        *,
        node: str,
        epoch: int,
        apply: Apply,
        clock: Clock,
        told: Callable[[PlanAck], None] | None = None,
        traces: Traces = OFF,
        every: float = EVERY,
    ) -> None:
        self._bus, self._names, self._node = bus, names, node
        self._told, self._every = told, every
        self._taker = Taker(node=node, epoch=epoch, apply=apply, clock=clock, traces=traces)
        self._answers = self._taker.answers
        self._bucket = Bucket(bus, names.plans_bucket)
        self._scopes = (ALL, node_scope(node))
        self._unanswered: set[str] = set()
        self._announced: dict[str, int] = {}
        self._due: set[str] = set()
        self._wake = asyncio.Event()
        self.malformed = self.failures = 0

    @property
    def held(self) -> Mapping[str, PlanMessage]:
        """The last plan that was read of each scope, applied or rejected."""
        return self._taker.held

    async def run(self) -> None:
        """Follow until cancelled."""
        unwatch = self._bus.watch(lambda happening: self._look(again=True))
        subscriptions = [await self._bus.subscribe(announced_on(self._names, s), self._heard) for s in self._scopes]
        self._look(again=True)
        try:
            while True:
                if not await happened(self._wake, within=self._every * random.uniform(0.8, 1.2)):  # noqa: S311
                    self._due.update(self._scopes)
                await self._bus.ready()
                self._wake.clear()
                await self._round()
        finally:
            unwatch()
            for subscription in subscriptions:
                await subscription.close()

    def _look(self, *, again: bool) -> None:
        self._due.update(self._scopes)
        if again:
            self._unanswered.update(self._answers)
        self._wake.set()

    async def _heard(self, message: Message) -> None:
        scope = ALL if message.subject == self._names.plan_all else self._scopes[1]
        text = message.data[:20]
        self._announced[scope] = int(text) if text.isdigit() else 0
        self._due.add(scope)
        self._unanswered.update({scope} & set(self._answers))
        self._wake.set()

    async def _round(self) -> None:
        """Read what is due, apply what is new, answer what was not answered."""
        for scope in sorted(self._due):
            self._due.discard(scope)
            try:
                await self._follow(scope)
            except BusError:
                self.failures += 1
                await self._later(scope)
        for scope in sorted(self._unanswered):
            self._unanswered.discard(scope)
            try:
                await self._answer(self._answers[scope])
            except BusError:
                self._unanswered.add(scope)

    async def _later(self, scope: str) -> None:
        """Look again soon: the bucket is not there yet, or the broker did not answer."""
        if self._bus.connected:
            await asyncio.sleep(random.uniform(0.2, 1.0))  # noqa: S311
        self._due.add(scope)
        self._wake.set()

    async def _follow(self, scope: str) -> None:
        for look in range(STALE_LOOKS):
            entry = await self._bucket.get(key_of(self._names, scope))
            try:
                plan = None if entry is None else PlanMessage.decode(entry.value)
            except BadMessage:
                self.malformed += 1
                return
            if plan is not None and plan.scope != scope:
                self.malformed += 1
                return
            wanted = self._announced.get(scope, 0)
            held = self.held.get(scope)
            if max(plan.revision if plan else 0, held.revision if held else 0) >= wanted:
                break
            await asyncio.sleep(0.01 * (look + 1))
        self._announced.pop(scope, None)
        if plan is not None and await self._taker.take(plan) is not None:
            self._unanswered.add(plan.scope)

    async def _answer(self, ack: PlanAck) -> None:
        if self._told is not None:
            self._told(ack)
        await self._bus.say(self._names.ack(self._node), ack.encode())


def is_newer(plan: PlanMessage, held: PlanMessage | None) -> bool:
    """Tell whether `plan` replaces `held`: a higher revision, or a lower or equal one made later, which is how a
    bucket looks that was lost and filled again (within one bucket later plans have higher revisions)."""
    return held is None or plan.revision > held.revision or plan.created_ns > held.created_ns
