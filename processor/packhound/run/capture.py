"""`run`, `inspect`, `replay`, `interfaces`: the commands that open a capture or an interface."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from packhound.kit import logs
from packhound.kit.errors import BAD_INPUT, OK, BadInput, Usage, from_os
from packhound.net.sanitise import printable
from packhound.net.session import FIELDS_FILLED
from packhound.rules import bpf, pushdown
from packhound.rules.bpf import check_pcap
from packhound.run import options as layers
from packhound.run import show
from packhound.run.filters import Change, FilterFiles
from packhound.run.look import Inspection
from packhound.sensor.kernel import available
from packhound.sensor.tap.follow import list_interfaces
from packhound.sensor.tap.frames import Tap
from packhound.sensor.tap.live import ANY, LiveTap
from packhound.sensor.tap.merge import open_captures
from packhound.sensor.tap.replay import Player
from packhound.sensor.tap.ring import RingConfig

__all__ = ["available", "inspect", "interfaces", "replay", "run"]
LOG = "packhound"
BLOCK, SMALL_BLOCK = 1 << 20, 1 << 18  #: of a ring: what the kernel hands over at once


def open_tap(read: Sequence[str], interfaces: Sequence[str], options: layers.Options) -> Tap:
    """The tap that -r or -i name; exactly one of them."""
    if bool(read) == bool(interfaces):
        raise Usage("give either -r FILE (or several) or -i INTERFACE, not both", notes=("packhound run --help",))
    if options.capture.bpf is not None:
        fault = check_pcap(options.capture.bpf)
        if fault:
            raise BadInput(f"--bpf {options.capture.bpf!r}: {fault}")
    if read:
        return open_captures(read)
    config, limit = rings(options, interfaces)
    program = options.capture.bpf

    def programs(linktype: int) -> bpf.Program | None:
        found = bpf.compile_expression(program, linktype=linktype) if program else None
        return pushdown.live_program(found, linktype=linktype) if isinstance(found, tuple) else None

    return LiveTap(interfaces, config=config, programs=programs, memory_limit=limit)


def rings(options: layers.Options, interfaces: Sequence[str]) -> tuple[RingConfig, int]:
    """Ring of each interface, and bytes of all together. With `any` there are many, most of them quiet: each has a
    sixteenth of the ring of one that is named."""
    size = options.capture.ring_mib << 20
    if ANY in interfaces:
        blocks = max(2, size // 16 // SMALL_BLOCK)
        return RingConfig(SMALL_BLOCK, blocks, snaplen=options.capture.snaplen), 256 * blocks * SMALL_BLOCK
    block = BLOCK if size >= 8 * BLOCK else SMALL_BLOCK
    return RingConfig(block, size // block, snaplen=options.capture.snaplen), size * len(interfaces)


@contextmanager
def stopping(tap: Tap, *, after: float) -> Iterator[None]:
    """Ctrl-C and SIGTERM stop the tap (a second one kills); so does the time `after` seconds (0: never)."""
    timer = threading.Timer(after, tap.stop) if after else None

    def stop(number: int, _frame: Any) -> None:
        signal.signal(number, signal.SIG_DFL)
        tap.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    if timer is not None:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
        tap.close()


def run(read: Sequence[str], interfaces: Sequence[str], filters: Sequence[Path], options: layers.Options, *,
        json: bool, progress: bool | None) -> int:  # fmt: skip
    """Hunt; print the outcome; the exit code."""
    log = logs.logger(LOG)
    files = FilterFiles(filters, check_pcap=check_pcap, now=_now) if filters else None
    first = files.refresh() if files else None
    if first is not None and first.bad:
        raise BadInput(str(first.bad[0]), notes=tuple(map(str, first.bad[1:])))
    tap = open_tap(read, interfaces, options)
    out = options.output.out

    def changed(change: Change) -> None:
        for each in change.bad:
            log.warning("filter refused, the last good version stays", where=str(each))
        if change.changed:
            log.info("filters in force", revision=change.plan.revision, filters=[f.name for f in change.plan.filters])

    bar = show.Progress(on=progress)
    with stopping(tap, after=options.capture.duration):
        try:
            from packhound.run.hunt import Hunt  # lazy: needs DuckDB, which a sensor has not
            from packhound.run.keeping import kept

            hunt = Hunt(tap, filters=files, out=out, settings=layers.hunt_settings(options, live=bool(interfaces)),
                        on_change=changed)  # fmt: skip
        except OSError as error:
            raise from_os(error, what="the output folder cannot be used") from None
        with kept(out, options.output.retention_seconds):
            found = hunt.run(bar)
    bar.done()
    if json:
        show.line(show.as_json(show.outcome_dict(found, out)))
    else:
        show.outcome_text(found, out, hunted(files))
    return ended(tap, lost=sum(sum(a.lost.values()) for a in found.books.sensors.values()))


def hunted(files: FilterFiles | None) -> list[tuple[str, str]]:
    """Name and one line about each filter in force."""
    rows = []
    for each in files.plan.filters if files else ():
        parts = [f"scope {each.scope}"]
        if each.pcap_filter:
            parts.append(f"pcap {each.pcap_filter!r}")
        if each.purpose:
            parts.append(each.purpose)
        if not each.active:
            parts.append("suspended" if each.suspended else "expired")
        rows.append((each.name, ", ".join(parts)))
    return rows


def ended(tap: Tap, *, lost: int = 0) -> int:
    """Say how the tap ended; the exit code."""
    if tap.fault is not None:
        show.line(f"packhound: {printable(str(tap.fault))}; what was before it is kept", to=sys.stderr)
        return tap.fault.exit_code
    return BAD_INPUT if lost else OK


def chosen_kinds(text: str) -> frozenset[str]:
    """The kinds that a list with commas names: `flow`, kinds of messages, or what stands before their dot. Raises
    Usage for one that nothing prints."""
    kinds = {"flow", *FIELDS_FILLED}
    known = kinds | {kind.split(".", 1)[0] for kind in kinds}
    wanted = frozenset(part.strip() for part in text.split(",") if part.strip())
    if not wanted or wanted - known:
        named = ", ".join(sorted(wanted - known)) or "nothing"
        raise Usage(f"--kind: {named} is no kind; there are: {', '.join(sorted(kinds))}")
    return wanted


def inspect(read: Sequence[str], kinds: str | None, options: layers.Options, *, progress: bool | None) -> int:
    """Print every flow and message, one JSON object a line."""
    wanted = chosen_kinds(kinds) if kinds is not None else None
    tap = open_tap(read, (), options)
    bar = show.Progress(on=progress)
    with stopping(tap, after=0):
        looked = Inspection(tap, settings=layers.agent_settings(options), kinds=wanted)
        for row in looked.rows(bar):
            show.line(show.as_json(row))
    bar.done()
    for each in tap.conditions():
        show.complain(f"{each.interface}: {each.state} {each.detail}".strip())
    return ended(tap)


def interfaces(*, json: bool) -> int:
    """List interfaces."""
    found = list_interfaces()
    if json:
        for each in found:
            show.line(show.as_json({name: getattr(each, name) for name in each.__slots__}))
    else:
        show.table(
            [(e.name, e.state, e.linktype, e.mtu, e.addresses, "yes" if e.supported else e.why_not) for e in found],
            ("NAME", "STATE", "LINK TYPE", "MTU", "ADDRESSES", "CAPTURE"),
        )
    return OK


def replay(read: Sequence[str], interface: str, *, speed: float | None, json: bool, progress: bool | None) -> int:
    """Play captures onto an interface."""
    bar = show.Progress(on=progress)
    tap = open_captures(read)
    player = Player(interface)
    before = signal.signal(signal.SIGINT, lambda *_: player.stop())
    try:
        played = player.play(tap, speed=speed, on_block=lambda so_far: bar.say(f"{so_far.sent:,} packets sent"))
    finally:
        bar.done()
        signal.signal(signal.SIGINT, before)
        player.close()
        tap.close()
    found = {name: getattr(played, name) for name in played.__slots__}
    found["refused"] = dict(played.refused)
    if json:
        show.line(show.as_json(found))
    else:
        refused = sum(played.refused.values())
        show.line(f"sent {played.sent:,} packets, {played.octets:,} bytes in {played.seconds:.2f} s; "
                  f"skipped {played.skipped:,}, refused {refused:,}, not whole {played.cut:,}")  # fmt: skip
    return ended(tap)


def _now() -> int:
    import time

    return time.time_ns()
