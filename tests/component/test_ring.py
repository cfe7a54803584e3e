"""A live ring on a real (virtual) wire: everything sent arrives as it was sent, or is counted as lost."""

from __future__ import annotations

import dataclasses
import fcntl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from packhound.sensor.tap import index
from packhound.sensor.tap.errors import CaptureError
from packhound.sensor.tap.files import CaptureFile
from packhound.sensor.tap.follow import Follower, list_interfaces
from packhound.sensor.tap.libpcap import LibpcapTap
from packhound.sensor.tap.live import LiveTap
from packhound.sensor.tap.replay import Player
from packhound.sensor.tap.ring import Instruction, Ring, RingConfig
from tests.support import netns
from tests.support.capture_files import Packet, pcap_header, record

pytestmark = [netns.needs_root, pytest.mark.timeout(30)]

SMALL = RingConfig(block_bytes=1 << 16, blocks=16, timeout_ms=5)
HEAD = b"\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01"


@pytest.fixture(autouse=True)
def _own_network() -> Iterator[None]:
    with netns.namespace():
        yield


@pytest.fixture(params=["native", "portable"])
def walker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Which walk is in force."""
    if request.param == "native" and index._native is None:
        pytest.skip("the native kernel is not built")
    if request.param == "portable":
        monkeypatch.setattr(index, "_native", None)
    return str(request.param)


class Listener:
    """Runs a tap in a thread and keeps what it delivers."""

    def __init__(self, tap: LiveTap) -> None:
        self.tap = tap
        self.packets: list[Packet] = []
        self.ticks = 0
        self.paused = threading.Event()
        self.paused.set()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        for block in self.tap.blocks():
            self.paused.wait()
            if block is None:
                self.ticks += 1
                continue
            assert block.first_number == len(self.packets) + 1
            for n in range(len(block)):
                row = (int(block.wirelen[n]), int(block.ts[n]), int(block.iface[n]))
                self.packets.append(Packet(block.packet(n), *row))

    def until(self, wanted: Callable[[], bool], seconds: float = 5.0) -> None:
        """Wait for something that the tap should bring about."""
        deadline = time.monotonic() + seconds
        while not wanted():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.005)

    def finish(self) -> list[bytes]:
        """Stop the tap from this thread; the bytes of all packets."""
        self.tap.stop()
        self.thread.join(5)
        assert not self.thread.is_alive(), "stop did not end the tap"
        return [packet.data for packet in self.packets]


def frame(number: int, *, tags: bytes = b"", size: int = 60) -> bytes:
    """A frame with its number in it; ethertype of local experiments."""
    return HEAD + tags + b"\x88\xb5" + number.to_bytes(4) + bytes(size)


def send(name: str, frames: list[bytes]) -> None:
    """Put frames on the wire."""
    with netns.wire(name) as sock:
        for data in frames:
            sock.send(data)


def test_every_frame_arrives_as_sent_with_tags_and_nanoseconds(walker: str) -> None:
    netns.veth()
    tags = [b"", b"\x81\x00\xa0\x05", b"\x88\xa8\x00\x07\x81\x00\x00\x08", b"\x81\x00\x00\x00"]
    sent = [frame(n, tags=tags[n % 4], size=46 + n % 1300) for n in range(3_000)]
    tap = LiveTap(["right"], config=SMALL)
    listener = Listener(tap)
    before = time.time_ns()
    for n in range(0, 3_000, 100):
        send("left", sent[n : n + 100])
        listener.until(lambda wanted=n + 100: len(listener.packets) >= wanted)  # type: ignore[misc]
    assert listener.finish() == sent
    assert tap.drops().kernel == 0
    stamps = [packet.ts for packet in listener.packets]
    assert stamps == sorted(stamps)
    assert before <= stamps[0] <= stamps[-1] <= time.time_ns()
    assert any(ts % 1000 for ts in stamps)
    assert [packet.wirelen for packet in listener.packets] == [len(data) for data in sent]
    tap.close()


def test_snap_length_cuts_and_keeps_the_original_length(walker: str) -> None:
    netns.veth()
    tap = LiveTap(["right"], config=RingConfig(block_bytes=1 << 16, blocks=4, timeout_ms=5, snaplen=20))
    listener = Listener(tap)
    sent = [frame(1), frame(2, tags=b"\x81\x00\x00\x09")]
    send("left", sent)
    assert listener.finish() == [data[:20] for data in sent]
    assert [packet.wirelen for packet in listener.packets] == [78, 82]
    tap.close()


def only(number: int) -> tuple[Instruction, ...]:
    """A kernel filter for the frames with this number (16 low bits)."""
    return ((0x28, 0, 0, 16), (0x15, 0, 1, number), (0x06, 0, 0, 262144), (0x06, 0, 0, 0))


def test_a_kernel_filter_applies_from_the_first_packet_and_can_be_swapped() -> None:
    netns.veth()
    asked: list[int] = []

    def seven(linktype: int) -> tuple[Instruction, ...]:
        asked.append(linktype)
        return only(7)

    tap = LiveTap(["right"], config=SMALL, programs=seven)
    listener = Listener(tap)
    send("left", [frame(n) for n in range(10)])
    listener.until(lambda: len(listener.packets) == 1)
    tap.set_programs(lambda _linktype: only(8))
    send("left", [frame(n) for n in range(10)])
    assert listener.finish() == [frame(7), frame(8)]
    assert asked == [1]
    tap.close()


def test_a_program_that_the_kernel_refuses_lets_everything_in_and_says_so() -> None:
    netns.veth()
    tap = LiveTap(["right"], config=SMALL, programs=lambda _linktype: ((0x15, 9, 9, 0),))
    assert [condition.state for condition in tap.conditions()] == ["unfiltered"]
    listener = Listener(tap)
    send("left", [frame(1)])
    assert listener.finish() == [frame(1)]
    tap.close()


def test_what_a_sleeping_reader_loses_is_counted() -> None:
    netns.veth()
    tap = LiveTap(["right"], config=RingConfig(block_bytes=1 << 14, blocks=2, timeout_ms=5))
    listener = Listener(tap)
    listener.paused.clear()
    sent = [frame(n, size=1000) for n in range(2_000)]
    send("left", sent)
    seen_early = tap.drops().kernel
    listener.paused.set()
    got = listener.finish()
    drops = tap.drops()
    assert drops.kernel >= seen_early > 0
    assert drops.freezes > 0
    assert len(got) + drops.kernel == len(sent)
    tap.close()
    assert tap.drops() == drops


def test_loopback_packets_are_seen_once() -> None:
    netns.ip("link set lo up")
    tap = LiveTap(["lo"], config=SMALL)
    listener = Listener(tap)
    sent = [frame(n) for n in range(200)]
    send("lo", sent)
    assert listener.finish() == sent
    tap.close()


def test_both_directions_are_seen() -> None:
    netns.veth()
    tap = LiveTap(["left"], config=SMALL)
    listener = Listener(tap)
    send("left", [frame(1)])
    send("right", [frame(2)])
    assert listener.finish() == [frame(1), frame(2)]
    tap.close()


def test_workers_of_one_group_share_an_interface() -> None:
    netns.veth()
    config = RingConfig(block_bytes=1 << 16, blocks=16, timeout_ms=5, fanout=4711)
    taps = [LiveTap(["right"], config=config) for _ in range(2)]
    listeners = [Listener(tap) for tap in taps]
    udp = bytes.fromhex("4500002000000000401100000a0000010a000002")
    sent = [
        HEAD + b"\x08\x00" + udp + (5000 + n).to_bytes(2) + bytes.fromhex("0035000c0000") + bytes(22)
        for n in range(400)
    ]
    send("left", sent)
    shares = [listener.finish() for listener in listeners]
    assert sorted(shares[0] + shares[1]) == sorted(sent)
    assert all(shares)
    for tap in taps:
        tap.close()


def test_an_interface_that_flaps_is_captured_on() -> None:
    netns.veth()
    tap = LiveTap(["right"], config=SMALL)
    listener = Listener(tap)
    send("left", [frame(1)])
    listener.until(lambda: len(listener.packets) == 1)
    for _ in range(3):
        netns.ip("link set right down")
        listener.until(lambda: [condition.state for condition in tap.conditions()] == ["down"])
        netns.ip("link set right up")
        listener.until(lambda: tap.conditions() == [])
    send("left", [frame(2)])
    assert listener.finish() == [frame(1), frame(2)]
    assert len(tap.interfaces) == 1
    tap.close()


def test_any_follows_interfaces_that_appear_are_renamed_and_vanish() -> None:
    tap = LiveTap(["any"], config=SMALL)
    listener = Listener(tap)
    netns.veth("one", "two")
    listener.until(lambda: {"one", "two"} <= {entry.name for entry in tap.interfaces})
    send("one", [frame(1)])
    listener.until(lambda: len(listener.packets) == 2)
    netns.ip("link set two down")
    netns.ip("link set two name three")
    netns.ip("link set three up")
    listener.until(lambda: "three" in {entry.name for entry in tap.interfaces})
    send("one", [frame(2)])
    listener.until(lambda: len(listener.packets) == 4)
    netns.ip("link del one")
    listener.until(lambda: not {"one", "three"} & {condition.interface for condition in tap.conditions()})
    netns.veth("one", "two")
    listener.until(
        lambda: not any(condition.state == "down" for condition in tap.conditions() if condition.interface != "lo")
    )
    time.sleep(0.2)
    send("two", [frame(3)])
    assert listener.finish() == [frame(1)] * 2 + [frame(2)] * 2 + [frame(3)] * 2
    names = [tap.interfaces[packet.iface].name for packet in listener.packets]
    assert [sorted(names[n : n + 2]) for n in (0, 2, 4)] == [["one", "two"], ["one", "three"], ["one", "two"]]
    tap.close()


def test_a_named_interface_that_vanishes_is_a_condition_and_taken_up_again() -> None:
    netns.veth()
    tap = LiveTap(["right"], config=SMALL)
    listener = Listener(tap)
    send("left", [frame(1)])
    netns.ip("link del right")
    listener.until(lambda: [condition.state for condition in tap.conditions()] == ["gone"])
    netns.veth()
    listener.until(lambda: tap.conditions() == [])
    send("left", [frame(2)])
    assert listener.finish() == [frame(1), frame(2)]
    assert [entry.name for entry in tap.interfaces] == ["right"]
    tap.close()


def test_two_named_interfaces_are_told_apart() -> None:
    netns.veth()
    tap = LiveTap(["left", "right"], config=SMALL)
    listener = Listener(tap)
    send("left", [frame(1)])
    assert listener.finish() == [frame(1), frame(1)]
    assert {tap.interfaces[packet.iface].name for packet in listener.packets} == {"left", "right"}
    tap.close()


def test_a_quiet_interface_ticks_and_is_said_to_be_silent() -> None:
    netns.veth()
    tap = LiveTap(["right"], config=SMALL, silent_after=0.2)
    listener = Listener(tap)
    listener.until(lambda: listener.ticks >= 3, 1.0)
    assert [condition.state for condition in tap.conditions()] == ["silent"]
    assert listener.finish() == []
    tap.close()


def test_stop_before_the_first_block_ends_at_once() -> None:
    netns.veth()
    tap = LiveTap(["right"], config=SMALL)
    tap.stop()
    assert list(tap.blocks()) == []
    tap.close()


def test_a_missing_interface_is_told_with_those_that_exist() -> None:
    netns.veth()
    with pytest.raises(CaptureError, match=r"nothere: no such interface; there are: left, lo, right") as caught:
        LiveTap(["nothere"])
    assert caught.value.exit_code == 3


def test_interfaces_are_listed_with_state_and_addresses() -> None:
    netns.veth()
    netns.ip("addr add 192.0.2.1/24 dev left")
    netns.ip("link set right down")
    found = {info.name: info for info in list_interfaces()}
    assert found["left"].addresses == ("192.0.2.1/24",)
    assert (found["left"].linktype, found["left"].supported, found["right"].state) == ("ETHERNET", True, "down")


def test_a_tunnel_without_a_link_header_is_captured_raw() -> None:
    with open("/dev/net/tun", "r+b", buffering=0) as tun:
        fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"tun9", 0x1001))  # TUNSETIFF: IFF_TUN, IFF_NO_PI
        netns.ip("link set tun9 up")
        tap = LiveTap(["tun9"], config=SMALL)
        assert tap.interfaces[0].linktype == 101
        packet = bytes.fromhex("4500001c000100004011f96f7f0000017f000001") + bytes(8)
        tun.write(packet)
        tap.stop()
        assert packet in [block.packet(n) for block in tap.blocks() if block for n in range(len(block))]
        tap.close()


def test_an_interface_of_an_unknown_kind_is_captured_cooked(walker: str) -> None:
    netns.veth()
    link = next(link for link in Follower().present.values() if link.name == "right")
    ring = Ring(dataclasses.replace(link, kind=512), SMALL, iface=0)
    assert ring.start(only(7)) is False
    send("left", [frame(1), frame(2, tags=b"\x81\x00\x20\x05")])
    blocks: list[bytes] = []
    deadline = time.monotonic() + 5
    while len(blocks) < 2 and time.monotonic() < deadline:
        if (block := ring.take()) is not None:
            blocks += [block.packet(n) for n in range(len(block))]
            assert block.release is not None
            block.release()
    sll = b"\x00\x01\x00\x01\x00\x06" + HEAD[6:] + b"\x00\x00"
    assert blocks == [sll + frame(1)[12:], sll + b"\x81\x00\x20\x05" + frame(2)[12:]]
    ring.close()


def test_a_capture_played_onto_a_wire_is_captured_as_it_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    sent = [frame(n, tags=b"\x81\x00\x00\x05" * (n % 2), size=50 + n) for n in range(500)]
    path.write_bytes(
        pcap_header() + b"".join(record(1, n * 200, data) for n, data in enumerate(sent)) + record(9, 0, b"short")
    )
    netns.veth()
    tap = LiveTap(["right"], config=SMALL)
    listener = Listener(tap)
    player = Player("left")
    fast = player.play(CaptureFile(path), speed=None)
    paced = player.play(CaptureFile(path), speed=2.0, longest_gap=0.01)
    assert listener.finish() == sent * 2
    assert (fast.sent, fast.octets, sum(fast.refused.values())) == (500, sum(map(len, sent)), 1)
    assert (paced.sent, paced.skipped) == (500, 0)
    assert 0.05 <= paced.seconds < 2
    stamps = [packet.ts for packet in listener.packets[500:]]
    assert 45_000_000 < stamps[-1] - stamps[0] < 1_000_000_000
    player.close()
    tap.close()


def test_packets_that_do_not_fit_the_interface_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap_header(net=101) + record(1, 0, b"\x45" + bytes(19)))
    netns.veth()
    assert Player("left").play(CaptureFile(path)).skipped == 1


def test_libpcap_delivers_the_same_frames_in_microseconds() -> None:
    pytest.importorskip("pcapy")
    netns.veth()
    tap = LibpcapTap("right", expression="ether proto 0x88b5")
    feed = tap.blocks()
    assert next(feed) is None
    sent = [frame(n, size=46 + n) for n in range(300)]
    send("left", [*sent, HEAD + b"\x88\xb6" + bytes(50)])
    tap.stop()
    blocks = [block for block in feed if block is not None]
    assert [block.packet(n) for block in blocks for n in range(len(block))] == sent
    assert all(int(ts) % 1000 == 0 for block in blocks for ts in block.ts)
    tap.close()
    assert tap.drops().kernel == 0
