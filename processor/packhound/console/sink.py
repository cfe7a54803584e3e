"""A file, pipe or terminal that is written to beside other work, and that tells when nobody reads it any more.

Promise: a reader that stalls holds up only whoever waits for it, never a signal; what waits is bounded. Writing is done
by one thread, everything else by one event loop.
"""

from __future__ import annotations

import asyncio
import os
import queue
import select
import threading
from contextlib import suppress

from packhound.kit.errors import Stop, from_os

WAITING = 16
LOOK_EVERY = 0.25


class Sink:
    """Writes to `fd`. `gone`: nobody reads it; `fault`: why it cannot be written, when that is no reader's doing."""

    def __init__(self, fd: int, *, close: bool) -> None:
        self._fd, self._close = fd, close
        self._loop = asyncio.get_running_loop()
        self._queue: queue.Queue[bytes | None] = queue.Queue(WAITING)
        self._done = asyncio.Event()
        self.gone = asyncio.Event()
        self.fault: Stop | None = None
        threading.Thread(target=self._run, name="sink", daemon=True).start()

    async def put(self, data: bytes) -> bool:
        """Have it written; False once nobody reads."""
        while data and not self.gone.is_set():
            try:
                self._queue.put_nowait(data)
                return True
            except queue.Full:
                await asyncio.sleep(0.01)
        return not self.gone.is_set()

    async def finish(self, *, within: float) -> None:
        """Write what waits, as long as somebody takes it within so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                while not self._done.is_set():
                    with suppress(queue.Full):
                        self._queue.put_nowait(None)
                        break
                    await asyncio.sleep(0.01)
                await self._done.wait()

    def _run(self) -> None:
        try:
            while (data := self._next()) is not None:
                view = memoryview(data)
                while view:
                    view = view[os.write(self._fd, view) :]
        except BrokenPipeError:
            pass
        except OSError as error:
            self.fault = from_os(error, what="cannot write")
        finally:
            if self._close:
                with suppress(OSError):
                    os.close(self._fd)
            with suppress(RuntimeError):  # the loop is over
                self._loop.call_soon_threadsafe(self.gone.set)
                self._loop.call_soon_threadsafe(self._done.set)

    def _next(self) -> bytes | None:
        while True:
            with suppress(queue.Empty):
                return self._queue.get(timeout=LOOK_EVERY)
            if self._hung_up():
                raise BrokenPipeError

    def _hung_up(self) -> bool:
        if not hasattr(select, "poll"):
            return False
        looking = select.poll()
        looking.register(self._fd, 0)
        return any(what & (select.POLLERR | select.POLLHUP) for _, what in looking.poll(0))
