"""Packets of undecided flows: one pile a flow, its first packets, bounded; what ends waits to be taken."""

from __future__ import annotations

from packhound.sensor.kernel.holding import Hold, Row


def row(ts: int, serial: int, size: int = 10) -> Row:
    return ts, size, 0, ts, bytes(size), serial, 0, 0, 0


def hold(fsets: dict[int, tuple[int, int]] | None = None, *, packets: int = 3, total: int = 1000) -> Hold:
    made = Hold(lambda _slot, serial: (fsets or {}).get(serial))
    made.pile_packets, made.pile_bytes, made.total_bytes = packets, 100, total
    return made


def stamps(rows: list[Row]) -> list[int]:
    return [each[0] for each in rows]


def test_a_pile_is_taken_once_by_slot_and_serial() -> None:
    kept = hold()
    assert kept.add(0, 1, row(1, 1), media=False)
    assert kept.add(0, 1, row(2, 1), media=False)
    assert kept.take(0, 2) == []
    assert stamps(kept.take(0, 1)) == [1, 2]
    assert kept.take(0, 1) == []
    assert kept.holding == 0


def test_a_full_pile_refuses() -> None:
    kept = hold()
    assert [kept.add(0, 1, row(ts, 1), media=False) for ts in range(4)] == [True, True, True, False]


def test_a_slot_used_again_leaves_the_ended_flows_pile_to_be_taken() -> None:
    kept = hold()
    kept.add(0, 1, row(1, 1), media=False)
    kept.add(0, 2, row(2, 2), media=False)
    assert kept.holding == 2
    assert stamps(kept.take(0, 1)) == [1]
    assert stamps(kept.take(0, 2)) == [2]


def test_a_pile_dropped_is_counted() -> None:
    kept = hold()
    kept.add(0, 1, row(1, 1), media=False)
    kept.add(0, 1, row(2, 1), media=False)
    assert kept.drop(0, 1) == 2
    assert (kept.dropped, kept.holding) == (2, 0)


def test_over_budget_the_oldest_goes_a_wanted_one_to_python() -> None:
    kept = hold({1: (0, 0), 2: (0, 4)}, total=25)
    for slot, serial in ((0, 1), (1, 2), (2, 3), (3, 4)):
        kept.add(slot, serial, row(serial, serial), media=False)
    assert kept.dropped == 1
    assert [(one, other, stamps(rows)) for one, other, rows in kept.given_up()] == [(0, 4, [2])]
    assert kept.given_up() == []
    assert kept.holding == 2


def test_age_drops_old_packets_and_empty_piles() -> None:
    kept = hold()
    for slot, serial, ts in ((0, 1, 1), (1, 2, 2), (0, 1, 5)):
        kept.add(slot, serial, row(ts, serial), media=False)
    kept.age(5)
    assert (kept.dropped, kept.packets, kept.bytes) == (2, 1, 10)
    assert stamps(kept.take(0, 1)) == [5]
    assert kept.take(1, 2) == []


def test_media_of_calls_has_more_room() -> None:
    kept = Hold(lambda _slot, _serial: (0, 0))
    kept.pile_packets = 2
    assert [kept.add(0, 1, row(ts, 1), media=True) for ts in range(17)] == [True] * 16 + [False]
