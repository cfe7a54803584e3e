"""A capture played over a wire into `run -i` gives what `run -r` gives on the file.

Allowed to differ, and nothing else:
- the clock: packet and flow times, round trip times, set-up times of calls, hour folders, and with them why a flow
  ended (a pause that is played faster is no time-out) and its TCP state then;
- the interface name;
- flow serials (`flow.id`), for packets that the machine itself puts on the wire would take one.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from packhound.sensor.tap.files import CaptureFile
from packhound.sensor.tap.replay import Player
from tests.support import headers, netns
from tests.support.corpus import CORPUS, needs_corpus
from tests.support.hunting import Ran, hunt, hunt_filter, leaf, recorded, write_filters

pytestmark = [netns.needs_root, needs_corpus, pytest.mark.timeout(60)]

DATAGRAM = bytes(12) + b"\x08\x00" + headers.ip4(17, headers.udp(bytes(1400)))
PACKHOUND = Path(sys.executable).with_name("packhound")
FILTERS = [
    hunt_filter("invites", leaf("sip.method", "equals", "INVITE"), actions={"record": {"perCall": True}}),
    hunt_filter("hosts", {"any": [
        leaf("tls.sni", "suffix", ".com", ".net"), leaf("http.host", "contains", "wiki"),
        leaf("dns.qname", "domain", ".wikipedia.org", ".com"),
    ]}),
    hunt_filter("names", pcapFilter="udp port 53"),
    hunt_filter("packets", leaf("dns.rcode", "equals", "NXDOMAIN"), scope="packet"),
]  # fmt: skip
CLOCK = {
    "time", "date", "hour", "time_ns", "flow.first_ns", "flow.last_ns", "flow.tcp.rtt_ns", "flow.end", "flow.state",
    "call.start_ns", "call.ringing_ns", "call.answer_ns", "call.end_ns", "call.last_ns", "call.recordings",
    "dns.response_time", "http.response_time", "grpc.duration",
}  # fmt: skip
DIFFERENT = CLOCK | {"interface", "flow.id"}


@pytest.fixture(autouse=True)
def alone():
    with netns.namespace():
        netns.veth()
        for name in ("left", "right"):
            netns.ip(f"link set {name} mtu 65535")
        yield


class Live:
    """`packhound run -i right` as a process of its own."""

    def __init__(self, where: Path, *arguments: str) -> None:
        self.out = where / "live"
        self.log = where / "live.log"
        self._log = self.log.open("w")
        self.process = subprocess.Popen(
            [PACKHOUND, "run", "-i", "right", "--out", self.out, "--json", *arguments],
            stdout=subprocess.PIPE, stderr=self._log, text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while "filters in force" not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, "it did not start"
            time.sleep(0.02)

    def stop(self) -> Ran:
        """Ctrl-C, and what it printed."""
        self.process.send_signal(signal.SIGINT)
        printed, _ = self.process.communicate(timeout=20)
        self._log.close()
        said = self.log.read_text()
        assert printed.strip(), said
        return Ran(self.process.returncode, json.loads(printed.strip().splitlines()[-1]), said, self.out)


def flat(rows: list[dict[str, Any]], leave: set[str]) -> Counter[str]:
    return Counter(
        json.dumps({k: v for k, v in row.items() if k not in leave}, sort_keys=True, default=str) for row in rows
    )


@pytest.mark.parametrize(
    "capture",
    ["sipp-generated/sipp-10calls.pcap", "ja4/latest.pcapng", "zeek/wikipedia.pcap", "sipnab/rtp-protocol.pcap"],
)
def test_a_wire_gives_what_the_file_gives(tmp_path: Path, capture: str) -> None:
    path = CORPUS / "captures" / capture
    filters = write_filters(tmp_path / "filters.yaml", *FILTERS)
    live = Live(tmp_path, "-f", str(filters))
    player = Player("left")
    played = player.play(CaptureFile(path), speed=10, longest_gap=0.3)
    player.close()
    assert (played.skipped, sum(played.refused.values()), played.cut) == (0, 0, 0)
    time.sleep(0.3)
    wire = live.stop().balanced()
    file = hunt(tmp_path, path, FILTERS).balanced()

    assert wire.account["kernel_dropped"] == {}, "the machine was too slow: the comparison means nothing"
    assert wire.outcome["counters"]["dropped_kernel"] == 0
    for key in ("seen", "seen_bytes", "matched", "unmatched", "sampled_out", "shed", "created", "captured"):
        assert wire.outcome["counters"][key] == file.outcome["counters"][key], key
    assert file.outcome["counters"]["matched"] > 0
    assert wire.outcome["books"] == file.outcome["books"]
    assert wire.outcome["messages"] == file.outcome["messages"]
    for table in ("flows", "calls", "messages", "alerts"):
        assert flat(wire.rows(table), DIFFERENT) == flat(file.rows(table), DIFFERENT), table
    assert [(p.data, p.wirelen, p.comment) for p in wire.packets()] == [
        (p.data, p.wirelen, p.comment) for p in file.packets()
    ]
    assert {p.interface for p in wire.packets()} == {"right"}
    assert [[p.data for p in recorded(f)] for f in by_call(wire)] == [
        [p.data for p in recorded(f)] for f in by_call(file)
    ]


def by_call(ran: Ran) -> list[Path]:
    return sorted(ran.call_files(), key=lambda path: path.name)


def test_a_ring_that_overflows_is_in_the_books_and_the_json(tmp_path: Path) -> None:
    live = Live(tmp_path, "-f", str(write_filters(tmp_path / "f.yaml", hunt_filter("all", pcapFilter="udp"))))
    live.process.send_signal(signal.SIGSTOP)
    sent = 60_000  # 84 MB, more than a ring holds
    with netns.wire("left") as sock:
        for _ in range(sent):
            sock.send(DATAGRAM)
    live.process.send_signal(signal.SIGCONT)
    time.sleep(0.5)
    ran = live.stop().balanced()
    dropped = ran.outcome["counters"]["dropped_kernel"]
    assert dropped > 0
    assert ran.account["seen"] == sent
    assert ran.account["recorded"] + dropped == sent
    assert ran.account["kernel_dropped"] == {"kernel": dropped}
