"""What every tap hands to the kernel: blocks of frames, the interfaces they came from, what was lost.

Promise: values and one Protocol; no input or output here. A block belongs to whoever took it from `Tap.blocks()`
until the next one is asked for: finish with it, then ask. Ring blocks are the kernel's own memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from packhound.sensor.tap.errors import CaptureError

#: Most packets in one block.
MAX_PACKETS = 65_536
#: Size that a block aims at, bytes; one packet that is bigger than this makes a block of its own.
BLOCK_BYTES = 1 << 20
#: Biggest record that a capture may hold, bytes; a longer one is a fault of the file.
MAX_RECORD = 256 << 20
#: Snap length meant by "everything" (as in tcpdump and Wireshark).
SNAPLEN = 262_144

UInt64s = npt.NDArray[np.uint64]
UInt32s = npt.NDArray[np.uint32]
UInt16s = npt.NDArray[np.uint16]
Int64s = npt.NDArray[np.int64]
Buffer = bytes | memoryview


@dataclass(slots=True)
class Interface:
    """Where packets come from: a live interface, or an interface that a capture file describes.

    `linktype` is a LINKTYPE_ number (0-65535); `snaplen` in bytes (0: no limit known); `index` its position in the
    tap's table. Times of its packets are ns since the epoch, whatever resolution the source has.
    """

    name: str
    linktype: int
    snaplen: int
    index: int
    description: str = ""


@dataclass(slots=True)
class Block:
    """Packets in order of capture. Packet i is `data[offset[i] : offset[i] + caplen[i]]`.

    `data` is one contiguous read-only buffer; `offset` uint64[n]; `caplen` and `wirelen` (original length on the
    wire) uint32[n], bytes; `ts` int64[n], ns since the epoch; `iface` uint16[n], index into `Tap.interfaces`;
    `first_number` is the 1-based capture number of packet 0; `release` gives a ring block back to the kernel
    (the tap calls it when the next block is asked for, so most consumers need not).
    """

    data: Buffer
    offset: UInt64s
    caplen: UInt32s
    wirelen: UInt32s
    ts: Int64s
    iface: UInt16s
    first_number: int
    release: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self.offset)

    def part(self, start: int, stop: int) -> Block:
        """Packets `start` to `stop` of this block, over the same data."""
        pick = slice(start, stop)
        return Block(
            self.data, self.offset[pick], self.caplen[pick], self.wirelen[pick], self.ts[pick], self.iface[pick],
            self.first_number + start,
        )  # fmt: skip

    def packet(self, index: int) -> bytes:
        """Copy of the captured bytes of packet `index` of this block."""
        start = int(self.offset[index])
        return bytes(memoryview(self.data)[start : start + int(self.caplen[index])])


class Drops(NamedTuple):
    """Packets lost before we could read them, cumulative over the life of the tap.

    `kernel`: by the capture buffer (full ring); `interface`: by the interface or its driver, where the source
    knows; `freezes`: how many times a ring was full (not packets).
    """

    kernel: int = 0
    interface: int = 0
    freezes: int = 0

    def __add__(self, other: tuple[Any, ...]) -> Drops:
        return Drops(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


class Condition(NamedTuple):
    """Something about one source that a person should know: `state` is `up`, `down`, `gone`, `silent`,
    `unsupported`, `unfiltered` (we filter, not the kernel) or `refused`; `interface` its name, `detail` a sentence.
    """

    interface: str
    state: str
    detail: str = ""


class Tap(Protocol):
    """A source of packets. `blocks` is used from one thread; `stop` may be called from any thread or signal handler.

    `interfaces` grows and never reorders. `fault` is set when the source ended early. `blocks` yields None at least
    every 100 ms while a live source has nothing, and ends at the end of the file or after `stop` (what had been
    captured before is delivered first).
    """

    interfaces: list[Interface]

    @property
    def fault(self) -> CaptureError | None: ...

    def blocks(self) -> Iterator[Block | None]: ...

    def drops(self) -> Drops: ...

    def conditions(self) -> list[Condition]: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Arrays:
    """Room for what a walker writes: one row per packet, `size` rows at most."""

    size: int = MAX_PACKETS
    offset: UInt64s = field(init=False)
    caplen: UInt32s = field(init=False)
    wirelen: UInt32s = field(init=False)
    ts: Int64s = field(init=False)
    iface: UInt16s = field(init=False)

    def __post_init__(self) -> None:
        self.offset = np.empty(self.size, np.uint64)
        self.caplen = np.empty(self.size, np.uint32)
        self.wirelen = np.empty(self.size, np.uint32)
        self.ts = np.empty(self.size, np.int64)
        self.iface = np.empty(self.size, np.uint16)

    def columns(self) -> tuple[UInt64s, UInt32s, UInt32s, Int64s, UInt16s]:
        """The columns in the order that the walkers take them."""
        return self.offset, self.caplen, self.wirelen, self.ts, self.iface

    def put(self, row: int, offset: int, caplen: int, wirelen: int, ts: int, iface: int) -> None:
        """Write one row."""
        self.offset[row] = offset
        self.caplen[row] = caplen
        self.wirelen[row] = wirelen
        self.ts[row] = ts
        self.iface[row] = iface

    def block(self, data: Buffer, count: int, *, first_number: int, release: Callable[[], None] | None = None) -> Block:
        """The first `count` rows as a block over `data` (views: the next walk into these arrays overwrites them)."""
        return Block(
            data,
            self.offset[:count],
            self.caplen[:count],
            self.wirelen[:count],
            self.ts[:count],
            self.iface[:count],
            first_number,
            release,
        )
