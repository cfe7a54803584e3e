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
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    if check and done.returncode:
        raise RuntimeError(f"{command}: {done.stderr or done.stdout}")
    return done


def inside(ns: str, words: Sequence[str | Path]) -> list[str]:
    """A command line that runs in a namespace (as the process itself: `ip netns exec` becomes it)."""
    return ["ip", "netns", "exec", ns, *map(str, words)]


class Hosts:
    """`core` (where broker, Redis and processors live) and one host for each sensor: h1, h2, ... While entered, the
    calling thread lives in the core. `count` hosts capture; one more, `aside`, has nothing on it."""

    def __init__(self, count: int) -> None:
        self.tag = f"ph{os.getpid()}"
        self.core = f"{self.tag}c"
        self.names = [f"{self.tag}h{n}" for n in range(1, count + 1)]
        self._home = -1

    def __enter__(self) -> Hosts:
        for ns in (self.core, *self.names):
            sh(f"ip netns add {ns}")
            sh("ip link set lo up", ns=ns)
        sh("ip link add name br0 type bridge", ns=self.core)
        sh("ip link set br0 up", ns=self.core)
        sh(f"ip addr add {NET}.1/24 dev br0", ns=self.core)
        for n, ns in enumerate(self.names, 1):
            sh(f"ip link add name up{n} type veth peer name eth0 netns {ns}", ns=self.core)
            sh(f"ip link set up{n} master br0 up", ns=self.core)
            sh("ip link set eth0 up", ns=ns)
            sh(f"ip addr add {self.address(n)}/24 dev eth0", ns=ns)
            sh("ip link add name cap0 type veth peer name gen0", ns=ns)
            for name in ("cap0", "gen0"):
                sh(f"sysctl -qw net.ipv6.conf.{name}.disable_ipv6=1", ns=ns, check=False)
                sh(f"ip link set {name} up", ns=ns)
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        with open(f"/var/run/netns/{self.core}") as there:
            if _LIBC.setns(there.fileno(), _NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        return self

    def __exit__(self, *_: object) -> None:
        if self._home >= 0:
            _LIBC.setns(self._home, _NEWNET)
            os.close(self._home)
        for ns in (*self.names, self.core):
            sh(f"ip netns del {ns}", check=False)

    @staticmethod
    def address(n: int) -> str:
        return f"{NET}.{10 + n}"

    def cut(self, n: int) -> None:
        sh(f"ip link set up{n} down", ns=self.core)

    def join(self, n: int) -> None:
        sh(f"ip link set up{n} up", ns=self.core)

    def lossy(self, n: int, percent: int) -> str:
        """Lose packets of the link in both directions; says with what: tc netem, else (a kernel without it) netfilter,
        which drops what comes in at either end."""
        with contextlib.suppress(RuntimeError):
            sh(f"tc qdisc replace dev up{n} root netem loss {percent}%", ns=self.core)
            sh(f"tc qdisc replace dev eth0 root netem loss {percent}%", ns=self.names[n - 1])
            return "tc netem"
        rule = f"-m statistic --mode random --probability {percent / 100} -j DROP"
        sh(f"iptables -I INPUT -i br0 -s {self.address(n)} {rule}", ns=self.core)
        sh(f"iptables -I INPUT -i eth0 {rule}", ns=self.names[n - 1])
        return "netfilter statistic (this kernel has no netem)"

    def clean(self, n: int) -> int:
        """Lose nothing any more; how many packets were, as far as is known."""
        lost = 0
        for ns, dev in ((self.core, f"up{n}"), (self.names[n - 1], "eth0")):
            said = sh("iptables -nvxL INPUT", ns=ns, check=False).stdout.splitlines()
            lost += sum(int(line.split()[0]) for line in said if "DROP" in line)
            sh("iptables -F INPUT", ns=ns, check=False)
            sh(f"tc qdisc del dev {dev} root", ns=ns, check=False)
        return lost

    def traffic(self, n: int, *, rate: int, size: int, log: Path, host: int) -> subprocess.Popen[bytes]:
        """Send numbered packets on the wire of host `n` until told to stop; `log` says how many had left when."""
        words: list[str | Path] = [sys.executable, "-SE", GENERATOR, "gen0", str(host), str(rate), str(size), log]
        return subprocess.Popen(inside(self.names[n - 1], words), start_new_session=True)


@contextlib.contextmanager
def disk(folder: Path, size: str) -> Iterator[None]:
    """`folder` on a file system of its own, of that size."""
    folder.mkdir(parents=True, exist_ok=True)
    sh(f"mount -t tmpfs -o size={size} tmpfs {folder}")
    try:
        yield
    finally:
        sh(f"umount -l {folder}", check=False)


def resize(folder: Path, size: str) -> None:
    sh(f"mount -o remount,size={size} {folder}")
