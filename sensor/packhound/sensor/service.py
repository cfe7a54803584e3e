"""A sensor of a fleet: capture in one thread, everything that speaks with others in one event loop.

Promise: capture never waits for the network; a plan is compiled in a thread of its own and in force from the next block
on; on the way out intake stops first, what was matched is delivered for as long as there is grace, and the rest stays
in the spool for the next start.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from packhound.fleet import media
from packhound.fleet.heartbeats import Heart
from packhound.fleet.plans import PlanFollower, Taker, Verdict
from packhound.fleet.pods import PodFollower
from packhound.fleet.status import StatusBoard
from packhound.fleet.watches import News
from packhound.kit import logs
from packhound.kit.bus import Bus
from packhound.kit.errors import BadInput
from packhound.kit.metrics import Sample
from packhound.kit.tasks import Life
from packhound.kit.traces import OFF, Traces
from packhound.rules.bpf import check_pcap
from packhound.sensor import report
from packhound.sensor.agent import Agent, AgentSettings
from packhound.sensor.batcher import Limits
from packhound.sensor.busiest import Busiest
from packhound.sensor.control import Planner, Rejected
from packhound.sensor.kernel import gatherer
from packhound.sensor.link.base import Link, LinkState, Unreachable
from packhound.sensor.link.grpc import GrpcLink, Said
from packhound.sensor.outbox import Outbox
from packhound.sensor.sender import Sender
from packhound.sensor.sharder import Sharder, decoder
from packhound.sensor.spool import Spool
from packhound.sensor.tap.frames import Tap
from packhound.sensor.watching import Watching
from packhound.wire.batch import Batch
from packhound.wire.beats import BeatReply, Heartbeat, MediaWatch
from packhound.wire.books import Books
from packhound.wire.checked import BadMessage
from packhound.wire.plans import PlanAck, PlanMessage
from packhound.wire.pods import PodBook
from packhound.wire.subjects import Subjects

SWAP_WITHIN = 10.0
LOOK_EVERY = 0.5
BEAT_EVERY = 5.0
BATCH = Limits(packets=8192, bytes=8 << 20)


@dataclass(frozen=True, slots=True)
class SensorSettings:
    """Who it is, how it captures, how long it may take to stop (s). `stay`: go on speaking with the fleet when the
    capture has ended (a file), until stopped; `wait_for_plan`: capture begins with the first plan that has
    filters, after so many seconds at the latest; `pods`: somebody publishes which pod has which address."""

    node: str
    fleet: str
    epoch: int
    cluster: str = ""
    shards: int = 16
    grace: float = 25.0
    live: bool = True
    stay: bool = False
    wait_for_plan: float = 0.0
    pods: bool = False
    version: str = ""
    agent: AgentSettings = field(default_factory=lambda: AgentSettings(batch=BATCH))
    modes: Mapping[str, str] = field(default_factory=dict)


class SensorService:
    """Joins tap, engine, spool, link and bus. Run `run` in `packhound.kit.tasks.run`."""

    def __init__(
        self,
        tap: Tap,
        *,
        settings: SensorSettings,
        spool: Spool,
        link: Link,
        bus: Bus | None = None,
        traces: Traces = OFF,
    ) -> None:
        self._tap, self._settings, self._spool, self._link, self._bus = tap, settings, spool, link, bus
        self._traces = traces
        self._log = logs.logger("sensor")
        self._started = time.time_ns()
        self._planner = Planner(check_pcap=check_pcap)
        if settings.pods:
            self._planner.identity = PodBook()
        self._rows: dict[str, tuple[Mapping[str, Any], ...]] = {}
        self._planning = threading.Lock()
        self._swapped = threading.Condition()
        self._revision = 0
        self._digest = ""
        self.rejected = 0
        self._state = "starting"
        self._captured = threading.Event()
        self._failed: BaseException | None = None
        self._cpu = 0.0, 0.0
        self._outbox: Outbox | None = None
        self._board: StatusBoard | None = None
        self._gave_way = False
        self._follower: PlanFollower | None = None
        self._pods: PodFollower | None = None
        self._following: set[asyncio.Future[None]] = set()
        self._taker = Taker(
            node=settings.node, epoch=settings.epoch, apply=self.apply, clock=time.time_ns, traces=traces
        )  # fmt: skip
        self._beat_sent = 0
        self._sender = Sender(spool, link, traces=traces)
        self._watching = Watching(
            node=settings.node, hear=self._hear, clock=lambda: time.time_ns() + self._sharder.clock_offset_ns
        )
        self.agent = Agent(
            tap, settings=settings.agent, on_batch=self._on_batch, on_flows=self._on_flows, name=settings.node,
            epoch=settings.epoch, clock=time.time_ns if settings.live else None, on_plan=self._on_plan,
            on_media=self._watching.told,
        )  # fmt: skip
        self._busiest = Busiest(decoder(settings.agent.decode))
        self._sharder = Sharder(
            sensor=settings.node, epoch=settings.epoch, shards=settings.shards, cluster=settings.cluster,
            number=spool.number, gather=gatherer(self.agent.kernel), config=settings.agent.decode,
        )  # fmt: skip

    # capture thread --------------------------------------------------------------------------------------------------

    def _on_batch(self, batch: Batch) -> None:
        assert self._outbox is not None
        with self._traces.span(
            "batch.close", kind="producer", packhound__node=self._settings.node, packhound__packets=len(batch),
            packhound__revision=batch.plan,
        ) as span:  # fmt: skip
            batch.traceparent = span.traceparent
            made = self._sharder.batch(batch)
            self._busiest.count(batch)
            span.set(packhound__parcels=len(made))
            self._outbox.put(made)

    def _on_flows(self, records: Any, hosts: dict[int, str], filters: dict[int, tuple[str, ...]]) -> None:
        assert self._outbox is not None
        names = [each.name for each in self._tap.interfaces]
        with self._traces.span(
            "flows.close", kind="producer", packhound__node=self._settings.node, packhound__flows=len(records)
        ) as span:
            self._outbox.put(self._sharder.flows(
                records, hosts=hosts, filters=filters, interfaces=names, plan=self.agent.revision,
                traceparent=span.traceparent,
            ))  # fmt: skip

    def _hear(self, watch: MediaWatch, news: News) -> bool:
        return self.agent.hear(watch, news)

    def _on_plan(self, revision: int) -> None:
        with self._swapped:
            self._revision = revision
            self._swapped.notify_all()

    def _capture(self, loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
        try:
            self.agent.run()
        except BaseException as error:
            self._failed = error
        finally:
            self._captured.set()
            with self._swapped:
                self._swapped.notify_all()
            loop.call_soon_threadsafe(ended.set)

    # plans -----------------------------------------------------------------------------------------------------------

    def apply(self, message: PlanMessage) -> Verdict:
        """Put a plan in force, whole or not at all; gives when it is. Any thread but that of capture."""
        with self._planning:
            rows = {**self._rows, message.scope: message.filters}
            merged = tuple(row for scope in sorted(rows) for row in rows[scope])
            made = self._planner.take(merged, revision=message.revision, now=time.time_ns())
            if isinstance(made, Rejected):
                self.rejected += 1
                return Verdict(rejected=made.reason)
            self.agent.set_plan(made.plan)
            self._rows, self._digest = rows, message.digest  # last: capture may begin as soon as this is seen
            if self._state == "starting":  # the first block will be judged by it
                return Verdict(warnings=tuple(f"{each.filter}: {each.text}" for each in made.notes))
            with self._swapped:
                in_force = self._swapped.wait_for(
                    lambda: self._revision == made.plan.revision or self._captured.is_set(), SWAP_WITHIN
                )
        if not in_force:
            return Verdict(warnings=(f"capture has not come to it within {SWAP_WITHIN:.0f} s",))
        notes = tuple(f"{each.filter}: {each.text}" for each in made.notes)
        return Verdict(warnings=(*notes, *self.agent.warnings()))

    def use_identity(self, identity: PodBook) -> None:
        """Learn whose addresses are whose."""
        with self._planning:
            self._planner.identity = identity
            self._replan(force=True)

    def _replan(self, *, force: bool = False) -> None:
        due = self._planner.next_expiry
        if force or (due is not None and due <= time.time_ns()):
            plan = self._planner.again(now=time.time_ns())
            if plan is not None:
                self.agent.set_plan(plan)

    def _look(self) -> None:
        with self._planning:
            self._replan()

    # what it says ----------------------------------------------------------------------------------------------------

    def books(self) -> Books:
        """The books of this epoch."""
        return report.books_of(
            self._settings.node, self.agent.counters(), self.agent.matched_by_filter(), self._spool.books(),
            open_=self.agent.open_packets, lost_by_filter=self._spool.lost_by_filter,
            delivered_by_filter=self._spool.delivered_by_filter,
        )  # fmt: skip

    def conditions(self) -> list[str]:
        """What a person should know."""
        found = [f"{each.interface}: {each.state} {each.detail}".strip() for each in self._tap.conditions()]
        if self._spool.fault:
            found.append(f"spool: {self._spool.fault}: parcels are kept in memory for as long as it has room")
        if self._link.state is not LinkState.OPEN:
            found.append(f"link: {getattr(self._link, 'reason', '') or 'not connected'}")
        if self._board is not None and self._board.twin:
            found.append("another process speaks for this name: give each sensor its own node name")
        return found + self.agent.warnings()

    def ready(self) -> list[str]:
        """Reasons against readiness: no plan was read yet, or the link was never open."""
        reasons = [] if self._revision or self._rows else ["no plan yet"]
        return reasons + ([] if self._link.state is LinkState.OPEN else ["link is not open"])

    def alive(self) -> list[str]:
        """Reasons against liveness."""
        return [f"capture failed: {type(self._failed).__name__}"] if self._failed is not None else []

    def started(self) -> list[str]:
        """Reasons against being started."""
        return ["capture has not begun"] if self._state == "starting" else []

    def _beat(self) -> Heartbeat:
        used, now = sum(time.clock_gettime(each) for each in (time.CLOCK_PROCESS_CPUTIME_ID,)), time.monotonic()
        before, at = self._cpu
        self._cpu = used, now
        who = report.Identity(
            self._settings.node, self._settings.epoch, self._settings.cluster, self._started, self._settings.version,
            dict(self._settings.modes),
        )  # fmt: skip
        return report.heartbeat(
            who, books=self.books(), deliveries=self._spool, revision=self._revision, digest=self._digest,
            link=self._link.state.value, state=self._state, offset_ns=self._sharder.clock_offset_ns, tap=self._tap,
            conditions=self.conditions(), cpu=max(0.0, (used - before) / (now - at)) if at else 0.0,
            pods=self._busiest.top(),
        )  # fmt: skip

    def samples(self) -> list[Sample]:
        """Metrics of now."""
        found = list(report.samples(
            self.books(), self._settings.node, counters=self.agent.counters(), deliveries=self._spool,
            revision=self._revision, rejected=self.rejected, link_up=self._link.state is LinkState.OPEN,
            offset_ns=self._sharder.clock_offset_ns, malformed=sum(self.agent.engine.malformed.values()),
            streams=self.agent.engine.streams,
            tap=self._tap, now=time.time_ns(), open_=self.agent.open_packets, sent=self._sender.sent,
        ))  # fmt: skip
        if self._follower is not None:
            found.append(Sample("packhound_plan_malformed", self._follower.malformed))
            found.append(Sample("packhound_pods_malformed", self._pods.malformed if self._pods is not None else 0))
        return found + self._watching.samples(self.agent.media_refused)

    # life ------------------------------------------------------------------------------------------------------------

    async def run(self, life: Life) -> None:
        """Work until stopping begins, then end in order."""
        loop = asyncio.get_running_loop()
        self._outbox = Outbox(self._spool, self._sender, loop)
        await self._link.open()
        life.spawn(self._sender.run(), name="sender")
        heart = self._speak(life) if self._bus is not None else None
        if isinstance(self._link, GrpcLink):
            self._watching.start(lambda data: self._say("media_watch", data))
            life.every(BEAT_EVERY, self._beat_over_grpc, name="heart")
            life.every(media.AGAIN, self._watching.again, name="media")
        life.every(LOOK_EVERY, lambda: asyncio.to_thread(self._look), name="expiry")
        life.spawn(self._watching.run(), name="watches")
        ended = asyncio.Event()
        await self._first_plan(life)
        capture = threading.Thread(target=self._capture, args=(loop, ended), name="capture", daemon=True)
        self._state = "ok"
        capture.start()
        stopping = asyncio.ensure_future(life.stopping.wait())
        over = asyncio.ensure_future(ended.wait())
        await asyncio.wait({stopping, over}, return_when=asyncio.FIRST_COMPLETED)
        if self._settings.stay and self._failed is None:
            await stopping
        stopping.cancel()
        await self._end(over, heart)
        if self._failed is not None:
            raise self._failed

    async def _first_plan(self, life: Life) -> None:
        """Wait for something to hunt: what comes by before that is matched by nobody, under an empty plan too."""
        deadline = time.monotonic() + self._settings.wait_for_plan
        while not any(self._rows.values()) and time.monotonic() < deadline and await life.sleep(0.05):
            pass

    async def _end(self, over: asyncio.Future[Any], heart: Heart | None) -> None:
        self._state = "draining"
        deadline = time.monotonic() + self._settings.grace
        self._tap.stop()
        await over
        left = max(0.0, deadline - time.monotonic() - 1.0)
        if not await self._sender.drain(left):
            self._log.warning("stopped with parcels left, which the next start sends", parcels=len(self._spool),
                              folder=str(self._spool.folder))  # fmt: skip
        self._state = "stopped"
        if heart is not None and self._board is not None:
            last, written = self._beat(), self._board.written
            if not self._gave_way:  # else the key is another's
                self._board.beat(last)
            await heart.beat(last)
            for _ in range(0 if self._gave_way else 50):
                if self._board.written > written:
                    break
                await asyncio.sleep(0.02)

    # without a broker -------------------------------------------------------------------------------------------------

    def greeted(self) -> None:
        """A new stream is open: say at once who we are, and compare clocks."""
        self._sender.wake()
        for work in (self._beat_over_grpc(), self._watching.again()):
            self._beside(work)

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    def heard(self, kind: str, data: bytes) -> None:
        """Something that is no answer to a parcel came over the stream."""
        try:
            if kind == "plan_changed" and data:
                self._beside(self._follow(PlanMessage.decode(data)))
            elif kind == "media_watch":
                self._watching.heard(data)
            elif kind == "beat_reply":
                reply = BeatReply.decode(data)
                self._sharder.clock_offset_ns = reply.offset(sent_ns=self._beat_sent, got_ns=time.time_ns()).offset_ns
        except BadMessage as bad:
            self._log.warning("a message of the processor could not be read", kind=kind, reason=str(bad))

    async def _follow(self, message: PlanMessage) -> None:
        ack = await self._taker.take(message) or self._taker.answers.get(message.scope)
        if ack is not None:
            await self._say("plan_ack", ack.encode())

    async def _beat_over_grpc(self) -> None:
        self._beat_sent = time.time_ns()
        await self._say("heartbeat", self._beat().encode())

    async def _say(self, kind: Said, data: bytes) -> None:
        assert isinstance(self._link, GrpcLink)
        try:
            await self._link.say(kind, data)
        except Unreachable:  # the next stream gets the plan again, the next beat comes in seconds
            return

    # with one --------------------------------------------------------------------------------------------------------

    def _speak(self, life: Life) -> Heart:
        assert self._bus is not None
        names, node = Subjects(self._settings.fleet), self._settings.node
        board = self._board = StatusBoard(self._bus, names, node)
        told: Callable[[PlanAck], None] = board.ack
        follower = self._follower = PlanFollower(
            self._bus, names, node=node, epoch=self._settings.epoch, apply=self.apply, clock=time.time_ns, told=told,
            traces=self._traces,
        )  # fmt: skip
        heart = Heart(self._bus, names, make=self._with_offset(lambda: heart), clock=time.time_ns, board=board)
        life.spawn(board.run(), name="status")
        life.every(1.0, self._give_way, name="twins")
        self._watching.start(media.on_bus(self._bus, names, node=node))
        life.spawn(media.follow(self._watching, self._bus, names), name="media")
        life.spawn(follower.run(), name="plans")
        life.spawn(heart.run(), name="heart")
        if self._settings.pods:
            self._pods = PodFollower(self._bus, names, node=node, changed=self._pods_changed)
            life.spawn(self._pods.run(), name="pods")
        return heart

    async def _give_way(self) -> None:
        """Stop when an elder sensor has our name: two would record everything twice."""
        elder = self._board.elder if self._board is not None else None
        if elder is None or self._gave_way or self._failed is not None:
            return
        self._gave_way = True
        since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime((elder.started_ns + elder.clock_offset_ns) / 1e9))
        self._failed = BadInput(
            f"another sensor has had the name {self._settings.node} since {since}: give each its own node name (--node)"
        )
        self._tap.stop()

    def _pods_changed(self, book: PodBook) -> None:
        self._busiest.use(book.copy())
        self._beside(asyncio.to_thread(self.use_identity, book.copy()))

    def _with_offset(self, heart: Callable[[], Heart]) -> Callable[[], Heartbeat]:
        def make() -> Heartbeat:
            offset = heart().offset
            self._sharder.clock_offset_ns = offset.offset_ns if offset is not None else 0
            return self._beat()

        return make
