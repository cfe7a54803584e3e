"""Settings of the operator: defaults < file < environment < flags, as everywhere (`packhound.kit.settings`).

Promise: read once at the start. Secrets are files; nothing here holds one. `PACKHOUND_OPERATOR_IMAGE` is
`operator.image`, and so on; what the operator shares with other processes has the same keys there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from packhound.fleet.permissions import inbox
from packhound.fleet.streams import Limits
from packhound.kit.bus import BusSettings, TlsFiles
from packhound.kit.settings import Section, Settings, load
from packhound.operator.desired import Site

RESERVED = frozenset({"PACKHOUND_CONFIG", "PACKHOUND_CORPUS", "PACKHOUND_PORTABLE", "PACKHOUND_E2E_KUBECONFIG"})
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]


class Operator(Section):
    """What the operator works with and makes. `kubeconfig` empty: the service account of its pod; `namespace` its own
    (Lease, Secret of the webhook), where processors run too; `identity` of this replica, the host's name when empty;
    `pod_labels`: keys of labels that sensors and processors may see, none: all; `resources` of the containers, by
    role, as JSON text; `repair_seconds`: how often what was applied is applied again. `nats_tls_secret`, `api_secret`
    and `api_tokens`: Secrets as `desired.Site` has them."""

    kubeconfig: str = ""
    namespace: Name = "packhound"
    sensor_namespace: Name = "packhound-sensors"
    identity: Annotated[str, Field(max_length=253)] = ""
    lease: Name = "packhound-operator"
    image: Annotated[str, Field(min_length=1, max_length=512)] = "packhound:latest"
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    nats_secret: str = ""
    nats_tls_secret: str = ""
    nats_tls_client: bool = False
    api_secret: str = ""
    api_tokens: str = ""
    api_type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    redis_url: str = "redis://packhound-redis.packhound:6379"
    redis_secret: str = ""
    otlp: str = ""
    privileged: bool = False
    priority_class: str = ""
    network_policies: bool = True
    resources: str = "{}"
    pod_labels: tuple[str, ...] = ()
    repair_seconds: Annotated[int, Field(ge=5, le=86400)] = 300
    workloads: bool = True


class Webhook(Section):
    """Admission over HTTPS. `listen` empty: none. `configuration`: the ValidatingWebhookConfiguration whose caBundle is
    ours to fill, empty: nobody's; `service`: name of the Service in front, in the operator's namespace; `secret`: where
    replicas share a certificate of their own making; `cert` and `key`: files to use instead."""

    listen: str = ""
    service: Name = "packhound-operator"
    configuration: str = "packhound"
    secret: Name = "packhound-operator-webhook"  # noqa: S105 - the name of a Secret
    cert: Path | None = None
    key: Path | None = None


class Fleet(Section):
    """What all fleets of the operator share. `replicas` of each stream in a cluster of brokers."""

    cluster: Annotated[str, Field(max_length=63)] = ""
    shards: Annotated[int, Field(ge=1, le=256)] = 16
    replicas: Annotated[int, Field(ge=1, le=5)] = 1


class Streams(Section):
    """What each fleet reserves of the broker's store, in MiB: packets that no processor has taken yet, and what else
    there is. As in `packhound.run.options`: whoever makes a stream must know the same."""

    packets_mib: Annotated[int, Field(ge=16)] = 4096
    dead_mib: Annotated[int, Field(ge=8)] = 64
    plans_mib: Annotated[int, Field(ge=8)] = 64
    filters_mib: Annotated[int, Field(ge=8)] = 64
    status_mib: Annotated[int, Field(ge=8)] = 256
    pods_mib: Annotated[int, Field(ge=8)] = 256

    @property
    def limits(self) -> Limits:
        """As the streams take it."""
        return Limits.of_mib(self.mib)

    @property
    def mib(self) -> dict[str, int]:
        """By the name of the stream."""
        return {name.removesuffix("_mib"): value for name, value in self.model_dump().items()}


class Nats(Section):
    """The broker of fleets that name none, and who we are to it."""

    urls: tuple[str, ...] = ("nats://packhound-nats.packhound:4222",)
    user: str = ""
    password_file: Path | None = None
    credentials: Path | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None


class Telemetry(Section):
    """Health and metrics over HTTP (`listen` empty: none), traces to an OTLP/gRPC collector (empty: none)."""

    listen: str = "[::]:9102"
    otlp: str = ""
    ratio: Annotated[float, Field(ge=0, le=1)] = 1.0


class Log(Section):
    """What is said on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "human", "json"] = "auto"


class Options(Section):
    """Everything that can be set."""

    operator: Operator = Operator()
    webhook: Webhook = Webhook()
    fleet: Fleet = Fleet()
    streams: Streams = Streams()
    nats: Nats = Nats()
    telemetry: Telemetry = Telemetry()
    log: Log = Log()


def read(
    config: Path | None = None, flags: Mapping[str, tuple[str, Any]] | None = None,
    environ: Mapping[str, str] | None = None,
) -> Settings[Options]:  # fmt: skip
    """All layers. Raises Usage, NotPermitted, BadInput."""
    env = os.environ if environ is None else environ
    chosen = config or (Path(env["PACKHOUND_CONFIG"]) if env.get("PACKHOUND_CONFIG") else None)
    return load(Options, file=chosen, environ=env, flags=flags, reserved=RESERVED)


def bus_settings(options: Options, fleet: str, url: str | None) -> BusSettings:
    """How to reach the broker of a fleet; `url` is the fleet's own, None for the default. Raises Usage."""
    nats = options.nats
    tls = TlsFiles(*(str(each or "") for each in (nats.ca, nats.cert, nats.key))) if nats.ca or nats.cert else None
    return BusSettings(
        urls=(url,) if url else nats.urls, name=f"operator of {fleet}", credentials=str(nats.credentials or ""),
        user=nats.user, password_file=str(nats.password_file or ""), tls=tls,
        inbox=inbox("operator", fleet, "operator"),
    )  # fmt: skip


def site(options: Options, resources: Mapping[str, Any]) -> Site:
    """What every fleet's objects are made with; `resources` as read from the settings."""
    own = options.operator
    return Site(
        sensor_namespace=own.sensor_namespace, namespace=own.namespace, image=own.image, pull_policy=own.pull_policy,
        pull_secrets=own.pull_secrets, nats_url=options.nats.urls[0], nats_secret=own.nats_secret,
        nats_tls_secret=own.nats_tls_secret, nats_tls_client=own.nats_tls_client,
        stream_replicas=options.fleet.replicas, streams=options.streams.mib,
        api_secret=own.api_secret, api_tokens=own.api_tokens, api_type=own.api_type,
        redis_url=own.redis_url, redis_secret=own.redis_secret, otlp=own.otlp, privileged=own.privileged,
        priority_class=own.priority_class, cluster=options.fleet.cluster, shards=options.fleet.shards,
        network_policies=own.network_policies, resources=resources,
    )  # fmt: skip
