"""How much a spool may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """Bytes: of all segments, of one segment, of parcels kept in memory to save reading them back."""

    cap: int = 1 << 30
    segment: int = 16 << 20
    memory: int = 32 << 20
