"""`packhound processor`: one processor of a fleet, as a process; and the shared state that its settings name."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from packhound.fleet.acks import Acks
from packhound.fleet.heartbeats import Beats
from packhound.fleet.pods import PodFollower
from packhound.fleet.streams import Keeper as StreamKeeper
from packhound.kit import logs, tasks
from packhound.kit.bus import Bucket, Bus, BusError
from packhound.kit.errors import Stop, Usage
from packhound.kit.metrics import Descriptor, Metrics, Sample
from packhound.kit.rpc import new_server, token_check
from packhound.kit.tasks import Life
from packhound.kit.traces import Traces
from packhound.processor.groups import Groups, take_up
from packhound.processor.intake.grpc import GrpcIntake, IntakeSettings
from packhound.processor.intake.nats import NatsSource
from packhound.processor.intake.streams import StreamSource
from packhound.processor.keeper import Keeper
from packhound.processor.serve.api import SubscriberApi, authorised_by
from packhound.processor.serve.feed import Feed
from packhound.processor.service import Processor, ProcessorSettings
from packhound.processor.shared.entries import epochs_over
from packhound.processor.shared.redis import RedisSettings, RedisState
from packhound.processor.shared.sqlite import SqliteState
from packhound.processor.shared.state import Roster, SharedState, Unavailable
from packhound.processor.store.folder import Folder
from packhound.processor.store.segments import Limits
from packhound.processor.worker import Progress, Worker
from packhound.run import direct, keeping, links
from packhound.run.answers import FleetAnswers
from packhound.run.direct import DirectPlans
from packhound.run.options import Options
from packhound.wire.checked import BadMessage
from packhound.wire.plans import PlanMessage
from packhound.wire.pods import PodBook
from packhound.wire.subjects import Subjects
from packhound.wire.v1 import events_pb2_grpc, packets_pb2_grpc

SECOND = 1_000_000_000
CLAIM_EVERY = 1.0
FOLD_EVERY = 600.0
MEMORY = ".packhound-filters"
DESCRIPTORS = (
    Descriptor("packhound_parcels", "counter", "parcels taken in"),
    Descriptor("packhound_packets", "counter", "packets by stage and what became of them", ("stage", "outcome")),
    Descriptor("packhound_groups", "counter", "groups of parcels settled"),
    Descriptor("packhound_group_seconds", "gauge", "from the first parcel of the last group to its end"),
    Descriptor("packhound_held", "gauge", "1 while nothing can be settled"),
    Descriptor("packhound_holds", "counter", "times that settling had to wait"),
    Descriptor("packhound_shards", "gauge", "shards that this processor has"),
    Descriptor("packhound_shards_moved", "counter", "shards taken, given back or lost", ("how",)),
    Descriptor("packhound_consumer_lag", "gauge", "parcels that wait in the broker for this processor's shards"),
    Descriptor("packhound_intake_parcels", "gauge", "parcels brought to this processor and not settled yet"),
    Descriptor("packhound_intake_bytes", "gauge", "bytes of parcels brought and not settled yet"),
    Descriptor("packhound_intake_oldest_seconds", "gauge", "since the oldest parcel that is not settled was brought"),
    Descriptor("packhound_redelivered_parcels", "counter", "parcels brought again that had been settled before"),
    Descriptor("packhound_malformed_parcels", "counter", "parcels that could not be read"),
    Descriptor("packhound_malformed_heartbeats", "counter", "heartbeats that could not be read"),
    Descriptor("packhound_malformed_answers", "counter", "answers to plans that could not be read"),
    Descriptor("packhound_malformed_pods", "counter", "tables of pods that could not be read"),
    Descriptor("packhound_broker_up", "gauge", "1 while the broker is connected"),
    Descriptor("packhound_shared_up", "gauge", "1 while the shared state answers"),
    Descriptor("packhound_subscribers", "gauge", "subscribers of the live streams"),
    Descriptor("packhound_sensors", "gauge", "sensors by whether they were heard lately", ("state",)),
    Descriptor("packhound_twin_sensors", "gauge", "names of sensors for which two processes speak"),
    *keeping.DESCRIPTORS,
)


def shared_state(options: Options) -> SharedState:
    """The state that processors share. Raises Usage, Unavailable."""
    chosen = options.shared
    if chosen.redis:
        password = str(chosen.password_file) if chosen.password_file else ""
        return RedisState(RedisSettings(chosen.redis, password_file=password), fleet=options.fleet.name)
    return SqliteState(chosen.sqlite or options.output.out / "shared.sqlite")


def roster(options: Options) -> Roster | None:
    """Who processes, as the shared state says; None when no state is named or it cannot be reached."""
    if not options.shared.redis and not (options.shared.sqlite and options.shared.sqlite.exists()):
        return None
    with suppress(Unavailable):
        state = shared_state(options)
        try:
            return state.roster()
        finally:
            state.close()
    return None


def run(options: Options) -> int:
    """Run a processor until it is told to stop; the exit code."""

    async def main(life: Life) -> None:
        await Processing(options).run(life)

    return tasks.run(main, grace=options.fleet.grace_seconds + 30.0, told=_told)


def _told(stop: Stop) -> None:
    logs.logger("processor").error(stop.reason, notes="; ".join(stop.notes) or None)


class Processing:
    """The process: a worker in its thread, links and servers in the loop."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.node = links.node_name(options)
        self.names = Subjects(options.fleet.name)
        self._log = logs.logger("processor")
        self._traces: Traces = links.traces(options, "packhound-processor", self.node)
        self.feed = Feed()
        self.started_ns = time.time_ns()
        self.beats: Beats | None = None
        self.acks: Acks | None = None
        self._follower: PodFollower | None = None
        self._worker: Worker | None = None
        self._source: Any = None
        self._failed: BaseException | None = None
        self._bus: Bus | None = None
        self.plan: PlanMessage | None = None
        self._caution = ""
        self._pods: PodBook | None = None
        self._processor: Processor | None = None
        self._shared: Keeper | None = None
        self._answers: FleetAnswers | None = None
        self._direct: DirectPlans | None = None
        self._keeping = keeping.Keeping(options.output.out, options.output.retention_seconds, spared=self._untold)

    async def run(self, life: Life) -> None:
        """Work until stopping begins, then end in order."""
        options = self._options
        if not options.nats.urls and not options.grpc.listen:
            raise Usage("nothing brings parcels: set nats.urls, or grpc.listen for sensors without a broker")
        if options.nats.urls and options.fleet.filters:
            raise Usage("fleet.filters is for a processor without a broker; here it is packhound filter apply")
        loop = asyncio.get_running_loop()
        self._log.info("processor started", node=self.node, fleet=options.fleet.name, out=str(options.output.out))
        health = self._health()
        servers: list[Any] = []
        try:
            shared = await self._await_state(life)
            if shared is None:
                return
            if options.nats.urls:
                await self._connect(life)
            source = self._source = (
                NatsSource(self._bus, self.names, node=self.node, loop=loop) if self._bus is not None
                else StreamSource(loop)
            )  # fmt: skip
            worker = await self._claim(life, shared, source)
            if worker is None:
                return
            servers = await self._serve(life, shared, source)
            life.every(keeping.EVERY, lambda: asyncio.to_thread(self._keeping.sweep), name="retention")
            life.every(FOLD_EVERY, lambda: asyncio.to_thread(self._fold, shared), name="old epochs")
            ended = asyncio.Event()
            thread = threading.Thread(target=self._work, args=(worker, loop, ended), name="worker", daemon=True)
            thread.start()
            stopping = asyncio.ensure_future(life.stopping.wait())
            over = asyncio.ensure_future(ended.wait())
            await asyncio.wait({stopping, over}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            worker.stop()
            await over
        finally:
            for server in servers:
                await server.stop(1.0)
            if isinstance(self._source, NatsSource):
                await self._source.end()
            if self._bus is not None:
                await self._bus.close()
            self._traces.close()
            if health is not None:
                await asyncio.to_thread(health.close)
            done = self._worker.progress if self._worker is not None else Progress()
            self._log.info("processor stopped", node=self.node, parcels=done.parcels, packets=done.packets,
                           holds=done.holds, shards_lost=done.lost)  # fmt: skip
        if self._failed is not None:
            raise self._failed

    def _work(self, worker: Worker, loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
        try:
            worker.run()
        except BaseException as error:
            self._failed = error
        finally:
            loop.call_soon_threadsafe(ended.set)

    async def _await_state(self, life: Life) -> SharedState | None:
        """The shared state, once it can be had."""
        while not life.stopping.is_set():
            try:
                found = await asyncio.to_thread(shared_state, self._options)
                if isinstance(found, RedisState):
                    with suppress(Unavailable):  # it may not be for us to ask
                        self._caution = await asyncio.to_thread(found.caution)
                if self._caution:
                    self._log.warning("shared state may forget", reason=self._caution)
                return found
            except Unavailable as error:
                self._log.warning("shared state is away", reason=error.reason)
                await life.sleep(CLAIM_EVERY)
        return None

    async def _connect(self, life: Life) -> None:
        settings = links.bus_settings(self._options, "processor", self.node)
        self._bus = await Bus.connect(settings)
        life.spawn(StreamKeeper(self._bus, links.layout(self._options)).run(), name="streams")
        self.beats = Beats(self._bus, self.names, processor=self.node, clock=time.time_ns)
        self.acks = Acks(self._bus, self.names)
        life.spawn(self._listen(), name="heartbeats")
        life.every(5.0, self._read_plan, name="plan")
        if self._options.fleet.pods:
            self._follower = PodFollower(self._bus, self.names, changed=self._pods_changed)
            life.spawn(self._follower.run(), name="pods")

    def _pods_changed(self, book: PodBook) -> None:
        self._pods = book.copy()
        if self._processor is not None:
            self._processor.use_pods(self._pods)

    async def _listen(self) -> None:
        assert self.beats is not None
        assert self.acks is not None
        async with self.beats, self.acks:
            await asyncio.Event().wait()

    async def _read_plan(self) -> None:
        """The plan for every node, to tell subscribers of it."""
        assert self._bus is not None
        with suppress(BusError, BadMessage):
            entry = await Bucket(self._bus, self.names.plans_bucket).get(self.names.plan_key_all)
            self.plan = None if entry is None else PlanMessage.decode(entry.value)

    async def _claim(self, life: Life, shared: SharedState, source: Any) -> Worker | None:
        """Make the folder ours, recover what a crash left there, and be ready to work."""
        options = self._options
        folder = Folder(options.output.out)
        while not life.stopping.is_set():
            try:
                claimed, recovered = await asyncio.to_thread(take_up, folder, shared)
                break
            except Unavailable as error:
                self._log.warning("shared state is away", reason=error.reason)
                await life.sleep(CLAIM_EVERY)
        else:
            return None
        for each in recovered:
            self._log.info("recovered", what=str(each))
        limits = Limits(bytes=options.output.rotate_mib << 20, age=options.output.rotate_seconds * SECOND)
        settings = ProcessorSettings(name=self.node, segment=limits, live=True, node=self.node)
        processor = Processor(
            folder.root, settings, clock=time.time_ns, recovered=recovered, traces=self._traces
        )  # fmt: skip
        processor.listen(self.feed)
        self._processor = processor
        if self._pods is not None:
            processor.use_pods(self._pods)
        keeper = Keeper(shared, member=f"{self.node}/{folder.id[:8]}")
        self._shared = keeper
        groups = Groups(processor, folder=folder, shared=shared, claimed=claimed)
        keeper.start()
        self._worker = Worker(
            groups, source, shared=shared, keeper=keeper, shards=options.fleet.shards,
            grace=float(options.fleet.grace_seconds), last=options.fleet.finish_calls, traces=self._traces,
        )  # fmt: skip
        return self._worker

    def _untold(self, path: str) -> bool:
        return self._processor is None or self._processor.untold(path)

    def _fold(self, shared: SharedState) -> None:
        """Keep the books from growing with every restart of a sensor."""
        assert self._answers is not None
        with suppress(Unavailable):  # later, then
            for sensor, epoch in epochs_over(shared.books(), live=self._answers.epochs()):
                shared.fold(sensor, epoch)

    # servers ---------------------------------------------------------------------------------------------------------

    async def _serve(self, life: Life, shared: SharedState, source: Any) -> list[Any]:
        """GRPC for sensors and subscribers, where addresses are set."""
        options, made = self._options, []
        answers = self._answers = FleetAnswers(self, shared, traces=self._traces)
        tls = links.grpc_certificates(options)
        doors = (options.grpc.listen, tls, True), (options.grpc.api, tls, False), (options.grpc.local, None, False)
        for listen, files, with_certificates in doors:
            if not listen:
                continue
            server, port = new_server(listen, tls=files, client_certificates=with_certificates)
            authorise = authorised_by(tls=files is not None, token=token_check(options.grpc.tokens))
            api = SubscriberApi(self.feed, answers=answers, authorise=authorise)
            events_pb2_grpc.add_SubscriberServicer_to_server(api, server)
            if isinstance(source, StreamSource) and with_certificates:
                intake = GrpcIntake(
                    IntakeSettings(options.fleet.name, self.node, options.fleet.shards), deliver=source.deliver,
                    on_message=answers.heard, welcome=answers.plan_for,
                )  # fmt: skip
                answers.relay = intake.pass_on
                packets_pb2_grpc.add_IntakeServicer_to_server(intake, server)
                await self._push(life, answers, intake)
            await server.start()
            made.append(server)
            self._log.info("listening", address=listen, port=port)
        return made

    async def _push(self, life: Life, answers: FleetAnswers, intake: GrpcIntake) -> None:
        """Give sensors the filters of our files, now and whenever these change."""
        if not self._options.fleet.filters:
            return

        async def tell(plan: PlanMessage) -> None:
            self.plan = answers.plan = plan
            intake.tell("plan_changed", plan.encode())

        self._direct = DirectPlans(
            self._options.fleet.filters, memory=self._options.output.out / MEMORY, node=self.node,
            traces=self._traces, tell=tell,
        )  # fmt: skip
        await self._direct.look()
        life.every(direct.EVERY, self._direct.look, name="filters")

    # what it says ----------------------------------------------------------------------------------------------------

    def _health(self) -> Any:
        metrics = Metrics(DESCRIPTORS, info={"version": links.VERSION, "role": "processor"})
        metrics.add(self.samples)
        return links.health(
            self._options, metrics, livez=self.alive, readyz=self.ready,
            startupz=lambda: [] if self._worker is not None else ["the folder is not ours yet"],
        )  # fmt: skip

    def alive(self) -> list[str]:
        """Reasons against liveness."""
        return [f"the worker failed: {type(self._failed).__name__}"] if self._failed is not None else []

    def ready(self) -> list[str]:
        """Reasons against readiness."""
        worker = self._worker
        if worker is None:
            return ["shared state or folder not there yet"]
        held = [f"nothing can be settled: {worker.progress.held}"] if worker.progress.held else []
        return held + ([] if self._bus is None or self._bus.connected else ["broker is away"])

    def conditions(self) -> list[str]:
        """What a person should know."""
        found = [*self.ready(), *(self._direct.bad if self._direct is not None else ())]
        if self._caution:
            found.append(self._caution)
        if self.beats is not None:
            for node, epochs in self.beats.twins().items():
                found.append(f"two processes speak for sensor {node}: give each its own name ({len(epochs)} epochs)")
        return found

    def samples(self) -> Iterable[Sample]:
        """Metrics of now."""
        worker = self._worker
        yield Sample("packhound_subscribers", len(self.feed))
        yield from self._keeping.samples()
        states = self._answers.states() if self._answers is not None else {}
        for state in ("heard", "silent", "stopped"):
            yield Sample("packhound_sensors", states.get(state, 0), (state,))
        yield Sample("packhound_malformed_heartbeats", self.beats.malformed if self.beats is not None else 0)
        yield Sample("packhound_malformed_answers", self.acks.malformed if self.acks is not None else 0)
        yield Sample("packhound_malformed_pods", self._follower.malformed if self._follower is not None else 0)
        yield Sample("packhound_twin_sensors", len(self.beats.twins()) if self.beats is not None else 0)
        if self._bus is not None:
            yield Sample("packhound_broker_up", float(self._bus.connected))
        if worker is None or self._processor is None or self._shared is None:
            return
        yield Sample("packhound_shared_up", float(not self._shared.fault))
        yield from self._intake_samples()
        done = worker.progress
        yield Sample("packhound_parcels", done.parcels)
        yield Sample("packhound_redelivered_parcels", self._processor.redelivered)
        yield Sample("packhound_packets", done.packets, ("process", "settled"))
        accounts = list(self._processor.books.sensors.values())
        for outcome in ("recorded", "processed_only", "duplicates_dropped"):
            total = sum(getattr(each, outcome) for each in accounts)
            yield Sample("packhound_packets", total, ("process", outcome))
        yield Sample("packhound_packets", sum(each.lost.total() for each in accounts), ("process", "lost"))
        yield Sample("packhound_groups", done.groups)
        yield Sample("packhound_group_seconds", done.last_ns / SECOND)
        yield Sample("packhound_held", float(bool(done.held)))
        yield Sample("packhound_holds", done.holds)
        yield Sample("packhound_shards", len(done.shards))
        for how, count in (("acquired", done.acquired), ("released", done.released), ("lost", done.lost)):
            yield Sample("packhound_shards_moved", count, (how,))

    def _intake_samples(self) -> Iterable[Sample]:
        backlog = self._source.backlog()
        yield Sample("packhound_intake_parcels", backlog.parcels)
        yield Sample("packhound_intake_bytes", backlog.bytes)
        yield Sample("packhound_intake_oldest_seconds", backlog.seconds)
        yield Sample("packhound_consumer_lag", self._source.lag)
        yield Sample("packhound_malformed_parcels", self._source.malformed)

    @property
    def shards(self) -> tuple[int, ...]:
        """Shards that are ours."""
        return self._worker.progress.shards if self._worker is not None else ()

    @property
    def fleet(self) -> tuple[str, int]:
        """Name and shards."""
        return self._options.fleet.name, self._options.fleet.shards
