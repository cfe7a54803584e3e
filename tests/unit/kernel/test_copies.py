"""A packet that is seen on several interfaces of a node counts once, by both kernels; nothing that was sent twice is lost."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.sensor.kernel import new_kernel
from packhound.sensor.kernel.copies import PORTS, WINDOW
from packhound.sensor.kernel.tables import InterfacePrograms, KernelTables
from packhound.sensor.tap.frames import Block

VETH, BRIDGE, UPLINK = 0, 1, 2
MS = 1_000_000


def packet(n: int = 0, *, ttl: int = 64, mac: int = 1, tos: int = 0, proto: int = 17, checksum: int = 0, data: bytes = b"",
           vlan: int = 0, fragment: int = 0) -> bytes:  # fmt: skip
    """A datagram (or TCP segment) number `n` as it looks on one interface of its way."""
    body = data or f"payload {n}".encode() * 9
    if proto == 17:
        l4 = struct.pack("!HHHH", 4000, 5000, 8 + len(body), checksum) + body
    else:
        l4 = struct.pack("!HHIIBBHHH", 4000, 5000, n, 0, 0x50, 0x18, 100, checksum, 0) + body
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, tos, 20 + len(l4), n & 0xFFFF, fragment, ttl, proto, ttl * 7, bytes((10, 0, 0, 1)),
                     bytes((10, 0, 0, 2)))  # fmt: skip
    tag = struct.pack("!HH", 0x8100, vlan) if vlan else b""
    return bytes((mac,)) * 12 + tag + b"\x08\x00" + ip + l4


def counted(kernel: str, rows: list[tuple[int, int, bytes]], *, window: int = WINDOW) -> tuple[int, int]:
    """(packets that were judged, copies) of (interface, ms, bytes) rows, in the order in which they are read."""
    made = new_kernel(mode=kernel, capacity=256)
    made.load(KernelTables(base_fset=1))
    made.define_fset(1, need=0, free=True)
    made.set_interfaces([InterfacePrograms(1, None, ())] * 64)
    made.set_copies(window)
    sizes = np.array([len(data) for _, _, data in rows], np.uint32)
    block = Block(
        b"".join(data for _, _, data in rows), (np.cumsum(sizes) - sizes).astype(np.uint64), sizes, sizes,
        np.array([ms * MS for _, ms, _ in rows], np.int64), np.array([iface for iface, _, _ in rows], np.uint16), 1,
    )  # fmt: skip
    events = at = 0
    while at < len(block):
        found, at = made.scan(block, at)
        events += len(found)
    counters = made.counters()
    assert counters["seen"] == len(rows)
    assert counters["seen"] == events + counters["duplicate_capture"]
    if "fragments" not in counters or not counters["fragments"]:
        assert counters["forwarded"] == events
    return events, counters["duplicate_capture"]


@pytest.fixture(params=["native", "portable"])
def kernel(request: pytest.FixtureRequest) -> str:
    if request.param == "native":
        pytest.importorskip("packhound.sensor.kernel._scan", reason="the native kernel is not built")
    return request.param


def way(n: int, ms: int, **also: int) -> list[tuple[int, int, bytes]]:
    """One packet from a pod's veth over the bridge to the uplink: routed, and its checksum written."""
    return [(VETH, ms, packet(n, **also)), (BRIDGE, ms, packet(n, **also)),
            (UPLINK, ms, packet(n, ttl=63, mac=9, tos=0x28, checksum=0xBEEF, **also))]  # fmt: skip


@pytest.mark.parametrize("proto", [6, 17])
def test_one_packet_on_its_way_through_the_node_is_one(kernel: str, proto: int) -> None:
    rows = [row for n in range(20) for row in way(n, n, proto=proto)]
    assert counted(kernel, rows) == (20, 40)


def test_the_order_in_which_interfaces_are_read_does_not_matter(kernel: str) -> None:
    rows = sorted((row for n in range(20) for row in way(n, n)), key=lambda row: -row[0])
    assert counted(kernel, rows) == (20, 40)


def test_what_is_sent_again_counts_again(kernel: str) -> None:
    twice = [row for ms in (0, 20, 40) for row in way(7, ms)]
    assert counted(kernel, twice) == (3, 6)
    assert counted(kernel, sorted(twice, key=lambda row: row[0])) == (3, 6)


def test_on_one_interface_nothing_is_a_copy(kernel: str) -> None:
    assert counted(kernel, [(VETH, 0, packet(1))] * 5) == (5, 0)


def test_after_the_window_it_is_another_packet(kernel: str) -> None:
    rows = [(VETH, 0, packet(1)), (UPLINK, 101, packet(1))]
    assert counted(kernel, rows) == (2, 0)


@pytest.mark.parametrize("other", [
    {"data": b"payload 1" * 8 + b"paylo4d 1"}, {"data": b"p"}, {"vlan": 5}, {"proto": 6}, {"fragment": 0x4000, "data": b"x"},
])  # fmt: skip
def test_another_packet_is_no_copy(kernel: str, other: dict[str, int]) -> None:
    assert counted(kernel, [(VETH, 0, packet(1)), (UPLINK, 0, packet(1, **other))]) == (2, 0)


def test_pieces_of_a_datagram_are_copies_of_themselves_alone(kernel: str) -> None:
    pieces = [packet(1, fragment=0x2000, data=b"a" * 64), packet(1, fragment=8, data=b"b" * 64)]
    rows = [(iface, 0, data) for iface in (VETH, BRIDGE, UPLINK) for data in pieces]
    assert counted(kernel, rows) == (2, 4)


def test_a_flood_to_many_interfaces_is_one_packet(kernel: str) -> None:
    flood = [(iface, 0, packet(1)) for iface in range(4 * PORTS)]
    assert counted(kernel, flood) == (1, 4 * PORTS - 1)
    assert counted(kernel, flood + flood) == (2, 8 * PORTS - 2)


def test_off_it_counts_every_time(kernel: str) -> None:
    assert counted(kernel, way(1, 0), window=0) == (3, 0)


def test_what_is_no_ip_packet_counts_every_time(kernel: str) -> None:
    lldp = bytes(12) + b"\x88\xcc" + bytes(40)
    assert counted(kernel, [(VETH, 0, lldp), (UPLINK, 0, lldp)]) == (2, 0)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_both_kernels_find_the_same_copies(data: st.DataObject) -> None:
    pytest.importorskip("packhound.sensor.kernel._scan", reason="the native kernel is not built")
    shapes = st.sampled_from([
        packet(n, proto=proto, ttl=ttl, checksum=checksum, fragment=fragment, vlan=vlan)
        for n in range(3) for proto in (6, 17, 132) for ttl, checksum in ((64, 0), (63, 9))
        for fragment, vlan in ((0, 0), (0x2000, 0), (5, 0), (0, 7))
    ] + [bytes(12) + b"\x08\x06" + bytes(range(28)), bytes(12) + b"\x86\xdd\x60" + bytes(60), b"\x45" * 30])  # fmt: skip
    cut = st.one_of(st.just(999), st.integers(14, 70))
    rows = data.draw(st.lists(st.tuples(st.integers(0, 14), st.integers(0, 150), shapes, cut), min_size=1, max_size=60))
    seen = [(iface, ms, each[:size]) for iface, ms, each, size in rows]
    assert counted("native", seen) == counted("portable", seen)
