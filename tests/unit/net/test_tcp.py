"""What a flow says of its TCP connection follows from the segments seen, whatever their numbers and order."""

from __future__ import annotations

from typing import Any

import pytest

from packhound.net.flow import End, State
from packhound.net.flowtable import FlowTable
from packhound.net.frame import Frame
from tests.support.conversations import ACK, FIN, MS, RST, SECOND, START, SYN, back, there

Script = list[Frame | tuple[int, Frame]]
EVERY_ISN = pytest.mark.parametrize("isn", [0, 1000, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFF00])


def play(script: Script, *, gap: int = MS, table: FlowTable | None = None) -> tuple[FlowTable, Any]:
    """Run segments `gap` ns apart (or at given offsets); return the table and the flow of the last one."""
    table = table or FlowTable(capacity=64)
    slot = -1
    for number, step in enumerate(script):
        at, f = step if isinstance(step, tuple) else (number * gap, step)
        slot, _, _ = table.update(f, wirelen=60, ts=START + at, iface=0)
    return table, table.row(slot)


def handshake(client: int = 100, server: int = 500) -> Script:
    """Open from `client` to `server` initial sequence numbers."""
    return [
        there(SYN, client),
        back(SYN | ACK, server, client + 1),
        there(ACK, client + 1, server + 1),
    ]


def goodbye(client: int = 101, server: int = 501) -> Script:
    """Close both ways, the client first."""
    return [
        there(FIN | ACK, client, server),
        back(FIN | ACK, server, client + 1),
        there(ACK, client + 1, server + 1),
    ]


def state_after(script: Script) -> State:
    return State(int(play(script)[1]["state"]))


def test_states_follow_a_whole_connection() -> None:
    script = [
        *handshake(), there(ACK, 101, 501, size=10), back(ACK, 501, 111), there(FIN | ACK, 111, 501),
        back(ACK, 501, 112), back(FIN | ACK, 501, 112), there(ACK, 112, 502),
    ]  # fmt: skip
    states = [state_after(script[: n + 1]).name for n in range(len(script))]
    assert states == [
        "SYN_SENT", "SYN_RECV", "ESTABLISHED", "ESTABLISHED", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK",
        "TIME_WAIT",
    ]  # fmt: skip


def test_both_fins_at_once_wait_for_both_acknowledgements() -> None:
    crossing: Script = [there(FIN | ACK, 101, 501), back(FIN | ACK, 501, 101)]
    assert state_after(handshake() + crossing) == State.LAST_ACK
    assert state_after([*handshake(), *crossing, there(ACK, 102, 502)]) == State.LAST_ACK
    assert state_after([*handshake(), *crossing, there(ACK, 102, 502), back(ACK, 502, 102)]) == State.TIME_WAIT


def test_reset_closes_and_nothing_reopens() -> None:
    closed = [*handshake(), back(RST | ACK, 501, 101)]
    assert state_after(closed) == State.CLOSED
    assert state_after([*closed, there(ACK, 101, 501, size=6), back(ACK, 501, 107)]) == State.CLOSED


def test_reset_after_both_fins_is_a_clean_end() -> None:
    table, row = play(handshake() + goodbye() + [there(RST, 102)])
    assert row["state"] == State.CLOSED
    table.expire(START + 6 * SECOND)
    assert table.drain()["end"].tolist() == [End.FIN]


def test_padding_is_no_payload_and_does_not_revive_a_closed_flow() -> None:
    table, row = play(handshake() + goodbye())
    table.update(back(ACK, 502, 102), wirelen=1518, ts=START + SECOND, iface=0)
    assert row["payload"].tolist() == [0, 0]
    assert row["state"] == State.TIME_WAIT


@pytest.mark.parametrize(
    ("script", "state"),
    [
        ([there(ACK, 5, 6)], State.MIDSTREAM),
        ([there(ACK, 5, 6, size=3), back(ACK, 6, 8, size=3)], State.MIDSTREAM),
        ([there(0, 5)], State.MIDSTREAM),
        ([there(SYN, 5), there(ACK, 6, 9)], State.ESTABLISHED),  # the server's side is not captured
        ([back(SYN | ACK, 5, 6), back(ACK, 6, 6, size=9)], State.ESTABLISHED),  # nor the client's
        ([there(SYN, 5), back(ACK, 77, 3)], State.SYN_SENT),  # challenge of a half-open connection (RFC 5961)
        ([there(SYN, 5), back(SYN, 9)], State.SYN_RECV),  # simultaneous open
        ([there(FIN, 5)], State.FIN_WAIT),
    ],
)
def test_states_of_partly_seen_connections(script: Script, state: State) -> None:
    assert state_after(script) == state


