"""The interfaces of one pcapng section as columns: how ticks become time and where packets belong.

Promise: values only. A section that describes more interfaces than `LIMIT` is a fault of the file.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

#: Most interfaces in one section and in a tap's table (`Block.iface` is 16 bits).
LIMIT = 65_535
TOP = 2**63 - 1


@dataclass(slots=True)
class Clocks:
    """One row per interface: time in ns = ticks * mul / div (or >> shift where div is 0) + tsoffset, saturating.

    `big`: the section's byte order; `snaplen` 0: no limit; `iface` the index in the tap's table.
    """

    big: bool
    count: int = 0
    mul: npt.NDArray[np.uint64] = field(default_factory=lambda: np.ones(8, np.uint64))
    div: npt.NDArray[np.uint64] = field(default_factory=lambda: np.ones(8, np.uint64))
    shift: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(8, np.uint8))
    tsoffset: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(8, np.int64))
    snaplen: npt.NDArray[np.uint32] = field(default_factory=lambda: np.zeros(8, np.uint32))
    iface: npt.NDArray[np.uint16] = field(default_factory=lambda: np.zeros(8, np.uint16))

    @property
    def swapped(self) -> bool:
        """Whether the section's byte order differs from this machine's."""
        return self.big != (sys.byteorder == "big")

    def add(self, *, resolution: int, tsoffset: int, snaplen: int, iface: int) -> None:
        """One more interface: `resolution` is the if_tsresol byte, `tsoffset` seconds."""
        if self.count == len(self.mul):
            for name in ("mul", "div", "shift", "tsoffset", "snaplen", "iface"):
                column = getattr(self, name)
                setattr(self, name, np.concatenate([column, np.zeros_like(column)]))
        row = self.count
        self.mul[row], self.div[row], self.shift[row] = scale(resolution)
        self.tsoffset[row] = max(-TOP, min(TOP, tsoffset * 1_000_000_000))
        self.snaplen[row], self.iface[row] = snaplen, iface
        self.count += 1


def scale(resolution: int) -> tuple[int, int, int]:
    """if_tsresol byte -> (mul, div, shift) for ns: 10^-n, or 2^-n where the top bit is set.

    >>> scale(6), scale(9), scale(0x80 | 20)
    ((1000, 1, 0), (1, 1, 0), (1000000000, 0, 20))
    """
    power = resolution & 0x7F
    if resolution & 0x80:
        return 1_000_000_000, 0, power
    if power <= 9:
        return int(10 ** (9 - power)), 1, 0
    # beyond 10^-28 no 64-bit tick count reaches one nanosecond
    return (1, int(10 ** (power - 9)), 0) if power <= 28 else (0, 1, 0)


def nanoseconds(ticks: int, clocks: Clocks, row: int) -> int:
    """Ticks of interface `row` as ns since the epoch, saturating at 64 signed bits."""
    wide = ticks * int(clocks.mul[row])
    div = int(clocks.div[row])
    wide = wide // div if div else wide >> int(clocks.shift[row])
    return max(-TOP, min(TOP, min(wide, TOP) + int(clocks.tsoffset[row])))
