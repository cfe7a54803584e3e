"""Settings of the commands, and how their layers come together: file < environment < flags."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from packhound.kit import logs
from packhound.kit.settings import Section, Settings, load
from packhound.net import timeouts
from packhound.net.frame import DecodeConfig
from packhound.net.sanitise import printable
from packhound.sensor.agent import AgentSettings
from packhound.sensor.scan import KeepLimits

if TYPE_CHECKING:  # it needs DuckDB, which sensors and the operator have not
    from packhound.run.hunt import HuntSettings

Port = Annotated[int, Field(ge=1, le=65535)]
Silence = Annotated[float, Field(gt=0, le=30 * 86400)]


class Capture(Section):
    """What is captured, and how it is read."""

    bpf: str | None = None
    snaplen: Annotated[int, Field(ge=64, le=262144)] = 262144
    interfaces: tuple[str, ...] = ()
    ring_mib: Annotated[int, Field(ge=1, le=65536)] = 64
    count: Annotated[int, Field(ge=0)] = 0
    duration: Annotated[float, Field(ge=0)] = 0.0
    kernel: Literal["auto", "native", "portable"] = "auto"
    vxlan_ports: tuple[Port, ...] = (4789, 8472)
    geneve_ports: tuple[Port, ...] = (6081,)
    gtpu_ports: tuple[Port, ...] = (2152,)
    teredo_ports: tuple[Port, ...] = (3544,)
    ayiya_ports: tuple[Port, ...] = (5072,)
    vlan_is_tenant: bool = False


class Flows(Section):
    """The flow table."""

    capacity: Annotated[int, Field(ge=16, le=1 << 27)] = 262144
    names: bool = False
    keep_bytes: Annotated[int, Field(ge=0, le=1 << 24)] = 16 * 1024
    keep_packets: Annotated[int, Field(ge=0, le=65536)] = 32
    keep_total_mib: Annotated[int, Field(ge=1, le=1 << 16)] = 64


class Timeouts(Section):
    """Seconds of silence after which a flow is over, by state (TCP) and protocol."""

    closed: Silence = 5
    time_wait: Silence = 30
    draining: Silence = 10
    opening: Silence = 60
    closing: Silence = 60
    other: Silence = 60
    dns: Silence = 30
    udp: Silence = 60
    quic_opening: Silence = 60
    quic: Silence = 300
    tcp: Silence = 300
    web: Silence = 600
    sip: Silence = 600
    ssh: Silence = 1800
    media: Silence = 600


class Output(Section):
    """Where results go and when files rotate. `retention_seconds`: files older than that are removed, 0: none is."""

    out: Path = Path("packhound-out")
    rotate_mib: Annotated[int, Field(ge=1, le=1 << 20)] = 256
    rotate_seconds: Annotated[int, Field(ge=1, le=86400)] = 3600
    retention_seconds: Annotated[int, Field(ge=0, le=1 << 32)] = 0
    sensor: Annotated[str, Field(min_length=1, max_length=63)] = "local"


class Streams(Section):
    """What a fleet reserves of the broker's store, in MiB: packets that no processor has taken yet, and what else there
    is. Every process that makes streams must be told the same."""

    packets_mib: Annotated[int, Field(ge=16)] = 4096
    dead_mib: Annotated[int, Field(ge=8)] = 64
    plans_mib: Annotated[int, Field(ge=8)] = 64
    filters_mib: Annotated[int, Field(ge=8)] = 64
    status_mib: Annotated[int, Field(ge=8)] = 256
    pods_mib: Annotated[int, Field(ge=8)] = 256


class Fleet(Section):
    """Which fleet this process belongs to; `node`: its name there, the host's when empty. `filters`: files and folders
    of HuntFilters, watched, that a processor without a broker gives its sensors. `finish_calls`: a processor that
    ends takes its open calls for over, because nobody will go on with them. `replicas` of each stream in a cluster of
    brokers."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?$")] = "local"
    cluster: Annotated[str, Field(max_length=63)] = ""
    node: Annotated[str, Field(max_length=253)] = ""
    shards: Annotated[int, Field(ge=1, le=256)] = 16
    replicas: Annotated[int, Field(ge=1, le=5)] = 1
    grace_seconds: Annotated[int, Field(ge=0, le=600)] = 25
    pods: bool = False
    filters: tuple[Path, ...] = ()
    finish_calls: bool = False


