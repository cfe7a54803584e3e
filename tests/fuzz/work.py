"""Work, counted: lines of packhound that Python runs. No clock, so a busy machine changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def lines_of(work: Callable[[], object]) -> int:
    """How many lines of packhound's modules `work` runs, loops counted each time round."""
    count = 0

    def inside(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        count += event == "line"
        return inside

    def enter(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if "/packhound/" not in frame.f_code.co_filename:
            return None
        count += 1
        return inside

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        work()
    finally:
        sys.settrace(before)
    return count
