"""A guarded filter never gets a packet neither of whose ends is in its guard: flows, packets, and whole calls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from packhound.net.frame import decode
from packhound.rules.compile import compile_plan
from packhound.sensor.agent import Agent, AgentSettings
from packhound.sensor.tap.merge import open_captures
from tests.support.hunts import hunt
from tests.support.tape import Tape, offer, rtp, sip, udp

ETHERNET = 1


def shipped(capture: Path, *filters, guards, kernel: str) -> list[tuple[str, frozenset[str]]]:
    """(ends, filters) of every packet that was shipped."""
    plan = compile_plan(filters, revision=1, now=0, check_pcap=lambda _: None, guards=guards).plan
    found, records = [], []

    def take(batch):
        for at in range(len(batch)):
            frame = decode(batch.packet(at), linktype=ETHERNET)
            found.append((f"{frame.src[3]}-{frame.dst[3]}", frozenset(batch.fsets[int(batch.fset[at])])))

    tap = open_captures([str(capture)])
    agent = Agent(tap, settings=AgentSettings(kernel=kernel), on_batch=take,
                  on_flows=lambda rows, hosts, wanted: records.extend(wanted.items()))  # fmt: skip
    agent.set_plan(plan)
    agent.run()
    counters = agent.counters()
    assert counters["matched"] == len(found)
    assert counters["seen"] == sum(counters[k] for k in ("matched", "unmatched", "sampled_out", "shed"))
    found.sort()
    return found


@pytest.fixture
def call(tmp_path: Path) -> Path:
    """A call signalled between hosts 1 and 2 whose media goes between hosts 3 and 4."""
    tape = Tape()
    tape.add(udp(1, 5060, 2, 5060, sip("INVITE sip:bob@example.org SIP/2.0", call="c1", cseq="1 INVITE", sdp=offer(3, 4000))))
    tape.add(udp(2, 5060, 1, 5060, sip("SIP/2.0 200 OK", call="c1", cseq="1 INVITE", sdp=offer(4, 5000))))
    for n in range(5):
        tape.add(udp(3, 4000, 4, 5000, rtp(n, 7)), udp(4, 5000, 3, 4000, rtp(n, 8)))
    return tape.save(tmp_path / "call.pcap")


ALICE = {"field": "sip.user", "equals": "alice"}


@pytest.mark.parametrize("kernel", ["portable", "native"])
@pytest.mark.parametrize(
    ("guard", "ends"),
    [
        (None, {"1-2", "2-1", "3-4", "4-3"}),
        (["10.0.0.1"], {"1-2", "2-1"}),
        (["10.0.0.1", "10.0.0.4"], {"1-2", "2-1", "3-4", "4-3"}),
        (["10.0.0.4"], set()),  # the dialog is none of its business, so neither is the media
        ([], set()),
    ],
)
def test_a_call_is_taken_where_an_end_is_in_the_guard(call, guard, ends, kernel):
    found = shipped(call, hunt(ALICE, name="a"), guards={} if guard is None else {"a": guard}, kernel=kernel)
    assert {pair for pair, _ in found} == ends


@pytest.mark.parametrize("kernel", ["portable", "native"])
def test_two_filters_with_guards_of_their_own_do_not_see_each_others_packets(call, kernel):
    filters = hunt(ALICE, name="a"), hunt(ALICE, name="b"), hunt({"field": "port", "equals": 4000}, name="c")
    found = shipped(call, *filters, guards={"a": ["10.0.0.1"], "b": ["10.0.0.0/24"], "c": ["10.0.0.9"]}, kernel=kernel)
    assert set(found) == {("1-2", frozenset("ab")), ("2-1", frozenset("ab")), ("3-4", frozenset("b")),
                          ("4-3", frozenset("b"))}  # fmt: skip


@pytest.mark.parametrize("kernel", ["portable", "native"])
@pytest.mark.parametrize("scope", ["packet", "flow"])
def test_a_negation_does_not_reach_around_the_guard(call, scope, kernel):
    other = hunt({"not": {"field": "port", "equals": 9}}, name="n", scope=scope)
    found = shipped(call, other, guards={"n": ["10.0.0.3"]}, kernel=kernel)
    assert {pair for pair, _ in found} == {"3-4", "4-3"}


@pytest.mark.parametrize("kernel", ["portable", "native"])
def test_a_pcap_filter_alone_is_guarded_too(call, kernel):
    found = shipped(call, hunt(None, name="p", pcapFilter="udp"), guards={"p": ["10.0.0.2"]}, kernel=kernel)
    assert {pair for pair, _ in found} == {"1-2", "2-1"}


def test_what_is_no_ip_packet_is_nobodys(tmp_path: Path):
    arp = np.zeros(60, np.uint8).tobytes()
    tape = Tape().add(bytes(12) + b"\x08\x06" + arp)
    found = shipped(tape.save(tmp_path / "arp.pcap"), hunt(None, name="p", pcapFilter="len > 0"),
                    guards={"p": ["0.0.0.0/0"]}, kernel="native")  # fmt: skip
    assert found == []
