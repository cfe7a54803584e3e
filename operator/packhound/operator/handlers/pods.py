"""Events of pods of every namespace, handed on."""

from __future__ import annotations

from typing import Any

import kopf

from packhound.operator.kinds import POD


def register(registry: kopf.OperatorRegistry) -> None:
    """Have kopf watch them."""

    @kopf.on.event(POD.api_version, POD.plural, registry=registry)
    async def seen(event: kopf.RawEvent, memo: Any, **_: Any) -> None:
        memo.see(POD, event["type"], event["object"])
