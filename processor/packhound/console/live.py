"""`kubectl packhound tail|pcap|sensors`: every processor of a fleet by a forwarded port, what they say as one stream.

Promise: whatever ends it (Ctrl-C, a reader that went, a count, an error), forwarded ports and watches end with it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

from packhound.console.portforward import Kubectl, fetched, forwarded, running
from packhound.console.sink import Sink
from packhound.kit import tasks
from packhound.kit.errors import OK, BadInput, NotPermitted, Stop, Usage, from_os
from packhound.kit.tasks import Life
from packhound.run.merged import Came, Merged, Place, Wanted, ask
from packhound.run.podnames import COLUMNS, PodNames
from packhound.run.show import as_json, complain, line
from packhound.run.viewing import Capture, Remarks, json_of, line_of, packet_rows

GRPC_PORT = 7443
INSTALLED = "packhound"  #: the namespace of the release, where nothing else is said
PROCESSORS = "app.kubernetes.io/name=packhound,app.kubernetes.io/component=processor"
WATCH_AGAIN = 10.0
GRACE = 8.0
FLUSHED_WITHIN = 2.0


@dataclass(frozen=True, slots=True)
class Where:
    """The user's kubectl, and which fleet: its name and the namespace of its processors; empty: any."""

    kubectl: Kubectl
    fleet: str = ""
    namespace: str = ""

    async def places(self) -> Sequence[Place]:
        """The processors that run now. Raises Stop."""
        selector = PROCESSORS + (f",app.kubernetes.io/instance={self.fleet}" if self.fleet else "")
        spaces = [f"--namespace={self.namespace}"] if self.namespace else ["-A", f"--namespace={INSTALLED}"]
        for last, space in ((space is spaces[-1], space) for space in spaces):
            try:
                found = await fetched(self.kubectl, "get", "pods", space, "-l", selector, doing="find the processors")
                break
            except NotPermitted:
                if last:
                    raise
        places = [place for each in found.get("items") or () if (place := self._place(each)) is not None]
        if not places:
            fleet = f"of fleet {self.fleet} " if self.fleet else ""
            raise BadInput(f"no processor {fleet}runs in this cluster", notes=(
                "is Packhound installed? kubectl get huntfleets; docs/kubernetes.md says how",
                "where you may not list all pods, say where they are: --fleet-namespace NAMESPACE",
            ))  # fmt: skip
        return places

    def _place(self, pod: Any) -> Place | None:
        meta, status = pod["metadata"], pod.get("status") or {}
        if status.get("phase") != "Running" or meta.get("deletionTimestamp"):
            return None
        space, name = meta["namespace"], meta["name"]
        restarts = sum(each.get("restartCount", 0) for each in status.get("containerStatuses") or ())
        return Place(f"{space}/{name}", f"{meta.get('uid')}.{restarts}",
                     lambda: forwarded(self.kubectl, space, name, GRPC_PORT))  # fmt: skip


@dataclass(slots=True)
class Bounds:
    """When to end by itself: packets or rows, seconds; 0: never."""

    count: int = 0
    seconds: float = 0.0


@dataclass(slots=True)
class View:
    """What is done with what comes; `head`, `tail`: what is written before and after."""

    take: Callable[[Came, int], tuple[bytes, int]]
    head: Callable[[], bytes] = bytes
    tail: Callable[[str], bytes] = lambda _missed: b""
    taken: int = 0
    pods: PodNames = field(default_factory=PodNames)


def answers(where: Where, call: str, request: Any) -> tuple[dict[str, Any], dict[str, Stop]]:
    """One question to every processor. Raises Stop when none answers."""

    async def go() -> tuple[dict[str, Any], dict[str, Stop]]:
        return await ask(await where.places(), call, request)

    found, faults = asyncio.run(go())
    if not found:
        raise next(iter(faults.values()))
    return found, faults


# what is shown -------------------------------------------------------------------------------------------------------


def lines(*, json: bool) -> View:
    """One line for each packet, flow or call."""
    pods = PodNames()

    def take(came: Came, room: int) -> tuple[bytes, int]:
        rows = packet_rows(came.batch, pods.of) if came.batch is not None else came.rows
        rows = rows[:room] if room else rows
        text = "".join((json_of if json else line_of)(came.kind, row) + "\n" for row in rows)
        return text.encode("utf-8", "replace"), len(rows)

    return View(take, pods=pods)


def capture(comment: str) -> View:
    """A pcapng."""
    pods = PodNames()
    remarks = Remarks(pods.of)
    pods.changed = remarks.renamed
    made = Capture(remarks, comment=comment)

    def take(came: Came, room: int) -> tuple[bytes, int]:
        before = made.packets
        assert came.batch is not None
        data = made.blocks(came.batch, most=room or None)
        return data, made.packets - before

    return View(take, head=made.head, tail=lambda missed: made.tail(comment=missed), pods=pods)


# where it goes -------------------------------------------------------------------------------------------------------


def to_stdout() -> Callable[[], Awaitable[tuple[Sink, Any]]]:
    """Standard output."""

    async def opened() -> tuple[Sink, Any]:
        sys.stdout.flush()
        return Sink(sys.stdout.fileno(), close=False), None

    return opened


