"""pcapng: sections, clocks, kinds of packet, drop counts; faults after what is good."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from packhound.sensor.tap.files import CaptureFile
from packhound.sensor.tap.frames import Drops
from tests.support.capture_files import Packet, block, enhanced, interface, option, read, section

MICRO = 1000
TOP = 2**63 - 1


def _read(tmp_path: Path, content: bytes, *, budget: int = 1 << 20) -> tuple[CaptureFile, list[Packet]]:
    path = tmp_path / "x.pcapng"
    path.write_bytes(content)
    tap = CaptureFile(path, budget=budget)
    return tap, read(tap)


@pytest.mark.parametrize("order", ["<", ">"])
def test_all_kinds_of_packet_block(tmp_path: Path, walker: str, order: str) -> None:
    obsolete = block(2, struct.pack(order + "HHIIII", 0, 9, 0, 3, 2, 70) + b"pb", order=order)
    simple = block(3, struct.pack(order + "I", 99) + b"sn", order=order)
    unknown = block(0x0BAD, b"whatever", order=order)
    content = section(order=order) + interface(snaplen=2, options=option(2, b"eth7", order=order), order=order)
    tap, packets = _read(tmp_path, content + enhanced(5, b"epb", wirelen=60, order=order) + unknown + obsolete + simple)
    assert packets == [
        Packet(b"epb", 60, 5 * MICRO, 0),
        Packet(b"pb", 70, 3 * MICRO, 0),
        Packet(b"sn", 99, 3 * MICRO, 0),
    ]
    assert tap.fault is None
    assert tap.interfaces[0].name == "eth7"


@pytest.mark.parametrize(
    ("resolution", "ticks", "ns"),
    [
        (6, 5, 5_000),
        (9, 2**62, 2**62),
        (0, 3, 3_000_000_000),
        (12, 1_999, 1),
        (28, 2**64 - 1, 1),
        (40, 2**64 - 1, 0),
        (127, 2**64 - 1, 0),
        (0x80, 2, 2_000_000_000),
        (0x80 | 20, 2**20 + 2**19, 1_500_000_000),
        (0xFF, 2**64 - 1, 0),
        (0x80 | 93, 2**64 - 1, 1),
        (6, 2**64 - 1, TOP),
        (0x80, 2**64 - 1, TOP),
    ],
)
def test_clock_resolutions(tmp_path: Path, walker: str, resolution: int, ticks: int, ns: int) -> None:
    content = section() + interface(options=option(9, bytes([resolution]))) + enhanced(ticks, b"")
    assert [packet.ts for packet in _read(tmp_path, content)[1]] == [ns]


@pytest.mark.parametrize(
    ("seconds", "ns"), [(10, 10_000_000_001), (-1, -999_999_999), (2**62, TOP), (-(2**62), -TOP + 1)]
)
def test_clock_offsets(tmp_path: Path, walker: str, seconds: int, ns: int) -> None:
    options = option(9, b"\x09") + option(14, struct.pack("<q", seconds))
    assert _read(tmp_path, section() + interface(options=options) + enhanced(1, b""))[1][0].ts == ns


def test_sections_share_named_interfaces_and_add_up_losses(tmp_path: Path, walker: str) -> None:
    def part(order: str, lost: int) -> bytes:
        counts = option(5, struct.pack(order + "Q", 1), order=order) + option(
            7, struct.pack(order + "Q", lost), order=order
        )
        statistics = block(5, struct.pack(order + "III", 1, 0, 0) + counts, order=order)
        described = interface(order=order) + interface(options=option(2, b"eth0", order=order), order=order)
        return section(order=order) + described + enhanced(1, order.encode(), who=1, order=order) + statistics

    tap, packets = _read(tmp_path, part("<", 3) + part(">", 4))
    assert [(packet.data, packet.iface) for packet in packets] == [(b"<", 1), (b">", 1)]
    assert [entry.name for entry in tap.interfaces] == ["x.pcapng#0", "eth0", "x.pcapng#2"]
    assert tap.drops() == Drops(kernel=7, interface=2)


GOOD = section() + interface() + enhanced(1, b"good")


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (enhanced(2, b"cut")[:-1], "cut short"),
        (b"\x06", "cut short"),
        (interface()[:-4], "cut short"),
        (enhanced(2, b"", who=1), "does not describe"),
        (struct.pack("<II", 6, 8) + bytes(8), "too small"),
        (block(6, bytes(16)), "too small"),
        (block(6, struct.pack("<IIIII", 0, 0, 0, 5, 5)), "too small"),
        (struct.pack("<II", 6, 0xFFFFFFF0) + bytes(40), "absurd"),
        (struct.pack("<II", 1, 0xFFFFFFF0) + bytes(40), "claims 4294967280"),
        (struct.pack("<II", 6, 16) + bytes(4) + struct.pack("<I", 20), "differ"),
        (struct.pack("<II", 1, 20) + bytes(8) + struct.pack("<I", 24), "differ"),
        (block(1, b""), "too small"),
        (block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 9, 0, -1)), "version 9.0"),
        (block(0x0A0D0D0A, struct.pack("<IHHq", 0x11111111, 1, 0, -1)), "byte-order"),
    ],
)
def test_faults_come_after_what_is_good(tmp_path: Path, walker: str, tail: bytes, reason: str) -> None:
    tap, packets = _read(tmp_path, GOOD + tail)
    assert [packet.data for packet in packets] == [b"good"]
    assert tap.fault is not None
    assert reason in tap.fault.reason
    assert tap.fault.offset == len(GOOD)


def test_a_flood_of_interfaces_is_a_fault(tmp_path: Path, walker: str) -> None:
    tap, _packets = _read(tmp_path, section() + interface() * 65_536)
    assert tap.fault is not None
    assert "65535 interfaces" in tap.fault.reason


def test_blocks_that_are_not_padded_are_read(tmp_path: Path, walker: str) -> None:
    unpadded = struct.pack("<IIIIIII", 6, 35, 0, 0, 1, 3, 3) + b"abc\x00" + struct.pack("<I", 35)
    assert [packet.data for packet in _read(tmp_path, section() + interface() + unpadded)[1]] == [b"abc"]
