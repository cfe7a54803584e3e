"""A network namespace of a test's own, with virtual interfaces: nothing is left when the test ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_CLONE_NEWNET = 0x40000000


def missing() -> str:
    """What a live capture test needs and this machine lacks, "" when nothing."""
    if not sys.platform.startswith("linux"):
        return "needs Linux"
    if os.geteuid() != 0:
        return "needs root (CAP_NET_ADMIN and CAP_NET_RAW)"
    if shutil.which("ip") is None:
        return "needs the ip command (iproute2)"
    return ""


needs_root = pytest.mark.skipif(bool(missing()), reason=missing() or "-")


def ip(command: str) -> None:
    """Run `ip COMMAND` in the namespace of the calling thread."""
    subprocess.run(["ip", *command.split()], check=True, capture_output=True, timeout=10)


@contextlib.contextmanager
def namespace() -> Iterator[None]:
    """The calling thread lives in a new network namespace for a while (threads that it starts too)."""
    libc = ctypes.CDLL(None, use_errno=True)
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        if libc.unshare(_CLONE_NEWNET) != 0:
            pytest.skip(f"no new network namespace: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            libc.setns(home, _CLONE_NEWNET)
    finally:
        os.close(home)


def veth(one: str = "left", other: str = "right") -> None:
    """A pair of interfaces joined by a wire, up, without addresses or chatter of their own."""
    ip(f"link add {one} type veth peer name {other}")
    for name in (one, other):
        with contextlib.suppress(OSError):
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
        ip(f"link set {name} up")


def wire(name: str) -> socket.socket:
    """A packet socket that sends whole frames on interface `name`."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind((name, 0))
    return sock
