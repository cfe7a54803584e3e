"""A batch: wanted packets of one shard as columns over one blob, with the messages dissected from them.

Promise: a plain value; no Python object per packet. `check` tells whether a batch that came from elsewhere may be
indexed without looking again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

NO_DIRECTION = 255
"""`Batch.direction` of a packet whose direction is not known."""

NO_PACKET = -1
"""Packet index of a message that has no packet in this batch."""


class InterfaceLike(Protocol):
    """Where packets were captured: name, LINKTYPE_ number, snap length in bytes (0: no limit known)."""

    name: str
    linktype: int
    snaplen: int


class FactLike(Protocol):
    """One dissected message: its kind, and registry names with a scalar or a tuple of scalars."""

    @property
    def kind(self) -> str:
        """Message kind: `sip`, `dns`, ..."""

    @property
    def fields(self) -> Mapping[str, Any]:
        """Values by registry name."""


class BatchId(NamedTuple):
    """What makes a batch one and the same after a replay: sensor epoch, shard, sequence (from 1, no gaps)."""

    epoch: int
    shard: int
    sequence: int


class Action(NamedTuple):
    """What a filter wants done with its packets. `per_call`: also one recording a call; `alert`: severity, empty for
    none; `rate`: the share of flows or calls that it takes."""

    record: bool = True
    per_call: bool = False
    alert: str = ""
    rate: float = 1.0


@dataclass(slots=True)
class Batch:
    """`n` packets back to back in `blob`, in order of capture within their flow.

    `ts` int64[n], ns since the epoch; `caplen` and `wirelen` uint32[n], bytes kept and bytes on the wire; `iface`
    uint16[n], index into `interfaces`; `flow` uint64[n], flow serial (0 none); `fset` uint32[n], key of `fsets`, which
    names every filter (`ns/name`) that wanted the packet; `direction` uint8[n] (0 from the initiator, 1 from the
    responder, 255 unknown); `app` uint8[n], protocol id. Rows of `facts` are (packet index or -1, flow serial, ts,
    fact). `calls`: object[n], Call-ID or None, or None when no packet of the batch belongs to a call.
    `actions` by name of the filter, as the plan in force had them; one that is not named is recorded.
    `plan` is the HuntPlan revision in force, `sensor` the name of who captured, `cluster` where it stands;
    `clock_offset_ns`: by how much the processors' clock is ahead of the sensor's; `traceparent`: W3C trace context of
    the batch, or empty; `media`: all of it is RTP or RTCP.
    """

    ts: npt.NDArray[np.int64]
    caplen: npt.NDArray[np.uint32]
    wirelen: npt.NDArray[np.uint32]
    iface: npt.NDArray[np.uint16]
    flow: npt.NDArray[np.uint64]
    fset: npt.NDArray[np.uint32]
    direction: npt.NDArray[np.uint8]
    app: npt.NDArray[np.uint8]
    blob: bytes
    fsets: Mapping[int, tuple[str, ...]]
    interfaces: Sequence[InterfaceLike]
    facts: Sequence[tuple[int, int, int, FactLike]] = ()
    sequence: int = 0
    calls: npt.NDArray[Any] | None = None
    epoch: int = 0
    shard: int = 0
    plan: int = 0
    sensor: str = ""
    cluster: str = ""
    clock_offset_ns: int = 0
    traceparent: str = ""
    media: bool = False
    actions: Mapping[str, Action] = field(default_factory=dict)
    _offsets: npt.NDArray[np.int64] | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.ts)

    @property
    def identity(self) -> BatchId:
        """What a duplicate of this batch has too."""
        return BatchId(self.epoch, self.shard, self.sequence)

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """First byte of each packet in `blob`, and its end: int64[n + 1]."""
        if self._offsets is None:
            self._offsets = np.concatenate(([0], np.cumsum(self.caplen, dtype=np.int64)))
        return self._offsets

    def packet(self, index: int) -> bytes:
        """Bytes kept of packet `index`."""
        return self.blob[int(self.offsets[index]) : int(self.offsets[index + 1])]


_COLUMNS = {
    "ts": np.int64, "caplen": np.uint32, "wirelen": np.uint32, "iface": np.uint16, "flow": np.uint64,
    "fset": np.uint32, "direction": np.uint8, "app": np.uint8,
}  # fmt: skip


def check(batch: Batch) -> str | None:
    """Tell what is wrong with `batch`: columns of unequal length or other type, a blob that is not their sum, indexes
    out of range; None when nothing is."""
    count = len(batch.ts)
    for name, kind in _COLUMNS.items():
        column = getattr(batch, name)
        if column.dtype != kind or column.shape != (count,):
            return f"column {name} is not {np.dtype(kind).name}[{count}]"
    if int(batch.caplen.sum(dtype=np.uint64)) != len(batch.blob):
        return "captured lengths do not add up to the blob"
    if batch.calls is not None and batch.calls.shape != (count,):
        return f"column calls is not object[{count}]"
    if count and int(batch.iface.max()) >= len(batch.interfaces):
        return "a packet names an interface that the batch has not"
    if not set(np.unique(batch.fset).tolist()) <= set(batch.fsets):
        return "a packet names a filter set that the batch has not"
    if any(not NO_PACKET <= fact[0] < count for fact in batch.facts):
        return "a message names a packet that the batch has not"
    return None


def empty_columns(count: int = 0) -> dict[str, npt.NDArray[Any]]:
    """Columns of `count` packets, all zero, by name: what a builder fills."""
    return {name: np.zeros(count, kind) for name, kind in _COLUMNS.items()}
