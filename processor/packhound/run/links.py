"""From settings to what joins processes: bus, certificates, traces, health; and who we are."""

from __future__ import annotations

import socket
from pathlib import Path

from packhound.fleet.permissions import Role, inbox
from packhound.fleet.streams import Layout, Limits
from packhound.kit import logs
from packhound.kit.bus import BusSettings, TlsFiles
from packhound.kit.errors import Usage
from packhound.kit.health import HealthServer, Probe
from packhound.kit.metrics import Metrics
from packhound.kit.rpc import Certificates, certificates
from packhound.kit.traces import OFF, Traces, TraceSettings
from packhound.run.options import Options

VERSION = "0.1.0"


def node_name(options: Options) -> str:
    """The name of this process in its fleet: as set, else that of the host."""
    return options.fleet.node or socket.gethostname()


def bus_settings(options: Options, role: Role, node: str, *, window: int = 64) -> BusSettings:
    """How to reach the broker in a role. Raises Usage."""
    nats = options.nats
    tls = TlsFiles(_text(nats.ca), _text(nats.cert), _text(nats.key))
    wanted = any((nats.ca, nats.cert, nats.key)) or any(url.startswith("tls:") for url in nats.urls)
    return BusSettings(
        urls=tuple(nats.urls), name=f"packhound {role} {node}", credentials=_text(nats.credentials),
        user=nats.user, user_file=_text(nats.user_file), password_file=_text(nats.password_file),
        token_file=_text(nats.token_file), tls=tls if wanted else None, inbox=inbox(role, options.fleet.name, node),
        window=window,
    )  # fmt: skip


def layout(options: Options) -> Layout:
    """The fleet's streams."""
    sizes = {name.removesuffix("_mib"): value for name, value in options.streams.model_dump().items()}
    return Layout(options.fleet.name, options.fleet.shards, Limits.of_mib(sizes), options.fleet.replicas)


def grpc_certificates(options: Options) -> Certificates | None:
    """The certificates of gRPC; None: in clear, on loopback only. Raises Usage."""
    return certificates(options.grpc.cert, options.grpc.key, options.grpc.ca)


def traces(options: Options, service: str, node: str) -> Traces:
    """The tracer of a process."""
    chosen = options.telemetry
    if not chosen.otlp:
        return OFF
    attributes = {"service.instance.id": node, "service.version": VERSION, "packhound.fleet": options.fleet.name}
    if options.fleet.cluster:
        attributes["k8s.cluster.name"] = options.fleet.cluster
    return Traces(TraceSettings(service, chosen.otlp, chosen.ratio, attributes=attributes))


def health(options: Options, metrics: Metrics, **probes: Probe) -> HealthServer | None:
    """Health and metrics over HTTP; None when no address is set. Raises Usage, BadInput."""
    listen = options.telemetry.listen
    if not listen:
        return None
    host, _, port = listen.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise Usage(f"telemetry.listen: {listen!r} is not HOST:PORT")
    server = HealthServer((host.strip("[]"), int(port)), probes=probes, metrics=metrics.text)
    logs.logger("health").info("listening", address=listen, port=server.port)
    return server


def _text(path: Path | None) -> str:
    return str(path) if path is not None else ""
