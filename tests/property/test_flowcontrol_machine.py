"""Flow control, driven at random: whatever happened, a healthy pair goes on within a bounded time, never over its window."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from packhound.sensor.flowcontrol import LONGEST_PAUSE, SECOND, FlowControl, FlowSettings, Pace

WINDOW = 16
LONGEST = LONGEST_PAUSE + 60 * SECOND + 30 * SECOND  # a pause, the longest backoff, the breaker


class FlowMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.out = 0
        self.draws = 0
        self.control = FlowControl(FlowSettings(), uniform=self.uniform)

    def uniform(self) -> float:
        self.draws += 1
        return self.draws * 0.37 % 1.0

    @rule(ms=st.integers(0, 40_000))
    def time_passes(self, ms: int) -> None:
        self.now += ms * 1_000_000

    @rule()
    def send(self) -> None:
        room = self.control.room(self.now, window=WINDOW, out=self.out)
        assert 0 <= room <= WINDOW
        self.out += room
        assert self.out <= WINDOW

    @precondition(lambda self: self.out)
    @rule(what=st.sampled_from(["accepted", "paused", "failed"]), after=st.integers(0, 1 << 50))
    def answer(self, what: str, after: int) -> None:
        self.out -= 1
        if what == "accepted":
            self.control.accepted()
        elif what == "paused":
            self.control.paused(self.now, after)
            assert self.control.pace(self.now) is Pace.PAUSE
        else:
            self.control.failed(self.now)

    @rule()
    def reconnect(self) -> None:
        self.control.connected()
        assert self.control.wait_ns(self.now) == 0

    @invariant()
    def no_stall_can_be_reached(self) -> None:
        """From here on all goes well: within the longest wait something is sent and answered."""
        wait = self.control.wait_ns(self.now)
        assert 0 <= wait <= LONGEST

    def teardown(self) -> None:
        self.out = 0  # whatever was on its way was handed out again
        now, sent = self.now, 0
        for _ in range(200):
            room = self.control.room(now, window=WINDOW, out=0)
            if room:
                sent += room
                self.control.accepted()
            now += max(self.control.wait_ns(now), SECOND // 10)
        assert sent > 100
        assert now - self.now < 200 * SECOND + LONGEST


FlowMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestFlow = FlowMachine.TestCase
