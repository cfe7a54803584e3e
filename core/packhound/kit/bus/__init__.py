"""The bus: one door to NATS, its streams, consumers, buckets; connections that come back for ever.

Neighbours: everything that talks to a broker imports names from here, never from the modules below and never from
nats-py. Does not belong here: any subject, stream or bucket of ours (`packhound.wire.subjects`, `packhound.fleet`).
"""

from packhound.kit.bus.bucket import Bucket, Entry
from packhound.kit.bus.client import Bus, BusState, Happening
from packhound.kit.bus.messages import (
    Away,
    BusError,
    Conflict,
    Denied,
    Full,
    Headers,
    Message,
    Outcome,
    Refused,
    Rejected,
    Stored,
    Unreachable,
)
from packhound.kit.bus.pull import Pull, Pulled
from packhound.kit.bus.settings import BusSettings, TlsFiles
from packhound.kit.bus.streams import BucketSpec, ConsumerSpec, StreamSpec, ensure_consumer, ensure_stream
from packhound.kit.bus.subscription import Subscription

__all__ = [
    "Away", "Bucket", "BucketSpec", "Bus", "BusError", "BusSettings", "BusState", "Conflict", "ConsumerSpec", "Denied",
    "Entry", "Full", "Happening", "Headers", "Message", "Outcome", "Pull", "Pulled", "Refused", "Rejected", "Stored",
    "StreamSpec", "Subscription", "TlsFiles", "Unreachable", "ensure_consumer", "ensure_stream",
]  # fmt: skip
