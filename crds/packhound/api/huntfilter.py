"""HuntFilter and ClusterHuntFilter: what to match, where, what to keep.

Promise: pydantic models, frozen, unknown keys refused. Shape is checked here; whether a field, operator or value makes
sense is `packhound.rules.compile`'s to say, with the path of what is wrong.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, field_validator, model_validator

from packhound.api.units import duration_ns, quantity

GROUP, VERSION = "packhound.dev", "v1alpha1"
API_VERSION: Literal["packhound.dev/v1alpha1"] = "packhound.dev/v1alpha1"
MAX_DEPTH = 6
MAX_BRANCHES = 256
MAX_VALUES = 4096
OPERATORS = ("equals", "glob", "prefix", "suffix", "contains", "domain", "in", "number", "regex")

Text = Annotated[str, Field(min_length=1, max_length=1024)]
Values = Annotated[list[Text | StrictInt | StrictBool], Field(min_length=1, max_length=MAX_VALUES)]
Texts = Annotated[list[Text], Field(min_length=1, max_length=MAX_VALUES)]


class Model(BaseModel):
    """Frozen, nothing unknown, nothing converted: what a cluster refuses, a file does not get through either."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _as_list(value: Any) -> Any:
    return value if value is None or isinstance(value, list) else [value]


class Match(Model):
    """A node of the match tree: exactly one of `any`, `all`, `not`, or a leaf (`field` and one operator)."""

    any_: Annotated[list[Match], Field(min_length=1, max_length=MAX_BRANCHES)] | None = Field(
        default=None, alias="any", description="true when any branch is"
    )
    all_: Annotated[list[Match], Field(min_length=1, max_length=MAX_BRANCHES)] | None = Field(
        default=None, alias="all", description="true when every branch is"
    )
    not_: Match | None = Field(default=None, alias="not", description="true when the branch is not")
    field: Annotated[str, Field(max_length=64)] | None = Field(default=None, description="name of a registry field")
    equals: Values | None = Field(default=None, description="exact; text without case unless caseSensitive")
    glob: Texts | None = Field(default=None, description="whole value; * any run, ? one character, \\ escapes")
    prefix: Texts | None = Field(default=None, description="how the value begins")
    suffix: Texts | None = Field(default=None, description="how the value ends")
    contains: Texts | None = Field(default=None, description="text inside the value")
    domain: Texts | None = Field(
        default=None, description="example.com; .example.com and below; *.example.com below only"
    )
    in_: Values | None = Field(
        default=None, alias="in", description="addresses, CIDRs, numbers, a-b ranges, or a set of texts"
    )
    number: Texts | None = Field(
        default=None, description="phone numbers, separators and international prefixes ignored"
    )
    regex: Texts | None = Field(default=None, description="RE2 expression found anywhere in the value")
    case_sensitive: bool = Field(default=False, alias="caseSensitive", description="compare text with case")
    min_digits: Annotated[int, Field(ge=1, le=20)] = Field(
        default=7,
        alias="minDigits",
        description="fewest digits for which phone numbers of different length may be equal",
    )

    @field_validator(
        "equals", "glob", "prefix", "suffix", "contains", "domain", "in_", "number", "regex", mode="before"
    )
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return _as_list(value)

    @model_validator(mode="after")
    def _one_of(self) -> Match:
        nodes = [name for name in ("any_", "all_", "not_", "field") if getattr(self, name) is not None]
        if len(nodes) != 1:
            raise ValueError("a node holds exactly one of any, all, not, field")
        given = self.operators()
        if nodes == ["field"]:
            if len(given) != 1:
                raise ValueError(f"a leaf holds exactly one operator ({', '.join(OPERATORS)})")
        elif given:
            raise ValueError(f"{given[0]} belongs to a leaf, beside field")
        return self

    def operators(self) -> list[str]:
        """Names of the operators given on this node, as a user writes them."""
        return [name for name in OPERATORS if getattr(self, "in_" if name == "in" else name) is not None]

    def values(self, operator: str) -> list[str | int | bool]:
        """Values given for an operator."""
        return list(getattr(self, "in_" if operator == "in" else operator) or ())


Leaf = Match


class LabelRule(Model):
    """One expression of a label selector."""

    key: Text
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: list[str] = Field(default_factory=list, max_length=256)


class LabelSelector(Model):
    """A Kubernetes label selector."""

    match_labels: dict[str, str] = Field(default_factory=dict, alias="matchLabels", max_length=64)
    match_expressions: list[LabelRule] = Field(default_factory=list, alias="matchExpressions", max_length=64)


