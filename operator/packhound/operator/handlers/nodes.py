"""Events of nodes, handed on."""

from __future__ import annotations

from typing import Any

import kopf

from packhound.operator.kinds import NODE


def register(registry: kopf.OperatorRegistry) -> None:
    """Have kopf watch them."""

    @kopf.on.event(NODE.api_version, NODE.plural, registry=registry)
    async def seen(event: kopf.RawEvent, memo: Any, **_: Any) -> None:
        memo.see(NODE, event["type"], event["object"])
