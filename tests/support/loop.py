"""Tests that are coroutines: each in a loop of its own, with a bound on its time, and nothing left running."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Coroutine
from typing import Any


def bounded(seconds: float = 60.0) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
    """Run a coroutine function as a test; fail when it takes longer than `seconds`."""

    def decorate(function: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        @functools.wraps(function)
        def test(*args: Any, **options: Any) -> None:
            async def inside() -> None:
                async with asyncio.timeout(seconds):
                    await function(*args, **options)

            asyncio.run(inside())

        return test

    return decorate


async def until(holds: Callable[[], object], *, within: float = 40.0, what: str = "") -> None:
    """Wait until `holds()` is true; fail with `what` when it is not in time."""
    deadline = time.monotonic() + within
    while not holds():
        assert time.monotonic() < deadline, what or "it did not come about in time"
        await asyncio.sleep(0.01)