def test_syn_ack_first_means_the_other_side_opened() -> None:
    _, row = play([back(SYN | ACK, 500, 101), there(ACK, 101, 501, size=4)])
    assert (row["sport"], row["dport"]) == (40000, 80)
    assert row["packets"].tolist() == [1, 1]
    assert row["payload"].tolist() == [4, 0]
    assert row["state"] == State.ESTABLISHED


def test_a_late_syn_ack_mends_the_direction() -> None:
    _, row = play([back(ACK, 501, 101, size=7), back(SYN | ACK, 500, 101), there(ACK, 101, 508)])
    assert (row["sport"], row["dport"]) == (40000, 80)
    assert row["packets"].tolist() == [1, 2]
    assert row["payload"].tolist() == [0, 7]
    assert row["isn"].tolist() == [0, 500]
    assert row["state"] == State.ESTABLISHED


def test_mending_swaps_everything_that_has_a_direction() -> None:
    data = back(ACK, 501, 101, size=7, window=0)
    table, row = play([data, data, there(ACK, 101, 508, size=1)])
    row["fset"][:] = (3, 4)
    slot, direction, is_new = table.update(there(SYN, 100), wirelen=60, ts=START + 5 * MS, iface=0)
    assert (slot, direction, is_new) == (0, 0, False)
    assert (row["sport"], row["dport"]) == (40000, 80)
    assert row["fset"].tolist() == [4, 3]
    assert row["zero_window"].tolist() == [0, 2]
    assert row["retransmissions"].tolist() == [0, 1]
    assert row["packets"].tolist() == [2, 2]
    assert row["payload_packets"].tolist() == [1, 2]


def test_a_syn_from_a_side_never_heard_opens_a_connection() -> None:
    assert is_new_after([back(ACK, 501, 101, size=7)], there(SYN, 100))


# port reuse ----------------------------------------------------------------------------------------------------


def is_new_after(script: Script, f: Frame) -> bool:
    table, _ = play(script)
    return table.update(f, wirelen=60, ts=START + SECOND, iface=0)[2]


@EVERY_ISN
def test_a_retransmitted_syn_is_the_same_connection(isn: int) -> None:
    assert not is_new_after([there(SYN, isn)], there(SYN, isn))
    assert not is_new_after(handshake(isn), there(SYN, isn))
    assert not is_new_after([there(SYN, isn), back(RST | ACK, 0, isn + 1)], there(SYN, isn))  # refused, tried again


@EVERY_ISN
def test_a_new_syn_after_close_is_a_new_connection(isn: int) -> None:
    ended = handshake(isn, 500) + goodbye(isn + 1, 501)
    assert is_new_after(ended, there(SYN, isn + 70000))
    assert is_new_after(ended, there(SYN, isn))
    assert is_new_after(ended, back(SYN, 9))
    assert is_new_after([*handshake(isn), there(RST, isn + 1)], there(SYN, isn + 1))


@EVERY_ISN
def test_on_a_live_connection_only_a_far_syn_is_a_new_one(isn: int) -> None:
    live = handshake(isn)
    assert is_new_after(live, there(SYN, isn + 70000))
    assert is_new_after(live, there(SYN, isn - 70000))
    assert not is_new_after(live, there(SYN, isn + 300))
    assert is_new_after([there(SYN, isn)], there(SYN, isn + 300))


def test_a_stray_syn_inside_the_window_changes_no_number() -> None:
    _, row = play([*handshake(), there(SYN, 200), there(ACK, 101, 501, size=5)])
    assert row["isn"].tolist() == [100, 500]
    assert row["retransmissions"].tolist() == [0, 0]
    assert row["state"] == State.ESTABLISHED


def test_the_flow_that_made_way_says_why() -> None:
    table, row = play(handshake() + goodbye() + [there(SYN, 99999)])
    ended = table.drain()
    assert ended["end"].tolist() == [End.PORT_REUSE]
    assert ended["serial"].tolist() == [1]
    assert row["serial"] == 2
    assert row["packets"].tolist() == [1, 0]


def test_a_refused_connection_tried_again_can_succeed() -> None:
    refused: Script = [there(SYN, 100), back(RST | ACK, 0, 101)]
    assert (
        state_after([*refused, there(SYN, 100), back(SYN | ACK, 500, 101), there(ACK, 101, 501)]) == State.ESTABLISHED
    )


# loss ----------------------------------------------------------------------------------------------------------


def losses(script: Script) -> tuple[list[int], list[int]]:
    _, row = play(script)
    return row["retransmissions"].tolist(), row["out_of_order"].tolist()


@EVERY_ISN
def test_retransmissions_are_counted_across_the_wrap(isn: int) -> None:
    one, two = there(ACK, isn + 1, 501, size=100), there(ACK, isn + 101, 501, size=100)
    assert losses([*handshake(isn), one, two]) == ([0, 0], [0, 0])
    assert losses([*handshake(isn), one, one, two, one, two]) == ([3, 0], [0, 0])


