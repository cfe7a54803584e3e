"""Bytes that wait behind a gap are dissected when their flow ends: in order, once, and filters hear of them."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from packhound.net.detect import App
from packhound.net.facts import Fact
from packhound.run.look import Inspection
from packhound.sensor.agent import AgentSettings
from packhound.sensor.dissection import Dissection
from packhound.sensor.tap.merge import open_captures
from tests.support.capture_files import pcap_header, record
from tests.support.hunting import hunt, hunt_filter, leaf

ROW = {
    "serial": 1, "app": int(App.SMTP), "proto": 6, "payload_packets": [1, 1], "has_isn": [True, True], "isn": [99, 199],
}  # fmt: skip


def feed(dissection: Dissection, direction: int, seq: int, data: bytes, now: int) -> list[Fact]:
    event: dict[str, Any] = {"dir": direction, "seq": seq, "tcp_flags": 16}
    facts, _ = dissection.feed(ROW, event, data, size=len(data), now=now, number=now, iface=0)
    return facts


def words(facts: list[Fact]) -> list[object]:
    return [fact.fields.get("email.command") or fact.fields.get("smtp.status") for fact in facts]


def test_what_waits_is_handed_over_at_the_end_in_order_of_arrival() -> None:
    dissection = Dissection()
    assert words(feed(dissection, 1, 200, b"220 ready\r\n", 1)) == [220]
    assert words(feed(dissection, 0, 100, b"EHLO a\r\n", 2)) == ["EHLO"]
    assert feed(dissection, 0, 120, b"x\r\nMAIL FROM:<a@b>\r\n", 3) == []  # bytes 108 to 119 never come
    assert feed(dissection, 1, 220, b"y\r\n250 ok\r\n", 4) == []
    assert feed(dissection, 0, 300, b"\r\nQUIT\r\n", 5) == []
    late = dissection.finish(1)
    assert [(each.direction, each.number, words(each.facts)) for each in late] == [
        (0, 5, ["MAIL"]), (1, 4, [250]), (0, 5, ["QUIT"]),
    ]  # fmt: skip
    assert dissection.messages == {"smtp.reply": 2, "smtp.command": 3}
    assert dissection.finish(1) == []


def test_flows_that_hold_nothing_or_are_unknown_say_nothing() -> None:
    dissection = Dissection()
    feed(dissection, 0, 100, b"EHLO a\r\n", 2)
    assert dissection.finish(1) == []
    assert dissection.finish(2) == []


def packet(direction: int, seq: int, data: bytes, flags: int = 0x18) -> bytes:
    """Ethernet, IPv4, TCP between a client and port 25."""
    ends = [(bytes((10, 0, 0, 1)), 40000), (bytes((10, 0, 0, 2)), 25)]
    (src, sport), (dst, dport) = ends if direction == 0 else ends[::-1]
    tcp = struct.pack("!HHIIBBHHH", sport, dport, seq, 0, 0x50, flags, 65535, 0, 0) + data
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, src, dst)
    return bytes(12) + b"\x08\x00" + ip + tcp


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A mail session that loses a segment; the sender of the mail stands behind the gap."""
    frames = [
        packet(0, 99, b"", 2), packet(1, 199, b"", 0x12), packet(1, 200, b"220 ESMTP\r\n"), packet(0, 100, b"EHLO a\r\n"),
        packet(1, 211, b"250 ok\r\n"), packet(0, 120, b"\r\nMAIL FROM:<spy@example.org>\r\n"), packet(0, 200, b"", 0x11),
        packet(1, 219, b"", 0x11),
    ]  # fmt: skip
    path = tmp_path / "gap.pcap"
    path.write_bytes(pcap_header() + b"".join(record(1, n, data) for n, data in enumerate(frames, 1)))
    return path


@pytest.mark.parametrize("kernel", ["auto", "portable"])
def test_inspection_shows_it_with_the_frame_that_brought_it(capture: Path, kernel: str) -> None:
    tap = open_captures([str(capture)])
    rows = list(Inspection(tap, settings=AgentSettings(kernel=kernel)).rows())
    tap.close()
    kinds = [(row["frame"], row["kind"]) for row in rows if "frame" in row]
    assert kinds == [(3, "smtp.reply"), (4, "smtp.command"), (5, "smtp.reply"), (6, "smtp.command")]
    (mail,) = [row for row in rows if "email.from" in row]
    assert (mail["email.from"], mail["ip.src"], mail["time_ns"]) == ("spy@example.org", "10.0.0.1", 1_000_006_000)
    assert rows[-1]["kind"] == "flow"  # a flow's messages come before its record


def test_a_filter_on_it_wants_the_packets_that_were_kept(capture: Path, tmp_path: Path) -> None:
    ran = hunt(tmp_path, capture, [hunt_filter("spy", leaf("email.from", "equals", "spy@example.org"))]).balanced()
    assert ran.matched("t/spy") == 8
    assert hunt(tmp_path, capture, [hunt_filter("no", leaf("email.from", "equals", "x@y"))], out="no").balanced().matched("t/no") == 0