def to_file(path: str) -> Callable[[], Awaitable[tuple[Sink, Any]]]:
    """A file that only its owner can read; `-` is standard output."""
    if path in ("-", "/dev/stdout"):
        if sys.stdout.isatty():
            raise Usage("a pcapng is nothing for a terminal: -o FILE, or -w for Wireshark")
        return to_stdout()

    async def opened() -> tuple[Sink, Any]:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise from_os(error, what="cannot write") from error
        return Sink(fd, close=True), None

    return opened


def to_wireshark() -> Callable[[], Awaitable[tuple[Sink, Any]]]:
    """Wireshark, which stays when we end. Raises BadInput when there is none."""
    program = shutil.which("wireshark")
    if program is None:
        raise BadInput("there is no wireshark on PATH",
                       notes=("install it, or write a pcapng: -o FILE, or -o - | tshark -r -",))  # fmt: skip

    async def opened() -> tuple[Sink, Any]:
        theirs, ours = os.pipe()
        nothing = asyncio.subprocess.DEVNULL
        try:
            process = await asyncio.create_subprocess_exec(
                program, "-k", "-i", "-", stdin=theirs, stdout=nothing, stderr=nothing, start_new_session=True
            )
        except OSError as error:
            os.close(ours)
            raise BadInput(f"wireshark cannot be run: {error.strerror}") from error
        finally:
            os.close(theirs)
        return Sink(ours, close=True), process

    return opened


# the loop ------------------------------------------------------------------------------------------------------------


def follow(
    where: Where, wanted: Wanted, view: View, *, out: Callable[[], Awaitable[tuple[Sink, Any]]], bounds: Bounds,
    pods: Sequence[str] | None, done: Callable[[dict[str, Any]], None],
) -> int:  # fmt: skip
    """Show what comes until it ends; the exit code. `pods`: whose names are looked up (words for kubectl get pods, the
    first that the user may see), None: nobody's. `done` hears what came of it."""
    failed: list[Stop] = []

    async def main(life: Life) -> int:
        merged = Merged(where.places, wanted, told=complain)
        sink, reader = await out()
        ends: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(event.wait()) for event in (life.stopping, sink.gone)
        ]
        if reader is not None:
            ends.append(asyncio.ensure_future(reader.wait()))
        if bounds.seconds:
            ends.append(asyncio.ensure_future(asyncio.sleep(bounds.seconds)))
        watch = asyncio.ensure_future(_watch_pods(where.kubectl, pods, view.pods)) if pods else None
        work = asyncio.ensure_future(_pump(merged, view, sink, bounds.count))
        try:
            await asyncio.wait({work, *ends}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (work, *ends, *((watch,) if watch is not None else ())):
                each.cancel()
            results = await asyncio.gather(work, *((watch,) if watch is not None else ()), return_exceptions=True)
        missed = ""
        if merged.skipped:
            missed = f"{merged.skipped} packets or rows are missing here: this subscriber was too slow"
        await sink.put(view.tail(missed))
        await sink.finish(within=FLUSHED_WITHIN)
        done({"taken": view.taken, "skipped": merged.skipped, "unreadable": merged.malformed})
        if missed:
            complain(missed + "; narrow the filter, or hunt with a recording")
        problem = sink.fault or next((each for each in results[:1] if isinstance(each, BaseException)
                                      and not isinstance(each, asyncio.CancelledError)), None)  # fmt: skip
        if problem is not None:
            raise problem
        return OK

    code = tasks.run(main, grace=GRACE, told=failed.append)
    if failed:
        raise failed[0]
    return code


async def _pump(merged: Merged, view: View, sink: Sink, count: int) -> None:
    await sink.put(view.head())
    async with aclosing(merged.events()) as events:
        async for came in events:
            data, taken = view.take(came, count - view.taken if count else 0)
            view.taken += taken
            if not await sink.put(data) or (count and view.taken >= count):
                return


async def _watch_pods(kubectl: Kubectl, scopes: Sequence[str], names: PodNames) -> None:
    """Keep the names of pods, of the widest scope that the user may see; without any, packets stay without."""
    left = list(scopes)
    while left:
        words = ("get", "pods", left[0], "--watch", "--no-headers", "-o", COLUMNS)
        with suppress(BadInput):
            try:
                async with running(kubectl, *words, doing="watch pods") as child:
                    while line := await child.line():
                        names.see(line.decode("utf-8", "replace"), now=time.time_ns())
                    raise await child.fault(ended=True)
            except NotPermitted:
                left.pop(0)
                continue
        await asyncio.sleep(WATCH_AGAIN)
    complain("you may not list pods here: packets come without the names of pods")


def told(path: str, *, json: bool) -> Callable[[dict[str, Any]], None]:
    """Say at the end how many packets are where."""

    def say(found: dict[str, Any]) -> None:
        if json:
            text = as_json({"out": path, "packets": found.pop("taken"), **found})
            line(text, to=sys.stderr if path in ("-", "/dev/stdout") else sys.stdout)
        else:
            complain(f"{found['taken']} packets to {path}")

    return say
