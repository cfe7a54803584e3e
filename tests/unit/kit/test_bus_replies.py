"""Whoever waits for an acknowledgement gets one outcome; the window lets in turn and never more than it holds."""

from __future__ import annotations

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.kit.bus.messages import Away, Denied, Full, Message, Refused, Stored, Unreachable
from packhound.kit.bus.replies import Replies
from tests.support.loop import bounded


def made(**options) -> Replies:
    return Replies(**({"window": 4, "window_bytes": 100, "timeout": 5.0} | options))


def answer(token: str, **body) -> Message:
    return Message(f"_INBOX.x.{token}", json.dumps(body).encode())


@bounded()
async def test_acknowledgements_come_in_any_order():
    replies = made()
    waiting = [await replies.publish("s", 1) for _ in range(3)]
    for number, (token, _) in reversed(list(enumerate(waiting, 1))):
        replies.came(answer(token, stream="x", seq=number, duplicate=number == 2))
    assert [await future for _, future in waiting] == [Stored(1), Stored(2, True), Stored(3)]
    assert replies.in_flight == replies.in_flight_bytes == 0


@pytest.mark.parametrize(
    ("message", "wanted"),
    [
        ({"error": {"code": 503, "err_code": 10077, "description": "maximum bytes exceeded"}}, Full),
        ({"error": {"code": 500, "err_code": 10023, "description": "insufficient resources"}}, Full),
        ({"error": {"code": 400, "err_code": 10054, "description": "message size exceeds"}}, Refused),
        ({"error": {"code": 503, "err_code": 10008, "description": "temporarily unavailable"}}, Unreachable),
        ({"error": {"code": 400, "err_code": 10071, "description": "wrong last sequence"}}, Refused),
        ({"error": "what"}, Unreachable), ({"stream": "x"}, Unreachable), ({"seq": "x"}, Unreachable),
    ],
)  # fmt: skip
@bounded()
async def test_every_answer_is_an_outcome(message, wanted):
    replies = made()
    token, future = await replies.publish("s", 1)
    replies.came(answer(token, **message))
    assert isinstance(await future, wanted)


@bounded()
async def test_bytes_that_are_no_answer_are_an_outcome_too():
    replies = made()
    for data in (b"", b"[]", b"\xff", b"[" * 60000, b'{"seq": 1e999}'):
        token, future = await replies.publish("s", 1)
        replies.came(Message(f"_INBOX.x.{token}", data))
        assert isinstance(await future, Unreachable)


@bounded()
async def test_nobody_there_is_no_stream_for_a_publish_and_away_for_a_question():
    replies = made()
    token, future = await replies.publish("s", 1)
    replies.came(Message(f"i.{token}", b"", {"Status": "503"}))
    assert (await future).cause == "no_stream"
    token, question = replies.ask("q")
    replies.came(Message(f"i.{token}", b"", {"Status": "503"}))
    with pytest.raises(Away):
        await question


@bounded()
async def test_a_lost_connection_answers_everybody():
    replies = made(window=2)
    held = [await replies.publish("s", 1) for _ in range(2)]
    late = asyncio.create_task(replies.publish("s", 1))
    _, question = replies.ask("q")
    await asyncio.sleep(0)
    replies.lost("reset by peer")
    assert [await future for _, future in held] == [Unreachable("reset by peer")] * 2
    with pytest.raises(Away, match="reset by peer"):
        await question
    token, _ = await late
    assert token


@bounded()
async def test_no_answer_in_time_is_an_outcome():
    replies = made(timeout=0.05)
    first = await replies.publish("s", 1)
    await asyncio.sleep(0.02)
    second = await replies.publish("s", 1)
    assert isinstance(await first[1], Unreachable)
    assert not second[1].done()
    assert isinstance(await second[1], Unreachable)


@bounded()
async def test_what_is_not_permitted_is_refused_by_its_subject_alone():
    replies = made()
    _, mine = await replies.publish("ph.x.b.0.Node", 1)
    _, other = await replies.publish("ph.x.b.0.Node2", 1)
    _, question = replies.ask("$JS.API.INFO")
    replies.denied('permissions violation for publish to "ph.x.b.0.node"')
    replies.denied('permissions violation for publish to "$js.api.info"')
    assert (await mine).cause == "permission"
    assert not other.done()
    with pytest.raises(Denied):
        await question


@bounded()
async def test_one_larger_than_the_window_goes_alone():
    replies = made(window_bytes=10)
    token, _ = await replies.publish("s", 1000)
    waiting = asyncio.create_task(replies.publish("s", 1))
    await asyncio.sleep(0)
    assert not waiting.done()
    replies.settle(token, Stored(1))
    await waiting


@bounded()
async def test_who_gives_up_in_line_or_at_its_turn_leaves_no_trace():
    replies = made(window=1)
    token, _ = await replies.publish("s", 1)
    quitter, patient = (asyncio.create_task(replies.publish("s", 1)) for _ in range(2))
    await asyncio.sleep(0)
    replies.settle(token, Stored(1))  # the quitter's turn, in the same step in which it is cancelled
    quitter.cancel()
    await asyncio.gather(quitter, return_exceptions=True)
    await patient
    assert replies.in_flight == 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["publish", "ack", "lost", "cancel"]), st.integers(0, 60)), max_size=60))
def test_the_window_holds_whatever_happens(steps):
    async def play() -> None:
        replies = made(window=3, window_bytes=100)
        tasks: list[asyncio.Task] = []
        for what, number in steps:
            if what == "publish":
                tasks.append(asyncio.create_task(replies.publish("s", number)))
            elif what == "ack" and replies._publishes:
                replies.settle(sorted(replies._publishes)[number % len(replies._publishes)], Stored(1))
            elif what == "lost":
                replies.lost("gone")
            elif what == "cancel" and tasks:
                tasks[number % len(tasks)].cancel()
            await asyncio.sleep(0)
            assert replies.in_flight <= 3
            assert replies.in_flight_bytes == sum(each.size for each in replies._publishes.values())
            assert replies.in_flight_bytes <= 100 or replies.in_flight == 1
        while replies._publishes:
            replies.lost("gone")
            await asyncio.sleep(0)
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(each, tuple | asyncio.CancelledError) for each in done)
        assert all(each[1].done() for each in done if isinstance(each, tuple))
        if replies._timer:
            replies._timer.cancel()

    asyncio.run(play())
