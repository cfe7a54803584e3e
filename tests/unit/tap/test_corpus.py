"""Every capture of the corpus gives as many frames, bytes and the same first and last time as tshark reads.

Where the two differ the reason is written down; anything else is a failure.
"""

from __future__ import annotations

import pytest

from packhound.net import linktypes
from packhound.sensor.tap.files import CaptureFile
from tests.support.capture_files import read
from tests.support.corpus import CORPUS, expected, needs_corpus

DIFFERENT = {
    "captures/pcapplusplus/PcapExamples__pcapng-example.pcapng": "a time beyond 64 signed bits of ns: ours saturates",
    "captures/tcpdump/atm-heapoverflow.pcap": "tshark takes 4 bytes of ATM pseudo-header off the frame",
    "captures/tcpdump/hoobr_juniper3.pcap": "tshark refuses the link type and reads nothing; we read, then refuse",
    "captures/tcpdump/vtp_asan-2.pcap": "tshark refuses the link type and reads nothing; we read, then refuse",
    "captures/tcpdump/vtp_asan.pcap": "tshark refuses the link type and reads nothing; we read, then refuse",
}
#: The one capture that is damaged as a file.
DAMAGED = "captures/suricata-verify/smtp-to-comma__10.7.29.101_49898-178.63.41.150_25.pcap"


def _near(ours: int, seconds: float) -> bool:
    return abs(ours / 1e9 - seconds) < 2e-6


@needs_corpus
@pytest.mark.timeout(60)
def test_frames_bytes_and_times_are_those_of_tshark() -> None:
    differs = set()
    for row in expected("tshark_summary"):
        name, peer = row["capture"], row["expected"]
        tap = CaptureFile(CORPUS / name)
        packets = read(tap)
        tap.close()
        same = len(packets) == (peer["frames"] or 0) and sum(packet.wirelen for packet in packets) == (
            peer["bytes"] or 0
        )
        if same and packets:
            # tshark's first and last are those of the file in some captures, the earliest and latest in others
            first, last = {packets[0].ts, min(p.ts for p in packets)}, {packets[-1].ts, max(p.ts for p in packets)}
            same = any(_near(ts, peer["first"]) for ts in first) and any(_near(ts, peer["last"]) for ts in last)
        if not same:
            differs.add(name)
        unread = tap.interfaces and not any(linktypes.supported(entry.linktype) for entry in tap.interfaces)
        assert (tap.fault is not None) == bool(name == DAMAGED or unread), f"{name}: {tap.fault}"
    assert differs == set(DIFFERENT)
