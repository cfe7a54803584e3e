"""pcapng blocks (draft-ietf-opsawg-pcapng) as bytes: section, interfaces, packets with comments, drop statistics.

Promise: pure builders, little-endian, nanosecond stamps; packets of a whole batch are laid out by columns, not one by
one. Comments must be sanitised text; longer ones are cut at `MAX_OPTION` bytes. What is built can be walked again
with `whole_blocks`, which finds where a torn file stops making sense.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

SECTION, INTERFACE, STATISTICS, PACKET = 0x0A0D0D0A, 1, 5, 6
BYTE_ORDER = 0x1A2B3C4D
NANOSECONDS = 9  # if_tsresol: 10^-9
MAX_OPTION = 4096

END, COMMENT = 0, 1
SHB_USERAPPL = 4
IF_NAME, IF_DESCRIPTION, IF_TSRESOL = 2, 3, 9
EPB_FLAGS = 2
ISB_START, ISB_END, ISB_RECEIVED, ISB_IF_DROP, ISB_OS_DROP, ISB_DELIVERED = 2, 3, 4, 5, 7, 8

_FIXED = 28  # of an enhanced packet block, before the packet
_END_OF_OPTIONS = bytes(4)


def option(code: int, value: bytes) -> bytes:
    """Return one option, padded to 32 bits."""
    value = value[:MAX_OPTION]
    return struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)


def text(value: str) -> bytes:
    """Return `value` as UTF-8 of at most `MAX_OPTION` bytes, never cut inside a character."""
    return value.encode("utf-8", "replace")[:MAX_OPTION].decode("utf-8", "ignore").encode()


def block(kind: int, body: bytes) -> bytes:
    """Return a block of type `kind`; `body` must be a multiple of 4 bytes."""
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


def _options(parts: Sequence[bytes]) -> bytes:
    return b"".join(parts) + _END_OF_OPTIONS if parts else b""


def section_header(*, application: str, comment: str = "") -> bytes:
    """Return a section header that names the writing application and, unlike most, not the machine."""
    parts = [option(COMMENT, text(comment))] if comment else []
    parts.append(option(SHB_USERAPPL, text(application)))
    return block(SECTION, struct.pack("<IHHq", BYTE_ORDER, 1, 0, -1) + _options(parts))


def interface_description(*, name: str, linktype: int, snaplen: int, description: str = "") -> bytes:
    """Return an interface block with nanosecond resolution; `snaplen` 0: no limit."""
    parts = [option(IF_NAME, text(name))] if name else []
    if description:
        parts.append(option(IF_DESCRIPTION, text(description)))
    parts.append(option(IF_TSRESOL, bytes([NANOSECONDS])))
    return block(INTERFACE, struct.pack("<HHI", linktype, 0, snaplen & 0xFFFFFFFF) + _options(parts))


def interface_statistics(
    *, index: int, start: int, end: int, delivered: int, received: int | None = None, if_drop: int | None = None,
    os_drop: int | None = None, comment: str = "",
) -> bytes:  # fmt: skip
    """Return the counts of interface `index` between `start` and `end` (ns): packets in this file, and where known
    packets received, dropped by the interface, dropped by the system. None: not known, and not claimed.
    """
    parts = [option(COMMENT, text(comment))] if comment else []
    parts += [option(ISB_START, _stamp(start)), option(ISB_END, _stamp(end))]
    counts = ((ISB_RECEIVED, received), (ISB_IF_DROP, if_drop), (ISB_OS_DROP, os_drop), (ISB_DELIVERED, delivered))
    parts += [option(code, struct.pack("<Q", count)) for code, count in counts if count is not None]
    return block(STATISTICS, struct.pack("<I", index) + _stamp(end) + _options(parts))


def _stamp(ts: int) -> bytes:
    return struct.pack("<II", max(ts, 0) >> 32, max(ts, 0) & 0xFFFFFFFF)


def packet_options(*, comment: str = "", flags: int | None = None) -> bytes:
    """Return the options of a packet block: a comment, and epb_flags where the direction at the interface is known
    (1 inbound, 2 outbound).
    """
    parts = [option(COMMENT, text(comment))] if comment else []
    if flags is not None:
        parts.append(option(EPB_FLAGS, struct.pack("<I", flags)))
    return _options(parts)


def packet_blocks(
    *,
    ts: npt.NDArray[np.int64],
    caplen: npt.NDArray[np.uint32],
    wirelen: npt.NDArray[np.uint32],
    iface: npt.NDArray[Any],
    start: npt.NDArray[np.int64],
    blob: bytes | memoryview,
    options: Sequence[bytes],
) -> tuple[bytearray, npt.NDArray[np.int64]]:
    """Return enhanced packet blocks of `n` packets and where each ends, int64[n].

    Packet i is `blob[start[i] : start[i] + caplen[i]]`; `options[i]` comes from `packet_options`; times before 1970
    are written as 0.
    """
    count = len(ts)
    sizes = np.fromiter(map(len, options), np.int64, count)
    padded = (caplen.astype(np.int64) + 3) & ~3
    total = sizes + padded + (_FIXED + 4)
    ends = np.cumsum(total)
    begins = ends - total
    out = bytearray(int(ends[-1]) if count else 0)
    _fill_fixed(np.frombuffer(out, "<u4"), begins >> 2, total, ts, caplen, wirelen, iface)
    source, target = memoryview(blob), memoryview(out)
    at, tail = begins + _FIXED, ends - 4 - sizes
    for a, b, c, t, extra in zip(
        at.tolist(), start.tolist(), caplen.tolist(), tail.tolist(), options, strict=True
    ):
        target[a : a + c] = source[b : b + c]
        if extra:
            target[t : t + len(extra)] = extra
    return out, ends


def _fill_fixed(
    words: npt.NDArray[np.uint32],
    at: npt.NDArray[np.int64],
    total: npt.NDArray[np.int64],
    ts: npt.NDArray[np.int64],
    caplen: npt.NDArray[np.uint32],
    wirelen: npt.NDArray[np.uint32],
    iface: npt.NDArray[Any],
) -> None:
    """Write type, lengths, interface, stamp and closing length of every block; `at` counts 32-bit words."""
    stamp = np.maximum(ts, 0).astype(np.uint64)
    words[at] = PACKET
    words[at + 1] = total
    words[at + 2] = iface
    words[at + 3] = stamp >> np.uint64(32)
    words[at + 4] = stamp & np.uint64(0xFFFFFFFF)
    words[at + 5] = caplen
    words[at + 6] = wirelen
    words[at + (total >> 2) - 1] = total


def whole_blocks(data: bytes | memoryview, *, start: int = 0) -> tuple[int, int]:
    """Return the offset behind the last whole little-endian block of `data` from `start` on, and how many of the
    blocks are packets. Bounded by the size of `data`; every block is at least 12 bytes.
    """
    at, packets, size = start, 0, len(data)
    while at + 12 <= size:
        kind, length = struct.unpack_from("<II", data, at)
        if length < 12 or length % 4 or at + length > size:
            break
        if struct.unpack_from("<I", data, at + length - 4)[0] != length:
            break
        if kind == SECTION and (length < 28 or struct.unpack_from("<I", data, at + 8)[0] != BYTE_ORDER):
            break
        packets += kind == PACKET
        at += length
    return at, packets