class Nats(Section):
    """The broker, and who we are to it. No `urls`: a processor that hears its sensors over gRPC alone."""

    urls: tuple[str, ...] = ("nats://127.0.0.1:4222",)
    user: str = ""
    user_file: Path | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    credentials: Path | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


class Spool(Section):
    """Where a sensor keeps what is not yet delivered."""

    dir: Path = Path("packhound-spool")
    mib: Annotated[int, Field(ge=8, le=1 << 24)] = 1024
    memory_mib: Annotated[int, Field(ge=1, le=1 << 16)] = 32


class Shared(Section):
    """What processors share: Redis, or a SQLite file for processors of one host (empty: in the output folder)."""

    redis: str = ""
    password_file: Path | None = None
    sqlite: Path | None = None


class Grpc(Section):
    """gRPC: `listen` of a processor, for sensors and subscribers with a certificate; `api`: the same for subscribers
    with a token of the file `tokens` (one a line); `local`: in clear, on loopback, for subscribers of this host, also
    where the others have certificates; `target` of a sensor that delivers without a broker."""

    listen: str = ""
    api: str = ""
    local: str = ""
    target: str = ""
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    tokens: Path | None = None


class Telemetry(Section):
    """Health and metrics over HTTP (`listen` empty: none), traces to an OTLP/gRPC collector (empty: none)."""

    listen: str = ""
    otlp: str = ""
    ratio: Annotated[float, Field(ge=0, le=1)] = 1.0


class Log(Section):
    """What is said on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "human", "json"] = "auto"


class Options(Section):
    """Everything that can be set."""

    capture: Capture = Capture()
    flows: Flows = Flows()
    timeouts: Timeouts = Timeouts()
    output: Output = Output()
    fleet: Fleet = Fleet()
    streams: Streams = Streams()
    nats: Nats = Nats()
    spool: Spool = Spool()
    shared: Shared = Shared()
    grpc: Grpc = Grpc()
    telemetry: Telemetry = Telemetry()
    log: Log = Log()


RESERVED = frozenset({"PACKHOUND_CONFIG", "PACKHOUND_CORPUS", "PACKHOUND_PORTABLE", "PACKHOUND_E2E_KUBECONFIG"})


def read(config: Path | None, flags: dict[str, tuple[str, Any]]) -> Settings[Options]:
    """All layers; sets up logging as they say."""
    chosen = config or (Path(os.environ["PACKHOUND_CONFIG"]) if os.environ.get("PACKHOUND_CONFIG") else None)
    settings = load(Options, file=chosen, environ=os.environ, flags=flags, reserved=RESERVED)
    logs.set_up(level=settings.value.log.level, form=settings.value.log.format, sanitise=printable)
    return settings


def agent_settings(options: Options) -> AgentSettings:
    """What the engine takes of the options."""
    capture = options.capture
    return AgentSettings(
        capture=capture.bpf,
        names=options.flows.names,
        count=capture.count,
        kernel=capture.kernel,
        capacity=options.flows.capacity,
        keep=KeepLimits(
            flow_bytes=options.flows.keep_bytes,
            flow_packets=options.flows.keep_packets,
            total_bytes=options.flows.keep_total_mib << 20,
        ),
        decode=DecodeConfig(
            vxlan_ports=tuple(capture.vxlan_ports), geneve_ports=tuple(capture.geneve_ports),
            gtpu_ports=tuple(capture.gtpu_ports), teredo_ports=tuple(capture.teredo_ports),
            ayiya_ports=tuple(capture.ayiya_ports), vlan_is_tenant=capture.vlan_is_tenant,
        ),
        timeouts=timeouts.Timeouts(**{name: int(each * 1e9) for name, each in options.timeouts.model_dump().items()}),
    )  # fmt: skip


def hunt_settings(options: Options, *, live: bool) -> HuntSettings:
    """What `run` takes of the options."""
    from packhound.run.hunt import HuntSettings

    return HuntSettings(
        name=options.output.sensor,
        live=live,
        rotate_bytes=options.output.rotate_mib << 20,
        rotate_ns=options.output.rotate_seconds * 1_000_000_000,
        agent=agent_settings(options),
    )
