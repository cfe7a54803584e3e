"""The kernel: blocks in, events and flows out; native when it was compiled, portable otherwise.

Neighbours: `tap` hands blocks in, `scan` carries the events out. Does not belong here: dissection, filters' meaning,
anything that allocates per packet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from packhound.net.frame import DecodeConfig
from packhound.net.timeouts import DEFAULT, Timeouts

NATIVE, PORTABLE = "native", "portable"


def available() -> str:
    """`native` when the compiled kernel can be imported, else `portable`."""
    try:
        from packhound.sensor.kernel import _scan  # noqa: F401  # the choice is made here and nowhere else
    except ImportError:
        return PORTABLE
    return NATIVE


def new_kernel(
    *, mode: str = "auto", capacity: int = 65536, timeouts: Timeouts = DEFAULT, config: DecodeConfig | None = None
) -> Any:
    """Make a kernel: `mode` is `auto`, `native` (ImportError when it is not compiled) or `portable`."""
    if mode == NATIVE or (mode == "auto" and available() == NATIVE):
        from packhound.sensor.kernel._scan import Kernel

        return Kernel(capacity=capacity, timeouts=timeouts, config=config)
    from packhound.sensor.kernel.portable import PortableKernel

    return PortableKernel(capacity=capacity, timeouts=timeouts, config=config)


def gatherer(kernel: Any) -> Callable[[Any, npt.NDArray[Any], npt.NDArray[Any]], bytes]:
    """The function that copies packets out of a block, of the same make as `kernel`."""
    if kernel.native:
        from packhound.sensor.kernel._scan import gather

        return gather  # type: ignore[no-any-return]
    return portable_gather


def portable_gather(data: Any, offset: npt.NDArray[np.uint64], sizes: npt.NDArray[np.uint32]) -> bytes:
    """The bytes `data[offset[i] : offset[i] + sizes[i]]`, back to back. Raises ValueError outside `data`."""
    view = memoryview(data)
    parts = [bytes(view[a : a + n]) for a, n in zip(offset.tolist(), sizes.tolist(), strict=True)]
    if any(len(part) != n for part, n in zip(parts, sizes.tolist(), strict=True)):
        raise ValueError("a packet lies outside its buffer")
    return b"".join(parts)
