"""What is written of a filter holds what was known then, and nothing that comes meanwhile is lost."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from packhound.operator import kinds
from packhound.operator.carried import Carried
from packhound.operator.hearing import Hearing
from packhound.operator.inventory import Inventory
from packhound.operator.rollout import SECOND
from packhound.operator.scribe import Desk, Scribe
from packhound.wire.plans import APPLIED, PlanAck, node_scope
from tests.support.loop import bounded, until

NOW = 1_800_000_000 * SECOND


class SlowCluster:
    """An API that answers a write when it is told to."""

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []
        self.answer = asyncio.Event()

    async def merge(self, ref: Any, change: dict[str, Any], *, sub: str = "") -> dict[str, Any]:
        self.written.append(change["status"])
        await self.answer.wait()
        status = {key: value for key, value in change["status"].items() if value is not None}
        return {"metadata": {"resourceVersion": str(10 + len(self.written))}, "status": status}

    async def apply(self, event: Any) -> None:
        return None


def filter_object(**metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "packhound.dev/v1alpha1", "kind": "ClusterHuntFilter",
        "metadata": {"name": "ports", "uid": "u1", "generation": 1, "resourceVersion": "5",
                     "creationTimestamp": "2026-01-01T00:00:00Z", **metadata},
        "spec": {"match": {"field": "port", "equals": 5060}},
    }  # fmt: skip


@bounded()
async def test_answers_that_come_while_a_status_is_written_are_in_the_next_one():
    inventory, cluster, hearing = Inventory(), SlowCluster(), Hearing()
    inventory.see(kinds.CLUSTER_HUNT_FILTER, filter_object(), now=NOW)
    inventory.targets.settle()
    inventory.news.clear()
    link = SimpleNamespace(hearing=hearing, carried={}, ready=True, young=False, reason="")
    courier = SimpleNamespace(members={"n1"}, left={}, blocked={})
    desk = Desk("main", None, cast("Any", link), cast("Any", courier), cast("Any", None))
    times = iter(range(NOW, NOW + 1000 * SECOND, SECOND // 10))
    scribe = Scribe(cast("Any", cluster), inventory, {"main": desk}, clock=lambda: next(times))
    work = asyncio.create_task(scribe.run())
    try:
        scribe.look_at(["ports"])
        await until(lambda: cluster.written, what="the first status")
        assert "pushLatencySeconds" not in cluster.written[0]
        link.carried["n1"] = Carried(3, "d", {"ports": (1, 3)}, 1, NOW)
        hearing.ack(PlanAck("n1", 1, 3, "0" * 64, APPLIED, "", scope=node_scope("n1")), now=NOW)
        scribe.look_at(scribe.acked(desk, "n1", link.carried["n1"]))
        cluster.answer.set()
        await until(lambda: len(cluster.written) > 1, what="the second status")
        assert cluster.written[1]["pushLatencySeconds"]["p99"] > 0
    finally:
        work.cancel()
