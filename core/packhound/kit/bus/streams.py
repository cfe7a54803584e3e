"""Streams, consumers and buckets as values, and making the broker have them.

Promise: `ensure` creates what is missing and changes limits that differ; it never deletes a message, a stream or a
consumer, and can be called at any time by any number of processes at once. What the broker does not let us change is
told of as Rejected. Only keys that a spec names are compared: the broker fills in the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from packhound.kit.bus.client import Bus
from packhound.kit.bus.messages import NO_CONSUMER, NO_STREAM, Rejected

SECOND = 1_000_000_000
Change = Literal["as it was", "made", "changed"]


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """A stream. `retention`: `workqueue` (a message is gone once acknowledged) or `limits`; `discard`: `new` refuses
    what does not fit, `old` drops the oldest. Sizes in bytes, -1 for no limit; times in ns, 0 for none."""

    name: str
    subjects: tuple[str, ...]
    retention: Literal["workqueue", "limits"]
    discard: Literal["new", "old"]
    max_bytes: int
    max_age_ns: int = 0
    max_message: int = -1
    duplicates_ns: int = 0
    storage: Literal["file", "memory"] = "file"
    replicas: int = 1

    def config(self) -> dict[str, Any]:
        """As JetStream's API has it."""
        found: dict[str, Any] = {
            "name": self.name, "subjects": list(self.subjects), "retention": self.retention, "discard": self.discard,
            "max_bytes": self.max_bytes, "max_age": self.max_age_ns, "max_msg_size": self.max_message,
            "storage": self.storage, "num_replicas": self.replicas,
        }  # fmt: skip
        if self.duplicates_ns:
            found["duplicate_window"] = self.duplicates_ns
        return found


@dataclass(frozen=True, slots=True)
class ConsumerSpec:
    """A durable pull consumer of `stream` for `subject`, every message acknowledged. `max_pending`: messages that may
    wait for their acknowledgement; one without after `ack_wait_ns` is delivered again, without end."""

    stream: str
    name: str
    subject: str
    ack_wait_ns: int
    max_pending: int

    def config(self) -> dict[str, Any]:
        """As JetStream's API has it."""
        return {
            "durable_name": self.name, "name": self.name, "filter_subject": self.subject, "ack_policy": "explicit",
            "ack_wait": self.ack_wait_ns, "max_ack_pending": self.max_pending, "max_deliver": -1,
            "deliver_policy": "all", "replay_policy": "instant",
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class BucketSpec:
    """A bucket of keys and values with the last `history` values of each. A full bucket refuses. Roll-ups are off:
    with them whoever may write one key could empty the bucket."""

    name: str
    max_bytes: int
    history: int = 1
    max_age_ns: int = 0
    max_value: int = -1
    storage: Literal["file", "memory"] = "file"
    replicas: int = 1

    def config(self) -> dict[str, Any]:
        """As JetStream's API has it: the stream under the bucket, as every NATS client makes it."""
        return {
            "name": f"KV_{self.name}", "subjects": [f"$KV.{self.name}.>"], "retention": "limits", "discard": "new",
            "max_bytes": self.max_bytes, "max_age": self.max_age_ns, "max_msg_size": self.max_value,
            "max_msgs_per_subject": self.history, "storage": self.storage, "num_replicas": self.replicas,
            "allow_rollup_hdrs": False, "deny_delete": True, "deny_purge": False, "allow_direct": True,
        }  # fmt: skip


async def ensure_stream(bus: Bus, spec: StreamSpec | BucketSpec) -> Change:
    """Make the broker have a stream or bucket with these limits. Raises Away, Denied, Rejected."""
    config = spec.config()
    name = config["name"]
    try:
        found = (await bus.api(f"STREAM.INFO.{name}")).get("config", {})
    except Rejected as error:
        if error.code != NO_STREAM:
            raise
        await bus.api(f"STREAM.CREATE.{name}", config)  # the same by another process meanwhile is no error there
        return "made"
    if not _differs(config, found):
        return "as it was"
    await bus.api(f"STREAM.UPDATE.{name}", {**found, **config})
    return "changed"


async def ensure_consumer(bus: Bus, spec: ConsumerSpec) -> Change:
    """Make the broker have a consumer with these limits. Raises Away, Denied, Rejected."""
    config = spec.config()
    where = f"{spec.stream}.{spec.name}"
    try:
        found = (await bus.api(f"CONSUMER.INFO.{where}")).get("config", {})
    except Rejected as error:
        if error.code != NO_CONSUMER:
            raise
        found = None
    if found is not None and not _differs(config, found):
        return "as it was"
    wanted = {"stream_name": spec.stream, "config": {**(found or {}), **config}, "action": ""}
    await bus.api(f"CONSUMER.CREATE.{where}.{spec.subject}", wanted)
    return "made" if found is None else "changed"


def _differs(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    return any(found.get(key, _UNSET.get(key)) != value for key, value in wanted.items())


# What the broker leaves out of its answer when it is so.
_UNSET: Mapping[str, Any] = {
    "max_age": 0, "allow_rollup_hdrs": False, "deny_delete": False, "deny_purge": False, "allow_direct": False,
}  # fmt: skip
