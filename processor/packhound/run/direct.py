"""Filters of a fleet without a broker: files beside the processor, watched, as plans for its sensors.

Promise: as `FilterFiles`: what was good last stays in force until a good version replaces it. A new plan is made only
when filters changed; every sensor that is connected hears of it, and one that connects gets it at once. When a filter
was first read is kept in a file, so that a restart prolongs no `ttl`. One asyncio loop.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from packhound.kit import logs
from packhound.kit.traces import Traces
from packhound.rules.bpf import check_pcap
from packhound.run.filters import Change, FilterFiles
from packhound.run.fleet import Given, as_written
from packhound.wire.plans import PlanMessage

EVERY = 1.0
Tell = Callable[[PlanMessage], Awaitable[None]]


class DirectPlans:
    """Reads `paths`; `memory`: file that keeps when each filter was first read. `plan` is in force; `bad` says what of
    the files is not."""

    def __init__(self, paths: Sequence[Path], *, memory: Path, node: str, traces: Traces, tell: Tell) -> None:
        self._files = FilterFiles(paths, check_pcap=check_pcap, now=time.time_ns)
        self._node, self._traces, self._tell = node, traces, tell
        self._memory = memory
        self._born = _recalled(memory)
        self._log = logs.logger("filters")
        self.plan: PlanMessage | None = None
        self.bad: tuple[str, ...] = ()

    async def look(self) -> None:
        """Read files that changed; a plan that is new is told of."""
        change = await asyncio.to_thread(self._files.refresh)
        if change is None:
            return
        self._complain(change)
        rows = self._rows()
        made = PlanMessage.of(rows, revision=1, created_ns=time.time_ns(), publisher=self._node)
        before = self.plan
        if before is not None and before.digest == made.digest:
            return
        revision = before.revision + 1 if before else 1
        with self._traces.span(
            "filter.edit", kind="producer", packhound__filters=len(rows), packhound__revision=revision
        ) as edit, self._traces.span(
            "plan.publish", parent=edit.traceparent, kind="producer", packhound__scope=made.scope,
            packhound__revision=revision, packhound__filters=len(rows),
        ) as span:  # fmt: skip
            self.plan = PlanMessage.of(
                rows, revision=revision, created_ns=max(made.created_ns, before.created_ns + 1 if before else 0),
                previous=before.revision if before else 0, publisher=self._node, traceparent=span.traceparent,
            )  # fmt: skip
            await self._tell(self.plan)
        self._log.info("plan in force", revision=revision, filters=len(rows))

    def _complain(self, change: Change) -> None:
        bad = tuple(str(each) for each in change.bad)
        for text in bad:
            if text not in self.bad:
                self._log.error("filter is not taken", where=text)
        self.bad = bad

    def _rows(self) -> list[dict[str, object]]:
        rows = []
        born = {}
        for each in self._files.accepted:
            name = each.full_name
            born[name] = self._born.get(name) or time.time_ns()
            rows.append(Given(name, as_written(each), born[name]).row)
        if born != self._born:
            self._born = born
            self._remember()
        return rows

    def _remember(self) -> None:
        fresh = self._memory.with_suffix(".new")
        try:
            fresh.write_text(json.dumps(self._born, sort_keys=True))
            fresh.rename(self._memory)
        except OSError as error:
            self._log.warning("a restart will prolong every ttl", reason=error.strerror)


def _recalled(memory: Path) -> dict[str, int]:
    try:
        found = json.loads(memory.read_text("utf-8"))
        return {str(name): int(created) for name, created in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}