class Target(Model):
    """Where to hunt."""

    pod_selector: LabelSelector = Field(
        default_factory=LabelSelector, alias="podSelector", description="pods of the namespace; empty: all of them"
    )
    interfaces: Annotated[list[Text], Field(min_length=1, max_length=64)] = Field(
        default_factory=lambda: ["any"], description="interface names, or any"
    )


class Capture(Model):
    """How much of each packet is kept, and how far back."""

    payload: Literal["full", "headers", "none"] = "full"
    snaplen: Annotated[int, Field(ge=64, le=262144)] = 262144
    pre_trigger: str = Field(default="30s", alias="preTrigger", description="how old a packet kept back may get")

    @field_validator("pre_trigger")
    @classmethod
    def _duration(cls, value: str) -> str:
        duration_ns(value)
        return value


class Sample(Model):
    """Which share of flows or calls is taken, by a hash that every sensor agrees on."""

    rate: Annotated[float, Field(gt=0, le=1)] = 1.0


class Record(Model):
    """Keep what matched as pcapng."""

    per_call: bool = Field(default=False, alias="perCall", description="also one file per call")


class AlertAction(Model):
    """Say so when the filter first matches a flow or call."""

    severity: Literal["info", "low", "medium", "high", "critical"] = "medium"


class Actions(Model):
    """What happens to what matched."""

    record: Record | None = Field(default_factory=Record)
    alert: AlertAction | None = None


class Budget(Model):
    """How much a filter may take on one sensor."""

    packets_per_second: Annotated[int, Field(ge=1, le=100_000_000)] | None = Field(
        default=None, alias="packetsPerSecond"
    )
    total_bytes: str | StrictInt | None = Field(default=None, alias="totalBytes")

    @field_validator("total_bytes")
    @classmethod
    def _quantity(cls, value: str | int | None) -> str | int | None:
        if value is not None:
            quantity(value)
        return value


class Schedule(Model):
    """How long the filter is in force, from its creation (a file: from when it was first read)."""

    ttl: str | None = None

    @field_validator("ttl")
    @classmethod
    def _duration(cls, value: str | None) -> str | None:
        if value is not None and duration_ns(value) == 0:
            raise ValueError("a ttl of 0 would never match")
        return value


class HuntFilterSpec(Model):
    """What to match, where, what to keep."""

    target: Target = Field(default_factory=Target)
    pcap_filter: Annotated[str, Field(min_length=1, max_length=8192)] | None = Field(
        default=None, alias="pcapFilter", description="pcap-filter expression, ANDed with match"
    )
    match: Match | None = None
    scope: Literal["packet", "flow", "call"] | None = Field(
        default=None, description="default: flow, or call for VoIP fields"
    )
    capture: Capture = Field(default_factory=Capture)
    sample: Sample = Field(default_factory=Sample)
    actions: Actions = Field(default_factory=Actions)
    budget: Budget = Field(default_factory=Budget)
    schedule: Schedule = Field(default_factory=Schedule)
    suspend: bool = False
    purpose: Annotated[str, Field(max_length=256)] = ""

    @model_validator(mode="after")
    def _something(self) -> HuntFilterSpec:
        if self.match is None and self.pcap_filter is None:
            raise ValueError("a filter needs match, pcapFilter, or both")
        return self


NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"


class Metadata(Model):
    """Name and place; keys that a cluster adds are accepted and left alone."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)
    name: Annotated[str, Field(pattern=NAME, max_length=253)]
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")] | None = None
    generation: int | None = None
    creation_timestamp: str | None = Field(default=None, alias="creationTimestamp")

    def refuse_namespace(self, kind: str) -> None:
        """Raise ValueError when a namespace is given to an object that has none."""
        if self.namespace is not None:
            raise ValueError(f"a {kind} is cluster-scoped: metadata.namespace must go")


class HuntFilter(Model):
    """A filter on the traffic of the pods of one namespace."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    api_version: Literal["packhound.dev/v1alpha1"] = Field(default=API_VERSION, alias="apiVersion")
    kind: Literal["HuntFilter"] = "HuntFilter"
    metadata: Metadata
    spec: HuntFilterSpec
    status: dict[str, Any] | None = None

    @property
    def full_name(self) -> str:
        """`namespace/name`; a HuntFilter without namespace is in `default`."""
        return f"{self.metadata.namespace or 'default'}/{self.metadata.name}"


class ClusterHuntFilter(HuntFilter):
    """A filter on any traffic, that of nodes included."""

    kind: Literal["ClusterHuntFilter"] = "ClusterHuntFilter"  # type: ignore[assignment]

    @model_validator(mode="after")
    def _nowhere(self) -> ClusterHuntFilter:
        self.metadata.refuse_namespace(self.kind)
        return self

    @property
    def full_name(self) -> str:
        """Its name: it has no namespace."""
        return self.metadata.name
