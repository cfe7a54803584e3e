"""IEEE 802.11 data frames, as far as IP is readable in them.

Promise: an unencrypted, unfragmented data frame leads to its LLC header; everything else (management, control,
protected, aggregated) is NOT_IP. IEEE 802.11-2020 section 9.3.2.
"""

from __future__ import annotations

from typing import Final

from packhound.net.decoded import Cursor, Layer, Status

TYPE_MASK: Final = 0x0C
DATA: Final = 0x08
NO_DATA: Final = 0x40
QOS: Final = 0x80
BOTH_SYSTEMS: Final = 0x03
PROTECTED, HT_CONTROL = 0x40, 0x80
AGGREGATED: Final = 0x80
RADIOTAP: Final = 8


def wlan(c: Cursor) -> None:
    """Read an 802.11 header."""
    c.frame.ethertype = 0
    if not c.need(2):
        return
    kind, flags = c.data[c.off], c.data[c.off + 1]
    if kind & TYPE_MASK != DATA or kind & NO_DATA or flags & PROTECTED:
        c.stop(Status.NOT_IP)
        return
    size = 30 if flags & BOTH_SYSTEMS == BOTH_SYSTEMS else 24
    qos = size if kind & QOS else 0
    if qos:
        size += 6 if flags & HT_CONTROL else 2
    if not c.need(size):
        return
    if c.data[c.off + 22] & 0x0F or (qos and c.data[c.off + qos] & AGGREGATED):
        c.stop(Status.NOT_IP)
    else:
        c.go(Layer.LLC, off=c.off + size)


def radiotap(c: Cursor) -> None:
    """Skip a radiotap header; its length is little-endian."""
    if not c.need(RADIOTAP):
        return
    size = c.data[2] | c.data[3] << 8
    if size < RADIOTAP:
        c.stop(Status.MALFORMED)
    else:
        c.go(Layer.WLAN, off=size)
