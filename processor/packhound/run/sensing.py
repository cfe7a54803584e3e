"""`packhound sensor`: one sensor of a fleet, as a process."""

from __future__ import annotations

import asyncio
import gc
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from packhound.kit import logs, tasks
from packhound.kit.bus import Bus
from packhound.kit.errors import Stop, Usage
from packhound.kit.metrics import Metrics
from packhound.kit.tasks import Life
from packhound.run import links
from packhound.run import options as layers
from packhound.run.capture import open_tap
from packhound.sensor import report
from packhound.sensor.kernel import available
from packhound.sensor.link.base import Link
from packhound.sensor.link.grpc import GrpcLink, GrpcSettings
from packhound.sensor.link.nats import NatsLink
from packhound.sensor.service import BATCH, SensorService, SensorSettings
from packhound.sensor.spool import Spool, SpoolLimits
from packhound.sensor.tap.frames import Tap
from packhound.wire.subjects import Subjects

GARBAGE = 50_000  #: new objects between two collections of the youngest


def run(
    read: Sequence[str],
    interfaces: Sequence[str],
    options: layers.Options,
    *,
    stay: bool = False,
    wait_for_plan: float = 0.0,
) -> int:
    """Run a sensor until its capture ends or it is told to stop; the exit code."""
    chosen = list(interfaces) or list(options.capture.interfaces)
    tap = open_tap(read, chosen, options)
    gc.freeze()  # what was imported stays; collecting is for cycles, and a parcel makes none
    gc.set_threshold(GARBAGE)
    grace = options.fleet.grace_seconds

    async def main(life: Life) -> None:
        await _live(life, tap, options, live=not read, stay=stay, wait_for_plan=wait_for_plan)

    try:
        return tasks.run(main, grace=grace + 5.0, told=_told)
    finally:
        tap.close()


def _told(stop: Stop) -> None:
    logs.logger("sensor").error(stop.reason, notes="; ".join(stop.notes) or None)


async def _live(
    life: Life, tap: Tap, options: layers.Options, *, live: bool, stay: bool, wait_for_plan: float
) -> None:
    node, epoch = links.node_name(options), secrets.randbits(63)
    names = Subjects(options.fleet.name)
    traces = links.traces(options, "packhound-sensor", node)
    limits = SpoolLimits(cap=options.spool.mib << 20, memory=options.spool.memory_mib << 20)
    spool = Spool(options.spool.dir, sensor=node, epoch=epoch, cluster=options.fleet.cluster, limits=limits)
    bus: Bus | None = None
    link: Link
    if options.grpc.target:
        link = GrpcLink(_grpc(options, node, epoch))
    else:
        bus = await Bus.connect(links.bus_settings(options, "sensor", node))
        link = NatsLink(bus, names, node=node)
    modes = {
        "kernel": available() if options.capture.kernel == "auto" else options.capture.kernel,
        "capture": "ring" if live else "file", "link": "grpc" if bus is None else "nats",
    }  # fmt: skip
    settings = SensorSettings(
        node=node, fleet=options.fleet.name, epoch=epoch, cluster=options.fleet.cluster, shards=options.fleet.shards,
        grace=float(options.fleet.grace_seconds), live=live, stay=stay, version=links.VERSION, modes=modes,
        wait_for_plan=wait_for_plan, pods=options.fleet.pods,
        agent=replace(layers.agent_settings(options), batch=BATCH),
    )  # fmt: skip
    service = SensorService(tap, settings=settings, spool=spool, link=link, bus=bus, traces=traces)
    if isinstance(link, GrpcLink):
        link.listen(service.heard, service.greeted)
    metrics = Metrics(report.DESCRIPTORS, info={"version": links.VERSION, "role": "sensor", **modes})
    metrics.add(service.samples)
    health = links.health(options, metrics, livez=service.alive, readyz=service.ready, startupz=service.started)
    log = logs.logger("sensor")
    log.info("sensor started", node=node, epoch=f"{epoch:x}", fleet=options.fleet.name, link=modes["link"],
             spool=str(options.spool.dir), waiting=len(spool), python=sys.version.split()[0],
             matched_before={f"{old:x}": count for old, count in spool.recovered.items()})  # fmt: skip
    try:
        await service.run(life)
    finally:
        await link.close()
        if bus is not None:
            await bus.close()
        spool.close()
        traces.close()
        if health is not None:
            await asyncio.to_thread(health.close)
        log.info("sensor stopped", node=node, epoch=f"{epoch:x}", waiting=len(spool), books=_short(service))


def _short(service: SensorService) -> dict[str, Any]:
    mine = next(iter(service.books().sensors.values())).as_dict()
    return {name: value for name, value in mine.items() if value}


def _grpc(options: layers.Options, node: str, epoch: int) -> GrpcSettings:
    if ":" not in options.grpc.target:
        raise Usage(f"grpc.target: {options.grpc.target!r} is not HOST:PORT")
    return GrpcSettings(
        options.grpc.target, options.fleet.name, node, epoch, options.fleet.shards,
        tls=links.grpc_certificates(options), version=links.VERSION, cluster=options.fleet.cluster,
    )  # fmt: skip
