"""Live capture through libpcap (pcapy-ng), for systems without AF_PACKET rings.

Promise: non-blocking reads and a poll, so that a quiet link never holds us; original lengths kept (libpcap's batch
call loses them, so packets come one by one). Time stamps are in microseconds: the library offers no better. One
interface per tap, not followed: when it goes, the tap ends with a fault.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from packhound.net import linktypes
from packhound.sensor.tap.errors import CaptureError, NotPermitted
from packhound.sensor.tap.frames import BLOCK_BYTES, SNAPLEN, Arrays, Block, Condition, Drops, Interface

TICK_MS = 100
#: How long libpcap may hold packets back to hand over many, ms; how long we go on reading after `stop`, seconds.
_HOLD_MS, _DRAIN = 10, 0.1
_DENIED = ("permission", "not permitted", "don't have permission")


class LibpcapTap:
    """Packets of `interface`, those that pass the pcap `expression`. Raises CaptureError or NotPermitted."""

    def __init__(
        self, interface: str, *, expression: str | None = None, snaplen: int = SNAPLEN, promiscuous: bool = True
    ) -> None:
        pcapy = import_module("pcapy")  # absent where the ring does the work
        self._error: type[Exception] = pcapy.PcapError
        try:
            self._handle: Any = _open(pcapy, interface, snaplen, promiscuous=promiscuous)
            linktype = int(self._handle.datalink())
            if expression:
                self._handle.setfilter(expression)
        except self._error as error:
            if any(word in str(error).lower() for word in _DENIED):
                raise NotPermitted(f"capture on {interface} is not permitted", missing="CAP_NET_RAW") from error
            raise CaptureError(interface, 0, f"cannot be captured: {error}") from error
        if not linktypes.supported(linktype):
            raise CaptureError(interface, 0, f"link type {linktypes.name(linktype)} is not supported")
        self._handle.setnonblock(1)
        self.interfaces = [Interface(interface, linktype, snaplen, 0)]
        self.fault: CaptureError | None = None
        self._arrays = Arrays(4096)
        self._packets = 0
        self._stopped = False
        self._last = Drops()
        self._waker, self._alarm = os.pipe()

    def blocks(self) -> Iterator[Block | None]:
        """Packets as they come; None at least every 100 ms of silence."""
        poll = select.poll()
        poll.register(self._waker, select.POLLIN)
        fd = int(self._handle.getfd())
        if fd >= 0:
            poll.register(fd, select.POLLIN)
        end = float("inf")
        while time.monotonic() < end:
            if self._stopped:
                end = min(end, time.monotonic() + _DRAIN)
            try:
                block = self._read()
            except self._error as error:
                self.fault = CaptureError(self.interfaces[0].name, 0, f"capture ended: {error}")
                return
            if block is not None:
                yield block
            elif self._stopped:
                time.sleep(_HOLD_MS / 1000)
            elif not poll.poll(TICK_MS if fd >= 0 else 1):
                yield None

    def _read(self) -> Block | None:
        """What is there now, at most a block of it."""
        pieces: list[bytes] = []
        size = 0
        while len(pieces) < self._arrays.size and size < BLOCK_BYTES:
            header, data = self._handle.next()
            if header is None:
                break
            seconds, micros = header.getts()
            self._arrays.put(len(pieces), size, len(data), header.getlen(), seconds * 1_000_000_000 + micros * 1000, 0)
            pieces.append(data)
            size += len(data)
        if not pieces:
            return None
        first = self._packets + 1
        self._packets += len(pieces)
        return self._arrays.block(b"".join(pieces), len(pieces), first_number=first)

    def drops(self) -> Drops:
        """Losses as libpcap counts them."""
        try:
            _received, kernel, interface = self._handle.stats()
        except self._error:
            return self._last
        self._last = Drops(kernel=kernel, interface=interface)
        return self._last

    def conditions(self) -> list[Condition]:
        """Nothing is known but an end."""
        return [Condition(self.interfaces[0].name, "gone", self.fault.reason)] if self.fault else []

    def stop(self) -> None:
        """Deliver what is there and end."""
        self._stopped = True
        os.write(self._alarm, b"x")

    def close(self) -> None:
        """Give the handle back; `drops` still answers."""
        self.drops()
        self._error = Exception
        self._handle.close()
        os.close(self._waker)
        os.close(self._alarm)


def _open(pcapy: Any, interface: str, snaplen: int, *, promiscuous: bool) -> Any:
    handle = pcapy.create(interface)
    handle.set_snaplen(snaplen)
    handle.set_promisc(int(promiscuous))
    handle.set_timeout(_HOLD_MS)
    status = handle.activate()
    if status < 0:
        raise pcapy.PcapError({-8: "permission denied", -5: "no such device"}.get(status, f"error {status}"))
    return handle
