"""Children of the plugin: how they end, what they said, and that nothing keeps us from ending with them."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress

import pytest

from packhound.console.portforward import Child
from packhound.kit.errors import NotPermitted
from packhound.run.merged import Merged, Place, Wanted

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
REFUSED = 'Error from server (Forbidden): pods "p" is forbidden'


async def _child(script: str) -> Child:
    return await Child.start([sys.executable, "-S", "-c", script], doing="try")


def test_what_a_child_said_last_is_waited_for() -> None:
    """Standard output ends long before the reason comes: as on a machine that is busy with something else."""
    script = f"import os, sys, time; os.close(1); time.sleep(1.5); sys.stderr.write({REFUSED!r})"

    async def go() -> None:
        child = await _child(script)
        assert await child.line() == b""
        assert isinstance(found := await child.fault(ended=True), NotPermitted)
        assert REFUSED in found.reason
        await child.end()

    asyncio.run(go())


def test_a_child_that_does_not_go_on_is_not_waited_for() -> None:
    async def go() -> None:
        child = await _child("import time; time.sleep(600)")
        async with asyncio.timeout(30):
            assert "kubectl said nothing" in (await child.fault(ended=False)).reason
        await child.end()

    asyncio.run(go())


@pytest.mark.parametrize("late", [False, True])
def test_a_cancellation_that_comes_with_the_end_of_a_child_is_not_forgotten(late: bool) -> None:
    async def go() -> None:
        child = await _child("")
        heard = child._hearing
        child._hearing = ended = asyncio.get_running_loop().create_future()
        asking = asyncio.ensure_future(child.fault(ended=True))
        for _ in range(3):
            await asyncio.sleep(0)
        ended.set_result(None)
        if late:
            await asyncio.sleep(0)
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
        assert asking.cancelled(), "whoever cancelled it would wait for ever"
        child._hearing = heard
        await child.end()

    asyncio.run(go())


def test_a_processor_that_refuses_is_never_taken_for_one_that_is_heard() -> None:
    """Its status comes after its headers, or with them: nobody is told that we listen."""
    told: list[str] = []

    class Opened:
        async def __aenter__(self) -> int:
            server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
            self.server = server
            return int(server.sockets[0].getsockname()[1])

        async def __aexit__(self, *_: object) -> None:
            self.server.close()

    async def places() -> list[Place]:
        return [Place("packhound/p1", "u", Opened)]

    async def go() -> None:
        with pytest.raises(Exception, match="cannot be reached"):
            async for _ in Merged(places, Wanted(), told=told.append).events():
                pass

    asyncio.run(go())
    assert told == []
