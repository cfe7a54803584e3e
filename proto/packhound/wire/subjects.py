"""Every name on the bus: subjects, streams, consumers, buckets, keys, headers.

Promise: pure; nothing else of packhound spells such a name. Subjects have at most 16 tokens, names of streams,
consumers and buckets at most 32 characters. A node's name becomes one token that no other node has, so that a
permission for a token is a permission for one node.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from packhound.wire.batch import BatchId

DEFAULT_SHARDS = 16  #: constant of a fleet
MAX_SHARDS = 1024
MAX_NODE = 253  #: characters of a node's name, as in DNS

# Headers of a message.
MESSAGE_ID = "Nats-Msg-Id"  #: duplicates within the window of a stream are dropped by it
KIND = "Ph-Kind"
TRACEPARENT = "traceparent"  #: W3C trace context
REASON = "Ph-Reason"  #: why a message is dead
ORIGIN = "Ph-Subject"  #: the subject that a dead message was on

KINDS = ("packets", "flows", "lost")

_FLEET = re.compile(r"[a-z0-9-]{1,12}", re.ASCII)
_PLAIN = re.compile(rb"[A-Za-z0-9-]")
_TOKEN = re.compile(r"=|(?:[A-Za-z0-9_-]|=[0-9A-F]{2})+", re.ASCII)
_MESSAGE_ID = re.compile(r"([0-9a-f]{1,16})-(0|[1-9][0-9]{0,3})-([1-9][0-9]{0,18})", re.ASCII)
_TRACEPARENT = re.compile(r"(?:[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2})?", re.ASCII)
_DOT = ord(".")
_EMPTY = "="


class BadName(ValueError):
    """A fleet, node or shard that cannot be named; the message is ours."""


def token(name: str) -> str:
    """`name` as one subject token, its own: letters, digits and `-` as they are, `.` as `_`, other bytes as `=XX`.

    >>> token("node-1.example"), token("a_b*")
    ('node-1_example', 'a=5Fb=2A')
    """
    if not name:
        return _EMPTY
    data = name.encode("utf-8", "surrogatepass")
    return "".join(
        chr(byte) if _PLAIN.match(data, at) else "_" if byte == _DOT else f"={byte:02X}" for at, byte in enumerate(data)
    )


def untoken(part: str) -> str | None:
    """The name that `part` is the token of; None when it is nobody's.

    >>> untoken("node-1_example"), untoken("a*")
    ('node-1.example', None)
    """
    if part == _EMPTY:
        return ""
    if not _TOKEN.fullmatch(part):
        return None
    raw = re.sub(r"=(..)", lambda found: chr(int(found[1], 16)), part.replace("_", "."))
    try:
        name = raw.encode("latin-1").decode("utf-8", "surrogatepass")
    except UnicodeError:
        return None
    return name if token(name) == part else None


def message_id(identity: BatchId) -> str:
    """`Nats-Msg-Id` of a parcel.

    >>> message_id(BatchId(255, 3, 17))
    'ff-3-17'
    """
    return f"{identity.epoch:x}-{identity.shard}-{identity.sequence}"


def identity_of(text: str) -> BatchId | None:
    """The parcel that a `Nats-Msg-Id` names; None when it names none."""
    found = _MESSAGE_ID.fullmatch(text)
    return BatchId(int(found[1], 16), int(found[2]), int(found[3])) if found else None


def is_traceparent(text: str) -> bool:
    """Tell whether `text` is empty or a `traceparent` of W3C trace context."""
    return _TRACEPARENT.fullmatch(text) is not None


class PacketSubject(NamedTuple):
    """What the subject of a parcel says: shard, and the name of the node."""

    shard: int
    node: str


@dataclass(frozen=True, slots=True)
class Subjects:
    """The names of one fleet. Raises BadName."""

    fleet: str

    def __post_init__(self) -> None:
        if not _FLEET.fullmatch(self.fleet):
            raise BadName("a fleet's name is 1 to 12 of a-z, 0-9 and -")

    # parcels

    @property
    def packets_stream(self) -> str:
        """Stream of parcels."""
        return f"ph-{self.fleet}-b"

    @property
    def every_packet(self) -> str:
        """Subjects of the stream of parcels."""
        return f"ph.{self.fleet}.b.>"

    def packets(self, shard: int, node: str) -> str:
        """Where `node` publishes the parcels of `shard`."""
        return f"ph.{self.fleet}.b.{_shard(shard)}.{_node(node)}"

    def packets_of_shard(self, shard: int) -> str:
        """What the consumer of `shard` takes."""
        return f"ph.{self.fleet}.b.{_shard(shard)}.>"

    def packets_of_node(self, node: str) -> str:
        """What `node` may publish: its parcels of any shard."""
        return f"ph.{self.fleet}.b.*.{_node(node)}"

    def consumer(self, shard: int) -> str:
        """Consumer of `shard` in the stream of parcels."""
        return f"s{_shard(shard)}"

    def parse_packets(self, subject: str) -> PacketSubject | None:
        """Shard and node of the subject of a parcel; None when it is no such subject."""
        head, _, tail = subject.rpartition(".b.")
        shard, _, part = tail.partition(".")
        node = untoken(part)
        if head != f"ph.{self.fleet}" or not re.fullmatch("0|[1-9][0-9]{0,3}", shard, re.ASCII) or not node:
            return None
        return PacketSubject(int(shard), node)

    # dead letters

    @property
    def dead_stream(self) -> str:
        """Stream of messages that nobody could read."""
        return f"ph-{self.fleet}-dead"

    @property
    def every_dead(self) -> str:
        """Subjects of the stream of dead messages."""
        return f"ph.{self.fleet}.dead.*"

    def dead(self, who: str) -> str:
        """Where `who` (a processor) puts a message that it cannot read."""
        return f"ph.{self.fleet}.dead.{_node(who)}"

    # plans and filters

    @property
    def plans_bucket(self) -> str:
        """Bucket of plans: keys `plan_key_all`, `plan_key` and `revision_key`."""
        return f"ph-{self.fleet}-plans"

    @property
    def plan_key_all(self) -> str:
        """Key of the plan for every node."""
        return "all"

    def plan_key(self, node: str) -> str:
        """Key of the plan for `node` alone."""
        return f"node.{_node(node)}"

    @property
    def revision_key(self) -> str:
        """Key of the fleet's counter of revisions, in the bucket of plans."""
        return "revision"

    @property
    def plan_all(self) -> str:
        """Where a new plan for every node is announced."""
        return f"ph.{self.fleet}.plan.all"

    def plan(self, node: str) -> str:
        """Where a new plan for `node` is announced."""
        return f"ph.{self.fleet}.plan.{_node(node)}"

    @property
    def filters_bucket(self) -> str:
        """Bucket of filters as their users gave them."""
        return f"ph-{self.fleet}-filters"

    def filter_key(self, name: str) -> str:
        """Key of filter `namespace/name`, or `name` of one without namespace."""
        space, _, own = name.rpartition("/")
        return f"{token(space)}.{token(own)}"

    def filter_name(self, key: str) -> str | None:
        """The filter of a key; None when it is no such key."""
        head, _, tail = key.partition(".")
        space, own = untoken(head), untoken(tail)
        if space is None or not own:
            return None
        return f"{space}/{own}" if space else own

    # what sensors say

    def ack(self, node: str) -> str:
        """Where `node` acknowledges plans."""
        return f"ph.{self.fleet}.ack.{_node(node)}"

    @property
    def acks(self) -> str:
        """The acknowledgements of all nodes."""
        return f"ph.{self.fleet}.ack.*"

    def heartbeat(self, node: str) -> str:
        """Where `node` says that it lives; a processor replies with its clock."""
        return f"ph.{self.fleet}.hb.{_node(node)}"

    @property
    def heartbeats(self) -> str:
        """The heartbeats of all nodes."""
        return f"ph.{self.fleet}.hb.*"

    @property
    def status_bucket(self) -> str:
        """Bucket of the last that each node said of itself."""
        return f"ph-{self.fleet}-status"

    def status_key(self, node: str) -> str:
        """Key of `node` in the bucket of status."""
        return _node(node)

    # which pod has which address

    @property
    def pods_bucket(self) -> str:
        """Bucket of pod tables: keys `pods_key`."""
        return f"ph-{self.fleet}-pods"

    def pods_key(self, node: str) -> str:
        """Key of the table of `node`."""
        return f"node.{_node(node)}"

    def pods(self, node: str) -> str:
        """Where a new table of `node` is announced."""
        return f"ph.{self.fleet}.pods.{_node(node)}"

    @property
    def every_pods(self) -> str:
        """Where new tables of all nodes are announced."""
        return f"ph.{self.fleet}.pods.*"

    def media(self, node: str) -> str:
        """Where `node` (a sensor or processor) says which media endpoints to watch."""
        return f"ph.{self.fleet}.media.{_node(node)}"

    @property
    def every_media(self) -> str:
        """The media watches of all."""
        return f"ph.{self.fleet}.media.*"

    def node_of(self, subject: str) -> str | None:
        """The node of an `ack`, `hb`, `media`, `dead`, `plan` or `pods` subject of this fleet; None of any other."""
        found = re.fullmatch(rf"ph\.{re.escape(self.fleet)}\.(?:ack|hb|media|dead|plan|pods)\.([^.]+)", subject)
        return (untoken(found[1]) or None) if found else None


def _node(node: str) -> str:
    if not 0 < len(node) <= MAX_NODE:
        raise BadName(f"a node's name has 1 to {MAX_NODE} characters")
    return token(node)


def _shard(shard: int) -> int:
    if not 0 <= shard < MAX_SHARDS:
        raise BadName(f"a shard is a number from 0 to {MAX_SHARDS - 1}")
    return shard
