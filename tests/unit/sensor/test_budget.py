"""What a filter may take: a second's packets at once, then its rate; bytes in all; never at another's cost."""

from __future__ import annotations

from packhound.sensor.budget import SECOND, Budgets


def taken(budgets: Budgets, times: list[int], *, size: int = 100) -> int:
    return sum(bool(budgets.charge(frozenset({0}), ts=ts, size=size)) for ts in times)


def test_without_limits_nothing_is_charged() -> None:
    budgets = Budgets([(None, None), (None, None)])
    assert not budgets
    assert not budgets.limits_any(frozenset({0, 1}))
    assert budgets.charge(frozenset({0, 1}), ts=0, size=1) == {0, 1}


def test_a_burst_of_one_second_then_the_rate() -> None:
    budgets = Budgets([(10, None)])
    assert taken(budgets, [0] * 50) == 10
    assert taken(budgets, [SECOND // 2] * 50) == 5
    assert taken(budgets, [100 * SECOND] * 50) == 10, "a pause earns one second, no more"
    assert budgets.refused() == {0: 125}


def test_a_steady_stream_below_the_rate_is_never_refused() -> None:
    assert taken(Budgets([(10, None)]), [n * SECOND // 10 for n in range(1000)]) == 1000


def test_time_that_goes_back_earns_nothing() -> None:
    budgets = Budgets([(1, None)])
    assert taken(budgets, [10 * SECOND, 0, 5 * SECOND, 10 * SECOND]) == 1
    assert taken(budgets, [11 * SECOND]) == 1


def test_bytes_end_a_filter_at_the_packet_that_does_not_fit() -> None:
    budgets = Budgets([(None, 250)])
    assert taken(budgets, [0, 1, 2]) == 2
    assert taken(budgets, [3], size=50) == 1
    assert taken(budgets, [4], size=1) == 0


def test_others_are_left_alone() -> None:
    budgets = Budgets([(1, None), (None, None), (None, 1000)])
    assert budgets.charge(frozenset({0, 1, 2}), ts=0, size=10) == {0, 1, 2}
    assert budgets.charge(frozenset({0, 1, 2}), ts=0, size=10) == {1, 2}
    assert budgets.refused() == {0: 1}


def test_a_packet_refused_for_its_size_costs_no_packet() -> None:
    budgets = Budgets([(1, 100)])
    assert taken(budgets, [0], size=200) == 0
    assert taken(budgets, [0], size=100) == 1
