"""A parcel on its way in, from any link.

Promise: plain value.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from packhound.wire.batch import Batch
from packhound.wire.flowrecords import FlowRecords
from packhound.wire.lost import Lost


class Delivery(NamedTuple):
    """A parcel on its way in. `handle`: what its source wants back when it is settled; `redelivered`: the source may
    have brought it before."""

    shard: int
    parcel: Batch | FlowRecords | Lost
    handle: Any = None
    redelivered: bool = False
    traceparent: str = ""
