"""A parcel on its way in, from any link; and how many are.

Promise: plain value.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from packhound.wire.batch import Batch
from packhound.wire.flowrecords import FlowRecords
from packhound.wire.lost import Lost


class Backlog(NamedTuple):
    """What a source brought that is not settled yet, and for how many seconds the oldest of it has been waiting."""

    parcels: int = 0
    bytes: int = 0
    seconds: float = 0.0


class Delivery(NamedTuple):
    """A parcel on its way in. `handle`: what its source wants back when it is settled; `redelivered`: the source may
    have brought it before."""

    shard: int
    parcel: Batch | FlowRecords | Lost
    handle: Any = None
    redelivered: bool = False
    traceparent: str = ""
