"""The operator's process: settings, health, webhook, the lead, kopf and the director.

Promise: every replica serves health and admission; one leads and does the rest. Losing the lead ends the process with
a sentence: whoever restarts it makes it a standby. SIGTERM gives the lead up first.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from packhound.kit import logs
from packhound.kit.errors import Stop, Usage
from packhound.kit.health import HealthServer
from packhound.kit.metrics import Metrics
from packhound.kit.tasks import Life
from packhound.kit.tasks import run as run_tasks
from packhound.kit.traces import Traces, TraceSettings
from packhound.net.sanitise import printable
from packhound.operator.cluster import Cluster
from packhound.operator.director import Director, Ways
from packhound.operator.kinds import LEASE, SECRET, Ref
from packhound.operator.leading import Leader, LostLead
from packhound.operator.settings import Options, bus_settings, read, site
from packhound.operator.telling import DESCRIPTORS, Telling
from packhound.operator.watching import Watches, follow_lists, served
from packhound.operator.webhook import Sealing, WebhookServer, follow_files

GRACE = 10.0
log = logs.logger("operator")


def main(config: Path | None = None, flags: dict[str, tuple[str, Any]] | None = None) -> int:
    """Run until told to stop; gives the exit code."""
    try:
        options = read(config, flags).value
        logs.set_up(level=options.log.level, form=options.log.format, sanitise=printable)
        resources = _resources(options)
    except Stop as stop:
        _say(stop)
        return stop.exit_code
    lost = []

    def told(stop: Stop) -> None:
        _say(stop)
        lost.append(isinstance(stop, LostLead))

    _thrifty()
    code = run_tasks(lambda life: _live(life, options, resources), grace=GRACE, told=told)
    if any(lost):
        os._exit(code)  # calls that still wait for an API that is gone would keep the process; it must not live on
    return code


def _say(stop: Stop) -> None:
    log.error(stop.reason, **({"notes": "; ".join(stop.notes)} if stop.notes else {}))


def _resources(options: Options) -> dict[str, Any]:
    try:
        found = json.loads(options.operator.resources)
    except ValueError as error:
        raise Usage(f"operator.resources is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Usage("operator.resources is no JSON object of roles")
    return found


def address(text: str) -> tuple[str, int]:
    """`HOST:PORT` or `[HOST]:PORT`. Raises Usage."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise Usage(f"{text!r} is no address to listen on; write HOST:PORT")
    return host.strip("[]"), int(port)


def _thrifty() -> None:
    """Have the C library keep few heaps and give large blocks back: threads of the API calls would each have one."""
    with contextlib.suppress(OSError, AttributeError):
        tune = ctypes.CDLL(None).mallopt
        for parameter, value in ((-8, 2), (-3, 64 << 10), (-1, 128 << 10)):  # M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM
            tune(parameter, value)


async def _live(life: Life, options: Options, resources: dict[str, Any]) -> None:
    own = options.operator
    me = own.identity or platform.node()
    telling = Telling()
    cluster = Cluster(own.kubeconfig, told=telling.called)
    traces = Traces(TraceSettings("packhound-operator", options.telemetry.otlp, options.telemetry.ratio))
    ways = Ways(
        site(options, resources), lambda fleet, url: bus_settings(options, fleet, url), time.time_ns, me,
        shards=options.fleet.shards, replicas=options.fleet.replicas, limits=options.streams.limits,
        repair=own.repair_seconds, workloads=own.workloads, pod_labels=own.pod_labels, traces=traces,
    )  # fmt: skip
    leader = Leader(cluster, Ref(LEASE, own.namespace, own.lease), me=me, clock=time.monotonic_ns)
    director = Director(cluster, ways)
    telling.of(director, leader)
    metrics = Metrics(DESCRIPTORS)
    metrics.add(telling.samples)
    health = None
    if options.telemetry.listen:
        health = HealthServer(address(options.telemetry.listen), probes=telling.probes, metrics=metrics.text)
    watches = Watches(cluster, director, ended=life_ends(life))
    webhook = _admission(life, options, cluster) if options.webhook.listen else None
    telling.webhook = webhook
    try:
        elected = asyncio.ensure_future(leader.lead())
        stopping = asyncio.ensure_future(life.stopping.wait())
        await asyncio.wait({elected, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not elected.done():
            elected.cancel()
            return
        life.spawn(leader.keep(), name="lead")
        life.spawn(_work(cluster, director, watches), name="director")
        await stopping
        await watches.stop()
        await leader.release()
    finally:
        cluster.close()
        traces.close()
        if webhook is not None:
            webhook.close()
        if health is not None:
            health.close()


def _admission(life: Life, options: Options, cluster: Cluster) -> WebhookServer:
    """The webhook of this replica, and what keeps its certificate good."""
    own, space = options.webhook, options.operator.namespace
    server = WebhookServer(address(own.listen))
    if own.cert is not None and own.key is not None:
        life.spawn(follow_files(server, own.cert, own.key), name="certificate")
        return server
    names = [f"{own.service}.{space}.svc", f"{own.service}.{space}.svc.cluster.local"]
    secret = Ref(SECRET, space, own.secret)
    sealing = Sealing(cluster, server, secret=secret, names=names, configuration=own.configuration)
    life.spawn(sealing.run(), name="certificate")
    return server


async def _work(cluster: Cluster, director: Director, watches: Watches) -> None:
    await served(cluster)
    watches.start()
    async with asyncio.TaskGroup() as group:
        group.create_task(director.run(), name="director")
        group.create_task(follow_lists(cluster, director), name="lists")


def life_ends(life: Life) -> Any:
    """What kopf's thread calls when it ends by itself: the process ends too, with a fault."""
    loop = asyncio.get_running_loop()

    async def fail(reason: str) -> None:
        raise Stop(reason)

    return lambda reason: loop.call_soon_threadsafe(lambda: life.spawn(fail(reason), name="kopf"))


if __name__ == "__main__":
    sys.exit(main())
