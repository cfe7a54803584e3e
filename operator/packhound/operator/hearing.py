"""What sensors said, summed up: who has which plan, who was heard when, how many packets each filter had.

Promise: pure; `now` is given (ns since the epoch, our clock: a sensor's clock decides nothing). A sensor's counters are
those of its epoch; what earlier epochs counted stays counted. Small: one tuple per filter and node that matched.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from packhound.operator.rollout import Ack
from packhound.wire.beats import Heartbeat, NodeStatus
from packhound.wire.plans import APPLIED, PlanAck

MAX_MARKS = 64  # of one node
MAX_PODS = 64  # of one filter
LATELY, GRACE = 20_000_000_000, 5_000_000_000


class Tally(NamedTuple):
    """Packets of a filter: cumulative counters."""

    matched: int = 0
    delivered: int = 0
    lost: int = 0
    shed: int = 0

    def plus(self, other: Tally) -> Tally:
        """The sum."""
        return Tally(*(a + b for a, b in zip(self, other, strict=True)))

    def minus(self, other: Tally) -> Tally:
        """The difference."""
        return Tally(*(a - b for a, b in zip(self, other, strict=True)))


NONE = Tally()


@dataclass(slots=True)
class Met:
    """What was counted of a filter in the first heartbeat of a node that we know; heard `at` (ns; 0: before us)."""

    at: int = 0
    tally: Tally = NONE
    lost: Mapping[str, int] = field(default_factory=dict)
    pods: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Node:
    ack: Ack | None = None
    epoch: int = 0
    started: int = 0
    heard: int = 0
    beaten: bool = False
    revision: int = 0
    tallies: dict[str, Tally] = field(default_factory=dict)
    lost: dict[str, dict[str, int]] = field(default_factory=dict)  # by filter and cause
    pods: dict[str, dict[str, int]] = field(default_factory=dict)  # by filter and pod
    drops: int = 0  # of this epoch
    earlier: int = 0  # of the epochs before
    marks: list[tuple[int, int]] = field(default_factory=list)  # (highest revision taken, drops until then)


class Hearing:
    """The sensors of one fleet."""

    def __init__(self) -> None:
        self._nodes: dict[str, _Node] = {}
        self.totals: defaultdict[str, Tally] = defaultdict(Tally)
        self.causes: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.first: dict[str, int] = {}
        self.last: dict[str, int] = {}
        self.pods: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.met_at: dict[str, int] = {}
        self._met: defaultdict[str, defaultdict[str, Met]] = defaultdict(lambda: defaultdict(Met))

    def forget(self, node: str) -> None:
        """A node left the fleet; what it counted stays counted."""
        self._nodes.pop(node, None)

    def forget_filter(self, name: str) -> None:
        """A filter is gone, and what was counted for it."""
        for table in (self.totals, self.causes, self.first, self.last, self.pods, self.met_at, self._met):
            table.pop(name, None)

    def _node(self, name: str) -> _Node:
        return self._nodes.setdefault(name, _Node())

    def ack(self, said: PlanAck, *, now: int = 0) -> bool:
        """Take an answer, heard `now` (0: read somewhere); tell whether it says something new."""
        node = self._node(said.node)
        node.heard = max(node.heard, now)
        before = node.ack
        made = Ack(said.node, said.revision, said.state == APPLIED, said.reason)
        if before == made:
            return False
        node.ack = made
        if made.applied:
            _mark(node, made.revision)
        return True

    def beat(self, said: Heartbeat, *, now: int, learnt: bool = False) -> bool:
        """Take a heartbeat, or what the broker has of an older one; tell whether the node had not been heard of."""
        node = self._node(said.node)
        fresh = not node.beaten
        node.beaten = True
        node.heard = max(node.heard, now)
        if said.epoch != node.epoch:
            if said.started_ns < node.started:  # the last words of a process that was replaced
                return fresh
            node.earlier, node.drops = node.earlier + node.drops, 0
            node.epoch, node.started = said.epoch, said.started_ns
            node.tallies, node.lost, node.pods = {}, {}, {}
        node.revision = said.revision
        accounts = said.books.get("filters")
        if isinstance(accounts, Mapping):
            self._count(node, accounts, now, Met(0 if learnt else now) if fresh else None, said.node)
        self._count_pods(node, said.pods, said.node if fresh else "")
        sensors = said.books.get("sensors")
        drops = sum(map(_dropped, sensors.values())) if isinstance(sensors, Mapping) else 0
        if fresh:  # what was dropped before we looked says nothing of now
            node.marks = [(revision, drops) for revision, _ in node.marks[-1:]]
        node.drops = max(node.drops, drops)
        return fresh

    def learn(self, found: NodeStatus, *, now: int) -> None:
        """Take what a node last left in the broker. Whether it still lives its next heartbeats tell: until then it is
        taken for alive if it was a moment ago."""
        if found.heartbeat is not None:
            lately = abs(now - found.heartbeat.sent_ns) < LATELY
            self.beat(found.heartbeat, now=now - GRACE if lately else 1, learnt=True)
        if found.ack is not None and self.ack_of(found.ack.node) is None:
            self.ack(found.ack)

    def _count(self, node: _Node, accounts: Mapping[str, Any], now: int, first: Met | None, who: str) -> None:
        for name, account in accounts.items():
            found = Tally(_sum(account.get("matched")), _sum(account.get("delivered")), _sum(account.get("lost")),
                          _sum(account.get("shed")))  # fmt: skip
            before = node.tallies.get(name, NONE)
            if found == before:
                continue
            node.tallies[name] = found
            self.totals[name] = self.totals[name].plus(found.minus(before))
            if first is not None:
                lost = account["lost"] if isinstance(account.get("lost"), Mapping) else {}
                self._met[name][who] = Met(first.at, found, dict(lost))
                self.met_at.setdefault(name, now)
            elif found.matched > before.matched:
                self.first.setdefault(name, now)
                self.last[name] = now
            if found.lost != before.lost and isinstance(account["lost"], Mapping):
                told = node.lost.get(name, {})
                for cause, count in account["lost"].items():
                    self.causes[name][cause] += count - told.get(cause, 0)
                node.lost[name] = dict(account["lost"])

    def _count_pods(self, node: _Node, pods: Mapping[str, Mapping[str, int]], fresh: str) -> None:
        for name, counts in pods.items():
            if fresh and fresh in self._met.get(name, ()):
                self._met[name][fresh].pods = dict(counts)
            told, totals = node.pods.setdefault(name, {}), self.pods[name]
            for pod, count in counts.items():
                totals[pod] += max(0, count - told.get(pod, 0))
                told[pod] = max(count, told.get(pod, 0))
            if len(totals) > MAX_PODS:
                self.pods[name] = Counter(dict(totals.most_common(MAX_PODS // 2)))
            if len(told) > MAX_PODS:
                node.pods[name] = dict(counts)

    # what is known ---------------------------------------------------------------------------------------------------

    def before(self, name: str, seen: int) -> Met:
        """What is counted under a name and cannot be of the filter that we saw at `seen` (ns) first: nodes said
        it before that."""
        found, causes, pods = NONE, Counter[str](), Counter[str]()
        for each in self._met.get(name, {}).values():
            if each.at < seen:
                found = found.plus(each.tally)
                causes.update(each.lost)
                pods.update(each.pods)
        return Met(seen, found, causes, pods)

    def ack_of(self, node: str) -> Ack | None:
        """The last answer of a node."""
        found = self._nodes.get(node)
        return found.ack if found else None

    def heard(self, node: str) -> int:
        """When a node was heard last (0: never)."""
        found = self._nodes.get(node)
        return found.heard if found else 0

    def revision(self, node: str) -> int:
        """The highest revision that a node spoke of."""
        found = self._nodes.get(node)
        return max(found.revision, found.ack.revision if found.ack else 0) if found else 0

    def dropped(self, node: str, since: int) -> int:
        """Packets that a node dropped unjudged after it had the plan of revision `since`."""
        found = self._nodes.get(node)
        if found is None:
            return 0
        at = bisect_left(found.marks, since, key=lambda mark: mark[0])
        return found.earlier + found.drops - found.marks[at][1] if at < len(found.marks) else 0

    @property
    def nodes(self) -> list[str]:
        """Every node that spoke."""
        return list(self._nodes)


def _mark(node: _Node, revision: int) -> None:
    drops = node.earlier + node.drops
    if node.marks and revision <= node.marks[-1][0]:
        return
    if node.marks and node.marks[-1][1] == drops:
        node.marks.pop()
    node.marks.append((revision, drops))
    del node.marks[:-MAX_MARKS]


def _dropped(account: Any) -> int:
    return _sum(account.get("kernel_dropped")) + _sum(account.get("shed")) if isinstance(account, Mapping) else 0


def _sum(value: Any) -> int:
    return sum(value.values()) if isinstance(value, Mapping) else int(value or 0)
