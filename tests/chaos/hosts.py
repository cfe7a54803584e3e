"""Hosts: network namespaces joined by a bridge, each with a wire of its own to capture on."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

NET = "10.99.0"
_LIBC = ctypes.CDLL(None, use_errno=True)
_NEWNET = 0x40000000
GENERATOR = Path(__file__).with_name("generator.py")


def sh(command: str, *, ns: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    words = (["ip", "netns", "exec", ns] if ns else []) + command.split()
    return subprocess.run(words, check=check, capture_output=True, text=True, timeout=20)


def inside(ns: str, words: Sequence[str | Path]) -> list[str]:
    """A command line that runs in a namespace."""
    return ["ip", "netns", "exec", ns, *map(str, words)]


class Hosts:
    """`core` (where broker, Redis and processors live) and one host for each sensor: h1, h2, ..."""

    def __init__(self, count: int) -> None:
        self.tag = f"ph{os.getpid()}"
        self.core = f"{self.tag}c"
        self.names = [f"{self.tag}h{n}" for n in range(1, count + 1)]
        self._home = -1

    def __enter__(self) -> Hosts:
        for ns in (self.core, *self.names):
            sh(f"ip netns add {ns}")
            sh("ip link set lo up", ns=ns)
        sh("ip link add br0 type bridge", ns=self.core)
        sh("ip link set br0 up", ns=self.core)
        sh(f"ip addr add {NET}.1/24 dev br0", ns=self.core)
        for n, ns in enumerate(self.names, 1):
            sh(f"ip link add up{n} type veth peer name eth0 netns {ns}", ns=self.core)
            sh(f"ip link set up{n} master br0 up", ns=self.core)
            sh("ip link set eth0 up", ns=ns)
            sh(f"ip addr add {NET}.{10 + n}/24 dev eth0", ns=ns)
            sh("ip link add cap0 type veth peer name gen0", ns=ns)
            for name in ("cap0", "gen0"):
                sh(f"sysctl -qw net.ipv6.conf.{name}.disable_ipv6=1", ns=ns, check=False)
                sh(f"ip link set {name} up", ns=ns)
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY)
        with open(f"/var/run/netns/{self.core}") as there:
            if _LIBC.setns(there.fileno(), _NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        return self

    def __exit__(self, *_: object) -> None:
        _LIBC.setns(self._home, _NEWNET)
        os.close(self._home)
        for ns in (*self.names, self.core):
            sh(f"ip netns del {ns}", check=False)

    def cut(self, n: int) -> None:
        sh(f"ip link set up{n} down", ns=self.core)

    def join(self, n: int) -> None:
        sh(f"ip link set up{n} up", ns=self.core)

    def lossy(self, n: int, percent: int) -> None:
        sh(f"tc qdisc replace dev up{n} root netem loss {percent}%", ns=self.core)
        sh(f"tc qdisc replace dev eth0 root netem loss {percent}%", ns=self.names[n - 1])

    def clean(self, n: int) -> None:
        sh(f"tc qdisc del dev up{n} root", ns=self.core, check=False)
        sh("tc qdisc del dev eth0 root", ns=self.names[n - 1], check=False)

    def traffic(self, n: int, *, first: int, rate: int, seconds: float, out: Path) -> subprocess.Popen[bytes]:
        """Send numbered packets on the wire of host `n`; `out` says at the end how many left."""
        words = [sys.executable, GENERATOR, "gen0", n, first, rate, seconds, out]
        return subprocess.Popen(inside(self.names[n - 1], words))


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """`folder` on a file system of that size."""
    folder.mkdir(parents=True, exist_ok=True)
    sh(f"mount -t tmpfs -o size={size} tmpfs {folder}")
    try:
        yield
    finally:
        sh(f"umount -l {folder}", check=False)
