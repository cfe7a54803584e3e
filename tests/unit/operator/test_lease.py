"""At most one leader at any time, however late, lost or repeated its calls are; a dead one is replaced within 15 s."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.operator.lease import DURATION, SECOND, Election, Seen


class Api:
    """A Lease as an API server keeps it: a write needs the version that it replaces."""

    def __init__(self) -> None:
        self.seen: Seen | None = None
        self.count = 0

    def write(self, me: str, version: str) -> str | None:
        if (self.seen.version if self.seen else "") != version:
            return None
        self.count += 1
        self.seen = Seen(me, str(self.count))
        return self.seen.version


def step(each: Election, name: str, api: Api, now: int, *, reach: bool = True, answered: bool = True) -> int:
    """One turn of a replica: when it acts next."""
    if reach:
        each.saw(api.seen, now=now)
    act = each.act(now)
    if act.write and reach:
        version = api.write(name, act.version)
        if version is not None and answered:
            each.wrote(version, asked_at=now)
    return act.again


def test_a_dead_leader_is_replaced_within_fifteen_seconds():
    api, a, b = Api(), Election("a"), Election("b")
    step(a, "a", api, 0)
    assert a.leading
    now = step(a, "a", api, 5 * SECOND)
    died = 5 * SECOND
    step(b, "b", api, died)
    now = died
    while not b.leading:
        now = max(step(b, "b", api, now), now + 1)
    assert now - died < 15 * SECOND


def test_a_leader_that_cannot_reach_the_api_stops_before_the_other_starts():
    api, a, b = Api(), Election("a"), Election("b")
    step(a, "a", api, 0)
    step(b, "b", api, 0)
    stopped = started = None
    for tick in range(200):
        now = tick * SECOND // 10
        step(a, "a", api, now, reach=False)
        step(b, "b", api, now)
        stopped = now if stopped is None and not a.leading else stopped
        started = now if started is None and b.leading else started
    assert stopped < started <= DURATION + SECOND // 10


def test_renewing_costs_one_write_in_five_seconds():
    api, a = Api(), Election("a")
    for tick in range(600):
        step(a, "a", api, tick * SECOND // 10)
    assert a.leading
    assert api.count == 12


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4), st.booleans(), st.booleans()), max_size=120))
def test_never_two_leaders(turns):
    api, names = Api(), ("a", "b", "c")
    replicas = [Election(name) for name in names]
    now = 0
    for who, pause, reach, answered in turns:
        now += pause * SECOND
        for each in replicas:  # every process looks at its own clock before it does anything
            if each.leading:
                each.act(now)
        step(replicas[who], names[who], api, now, reach=reach, answered=answered)
        assert sum(each.leading for each in replicas) <= 1
