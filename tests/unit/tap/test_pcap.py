"""pcap files of every shape give their packets; broken ones give what is good and then say what is wrong."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from packhound.sensor.tap.files import CaptureFile
from tests.support.capture_files import Packet, pcap_header, read, record

SECOND = 1_000_000_000


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("magic", "unit", "tail"), [(0xA1B2C3D4, 1000, 0), (0xA1B23C4D, 1, 0), (0xA1B2CD34, 1000, 8)])
def test_byte_orders_and_resolutions(tmp_path: Path, walker: str, order: str, magic: int, unit: int, tail: int) -> None:
    path = tmp_path / "x"
    extra = bytes(tail)
    path.write_bytes(
        pcap_header(order=order, magic=magic, net=0x24000001)
        + record(7, 999_999, b"abc", wirelen=90, order=order, tail=extra)
        + record(4_294_967_295, 5, b"", order=order, tail=extra)
    )
    tap = CaptureFile(path)
    assert read(tap) == [
        Packet(b"abc", 90, 7 * SECOND + 999_999 * unit, 0),
        Packet(b"", 0, 4_294_967_295 * SECOND + 5 * unit, 0),
    ]
    assert (tap.interfaces[0].name, tap.interfaces[0].linktype, tap.fault) == ("x", 1, None)


@pytest.mark.parametrize(("minor", "caplen", "wirelen"), [(2, 60, 4), (3, 60, 4), (3, 4, 60)])
def test_old_files_with_swapped_lengths(tmp_path: Path, walker: str, minor: int, caplen: int, wirelen: int) -> None:
    path = tmp_path / "x"
    path.write_bytes(pcap_header(minor=minor) + struct.pack("<IIII", 1, 0, caplen, wirelen) + b"abcd")
    assert read(CaptureFile(path)) == [Packet(b"abcd", 60, SECOND, 0)]


@pytest.mark.parametrize(
    ("content", "packets", "offset", "reason"),
    [
        (b"", 0, 0, "empty"),
        (b"\xd4\xc3", 0, 0, "only 2 bytes"),
        (b"hello world, no capture", 0, 0, "not a pcap or pcapng file"),
        (b"BZh91AY&SY", 0, 0, "bzip2"),
        (pcap_header()[:20], 0, 0, "header is cut short"),
        (pcap_header() + record(1, 1, b"good") + record(2, 2, b"cut off")[:-1], 1, 44, "cut short"),
        (pcap_header() + record(1, 1, b"good") + b"\x00" * 15, 1, 44, "cut short"),
        (pcap_header() + record(1, 1, b"good") + b"\xff" * 400, 1, 44, "4294967295 bytes"),
        (pcap_header(net=147) + record(1, 1, b"good"), 1, 0, "link type 147"),
    ],
)
def test_faults_come_after_what_is_good(
    tmp_path: Path, walker: str, content: bytes, packets: int, offset: int, reason: str
) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    tap = CaptureFile(path)
    assert len(read(tap)) == packets
    assert tap.fault is not None
    assert (tap.fault.offset, tap.fault.exit_code) == (offset, 3)
    assert reason in str(tap.fault)
    assert str(path) in str(tap.fault)


def test_a_big_packet_is_a_block_of_its_own(tmp_path: Path, walker: str) -> None:
    path = tmp_path / "x"
    big = bytes(range(256)) * 20_000
    path.write_bytes(pcap_header(snaplen=len(big)) + record(1, 0, b"a") + record(2, 0, big) + record(3, 0, b"b"))
    tap = CaptureFile(path)
    assert [packet.data for packet in read(tap)] == [b"a", big, b"b"]
    assert tap.fault is None


def test_many_packets_come_in_bounded_blocks(tmp_path: Path, walker: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(pcap_header() + b"".join(record(n, 0, b"x" * (n % 60)) for n in range(70_000)))
    tap = CaptureFile(path)
    sizes = [(len(block), len(block.data)) for block in tap.blocks() if block is not None]
    assert sum(count for count, _size in sizes) == 70_000
    assert max(count for count, _size in sizes) <= 65_536
    assert max(size for _count, size in sizes) <= 1 << 20


def test_files_that_cannot_be_opened_raise_at_once(tmp_path: Path) -> None:
    from packhound.sensor.tap.errors import CaptureError

    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(CaptureError, match=str(path)):
            CaptureFile(path)
