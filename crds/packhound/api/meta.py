"""What every kind reports back: conditions, counts, and the columns that `kubectl get` prints.

Promise: values only; the operator fills a status from sensors' reports, nothing here decides one.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from packhound.api.huntfilter import Model

MAX_TOP_PODS = 5
ConditionType = Literal["Accepted", "Distributed", "Capturing", "Lossless", "Throttled", "Expired"]


class Condition(Model):
    """One thing that holds, does not, or is not known, with a sentence a person can act on."""

    type: ConditionType
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, Field(max_length=1024)]
    message: Annotated[str, Field(max_length=32768)] = ""
    observed_generation: int | None = Field(default=None, alias="observedGeneration")
    last_transition_time: str | None = Field(default=None, alias="lastTransitionTime")


class SensorCounts(Model):
    """Sensors that should carry the filter, do, refused it, or have not been heard of."""

    desired: int = 0
    acked: int = 0
    rejected: int = 0
    silent: int = 0


class PacketCounts(Model):
    """The books: every packet matched is delivered or lost."""

    matched: int = 0
    delivered: int = 0
    lost: int = 0


class Latency(Model):
    """From a change of the filter to a sensor's acknowledgement, s."""

    p50: float = 0.0
    p99: float = 0.0


class TopPod(Model):
    """A pod whose traffic matched, and how many packets of it."""

    name: str = Field(description="namespace/name")
    packets: int


class Status(Model):
    """Status of a HuntFilter or ClusterHuntFilter."""

    observed_generation: int | None = Field(default=None, alias="observedGeneration")
    revision: int | None = Field(default=None, description="HuntPlan revision that carries this generation")
    conditions: list[Condition] = Field(default_factory=list, max_length=16)
    sensors: SensorCounts | None = None
    push_latency_seconds: Latency | None = Field(default=None, alias="pushLatencySeconds")
    packets: PacketCounts | None = None
    first_match_time: str | None = Field(default=None, alias="firstMatchTime")
    last_match_time: str | None = Field(default=None, alias="lastMatchTime")
    top_pods: list[TopPod] = Field(default_factory=list, alias="topPods", max_length=MAX_TOP_PODS)
    expires_at: str | None = Field(default=None, alias="expiresAt")


class FleetStatus(Model):
    """Status of a HuntFleet."""

    observed_generation: int | None = Field(default=None, alias="observedGeneration")
    revision: int | None = Field(default=None, description="HuntPlan revision that is out")
    conditions: list[Condition] = Field(default_factory=list, max_length=16)
    sensors: SensorCounts | None = None
    packets: PacketCounts | None = None
    replicas: int | None = Field(default=None, description="processors that run")
    selector: str | None = Field(default=None, description="label selector of the processors, for scalers")


class Column(NamedTuple):
    """A printer column: name, type, JSON path."""

    name: str
    type: str
    path: str


READY = Column("READY", "string", '.status.conditions[?(@.type=="Capturing")].status')
SENSORS = Column("SENSORS", "integer", ".status.sensors.acked")
MATCHED = Column("MATCHED", "integer", ".status.packets.matched")
LOST = Column("LOST", "integer", ".status.packets.lost")
EXPIRES = Column("EXPIRES", "string", ".status.expiresAt")  # `date` prints the future as <invalid>
AGE = Column("AGE", "date", ".metadata.creationTimestamp")
