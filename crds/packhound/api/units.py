"""Durations and quantities as Kubernetes writes them: `30s`, `2h`, `5Gi`.

Promise: pure; ValueError with a sentence for anything else.
"""

from __future__ import annotations

import re

SECOND = 1_000_000_000
_DURATION = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s)?(?:(\d{1,9})ms)?", re.ASCII)
_QUANTITY = re.compile(r"(\d{1,15})(?:\.(\d{1,9}))?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?", re.ASCII)
_FACTOR = {
    "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50,
    "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15,
}  # fmt: skip


def duration_ns(text: str) -> int:
    """Nanoseconds of a duration such as `1h30m`, `30s` or `250ms`."""
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise ValueError(f"{text!r} is not a duration such as 30s, 5m or 2h")
    hours, minutes, seconds, millis = (int(part or 0) for part in found.groups())
    return ((hours * 60 + minutes) * 60 + seconds) * SECOND + millis * 1_000_000


def quantity(text: str | int) -> int:
    """The number of a quantity such as `5Gi`, `1.5G` or `1024`, rounded down."""
    found = None if isinstance(text, bool) else _QUANTITY.fullmatch(str(text))
    if found is None:
        raise ValueError(f"{text!r} is not a quantity such as 5Gi or 100M")
    decimals = found[2] or ""
    digits, scale = int(found[1] + decimals), int(10 ** len(decimals))
    return digits * _FACTOR.get(found[3], 1) // scale
