"""One interface through one AF_PACKET ring (TPACKET_V3): blocks of frames straight from the kernel's memory.

Promise: kernel time stamps (ns), original lengths, VLAN tags where they were on the wire, every loss counted. Nothing
that arrived before the filter was in force is seen. Used from one thread; `losses` from any. Linux only.
Reference: packet(7), Documentation/networking/packet_mmap.rst.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import mmap
import os
import socket
import struct
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from packhound.sensor.tap import index, links
from packhound.sensor.tap.errors import CaptureError, NotPermitted, TapError
from packhound.sensor.tap.frames import SNAPLEN, Arrays, Block, Drops
from packhound.sensor.tap.links import Link

#: One classic BPF instruction: (code, jt, jf, k).
Instruction = tuple[int, int, int, int]

_SOL_PACKET = 263
_ADD_MEMBERSHIP, _RX_RING, _STATISTICS, _VERSION = 1, 5, 6, 10
_RESERVE, _FANOUT, _IGNORE_OUTGOING = 12, 18, 23
_TPACKET_V3 = 2
_MR_PROMISC = 1
_FANOUT_HASH = 0
_SO_ATTACH_FILTER = 26
_ETH_P_ALL = 0x0003
_FRAME_ALIGN = 2048
_MOST_BLOCK_BYTES = 4 << 20

_RET_K = 0x06
_REJECT_ALL: tuple[Instruction, ...] = ((_RET_K, 0, 0, 0),)
#: Where a ring block's header says whose it is (bit 0: ours).
_STATUS_AT = 8
#: Where a ring block's header counts its packets.
_PACKETS_AT = 12


@dataclass(frozen=True, slots=True)
class RingConfig:
    """Shape of one ring: `blocks` blocks of `block_bytes` (a multiple of the page size, 4 MiB at most).

    `timeout_ms`: a block that is not full is handed over after this long; `snaplen`: bytes kept of each packet;
    `fanout`: 16-bit number of the group of workers that share the packets of an interface by flow (None: alone).
    """

    block_bytes: int = 1 << 20
    blocks: int = 32
    timeout_ms: int = 20
    snaplen: int = SNAPLEN
    promiscuous: bool = True
    fanout: int | None = None

    def __post_init__(self) -> None:
        if self.block_bytes % mmap.PAGESIZE or not mmap.PAGESIZE <= self.block_bytes <= _MOST_BLOCK_BYTES:
            raise ValueError(f"block_bytes must be a multiple of {mmap.PAGESIZE} and {_MOST_BLOCK_BYTES} at most")
        if self.blocks < 2:
            raise ValueError("a ring has at least 2 blocks")
        if not 1 <= self.timeout_ms <= 10_000:
            raise ValueError("timeout_ms is from 1 to 10000")
        if self.snaplen < 1:
            raise ValueError("snaplen is at least 1")

    @property
    def size(self) -> int:
        """Memory of one ring, bytes."""
        return self.block_bytes * self.blocks


class Ring:
    """A ring on `link`. `iface` is the interface's index in the tap's table, free to change (a rename)."""

    def __init__(self, link: Link, config: RingConfig, *, iface: int) -> None:
        self.link = link
        self.config = config
        self.iface = iface
        self.mode = {links.ETHERNET: index.ETHERNET, links.SLL: index.COOKED}.get(link.linktype, index.RAW)
        self.program: Sequence[Instruction] | None = None
        self._lost = Drops()
        self._lock = threading.Lock()
        self._arrays = Arrays(config.block_bytes // 64)
        self._cursor = 0
        self._joined = config.fanout is None
        self._socket = _open(self.mode)
        try:
            self._prepare()
        except OSError as error:
            self._socket.close()
            raise _explain(error, link.name) from error

    def _prepare(self) -> None:
        """Ring first, reject-all filter next, interface last: nothing is captured before all is in place."""
        sock, config = self._socket, self.config
        sock.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V3)
        sock.setsockopt(_SOL_PACKET, _RESERVE, index.RESERVE)
        frames = config.size // _FRAME_ALIGN
        shape = (config.block_bytes, config.blocks, _FRAME_ALIGN, frames, config.timeout_ms, 0, 0)
        sock.setsockopt(_SOL_PACKET, _RX_RING, struct.pack("=7I", *shape))
        self._map = mmap.mmap(sock.fileno(), config.size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)
        memory = memoryview(self._map)
        step = config.block_bytes
        self._blocks = [memory[n * step : (n + 1) * step] for n in range(config.blocks)]
        self._address = int(np.frombuffer(self._map, np.uint8).ctypes.data)
        _attach(sock, _REJECT_ALL)
        if self.link.loopback:
            # every packet passes a loopback twice: keep the copy that arrives
            with contextlib.suppress(OSError):
                sock.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        _bind(sock, self.link.index)
        if config.promiscuous:
            with contextlib.suppress(OSError):
                request = struct.pack("=iHH8x", self.link.index, _MR_PROMISC, 0)
                sock.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, request)
        self.clear_error()

    def fileno(self) -> int:
        """Descriptor that becomes readable when a block is there."""
        return self._socket.fileno()

    def start(self, program: Sequence[Instruction] | None) -> bool:
        """Let packets in that pass `program` (None: all); swap the program of a running ring.

        Returns False when the kernel would not take the program: then everything comes in. A worker of a group on an
        interface that is down joins later: call again when it is up.
        """
        self.program = program
        if not self._joined and not self._join():
            return True
        everything = ((_RET_K, 0, 0, self.config.snaplen),)
        if program is None or self.mode == index.COOKED:
            _attach(self._socket, everything)
            return program is None
        try:
            _attach(self._socket, _limited(program, self.config.snaplen))
        except OSError:
            _attach(self._socket, everything)
            return False
        return True

    def resume(self) -> None:
        """Finish what needed the interface up."""
        if not self._joined:
            self.start(self.program)

    def _join(self) -> bool:
        group = ((self.config.fanout or 0) + self.link.index) & 0xFFFF
        try:
            self._socket.setsockopt(_SOL_PACKET, _FANOUT, group | _FANOUT_HASH << 16)
        except OSError as error:
            if error.errno == errno.EINVAL and not self.link.up:
                return False
            raise _explain(error, self.link.name) from error
        self._joined = True
        return True

    def quiesce(self) -> None:
        """Let nothing more in; what is in the ring stays."""
        with contextlib.suppress(OSError):
            _attach(self._socket, _REJECT_ALL)

    def take(self) -> Block | None:
        """The next block with packets, None when none is ready. Its `release` must be called before the next take."""
        for _ in range(self.config.blocks):
            memory = self._blocks[self._cursor]
            address = self._address + self._cursor * self.config.block_bytes
            if not index.ring_status(memory, address) & 1:
                return None
            self._cursor = (self._cursor + 1) % self.config.blocks
            used = index.walk_ring(
                memory,
                address,
                self._arrays,
                iface=self.iface,
                snaplen=self.config.snaplen,
                mode=self.mode,
                incoming_only=self.link.loopback,
            )
            if used:
                give_back = partial(index.ring_release, memory, address)
                return self._arrays.block(memory.toreadonly(), used, first_number=1, release=give_back)
            index.ring_release(memory, address)
        return None

    @property
    def pending(self) -> bool:
        """Whether packets lie in a block that the kernel has not handed over yet (it will, within the time-out)."""
        return bool(struct.unpack_from("=I", self._blocks[self._cursor], _PACKETS_AT)[0])

    @property
    def fill(self) -> float:
        """Share of the ring's blocks that wait for us, 0 to 1. Any thread."""
        blocks = self._blocks
        waiting = sum(int(struct.unpack_from("=I", each, _STATUS_AT)[0]) & 1 for each in blocks)
        return waiting / max(1, len(blocks))

    def losses(self) -> Drops:
        """Packets lost in this ring since it was made. (Reading resets the kernel's own counters: we add up.)"""
        with self._lock:
            if self._socket.fileno() >= 0:
                raw = self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 12)
                _packets, drops, freezes = struct.unpack("=III", raw)
                self._lost += Drops(kernel=drops, freezes=freezes)
            return self._lost

    def clear_error(self) -> int:
        """Take the error that the socket holds (ENETDOWN after the interface went down)."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def close(self) -> None:
        """Read the losses a last time and give the ring back; memory goes when no block of it is held any more."""
        with contextlib.suppress(OSError):
            self.losses()
        with self._lock:
            self._socket.close()
        self._blocks = []
        with contextlib.suppress(BufferError):
            self._map.close()


def _open(mode: int) -> socket.socket:
    kind = socket.SOCK_DGRAM if mode == index.COOKED else socket.SOCK_RAW
    try:
        return socket.socket(socket.AF_PACKET, kind | socket.SOCK_CLOEXEC, 0)
    except PermissionError as error:
        raise NotPermitted(
            "live capture needs CAP_NET_RAW (run as root, or grant it)", missing="CAP_NET_RAW"
        ) from error


def _bind(sock: socket.socket, ifindex: int) -> None:
    """Bind by index: a name may already mean another interface."""
    where = struct.pack("=HHiHBB8x", socket.AF_PACKET, socket.htons(_ETH_P_ALL), ifindex, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.bind(sock.fileno(), where, len(where)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _attach(sock: socket.socket, program: Sequence[Instruction]) -> None:
    """Put a classic BPF program in force, in place of the one before."""
    if not 0 < len(program) <= 0xFFFF:
        raise OSError(errno.EINVAL, "program is empty or too long")
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *instruction) for instruction in program))
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(code)))


def _limited(program: Iterable[Instruction], snaplen: int) -> list[Instruction]:
    """`program`, accepting `snaplen` bytes at most."""
    return [(code, jt, jf, min(k, snaplen) if code == _RET_K else k) for code, jt, jf, k in program]


def _explain(error: OSError, name: str) -> TapError:
    if error.errno in (errno.EPERM, errno.EACCES):
        return NotPermitted(f"capture on {name} needs CAP_NET_RAW", missing="CAP_NET_RAW")
    if error.errno in (errno.ENOMEM, errno.ENOBUFS):
        return CaptureError(name, 0, "the kernel has no memory for a ring of this size")
    if error.errno in (errno.ENODEV, errno.ENXIO):
        return CaptureError(name, 0, "no such interface any more")
    return CaptureError(name, 0, f"cannot be captured: {error.strerror}")
