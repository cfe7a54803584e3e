"""Settings of the capture ring reach the kernel: how large it is, and how much of a packet it keeps."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from packhound.run.capture import open_tap, rings
from packhound.run.options import Capture, Options
from tests.support import netns

MIB = 1 << 20


@pytest.fixture
def own_network() -> Iterator[None]:
    with netns.namespace():
        netns.ip("link set lo up")
        yield


def options(ring_mib: int, snaplen: int = 262144) -> Options:
    return Options(capture=Capture(ring_mib=ring_mib, snaplen=snaplen))


def mapped() -> list[int]:
    """Sizes of the packet rings in this process's memory."""
    lines = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if "socket:" in line]
    return [int(end, 16) - int(start, 16) for start, end in (re.split("-", row[0]) for row in lines)]


@pytest.mark.parametrize(
    ("mib", "names", "each", "together"),
    [
        (64, ["eth0"], 64 * MIB, 64 * MIB),
        (64, ["eth0", "eth1"], 64 * MIB, 128 * MIB),
        (1, ["eth0"], MIB, MIB),
        (65536, ["eth0"], 65536 * MIB, 65536 * MIB),
        (64, ["any"], 4 * MIB, 1024 * MIB),
        (256, ["any"], 16 * MIB, 4096 * MIB),
        (1, ["any"], MIB // 2, 128 * MIB),
    ],
)
def test_the_ring_is_as_large_as_it_is_told(mib: int, names: list[str], each: int, together: int) -> None:
    config, limit = rings(options(mib), names)
    assert (config.size, limit) == (each, together)


@netns.needs_root
@pytest.mark.usefixtures("own_network")
@pytest.mark.parametrize(("names", "size"), [(["lo"], 8 * MIB), (["any"], MIB // 2)])
def test_the_kernel_has_the_ring_and_the_snaplen_of_the_settings(names: list[str], size: int) -> None:
    before = mapped()
    tap = open_tap((), names, options(8, snaplen=96))
    try:
        assert sorted(mapped()) == sorted([*before, *[size] * len(tap.interfaces)])
        assert [each.snaplen for each in tap.interfaces] == [96] * len(tap.interfaces) != []
    finally:
        tap.close()
