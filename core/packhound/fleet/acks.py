"""Who has which plan: what nodes answer to plans, the last answer of each node and scope.

Promise: an answer counts only when it came on its node's own subject, which nobody else may publish on. Bounded; one
asyncio loop.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Mapping

from packhound.kit.bus import Bus, Message
from packhound.kit.traces import Traces
from packhound.wire.beats import NodeStatus
from packhound.wire.checked import BadMessage
from packhound.wire.plans import REJECTED, PlanAck, PlanMessage
from packhound.wire.subjects import Subjects

MAX_ANSWERS = 100_000
_Which = tuple[str, int, str]


class Acks:
    """Collects while it is entered. `malformed` counts what was no answer of the node that it came from."""

    def __init__(self, bus: Bus, names: Subjects) -> None:
        self._bus, self._names = bus, names
        self._last: dict[tuple[str, str], PlanAck] = {}
        self._by_plan: defaultdict[_Which, dict[str, PlanAck]] = defaultdict(dict)
        self._changed = asyncio.Condition()
        self.malformed = 0

    async def __aenter__(self) -> Acks:
        self._subscription = await self._bus.subscribe(self._names.acks, self._heard, messages=1 << 14)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._subscription.close()

    async def _heard(self, message: Message) -> None:
        try:
            ack = PlanAck.decode(message.data)
        except BadMessage:
            self.malformed += 1
            return
        if self._names.node_of(message.subject) != ack.node:
            self.malformed += 1
            return
        await self.note(ack)

    async def learn(self, found: Mapping[str, NodeStatus]) -> None:
        """Take the answers in the status of nodes: what was said before we listened."""
        for status in found.values():
            if status.ack is not None and (status.ack.node, status.ack.scope) not in self._last:
                await self.note(status.ack)

    async def note(self, ack: PlanAck) -> None:
        """Take one answer."""
        async with self._changed:
            key = ack.node, ack.scope
            before = self._last.get(key)
            if before is None and len(self._last) >= MAX_ANSWERS:
                return
            if before is not None:
                answers = self._by_plan[_which(before)]
                answers.pop(ack.node, None)
                if not answers:
                    del self._by_plan[_which(before)]
            self._last[key] = self._by_plan[_which(ack)][ack.node] = ack
            self._changed.notify_all()

    def of(self, plan: PlanMessage) -> Mapping[str, PlanAck]:
        """Answers to exactly this plan, by node."""
        return dict(self._by_plan.get((plan.scope, plan.revision, plan.digest), {}))

    def last(self, node: str, scope: str) -> PlanAck | None:
        """The last answer of a node for a scope."""
        return self._last.get((node, scope))

    async def wait(self, plan: PlanMessage, *, count: int, within: float) -> Mapping[str, PlanAck]:
        """Wait until `count` nodes answered to this plan; gives the answers that came within so many seconds."""
        which = plan.scope, plan.revision, plan.digest
        try:
            async with asyncio.timeout(within), self._changed:
                await self._changed.wait_for(lambda: len(self._by_plan.get(which, ())) >= count)
        except TimeoutError:
            pass
        return self.of(plan)


def note_ack(traces: Traces, ack: PlanAck) -> None:
    """End the trace of an edit on a node: its answer is here."""
    if traces.enabled:
        span = traces.begin(
            "plan.ack", parent=ack.traceparent, kind="consumer", packhound__node=ack.node, packhound__scope=ack.scope,
            packhound__revision=ack.revision, packhound__state=ack.state,
        )  # fmt: skip
        if ack.state == REJECTED:
            span.failed("rejected")
        span.end()


def _which(ack: PlanAck) -> _Which:
    return ack.scope, ack.revision, ack.digest
