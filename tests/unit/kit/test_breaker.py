"""The breaker opens after failures in a row, lets one probe through, and can never lock for good."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from packhound.kit.breaker import SECOND, Breaker, BreakerSettings, State


def opened(now: int = 0) -> Breaker:
    breaker = Breaker()
    for _ in range(5):
        assert breaker.allow(now)
        breaker.failed(now)
    return breaker


def test_five_failures_in_a_row_open_it_for_thirty_seconds():
    breaker = opened()
    assert breaker.state(0) is State.OPEN
    assert not breaker.allow(30 * SECOND - 1)
    assert breaker.wait_ns(10 * SECOND) == 20 * SECOND
    assert breaker.state(30 * SECOND) is State.HALF_OPEN


def test_a_success_between_failures_begins_the_count_anew():
    breaker = Breaker()
    for _ in range(20):
        for _ in range(4):
            breaker.failed(0)
        breaker.succeeded()
    assert breaker.state(0) is State.CLOSED


def test_one_probe_at_a_time_and_its_success_closes():
    breaker = opened()
    assert breaker.allow(30 * SECOND)
    assert not breaker.allow(30 * SECOND)
    breaker.succeeded()
    assert breaker.allow(30 * SECOND)
    assert breaker.allow(30 * SECOND)


def test_a_failed_probe_opens_it_again():
    breaker = opened()
    assert breaker.allow(31 * SECOND)
    breaker.failed(32 * SECOND)
    assert breaker.state(61 * SECOND) is State.OPEN
    assert breaker.opened == 2


def test_late_failures_of_old_attempts_do_not_keep_it_open():
    breaker = opened()
    for second in range(30):
        breaker.failed(second * SECOND)
    assert breaker.allow(30 * SECOND)


def test_an_old_attempt_that_fails_while_a_probe_is_out_says_nothing_of_it():
    breaker = opened(SECOND)
    assert breaker.allow(31 * SECOND)
    breaker.failed(31 * SECOND, began=0)
    assert breaker.state(31 * SECOND) is State.HALF_OPEN
    breaker.failed(32 * SECOND, began=31 * SECOND)
    assert breaker.state(32 * SECOND) is State.OPEN


def test_a_probe_that_never_comes_back_is_forgotten():
    breaker = opened()
    assert breaker.allow(30 * SECOND)
    assert breaker.wait_ns(31 * SECOND) == 29 * SECOND
    assert breaker.allow(60 * SECOND)


def test_an_abandoned_probe_frees_its_place():
    breaker = opened()
    assert breaker.allow(30 * SECOND)
    breaker.abandoned()
    assert breaker.allow(30 * SECOND)


@pytest.mark.parametrize("bad", [{"failures": 0}, {"open_ns": 0}, {"probes": 0}])
def test_settings_that_make_no_sense_are_refused(bad):
    with pytest.raises(ValueError, match="at least one"):
        BreakerSettings(**bad)


class Machine(RuleBasedStateMachine):
    """Attempts begin, end or vanish in any order, while time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.settings = BreakerSettings(failures=3, open_ns=10, probes=2)
        self.breaker = Breaker(self.settings)
        self.now = 0
        self.running = 0
        self.row = 0

    @rule(step=st.integers(0, 25))
    def time_passes(self, step: int) -> None:
        self.now += step

    @rule()
    def begin(self) -> None:
        wait = self.breaker.wait_ns(self.now)
        allowed = self.breaker.allow(self.now)
        assert allowed == (wait == 0)
        self.running += allowed

    @rule()
    def succeed(self) -> None:
        if self.running:
            self.running -= 1
            self.row = 0
            self.breaker.succeeded()
            assert self.breaker.state(self.now) is State.CLOSED

    @rule()
    def fail(self) -> None:
        if self.running:
            self.running -= 1
            closed = self.breaker.state(self.now) is State.CLOSED
            self.row += 1
            self.breaker.failed(self.now)
            if closed:
                assert (self.breaker.state(self.now) is State.CLOSED) == (self.row < self.settings.failures)

    @rule()
    def vanish(self) -> None:
        if self.running:
            self.running -= 1

    @rule()
    def abandon(self) -> None:
        if self.running:
            self.running -= 1
            self.breaker.abandoned()

    @invariant()
    def somebody_may_try_soon(self) -> None:
        wait = self.breaker.wait_ns(self.now)
        assert 0 <= wait <= self.settings.open_ns
        if wait:
            assert self.breaker.wait_ns(self.now + wait) == 0

    @invariant()
    def closed_means_everybody(self) -> None:
        if self.breaker.state(self.now) is State.CLOSED:
            assert self.breaker.wait_ns(self.now) == 0


Machine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestMachine = Machine.TestCase
