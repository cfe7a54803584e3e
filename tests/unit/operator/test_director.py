"""A part of the operator that fails takes the process along: a new one converges, half of one does not."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest

from packhound.operator.desired import Site
from packhound.operator.director import Director, Ways
from tests.support.loop import bounded


@bounded()
async def test_what_fails_in_a_task_of_a_fleet_is_the_failure_of_the_operator():
    async def broken() -> None:
        raise KeyError("shop/a")

    director = Director(cast("Any", None), Ways(Site(), cast("Any", None), time.time_ns, "me"))
    work = asyncio.create_task(director.run())
    part = asyncio.create_task(broken(), name="Courier of main")
    part.add_done_callback(director._ended)
    with pytest.raises(KeyError, match="shop/a"):
        await work