@EVERY_ISN
def test_swapped_segments_are_out_of_order_late_ones_retransmissions(isn: int) -> None:
    one, two = there(ACK, isn + 1, 501, size=100), there(ACK, isn + 101, 501, size=100)
    assert losses([*handshake(isn), two, one]) == ([0, 0], [1, 0])
    assert losses([*handshake(isn), two, (SECOND, one)]) == ([1, 0], [0, 0])


def at_once(order: tuple[int, ...]) -> Script:
    """Parts of 10 bytes in this order, 1000 ns apart, long after the handshake."""
    return [(SECOND + 1000 * place, there(ACK, 101 + 10 * part, 501, size=10)) for place, part in enumerate(order)]


def test_every_second_segment_swapped_is_all_reordering() -> None:
    assert losses(handshake() + at_once((0, 2, 4, 1, 3))) == ([0, 0], [2, 0])


def test_one_missed_segment_does_not_freeze_the_account() -> None:
    later = [there(ACK, 201 + 10 * n, 501, size=10) for n in range(20)]
    assert losses(handshake() + later + [later[-1], later[-1]]) == ([2, 0], [0, 0])


def test_a_hole_filled_from_the_middle_keeps_both_rests() -> None:
    assert losses(handshake() + at_once((0, 5, 3, 1, 2, 4))) == ([0, 0], [4, 0])


def test_a_bogus_number_far_off_starts_the_account_anew() -> None:
    data = [there(ACK, 101 + 10 * n, 501, size=10) for n in range(9)]
    bogus = there(ACK, 101 + (1 << 31), 501, size=10)
    assert losses([*handshake(), *data[:3], bogus, *data[3:]]) == ([0, 0], [0, 0])


def test_keep_alives_are_no_retransmissions() -> None:
    data = there(ACK, 101, 501, size=10)
    alive: Script = [(n * 30 * SECOND, there(ACK, 110, 501, size=n % 2)) for n in range(1, 5)]
    assert losses([*handshake(), data, *alive]) == ([0, 0], [0, 0])


def test_window_probes_are_no_retransmissions() -> None:
    shut = back(ACK, 501, 111, window=0)
    probes = [there(ACK, 111, 501, size=1), shut] * 3
    script = [*handshake(), there(ACK, 101, 501, size=10), shut, *probes, there(ACK, 111, 501, size=10)]
    _, row = play(script)
    assert row["retransmissions"].tolist() == [0, 0]
    assert row["zero_window"].tolist() == [0, 4]


def test_syns_sent_again_are_retransmissions() -> None:
    assert losses([there(SYN, 100), there(SYN, 100), back(SYN | ACK, 500, 101), back(SYN | ACK, 500, 101)]) == (
        [1, 1],
        [0, 0],
    )


def test_a_first_segment_lost_before_the_data_is_noticed() -> None:
    assert losses([back(SYN | ACK, 500, 101), there(ACK, 201, 501, size=10), there(ACK, 101, 501, size=100)]) == (
        [0, 0],
        [1, 0],
    )


def test_an_empty_segment_shows_a_hole_too() -> None:
    late = (SECOND, there(ACK, 101, 501, size=10))
    assert losses([*handshake(), there(ACK, 111, 501), late]) == ([1, 0], [0, 0])


def test_flags_are_counted_and_gathered() -> None:
    _, row = play(handshake() + goodbye() + [there(RST, 102)])
    assert (row["syn"], row["fin"], row["rst"]) == (2, 2, 1)
    assert row["tcp_flags"].tolist() == [SYN | ACK | FIN | RST, SYN | ACK | FIN]
    assert row["has_isn"].tolist() == [1, 1]
    assert row["isn"].tolist() == [100, 500]


# handshake time ------------------------------------------------------------------------------------------------


def rtt(script: Script) -> int:
    return int(play(script)[1]["rtt"])


def test_the_handshake_is_timed_from_syn_to_ack() -> None:
    syn, syn_ack, ack = handshake()
    assert isinstance(syn, Frame)
    assert isinstance(syn_ack, Frame)
    assert isinstance(ack, Frame)
    assert rtt([(0, syn), (30, syn_ack), (50, ack)]) == 50
    assert rtt([(0, syn), (SECOND, syn), (SECOND + 30, syn_ack), (SECOND + 50, ack)]) == 50
    assert rtt([(0, syn), (30, syn_ack), (50, ack), (900, there(ACK, 101, 501, size=4))]) == 50
    assert rtt([(0, syn_ack), (50, ack)]) == -1
    assert rtt([(0, syn), (50, ack)]) == -1
    assert rtt([(0, syn), (30, syn_ack), (-50, ack), (80, there(ACK, 101, 501, size=4))]) == -1
