"""Recordings as others read them: tshark and capinfos."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from packhound.processor.service import Processor
from packhound.processor.store.segments import InterfaceDrops
from packhound.sensor.tap.frames import Interface
from tests.support.batches import START, batch_of, batches_of, udp_packet
from tests.support.corpus import CORPUS, needs_corpus

pytestmark = pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")

CAPTURES = ("captures/sipnab/sip-rtp-g711.pcap", "captures/arkime/gtp-iphone.pcap")


def tshark(path, *fields: str) -> list[list[str]]:
    wanted = [word for field in fields for word in ("-e", field)]
    done = subprocess.run(
        ["tshark", "-n", "-r", str(path), "-T", "fields", *wanted], check=True, capture_output=True, text=True
    )
    assert not done.stderr.replace('Running as user "root" and group "root". This could be dangerous.', "").strip()
    return [line.split("\t") for line in done.stdout.splitlines()]


@pytest.fixture
def recording(tmp_path):
    processor = Processor(tmp_path, clock=lambda: START)
    interfaces = [Interface("eth0", 1, 262144, 0, "uplink"), Interface("tun0", 101, 0, 1)]
    packets = [udp_packet(), udp_packet(1)[14:], udp_packet(2)]
    processor.accept(batch_of(
        packets, iface=[0, 1, 0], interfaces=interfaces, ts=[START, START + 1, START + 2], wirelen=[1500, 68, 9000],
        app=9, flow=3, calls=["c\x1b[31m@x"] * 3,
    ))  # fmt: skip
    processor.note_drops(InterfaceDrops(received=10, kernel=5, interface=2), index=0)
    processor.close()
    return processor.recordings[0]


def test_tshark_reads_nanoseconds_lengths_interfaces_and_comments(recording):
    rows = tshark(recording, "frame.time_epoch", "frame.len", "frame.cap_len", "frame.interface_name", "frame.comment")
    assert [row[:4] for row in rows] == [
        ["1700000000.123456789", "1500", "82", "eth0"],
        ["1700000000.123456790", "68", "68", "tun0"],
        ["1700000000.123456791", "9000", "82", "eth0"],
    ]
    words = rows[0][4].split(" ")
    assert words[:2] == ["filter=voice/alice", "protocol=sip"]
    assert words[2].startswith("flow=1:")
    assert words[3].endswith("@x")


def test_the_community_id_is_tsharks(recording):
    done = subprocess.run(
        ["tshark", "-n", "-r", str(recording), "--enable-protocol", "communityid", "-T", "fields", "-e", "communityid",
         "-e", "frame.comment"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    for line in done.stdout.splitlines():
        community, comment = line.split("\t")
        assert community.startswith("1:")
        assert f"flow={community} " in comment


def test_capinfos_sees_interfaces_and_order(recording):
    text = subprocess.run(["capinfos", str(recording)], check=True, capture_output=True, text=True).stdout
    assert "nanoseconds" in text
    assert "Number of interfaces in file: 2" in text
    assert "Name = eth0" in text
    assert "Description = uplink" in text
    assert "Name = tun0" in text
    assert "Number of stat entries = 1" in text
    assert "Capture application: packhound" in text
    assert "Capture hardware" not in text
    assert "Capture oper-sys" not in text


def test_drops_are_in_the_statistics(recording):
    text = subprocess.run(
        ["tshark", "-r", str(recording), "-X", "read_format:MIME Files Format", "-V"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    counts = [int(count) for _, count in re.findall(r"Option: Number of (.+?) = (\d+)", text)]
    assert counts == [
        10,
        2,
        5,
        2,
        1,
    ]  # eth0: received, dropped by interface, by system, in this file; tun0: in this file


@needs_corpus
def test_a_recorded_capture_is_the_capture(tmp_path):
    captures = sorted(path for path in (CORPUS / "captures" / "sipnab").rglob("*.pcap*"))[:4]
    assert captures
    for number, capture in enumerate(captures):
        processor = Processor(tmp_path / str(number), clock=lambda: START)
        for batch in batches_of(capture):
            processor.accept(batch)
        processor.close()
        fields = ("frame.time_epoch", "frame.len", "frame.cap_len", "frame.protocols")
        recorded = [row for path in processor.recordings for row in tshark(path, *fields)]
        assert sorted(recorded) == sorted(tshark(capture, *fields)), capture
