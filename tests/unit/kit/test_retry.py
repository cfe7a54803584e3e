"""Waits double up to a ceiling, are spread over all of it, and do not shrink for what breaks at once."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.kit.retry import MILLISECOND, SECOND, Backoff, RetryPolicy


def test_ceilings_double_from_one_second_to_sixty():
    policy = RetryPolicy()
    assert [policy.ceiling_ns(n) // SECOND for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert policy.ceiling_ns(10_000) == 60 * SECOND


@given(st.integers(1, 200), st.floats(0, 1, exclude_max=True))
def test_every_wait_is_between_floor_and_ceiling(attempts, share):
    backoff = Backoff(uniform=lambda: share)
    waits = [backoff.next_ns() for _ in range(attempts)]
    policy = backoff.policy
    assert all(policy.floor_ns <= wait <= policy.ceiling_ns(n) for n, wait in enumerate(waits, 1))


def test_a_thousand_clients_come_back_spread_over_the_interval():
    seeded = random.Random(7)
    waits = [Backoff(uniform=seeded.random).next_ns() for _ in range(1000)]
    tenths = [sum(n <= wait * 10 // SECOND < n + 1 for wait in waits) for n in range(10)]
    assert min(tenths) > 40
    assert min(waits) >= 50 * MILLISECOND


def test_what_worked_begins_from_the_shortest_wait():
    backoff = Backoff(uniform=lambda: 0.999)
    for _ in range(10):
        backoff.next_ns()
    backoff.worked()
    assert backoff.next_ns() <= SECOND


def test_what_breaks_at_once_is_tried_less_and_less():
    backoff = Backoff(uniform=lambda: 0.999)
    for _ in range(5):
        backoff.next_ns()
    backoff.worked(lasted_ns=SECOND)
    assert backoff.next_ns() > 16 * SECOND
    backoff.worked(lasted_ns=60 * SECOND)
    assert backoff.next_ns() <= SECOND


@pytest.mark.parametrize("bad", [{"first_ns": 0, "floor_ns": 0}, {"floor_ns": 2 * SECOND}, {"most_ns": 1}])
def test_waits_that_do_not_grow_are_refused(bad):
    with pytest.raises(ValueError, match="must grow"):
        RetryPolicy(**bad)
