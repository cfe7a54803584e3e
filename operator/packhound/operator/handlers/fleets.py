"""Events of fleets, handed on."""

from __future__ import annotations

from typing import Any

import kopf

from packhound.operator.kinds import HUNT_FLEET


def register(registry: kopf.OperatorRegistry) -> None:
    """Have kopf watch them."""

    @kopf.on.event(HUNT_FLEET.api_version, HUNT_FLEET.plural, registry=registry)
    async def seen(event: kopf.RawEvent, memo: Any, **_: Any) -> None:
        memo.see(HUNT_FLEET, event["type"], event["object"])
