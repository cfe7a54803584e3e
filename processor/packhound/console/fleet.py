"""Commands of a fleet: its processes, and what a person does and sees of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

Json = Annotated[bool, Parameter(name="--json", negative="", help="Results as JSON.")]
Config = Annotated[Path | None, Parameter(name="--config", help="Settings file (TOML or YAML).")]
Read = Annotated[
    list[str] | None, Parameter(name=["--read", "-r"], consume_multiple=True, help="Capture files.")
]
Wait = Annotated[float, Parameter(help="Seconds to wait for the sensors' answers.")]
Nats = Annotated[str | None, Parameter(name="--nats", help="The broker: nats://HOST:PORT; empty for none.")]
FleetName = Annotated[str | None, Parameter(name="--fleet", help="Name of the fleet.")]


def _options(config: Path | None, **given: tuple[str, str, Any]) -> Any:
    from packhound.run import options

    return options.read(config, {key: (flag, value) for key, flag, value in given.values()}).value


def register(app: App, filters: App) -> None:
    """Add the commands."""
    for command in (sensor, processor, operator, up, sensors, topology):
        app.command(command)
    filters.command(apply, name="apply")
    filters.command(list_filters, name="list")
    filters.command(remove, name="rm")
    filters.command(status, name="status")


def sensor(
    *,
    read: Read = None,
    interface: Annotated[list[str] | None, Parameter(name=["--interface", "-i"], help="Interface, or any.")] = None,
    fleet: FleetName = None,
    node: Annotated[str | None, Parameter(help="Name of this sensor (default: of the host).")] = None,
    nats: Nats = None,
    spool: Annotated[Path | None, Parameter(help="Folder of what is not delivered yet.")] = None,
    wait_for_plan: Annotated[float, Parameter(help="Seconds to wait for a plan with filters before reading.")] = 0.0,
    stay: Annotated[bool, Parameter(negative="", help="Stay in the fleet after the last file.")] = False,
    config: Config = None,
) -> int:
    """Run a sensor of a fleet.

    For example:

      packhound sensor -i eth0 --nats nats://broker:4222 --spool /var/lib/packhound/spool

    """
    from packhound.run import sensing

    options = _options(
        config, a=("fleet.name", "--fleet", fleet), b=("fleet.node", "--node", node),
        c=("nats.urls", "--nats", _urls(nats)), d=("spool.dir", "--spool", str(spool) if spool else None),
    )  # fmt: skip
    return sensing.run(read or (), interface or (), options, stay=stay, wait_for_plan=wait_for_plan)


def processor(
    *,
    out: Annotated[Path | None, Parameter(name="--out", help="Folder of recordings and tables.")] = None,
    fleet: FleetName = None,
    node: Annotated[str | None, Parameter(help="Name of this processor (default: of the host).")] = None,
    nats: Nats = None,
    redis: Annotated[str | None, Parameter(help="Shared state: redis://HOST:PORT/0.")] = None,
    config: Config = None,
) -> int:
    """Run a processor of a fleet.

    For example:

      packhound processor --nats nats://broker:4222 --redis redis://redis:6379/0 --out /data

    """
    from packhound.run import processing

    options = _options(
        config, a=("fleet.name", "--fleet", fleet), b=("fleet.node", "--node", node),
        c=("nats.urls", "--nats", _urls(nats)), d=("output.out", "--out", str(out) if out else None),
        e=("shared.redis", "--redis", redis),
    )  # fmt: skip
    return processing.run(options)


def operator(*, config: Config = None) -> int:
    """Run the operator in a Kubernetes cluster.

    For example:

      packhound operator --config /etc/packhound/operator.yaml

    """
    from packhound.operator.__main__ import main

    return main(config)


def up(
    *,
    read: Read = None,
    interface: Annotated[list[str] | None, Parameter(name=["--interface", "-i"], consume_multiple=True,
                                                     help="Interfaces: a sensor each.")] = None,
    filter: Annotated[list[Path] | None, Parameter(name=["--filter", "-f"], consume_multiple=True,
                                                   help="HuntFilters to begin with.")] = None,
    processors: Annotated[int, Parameter(help="How many processors.")] = 2,
    redis: Annotated[bool, Parameter(help="Share state in Redis where it is installed; else in SQLite.")] = True,
    otlp: Annotated[str, Parameter(help="OTLP/gRPC collector for traces: http://HOST:4317.")] = "",
    once: Annotated[bool, Parameter(negative="", help="Stop when every file was read and delivered.")] = False,
    out: Annotated[Path, Parameter(name="--out", help="Folder of everything.")] = Path("packhound-fleet"),
    config: Config = None,
    json: Json = False,
) -> int:  # fmt: skip
    """Run a whole fleet on this machine: broker, a sensor for each file or interface, processors.

    For example:

      packhound up -i eth0 -f filters/ --processors 2
      packhound up -r capture.pcapng -f alice.yaml --once

    """
    from packhound.run.up import UpSettings, run

    settings = UpSettings(
        read=read or (), interfaces=interface or (), processors=processors, redis=redis, filters=filter or (),
        otlp=otlp, once=once, json=json,
    )  # fmt: skip
    return run(_options(config), settings, folder=out)


def apply(
    files: list[Path], /, *, wait: Wait = 5.0, nats: Nats = None, fleet: FleetName = None, config: Config = None,
    json: Json = False,
) -> int:  # fmt: skip
    """Put HuntFilters in force on every sensor of a fleet.

    For example:

      packhound filter apply filters/ alice.yaml

    """
    from packhound.run import desk

    return desk.apply(files, _at(config, nats, fleet), wait=wait, json=json)


def remove(
    names: list[str], /, *, wait: Wait = 5.0, nats: Nats = None, fleet: FleetName = None, config: Config = None,
    json: Json = False,
) -> int:  # fmt: skip
    """Take HuntFilters away.

    For example:

      packhound filter rm voice/alice

    """
    from packhound.run import desk

    return desk.remove(names, _at(config, nats, fleet), wait=wait, json=json)


def list_filters(*, nats: Nats = None, fleet: FleetName = None, config: Config = None, json: Json = False) -> int:
    """List the HuntFilters of a fleet, and how they do.

    For example:

      packhound filter list --json

    """
    from packhound.run import desk

    return desk.filters(_at(config, nats, fleet), json=json)


def status(
    name: str, /, *, nats: Nats = None, fleet: FleetName = None, config: Config = None, json: Json = False
) -> int:
    """Tell sensor by sensor whether a HuntFilter is in force.

    For example:

      packhound filter status voice/alice

    """
    from packhound.run import desk

    return desk.filter_status(name, _at(config, nats, fleet), json=json)


def sensors(*, nats: Nats = None, fleet: FleetName = None, config: Config = None, json: Json = False) -> int:
    """List the sensors of a fleet: plan, link, books, clock.

    For example:

      packhound sensors --json

    """
    from packhound.run import desk

    return desk.sensors(_at(config, nats, fleet), json=json)


def topology(
    *,
    shared: Annotated[
        str | None, Parameter(help="Shared state of the processors: redis:// URL or SQLite file.")
    ] = None,
    nats: Nats = None,
    fleet: FleetName = None,
    config: Config = None,
    json: Json = False,
) -> int:
    """Tell who is there, and which processor has which shards.

    For example:

      packhound topology --shared redis://127.0.0.1:6379/0

    """
    from packhound.run import desk

    key = "shared.redis" if shared and shared.startswith(("redis:", "rediss:")) else "shared.sqlite"
    options = _options(
        config, a=("nats.urls", "--nats", _urls(nats)), b=("fleet.name", "--fleet", fleet),
        c=(key, "--shared", shared),
    )  # fmt: skip
    return desk.topology(options, json=json)


def _urls(nats: str | None) -> list[str] | None:
    return None if nats is None else [nats] if nats else []


def _at(config: Path | None, nats: str | None, fleet: str | None) -> Any:
    return _options(
        config, a=("nats.urls", "--nats", _urls(nats)), b=("fleet.name", "--fleet", fleet)
    )  # fmt: skip
