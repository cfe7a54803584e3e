"""Events of filters, of a namespace or of the cluster, handed on."""

from __future__ import annotations

from typing import Any

import kopf

from packhound.operator.kinds import CLUSTER_HUNT_FILTER, HUNT_FILTER


def register(registry: kopf.OperatorRegistry) -> None:
    """Have kopf watch them."""

    @kopf.on.event(HUNT_FILTER.api_version, HUNT_FILTER.plural, registry=registry)
    async def tenants(event: kopf.RawEvent, memo: Any, **_: Any) -> None:
        memo.see(HUNT_FILTER, event["type"], event["object"])

    @kopf.on.event(CLUSTER_HUNT_FILTER.api_version, CLUSTER_HUNT_FILTER.plural, registry=registry)
    async def clusters(event: kopf.RawEvent, memo: Any, **_: Any) -> None:
        memo.see(CLUSTER_HUNT_FILTER, event["type"], event["object"])
