"""Calls that other sensors tell of: what is told and taken, what keeps and what ends them, what bounds them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from packhound.fleet.watches import News
from packhound.sensor import farcalls
from packhound.sensor.calls import IDLE, LINGER, Call, CallBoard
from packhound.sensor.farcalls import FarCalls, OwnMedia
from packhound.wire.beats import MediaWatch

FILTERS = [("t/alice", "call", True), ("t/old", "call", False), ("t/all", "flow", True)]


@dataclass
class Kernel:
    """Remembers what is watched."""

    ends: set[tuple[int, bytes, int]]

    def watch(self, version: int, address: bytes, port: int) -> None:
        self.ends.add((version, address, port))


class Desk:
    def __init__(self, capacity: int = 8) -> None:
        self.board = CallBoard(capacity=capacity)
        self.kernel = Kernel(set())
        self.far = FarCalls(self.board, self.kernel)
        self.told: list[OwnMedia] = []
        self.far.on_media = self.told.append
        self.plan(*FILTERS)

    def plan(self, *rows: tuple[str, str, bool]) -> None:
        filters = [SimpleNamespace(name=name, scope=scope, active=active) for name, scope, active in rows]
        self.far.use(SimpleNamespace(filters=tuple(filters)))  # type: ignore[arg-type]

    def open(self, call_id: str, now: int = 0) -> Call:
        return self.board.open(call_id, None, now=now)[0]  # type: ignore[arg-type]

    def hear(self, call: str = "c", *, news: News = News.HELD, now: int = 0, node: str = "b", port: int = 4000,
             filters: tuple[str, ...] = ("t/alice",)) -> Call | None:  # fmt: skip
        watch = MediaWatch(call, filters, (("10.0.0.7", port), ("2001:db8::1", port)), 1, node)
        found = self.far.take(watch, news, now=now, open_=self.open)
        if found is not None:
            found.wanted = self.far.wanted(found)
            self.far.arm(found)
        return found

    def say(self, call: Call, *, now: int = 0, **fields: Any) -> None:
        self.board.message(call, {"sip.method": "INVITE", **fields}, now=now)
        self.far.tell(call)


@pytest.fixture
def desk() -> Iterator[Desk]:
    yield Desk()


SDP = {"sdp.media": ("audio 4000 RTP/AVP",), "sdp.connection": ("10.0.0.1",)}


def test_what_others_tell_is_watched_for_filters_of_our_own_plan(desk: Desk) -> None:
    call = desk.hear(filters=("t/alice", "t/old", "t/all", "t/unknown"))
    assert call is not None
    assert call.wanted == frozenset({0})
    assert {port for _, _, port in desk.kernel.ends} == {4000}
    assert {version for version, _, _ in desk.kernel.ends} == {4, 6}
    other = desk.hear("d", filters=("t/all", "t/unknown"), port=5000)
    assert other is not None
    assert not other.wanted
    assert not any(port == 5000 for _, _, port in desk.kernel.ends)
    desk.plan(("t/unknown", "call", True))
    other.wanted = desk.far.wanted(other)
    desk.far.arm(other)
    assert any(port == 5000 for _, _, port in desk.kernel.ends)


def test_a_call_of_ours_is_told_once_and_when_it_changes(desk: Desk) -> None:
    call = desk.open("c")
    desk.say(call, **SDP)
    assert desk.told == []
    call.wanted = frozenset({0})
    desk.say(call)
    ends = (("10.0.0.1", 4000), ("10.0.0.1", 4001))
    assert desk.told == [OwnMedia("c", ("t/alice",), ends)]
    desk.say(call, **SDP)
    assert len(desk.told) == 1
    call.wanted = frozenset()  # a plan in which nobody wants it
    desk.far.tell(call)
    assert desk.told[1:] == [OwnMedia("c")]


def test_what_others_told_is_not_told_as_ours(desk: Desk) -> None:
    call = desk.hear()
    assert call is not None
    desk.far.tell(call)
    assert desk.told == []
    desk.say(call, **SDP)
    assert desk.told == [OwnMedia("c", ("t/alice",), (("10.0.0.1", 4000), ("10.0.0.1", 4001)))]


@pytest.mark.parametrize(("ended", "over"), [(5, True), (None, False)])
def test_only_signalling_ends_a_call_for_others(desk: Desk, ended: int | None, over: bool) -> None:
    call = desk.open("c")
    call.wanted = frozenset({0})
    desk.say(call, **SDP)
    call.ended_at = ended
    desk.far.close(call)
    assert desk.told[1:] == [OwnMedia("c", over=over)]


def test_a_bye_alone_tells_of_the_end(desk: Desk) -> None:
    call = desk.open("c")
    call.wanted = frozenset({0})
    desk.say(call)
    call.ended_at = 1
    desk.far.close(call)
    assert desk.told == [OwnMedia("c", over=True)]


def test_a_call_that_is_told_of_is_not_idle_and_one_that_ended_lingers(desk: Desk) -> None:
    call = desk.hear(now=1)
    assert desk.board.over(50 * IDLE, {}) == []
    desk.hear(news=News.SILENT, now=50 * IDLE)
    assert desk.board.over(51 * IDLE, {}) == []
    call.flows[7] = 0
    assert desk.board.over(60 * IDLE, {7: 60 * IDLE - 5}) == []  # its media flows on
    assert desk.board.over(60 * IDLE, {}) == [call]
    desk.hear(now=60 * IDLE)
    desk.hear(news=News.OVER, now=60 * IDLE, node="stranger")
    assert call.ended_at is None
    desk.hear(news=News.OVER, now=60 * IDLE)
    assert desk.board.over(60 * IDLE + LINGER, {}) == []
    assert desk.board.over(60 * IDLE + LINGER + 1, {}) == [call]
    assert desk.hear(now=60 * IDLE + 1) is call  # it goes on after all
    assert call.ended_at is None


def test_the_end_of_one_teller_is_not_that_of_another(desk: Desk) -> None:
    call = desk.hear(node="a")
    desk.hear(node="b")
    desk.hear(node="a", news=News.OVER, now=5)
    assert (set(call.far), call.ended_at, call.leased) == ({"b"}, None, True)
    desk.say(call)
    desk.hear(node="b", news=News.OVER, now=5)
    assert call.ended_at is None  # we see its signalling ourselves
    assert not call.leased


def test_calls_of_others_push_none_of_ours_out(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(farcalls, "MAX_FAR", 5)
    for number in range(6):
        desk.hear(f"far{number}")
    assert (len(desk.far), desk.far.refused) == (5, 1)
    ours = [desk.open(f"ours{number}") for number in range(3)]
    monkeypatch.setattr(farcalls, "MAX_FAR", 50)
    assert desk.hear("more") is None
    assert all(desk.board.find(call.call_id) is call for call in ours)
    gone = desk.board.find("far0")
    desk.board.close(gone)
    desk.far.close(gone)
    assert desk.hear("more") is not None
    assert desk.told == []
