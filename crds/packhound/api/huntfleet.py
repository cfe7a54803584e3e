"""HuntFleet: which nodes sense, who processes, how the two are joined, what is kept.

Promise: pydantic models, frozen, unknown keys refused; every default is a working fleet.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StrictInt, field_validator, model_validator

from packhound.api.huntfilter import API_VERSION, Metadata, Model, Text
from packhound.api.units import duration_ns, quantity

MINUTE = 60_000_000_000
URL = r"^(nats|tls|ws|wss)://[^\s/@]+(:\d{1,5})?$"
Image = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^\S+$")]


class Toleration(Model):
    """A Kubernetes toleration: which tainted nodes sensors may run on."""

    key: Annotated[str, Field(max_length=317)] = ""
    operator: Literal["Exists", "Equal"] = "Equal"
    value: Annotated[str, Field(max_length=63)] = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    toleration_seconds: Annotated[int, Field(ge=0)] | None = Field(default=None, alias="tolerationSeconds")

    @model_validator(mode="after")
    def _sensible(self) -> Toleration:
        if self.operator == "Exists" and self.value:
            raise ValueError("operator Exists takes no value")
        if self.operator == "Equal" and not self.key:
            raise ValueError("operator Equal needs a key")
        return self


class SensorSpec(Model):
    """The sensor on every chosen node."""

    node_selector: dict[str, str] = Field(
        default_factory=dict, alias="nodeSelector", max_length=64, description="labels of nodes; empty: every node"
    )
    tolerations: list[Toleration] = Field(default_factory=list, max_length=64)
    interfaces: Annotated[list[Text], Field(min_length=1, max_length=64)] = Field(
        default_factory=lambda: ["any"], description="interface names, or any"
    )
    ring_mib: Annotated[int, Field(ge=1, le=65536)] = Field(
        default=64, alias="ringMiB", description="capture ring of an interface, MiB; with any a sixteenth of it each"
    )
    image: Image | None = Field(default=None, description="container image; default: that of the operator's version")


class ProcessorSpec(Model):
    """The processors that sensors deliver to."""

    replicas: Annotated[int, Field(ge=0, le=1024)] = 1
    max_replicas: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, alias="maxReplicas", description="scale up to so many by what waits; default: do not scale"
    )
    target_lag: Annotated[int, Field(ge=1)] = Field(
        default=1000, alias="targetLag", description="batches that may wait for one processor before another is added"
    )
    image: Image | None = Field(default=None, description="container image; default: that of the operator's version")


class NatsTransport(Model):
    """NATS JetStream between sensors and processors."""

    url: Annotated[str, Field(max_length=1024, pattern=URL)] = Field(
        default="nats://nats:4222", description="where the broker is; credentials come from a Secret, never from here"
    )


class Transport(Model):
    """How packets travel. Sensors that deliver over gRPC without a broker are for single hosts, not for a HuntFleet."""

    nats: NatsTransport | None = None


class Volume(Model):
    """The claim that recordings are kept on."""

    size: str | StrictInt = Field(default="50Gi", description="requested size")
    storage_class: Annotated[str, Field(max_length=253)] | None = Field(
        default=None, alias="storageClass", description="storage class; default: that of the cluster"
    )

    @field_validator("size")
    @classmethod
    def _quantity(cls, value: str | int) -> str | int:
        if quantity(value) == 0:
            raise ValueError("a volume of size 0 keeps nothing")
        return value


class Storage(Model):
    """What is kept, where and for how long."""

    retention: str = Field(default="168h", description="since their hour and last write, when recordings and tables go")
    volume: Volume = Field(default_factory=Volume)

    @field_validator("retention")
    @classmethod
    def _duration(cls, value: str) -> str:
        if duration_ns(value) < MINUTE:
            raise ValueError("a retention of less than 1m keeps nothing")
        return value

    @property
    def retention_ns(self) -> int:
        """Nanoseconds after which files are removed."""
        return duration_ns(self.retention)


class HuntFleetSpec(Model):
    """Sensors, processors, transport, storage."""

    sensor: SensorSpec = Field(default_factory=SensorSpec)
    processor: ProcessorSpec = Field(default_factory=ProcessorSpec)
    transport: Transport = Field(default_factory=Transport)
    storage: Storage = Field(default_factory=Storage)


class HuntFleet(Model):
    """One fleet of sensors and processors."""

    api_version: Literal["packhound.dev/v1alpha1"] = Field(default=API_VERSION, alias="apiVersion")
    kind: Literal["HuntFleet"] = "HuntFleet"
    metadata: Metadata
    spec: HuntFleetSpec = Field(default_factory=HuntFleetSpec)
    status: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _nowhere(self) -> HuntFleet:
        self.metadata.refuse_namespace(self.kind)
        return self

    @property
    def full_name(self) -> str:
        """Its name: it has no namespace."""
        return self.metadata.name
