"""The sensor of one worker on one screen: tap -> kernel -> verdicts -> batches, and the plan that steers them.

Promise: one thread runs `run`; `set_plan` may be called from any other and takes effect between two blocks. Capture
never waits for a plan: it is compiled before it is handed over.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from packhound.fleet.watches import News
from packhound.net import linktypes
from packhound.net.frame import DecodeConfig
from packhound.net.timeouts import DEFAULT, Timeouts
from packhound.rules import bpf, pushdown
from packhound.rules.latch import Matcher
from packhound.rules.plan import EMPTY, HuntPlan
from packhound.sensor.batcher import Batcher, Limits
from packhound.sensor.farcalls import OnMedia
from packhound.sensor.filtersets import FilterSets
from packhound.sensor.kernel import gatherer, new_kernel
from packhound.sensor.kernel.copies import WINDOW
from packhound.sensor.kernel.tables import InterfacePrograms, KernelTables, build_tables, inspect_tables
from packhound.sensor.scan import Engine, KeepLimits, Message
from packhound.sensor.tap.frames import Tap
from packhound.sensor.verdicts import Verdicts
from packhound.wire.batch import Action, Batch
from packhound.wire.beats import MediaWatch

MAX_HEARD = 65_536
REJECT: bpf.Program = ((bpf.RET, 0, 0, 0),)
Flows = Callable[[npt.NDArray[Any], dict[int, str], dict[int, tuple[str, ...]]], None]


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """How a worker runs. `capture`: pcap expression of what is captured at all; `names`: host names on flow records;
    `count`: stop after so many packets (0: never); `kernel`: auto, native or portable; `capacity`: flows at once."""

    capture: str | None = None
    names: bool = False
    count: int = 0
    kernel: str = "auto"
    capacity: int = 262144
    timeouts: Timeouts = DEFAULT
    decode: DecodeConfig = field(default_factory=DecodeConfig)
    keep: KeepLimits = field(default_factory=KeepLimits)
    batch: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Ready:
    """A plan made ready off the capture path."""

    plan: HuntPlan
    matcher: Matcher
    expressions: tuple[str, ...]
    actions: Mapping[str, Action]

    @classmethod
    def of(cls, plan: HuntPlan) -> Ready:
        """Prepare everything of `plan` that needs no kernel."""
        texts = dict.fromkeys(f.pcap_filter for f in plan.filters if f.active and f.pcap_filter)
        actions = {f.name: Action(f.record, f.per_call, f.alert_severity, f.sample) for f in plan.filters}
        return cls(plan, Matcher(plan), tuple(t for t in texts if t), actions)


class Agent:
    """One worker: joins a tap to the engine. `inspect`: hand every message to `on_message`, no filters; `name` and
    `epoch` (new for every start) are the sensor's on its batches. `clock`: wall clock in ns of a live tap, on which
    flows end while the wire is quiet; None for files, slow pipes too, whose packets alone tell the time."""

    def __init__(
        self,
        tap: Tap,
        *,
        settings: AgentSettings,
        on_batch: Callable[[Batch], None],
        on_flows: Flows,
        on_message: Callable[[Message], None] | None = None,
        inspect: bool = False,
        name: str = "",
        epoch: int = 1,
        clock: Callable[[], int] | None = None,
        on_plan: Callable[[int], None] | None = None,
        on_media: OnMedia | None = None,
    ) -> None:
        self._on_plan = on_plan
        self.tap = tap
        self.settings = settings
        self._inspect = inspect
        self._clock = clock
        self.kernel = new_kernel(
            mode=settings.kernel, capacity=settings.capacity, timeouts=settings.timeouts, config=settings.decode
        )
        self._on_batch = on_batch
        self._name, self._epoch = name, epoch
        self._batcher = Batcher(
            deliver=self._deliver, gather=gatherer(self.kernel), interfaces=tap.interfaces, limits=settings.batch
        )
        self._verdicts = Verdicts(self.kernel)
        self._verdicts.far.on_media = on_media
        self.engine = Engine(
            self.kernel, interfaces=tap.interfaces, batcher=self._batcher, verdicts=self._verdicts,
            on_flows=on_flows, on_message=on_message, limits=settings.keep, config=settings.decode,
        )  # fmt: skip
        self._ready = Ready.of(EMPTY)
        self._next: Ready | None = None
        self._heard: deque[tuple[MediaWatch, News]] = deque()
        self._lock = threading.Lock()
        self._known_interfaces = 0
        self._blinded: set[tuple[str, int]] = set()
        self._apply(self._ready)

    def _deliver(self, batch: Batch) -> None:
        batch.sensor, batch.epoch, batch.plan = self._name, self._epoch, self._ready.plan.revision
        names = {name for names in batch.fsets.values() for name in names}
        batch.actions = {name: self._ready.actions[name] for name in sorted(names) if name in self._ready.actions}
        self._on_batch(batch)

    # the plan ------------------------------------------------------------------------------------------------------

    def set_plan(self, plan: HuntPlan) -> None:
        """Hand over a plan; it is in force from the next block on, on a quiet wire at once. Any thread."""
        ready = Ready.of(plan)
        with self._lock:
            self._next = ready
        self._wake()

    def _wake(self) -> None:
        wake = getattr(self.tap, "wake", None)
        if wake is not None:
            wake()

    def hear(self, watch: MediaWatch, news: News) -> bool:
        """Hand over what another sensor tells of a call; False when too much of that waits already. Any thread."""
        if len(self._heard) >= MAX_HEARD:
            return False
        self._heard.append((watch, news))
        self._wake()
        return True

    @property
    def media_refused(self) -> int:
        """Calls of other sensors that there was no room for."""
        return self._verdicts.far.refused

    def _take_heard(self) -> None:
        while self._heard:
            self.engine.heard(*self._heard.popleft())

    @property
    def revision(self) -> int:
        """Revision of the plan in force."""
        return self._ready.plan.revision

    def _take_plan(self) -> None:
        with self._lock:
            ready, self._next = self._next, None
        if ready is not None:
            self.engine.set_plan(lambda: self._apply(ready))
            self._push_down()
            if self._on_plan is not None:
                self._on_plan(self.revision)

    def _apply(self, ready: Ready) -> None:
        if self._batcher.ready:
            self._batcher.flush()  # what the old plan took goes out under its revision
        self._ready = ready
        numbers = {text: i for i, text in enumerate(ready.expressions)}
        sets = FilterSets(ready.plan, numbers, self.kernel)
        # the kernel forgets old sets when it loads, so the base set is its first
        base = 1 if ready.plan.base else 0
        self.kernel.load(self._tables(ready, base))
        self._batcher.use(sets)
        assert sets.intern(ready.plan.base) == base
        self._verdicts.use(ready.plan, ready.matcher, sets, programs=len(numbers), base=base)
        # who asks for packets of one interface gets them even when another had them first
        self._copies = getattr(self.tap, "several", False) and not sets.by_interface
        self._program_interfaces()

    def _tables(self, ready: Ready, base: int) -> KernelTables:
        if self._inspect:
            return inspect_tables()
        return build_tables(ready.plan, base_fset=base, programs=len(ready.expressions), names=self.settings.names)

    def _program_interfaces(self) -> None:
        self._known_interfaces = len(self.tap.interfaces)
        self.kernel.set_copies(WINDOW if self._copies else 0)
        self.kernel.set_interfaces([
            InterfacePrograms(
                each.linktype,
                self._capture_program(each.linktype),
                tuple(self._program(text, each.linktype) for text in self._ready.expressions),
            )
            for each in self.tap.interfaces
        ])

    def _program(self, text: str, linktype: int) -> bpf.Program:
        found = bpf.compile_expression(text, linktype=linktype)
        if isinstance(found, bpf.BadExpression):
            self._blinded.add((text, linktype))
            return REJECT
        return found

    def _capture_program(self, linktype: int) -> bpf.Program | None:
        return None if self.settings.capture is None else self._program(self.settings.capture, linktype)

    def kernel_program(self, linktype: int) -> bpf.Program | None:
        """What a live socket of that link type may filter itself: the capture expression."""
        program = self._capture_program(linktype)
        return None if program is None else pushdown.live_program(program, linktype=linktype)

    def _push_down(self) -> None:
        push = getattr(self.tap, "set_programs", None)
        if push is not None:
            push(self.kernel_program)

    def warnings(self) -> list[str]:
        """Sentences about what cannot work as asked: expressions that do not exist for a link type."""
        return [
            f"pcap expression {text!r} cannot be used on link type {linktypes.name(number)}: nothing matches there"
            for text, number in sorted(self._blinded)
        ]

    # the loop ------------------------------------------------------------------------------------------------------

    def run(self, on_tick: Callable[[], None] | None = None) -> None:
        """Capture until the tap ends (end of file, `tap.stop()`, or `count` packets); then settle everything."""
        for _ in self.steps():
            if on_tick is not None:
                on_tick()

    def steps(self) -> Iterator[None]:
        """The same, a block at a time; the last step settles everything."""
        self._push_down()
        left = self.settings.count
        for block in self.tap.blocks():
            self._take_plan()
            self._take_heard()
            if block is None:
                self.engine.idle(self._clock() if self._clock else None)
            else:
                if len(self.tap.interfaces) != self._known_interfaces:
                    self._program_interfaces()
                if self.settings.count:
                    left -= self._limited(block, left)
                else:
                    self.engine.process(block)
                if self.settings.count and left <= 0:
                    self.tap.stop()
                    break
            yield
        self.engine.close()
        yield

    def _limited(self, block: Any, left: int) -> int:
        """Process at most `left` captured packets of a block; how many were."""
        before = self.kernel.counters()["seen"]
        at, count = 0, len(block)
        while at < count and self.kernel.counters()["seen"] - before < left:
            take = min(count - at, left - (self.kernel.counters()["seen"] - before))
            self.engine.process(block.part(at, at + take))
            at += take
        return int(self.kernel.counters()["seen"] - before)

    @property
    def open_packets(self) -> int:
        """Packets that are wanted and in no batch that was closed yet."""
        return self._batcher.open

    def matched_by_filter(self) -> dict[str, int]:
        """Packets that each filter wanted, by its name."""
        return self._batcher.by_filter()

    def counters(self) -> dict[str, int]:
        """Packets by fate, with what the source lost: `seen` counts those too."""
        found = self.engine.counters()
        drops = self.tap.drops()
        lost = drops.kernel + drops.interface
        return {**found, "captured": found["seen"], "seen": found["seen"] + lost,
                "dropped_kernel": drops.kernel, "dropped_interface": drops.interface}  # fmt: skip
