"""One process, one task group: tasks with names, bounded queues between them, a stop in three steps.

Promise: `run` ends with an exit code, whatever happens. The first SIGTERM or SIGINT asks everybody to stop; whoever is
not done after the grace period is cancelled; a second signal cancels at once. A task that fails stops the process and
is told of, never swallowed. One asyncio loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

from packhound.kit.errors import FAULT, OK, Stop

T = TypeVar("T")
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Life:
    """The life of a process as its parts see it: `stopping` is set once, `reason` says why."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.reason = ""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failed: BaseException | None = None
        self._main: asyncio.Task[Any] | None = None

    def stop(self, reason: str) -> None:
        """Ask everybody to stop; only the first reason counts."""
        if not self.stopping.is_set():
            self.reason = reason
            self.stopping.set()

    def spawn(self, work: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Run `work` beside the others until it ends or the process does. Its failure is that of the process."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def every(self, seconds: float, work: Callable[[], Awaitable[object]], *, name: str) -> asyncio.Task[Any]:
        """Do `work` at once and then each `seconds` after it was done, until stopping."""
        return self.spawn(self._repeat(seconds, work), name=name)

    async def sleep(self, seconds: float) -> bool:
        """Wait; True when all of it passed, False when stopping began."""
        return not await happened(self.stopping, within=seconds)

    async def _repeat(self, seconds: float, work: Callable[[], Awaitable[object]]) -> None:
        while not self.stopping.is_set():
            await work()
            await self.sleep(seconds)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        if self._failed is None:
            self._failed = task.exception()
        self.stop(f"{task.get_name()} failed")

    async def _live(self, main: Callable[[Life], Awaitable[int | None]], grace: float) -> int:
        self._main = asyncio.ensure_future(main(self))
        stopping = asyncio.ensure_future(self.stopping.wait())
        await asyncio.wait({self._main, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not self._main.done():
            await asyncio.wait({self._main}, timeout=grace)
        self.stop("done")
        stopping.cancel()
        await self._cancel({self._main, *self._tasks})
        if self._main.cancelled():
            code: int | None = FAULT  # it outlived the grace period, or a second signal came
        elif self._main.exception() is not None:
            self._failed = self._failed or self._main.exception()
        else:
            code = self._main.result()
        if self._failed is not None:
            raise self._failed
        return OK if code is None else code

    @staticmethod
    async def _cancel(tasks: set[asyncio.Task[Any] | asyncio.Future[Any]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _signalled(self, number: int) -> None:
        if not self.stopping.is_set():
            self.stop(f"signal {signal.Signals(number).name}")
        elif self._main is not None:
            self._main.cancel()


async def happened(event: asyncio.Event, *, within: float | None) -> bool:
    """Wait for `event`, at most so many seconds; tell whether it is set. Not `asyncio.wait_for`: before Python 3.12
    that forgets a cancellation which comes in the same step as the event, and a loop around it never ends."""
    try:
        async with asyncio.timeout(within):
            await event.wait()
    except TimeoutError:
        return False
    return True


def run(
    main: Callable[[Life], Awaitable[int | None]], *, grace: float, told: Callable[[Stop], None] | None = None
) -> int:
    """Run `main` to its end and give the exit code: what it returned, 0 for None, that of a Stop that it or a task
    raised (`told` hears of it first). Other exceptions go on, once everything is cancelled."""

    async def live() -> int:
        life = Life()
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):  # not in the main thread
            for number in SIGNALS:
                loop.add_signal_handler(number, life._signalled, number)
        return await life._live(main, grace)

    try:
        return asyncio.run(live())
    except Stop as stop:
        if told is not None:
            told(stop)
        return stop.exit_code
    except asyncio.CancelledError:
        return FAULT


class Closed(Exception):
    """A pipe that was closed: nothing more comes or goes."""


class Pipe(Generic[T]):
    """A queue with a name and a bound between tasks of one loop. `refused` counts what `offer` had no room for,
    `most` how long it ever was. Not for threads."""

    def __init__(self, name: str, *, bound: int) -> None:
        if bound < 1:
            raise ValueError("a pipe needs room for one")
        self.name, self.bound = name, bound
        self.refused = 0
        self.most = 0
        self._held: deque[T] = deque()
        self._closed = False
        self._changed = asyncio.Condition()

    def __len__(self) -> int:
        return len(self._held)

    async def put(self, item: T) -> None:
        """Wait for room and add. Raises Closed."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or len(self._held) < self.bound)
            self._add(item)
            self._changed.notify_all()

    async def offer(self, item: T) -> bool:
        """Add when there is room at once; tell whether. Raises Closed."""
        async with self._changed:
            if not self._closed and len(self._held) >= self.bound:
                self.refused += 1
                return False
            self._add(item)
            self._changed.notify_all()
            return True

    async def get(self) -> T:
        """Wait for the next. Raises Closed once it is closed and drained."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or bool(self._held))
            if not self._held:
                raise Closed(self.name)
            item = self._held.popleft()
            self._changed.notify_all()
            return item

    async def close(self) -> None:
        """Take no more; what is held can still be taken."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _add(self, item: T) -> None:
        if self._closed:
            raise Closed(self.name)
        self._held.append(item)
        self.most = max(self.most, len(self._held))
