"""A process ends with a code, whatever its tasks do; pipes are bounded and end drained."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest

from packhound.kit.errors import BadInput
from packhound.kit.tasks import Closed, Life, Pipe, run
from tests.support.loop import bounded


def test_what_main_returns_is_the_exit_code():
    async def main(life: Life) -> int:
        return 3

    async def quiet(life: Life) -> None:
        return None

    assert run(main, grace=1) == 3
    assert run(quiet, grace=1) == 0


def test_a_stop_is_told_and_becomes_its_code():
    heard = []

    async def main(life: Life) -> None:
        raise BadInput("no such file")

    assert run(main, grace=1, told=heard.append) == 3
    assert [each.reason for each in heard] == ["no such file"]


def test_a_task_that_fails_stops_the_process_and_is_not_swallowed():
    async def broken() -> None:
        raise RuntimeError("bug")

    async def main(life: Life) -> None:
        life.spawn(broken(), name="reader")
        await life.stopping.wait()
        assert life.reason == "reader failed"

    with pytest.raises(RuntimeError, match="bug"):
        run(main, grace=1)


def test_sigterm_asks_to_stop_and_main_may_drain():
    drained = []

    async def main(life: Life) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await life.stopping.wait()
        await asyncio.sleep(0.05)
        drained.append(life.reason)

    assert run(main, grace=5) == 0
    assert drained == ["signal SIGTERM"]


def test_who_outlives_the_grace_period_is_cancelled():
    async def main(life: Life) -> None:
        life.stop("test")
        await asyncio.sleep(60)

    began = time.monotonic()
    assert run(main, grace=0.1) == 1
    assert time.monotonic() - began < 5


def test_a_second_signal_cancels_at_once():
    async def main(life: Life) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(0.05, os.kill, os.getpid(), signal.SIGINT)
        loop.call_later(0.15, os.kill, os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)

    began = time.monotonic()
    assert run(main, grace=60) == 1
    assert time.monotonic() - began < 5


def test_tasks_end_with_main():
    ended = []

    async def forever() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)

    async def main(life: Life) -> None:
        life.spawn(forever(), name="beat")
        await asyncio.sleep(0)

    assert run(main, grace=1) == 0
    assert ended == [True]


def test_every_repeats_until_stopping():
    times = []

    async def main(life: Life) -> None:
        async def beat() -> None:
            times.append(1)
            if len(times) == 3:
                life.stop("enough")

        life.every(0.01, beat, name="beat")
        await life.stopping.wait()

    assert run(main, grace=1) == 0
    assert len(times) == 3


@bounded()
async def test_a_pipe_is_bounded_ordered_and_drained_after_its_end():
    pipe: Pipe[int] = Pipe("parcels", bound=2)
    took = []

    async def take() -> None:
        try:
            while True:
                took.append(await pipe.get())
        except Closed:
            return

    assert [await pipe.offer(n) for n in range(4)] == [True, True, False, False]
    assert (len(pipe), pipe.most, pipe.refused) == (2, 2, 2)
    taker = asyncio.create_task(take())
    for n in range(2, 50):
        await pipe.put(n)
    await pipe.close()
    await taker
    assert took == list(range(50))
    with pytest.raises(Closed):
        await pipe.put(1)


@bounded()
async def test_putting_waits_for_room_and_hears_of_the_end():
    pipe: Pipe[int] = Pipe("parcels", bound=1)
    await pipe.put(1)
    waiting = asyncio.create_task(pipe.put(2))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await pipe.close()
    with pytest.raises(Closed):
        await waiting
