"""The flow table counts every packet once, on the right flow and side, and ends flows in a stated order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from packhound.net.detect import App
from packhound.net.flow import DRAINING, FLOW_DTYPE, MEDIA, End
from packhound.net.flowtable import FlowTable, class_of
from packhound.net.frame import Frame
from packhound.net.timeouts import BY_STATE, Class, Timeouts, as_array
from tests.support.conversations import ACK, FIN, MS, RST, SECOND, START, SYN, back, frame, there


def table_with(frames: Iterable[Frame], *, capacity: int = 64, gap: int = 0) -> FlowTable:
    table = FlowTable(capacity=capacity)
    for number, f in enumerate(frames):
        table.update(f, wirelen=100, ts=START + number * gap, iface=3)
    return table


def ended(table: FlowTable) -> list[tuple[int, str]]:
    """Serial and reason of the flows that ended, in order."""
    return [(int(row["serial"]), End(int(row["end"])).name) for row in table.drain()]


# which packets are one flow --------------------------------------------------------------------------------------


def test_both_directions_are_one_flow_with_two_sides() -> None:
    table = table_with([frame(1, 2, size=10), frame(2, 1, sport=53, dport=1000, size=30), frame(1, 2)], gap=MS)
    row = table.row(0)
    assert table.counters["created"] == 1
    assert row["packets"].tolist() == [2, 1]
    assert row["bytes"].tolist() == [200, 100]
    assert row["payload"].tolist() == [10, 30]
    assert row["payload_packets"].tolist() == [1, 1]
    assert (row["first"], row["last"]) == (START, START + 2 * MS)
    assert (row["serial"], row["slot"], row["iface"]) == (1, 0, 3)


@pytest.mark.parametrize(
    "other",
    [
        frame(1, 2, sport=1001), frame(1, 2, dport=54), frame(1, 3), frame(3, 2), frame(1, 2, proto=6),
        frame(1, 2, tenant=5), frame(1, 2, version=6), frame(2, 1),
    ],
)  # fmt: skip
def test_what_differs_in_the_key_is_another_flow(other: Frame) -> None:
    assert table_with([frame(1, 2), other]).counters["created"] == 2


def test_vlan_tags_do_not_split_a_flow() -> None:
    table = table_with([frame(1, 2, vlan=7), frame(2, 1, sport=53, dport=1000, vlan=8)])
    assert table.counters["created"] == 1
    assert table.row(0)["vlan"] == 7


@pytest.mark.parametrize(("proto", "kind", "reply"), [(1, 8, 0), (1, 13, 14), (58, 128, 129), (58, 135, 136)])
def test_icmp_questions_and_answers_are_one_flow(proto: int, kind: int, reply: int) -> None:
    version = 4 if proto == 1 else 6
    question = frame(1, 2, proto=proto, version=version, sport=kind, dport=reply)
    answer = frame(2, 1, proto=proto, version=version, sport=reply, dport=kind)
    assert table_with([question, answer]).counters["created"] == 1


@pytest.mark.parametrize(("proto", "one", "two"), [(1, 3, 11), (1, 5, 3), (58, 1, 3), (1, 3, 3)])
def test_one_way_icmp_messages_never_join_the_other_direction(proto: int, one: int, two: int) -> None:
    there_ = frame(1, 2, proto=proto, sport=one, dport=two)
    assert table_with([there_, frame(2, 1, proto=proto, sport=two, dport=one)]).counters["created"] == 2


def test_a_packet_to_itself_has_a_direction() -> None:
    table = table_with([frame(1, 1, sport=9, dport=9)] * 2)
    assert table.row(0)["packets"].tolist() == [2, 0]


def test_protocols_without_ports_have_flows() -> None:
    table = table_with([frame(1, 2, proto=47, sport=0, dport=0), frame(2, 1, proto=47, sport=0, dport=0)])
    assert table.row(0)["packets"].tolist() == [1, 1]


# time ------------------------------------------------------------------------------------------------------------


def test_time_that_steps_back_moves_first_and_ends_nothing_early() -> None:
    table = FlowTable(capacity=8)
    for offset in (50, -100, 20):
        table.update(frame(1, 2), wirelen=100, ts=START + offset * SECOND, iface=0)
    row = table.row(0)
    assert (row["first"], row["last"]) == (START - 100 * SECOND, START + 50 * SECOND)
    assert table.counters["created"] == 1


def test_silence_as_long_as_the_timeout_ends_a_flow_not_a_ns_less() -> None:
    for silence, created in ((60 * SECOND - 1, 1), (60 * SECOND, 2)):
        table = table_with([frame(1, 2)] * 2, gap=silence)
        assert table.counters["created"] == created


def test_the_silent_end_while_others_talk() -> None:
    table = table_with([frame(1, 2)])
    for second in range(70):
        table.update(frame(8, 9), wirelen=60, ts=START + second * SECOND, iface=0)
    assert ended(table) == [(1, "IDLE")]


def test_drain_gives_every_ended_flow_once() -> None:
    table = table_with([frame(1, 2), frame(3, 4)])
    table.expire(START + 100 * SECOND)
    assert len(table.drain()) == 2
    assert len(table.drain()) == 0
    assert table.drain().dtype == FLOW_DTYPE


def test_shutdown_ends_everything_in_order_of_serial() -> None:
    table = table_with([frame(n, 100) for n in range(9)] + [frame(3, 100)])
    table.expire(START + 1)
    table.flush()
    assert ended(table) == [(n + 1, "SHUTDOWN") for n in range(9)]
    assert table.counters["active"] == 0


def test_a_closed_flow_takes_late_packets_for_five_seconds() -> None:
    table = table_with([there(SYN, 1), back(RST | ACK, 0, 2)])
    assert not table.update(there(ACK, 2), wirelen=60, ts=START + 5 * SECOND - 1, iface=0)[2]
    table.expire(START + 11 * SECOND)
    assert ended(table) == [(1, "RST")]


# timeouts --------------------------------------------------------------------------------------------------------

OPEN = [there(SYN, 1), back(SYN | ACK, 5, 2), there(ACK, 2, 6)]
UDP_BOTH = [frame(1, 2, size=1), frame(2, 1, sport=53, dport=1000, size=1)]


@pytest.mark.parametrize(
    ("frames", "app", "flags", "seconds"),
    [
        (OPEN[:1], App.UNKNOWN, 0, 60),
        (OPEN[:2], App.TLS, 0, 60),
        (OPEN, App.UNKNOWN, 0, 300),
        (OPEN, App.DNS, 0, 300),
        (OPEN, App.HTTP, 0, 600),
        (OPEN, App.TLS, 0, 600),
        (OPEN, App.SIP, 0, 600),
        (OPEN, App.SSH, 0, 1800),
        ([*OPEN, there(FIN | ACK, 2, 6)], App.SSH, 0, 60),
        ([*OPEN, there(FIN | ACK, 2, 6), back(FIN | ACK, 6, 3)], App.TLS, 0, 60),
        ([*OPEN, there(FIN | ACK, 2, 6), back(FIN | ACK, 6, 3), there(ACK, 3, 7)], App.TLS, 0, 30),
        ([*OPEN, there(RST, 2)], App.TLS, 0, 5),
        (UDP_BOTH, App.UNKNOWN, 0, 60),
        (UDP_BOTH, App.DNS, 0, 30),
        (UDP_BOTH, App.MDNS, 0, 60),
        (UDP_BOTH, App.SSH, 0, 1800),
        (UDP_BOTH, App.RTP, 0, 60),
        (UDP_BOTH, App.RTCP, 0, 60),
        (UDP_BOTH, App.RTP, MEDIA, 600),
        (OPEN, App.SIP, MEDIA, 600),
        (UDP_BOTH, App.QUIC, 0, 60),
        (UDP_BOTH * 2, App.QUIC, 0, 300),
        (UDP_BOTH * 2, App.QUIC, DRAINING, 10),
        ([frame(1, 2, proto=1, sport=8, dport=0)], App.UNKNOWN, 0, 60),
        ([frame(1, 2, proto=132)], App.UNKNOWN, 0, 60),
    ],
)
def test_the_timeout_is_that_of_state_and_application(frames: list[Frame], app: App, flags: int, seconds: int) -> None:
    for silence, alive in ((seconds * SECOND - 1, 1), (seconds * SECOND, 0)):
        table = table_with(frames)
        row = table.row(0)
        row["app"], row["flags"] = app, flags  # written after the newest packet, as detection does
        table.expire(START + silence)
        assert table.counters["active"] == alive


def test_a_verdict_on_an_older_flow_takes_effect_when_the_table_is_told() -> None:
    table = table_with([frame(1, 2), frame(3, 4)])
    table.row(0)["flags"] = MEDIA
    table.changed(0)
    table.expire(START + 60 * SECOND)
    assert ended(table) == [(2, "IDLE")]
    table.row(0)["flags"] = 0
    table.changed(0)
    table.changed(1)  # free: nothing happens
    table.expire(START + 120 * SECOND)
    assert ended(table) == [(1, "IDLE")]


def test_every_state_that_decides_has_a_finite_class() -> None:
    assert set(BY_STATE.values()) <= set(Class)
    assert len(as_array(Timeouts())) == len(Class)


@pytest.mark.parametrize("value", [0, -1, 1 << 63])
def test_a_timeout_that_is_no_time_is_refused(value: int) -> None:
    with pytest.raises(ValueError, match="udp timeout"):
        FlowTable(timeouts=Timeouts(udp=value))


@pytest.mark.parametrize("capacity", [0, -3, 1 << 40])
def test_a_table_of_no_size_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match="between 1 and"):
        FlowTable(capacity=capacity)


# eviction --------------------------------------------------------------------------------------------------------


def test_the_least_recently_used_goes_first() -> None:
    table = table_with([frame(1, 9), frame(2, 9), frame(3, 9), frame(1, 9)], capacity=3, gap=MS)
    table.update(frame(4, 9), wirelen=60, ts=START + SECOND, iface=0)
    assert ended(table) == [(2, "EVICTED")]
    assert table.counters["evicted_live"] == table.counters["evicted"] == 1


def mark(table: FlowTable, slot: int, *, flags: int = 0, app: int = 0) -> None:
    row = table.row(slot)
    row["flags"], row["app"] = flags, app
    table.changed(slot)


def test_finished_go_before_idle_before_live_before_media() -> None:
    table = FlowTable(capacity=4)
    table.update(frame(1, 9), wirelen=60, ts=START, iface=0)  # media
    mark(table, 0, flags=MEDIA)
    at = START + 10 * SECOND
    for f in (there(SYN, 1), back(SYN | ACK, 5, 2), there(ACK, 2, 6)):  # idle: longest silent of those that live
        table.update(f, wirelen=60, ts=at, iface=0)
    at += 70 * SECOND
    table.update(frame(3, 9), wirelen=60, ts=at, iface=0)  # live
    for f in (frame(5, 6, proto=6, flags=SYN, seq=9), frame(5, 6, proto=6, flags=RST)):  # finished
        table.update(f, wirelen=60, ts=at + SECOND, iface=0)
    order: list[Any] = []
    for n in range(4):
        table.update(frame(20 + n, 9), wirelen=60, ts=at + SECOND + n, iface=0)
        mark(table, int(np.flatnonzero(table._rows["serial"] == 5 + n)[0]), flags=MEDIA)
        order += ended(table)
    assert [serial for serial, _ in order] == [4, 2, 3, 1]
    causes = {name: count for name, count in table.counters.items() if name.startswith("evicted_")}
    assert causes == {"evicted_finished": 1, "evicted_idle": 1, "evicted_live": 1, "evicted_media": 1}


def test_a_full_table_of_one_goes_on() -> None:
    table = table_with([frame(n, 999) for n in range(50)], capacity=1)
    assert table.counters["evicted"] == 49
    assert table.counters["active"] == 1


def test_the_books_of_the_table_close() -> None:
    table = table_with([frame(n % 37, 99, size=n) for n in range(500)], capacity=16, gap=SECOND)
    table.flush()
    rows = table.drain()
    counters = table.counters
    assert len(rows) == counters["created"]
    assert rows["packets"].sum() == 500
    assert sum(counters[name] for name in counters if name.startswith("ended_")) + counters["evicted"] == len(rows)
    assert sorted(rows["serial"].tolist()) == list(range(1, len(rows) + 1))


def test_class_follows_the_record() -> None:
    table = table_with([frame(1, 2)])
    assert class_of(table.row(0)) == Class.UDP
