"""What processes of a fleet tell each other: every decoder of `packhound.wire`, the spool's records, plans in a sensor."""

from __future__ import annotations

import json
import random
import warnings
import zlib
from collections.abc import Callable
from functools import cache
from typing import Any

from packhound.net.facts import Fact
from packhound.rules.bpf import check_pcap
from packhound.sensor.control import Compiled, Planner, Rejected
from packhound.sensor.parcel import Parcel
from packhound.sensor.spool import records
from packhound.wire import beats, plans, pods
from packhound.wire.batch import Batch, check
from packhound.wire.books import Books
from packhound.wire.checked import BadMessage
from packhound.wire.codec import decode, encode, header
from packhound.wire.flowrecords import COLUMNS, FlowRecords
from packhound.wire.v1 import packets_pb2 as pb
from tests.fuzz.target import Broken, Target
from tests.support.batches import batch_of, udp_packet
from tests.support.parcels import LOSTS, PARCELS, flow_records

LIMIT = 1 << 20
FACT = Fact("sip", {"sip.method": "INVITE", "dns.answer": ("a", 2, 3.5, True, 1 << 80), "sip.status": 200})
_ID = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def own(error: BadMessage) -> None:
    """Check a refusal: our words, short."""
    if not error.reason.isprintable() or not 0 < len(error.reason) < 200:
        raise Broken(f"reason {error.reason!r}")


def _parcel(data: bytes) -> None:
    try:
        found = decode(data, limit=LIMIT)
    except BadMessage as error:
        own(error)
        try:
            header(data)
        except BadMessage as other:
            own(other)
        return
    if header(data).identity != found.identity:
        raise Broken("header and parcel have another identity")
    if isinstance(found, Batch):
        if check(found) is not None or sum(len(found.packet(at)) for at in range(len(found))) != len(found.blob):
            raise Broken("a batch was let in that may not be indexed")
    elif isinstance(found, FlowRecords):
        for record in found.records:
            int(record["serial"])
    if decode(encode(found)).identity != found.identity:
        raise Broken("what was decoded does not come back")


@cache
def _parcel_seeds() -> list[bytes]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # examples are what we want, not a search
        found = [encode(each, compress=False) for each in _examples(PARCELS, 40) + _examples(LOSTS, 8)]
    batch = batch_of([udp_packet(i) for i in range(3)], facts=[(0, 1, 2, FACT), (-1, 1, 2, FACT)], calls=["a", None, "b"])
    found += [encode(batch), encode(batch, compress=True)]
    for flows in _examples(flow_records(), 12):
        message = pb.Envelope.FromString(encode(flows))
        message.blob = b"".join(flows.records[name].tobytes() for name in COLUMNS)
        message.header.compression = pb.COMPRESSION_NONE
        found.append(message.SerializeToString())
    return found


def _examples(strategy: Any, count: int) -> list[Any]:
    """Values of a strategy, the same ones every time."""
    from hypothesis import HealthCheck, Phase, given, seed, settings

    found: list[Any] = []

    @seed(1)
    @settings(max_examples=count, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(strategy)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found[:count]


def _fields(data: bytes) -> None:
    """The bytes choose a field of a well-formed parcel and what becomes of it: what random bytes rarely reach."""
    if len(data) < 4:
        return
    seeds_ = _parcel_seeds()
    message = pb.Envelope.FromString(seeds_[data[0] % len(seeds_)])
    for at in range(1, min(len(data) - 2, 24), 4):
        _bend(message, data[at], data[at + 1], data[at + 2 : at + 2 + (data[at] & 31)])
    _parcel(message.SerializeToString())


def _bend(message: Any, chosen: int, how: int, new: bytes) -> None:
    for _ in range(4):
        set_ = [field for field, _ in message.ListFields()]
        if not set_:
            return
        field = set_[chosen % len(set_)]
        value = getattr(message, field.name)
        chosen = chosen * 31 + how & 0xFFFF
        if field.is_repeated:
            if not len(value):
                return
            if how % 5 == 0:
                del value[0]
            elif how % 5 == 1 and field.message_type:
                value.add().CopyFrom(value[0])
            if field.message_type is None or not len(value):
                return
            message = value[how % len(value)]
            continue
        if field.message_type is not None:
            message = value
            continue
        _write(message, field, value, how, new)
        return


def _write(message: Any, field: Any, value: Any, how: int, new: bytes) -> None:
    if isinstance(value, bytes):
        at = how * len(value) // 256
        setattr(message, field.name, value[:at] + new + value[at + (how & 7) :])
    elif isinstance(value, str):
        setattr(message, field.name, value[: how & 15] + new.decode("latin-1"))
    elif isinstance(value, bool):
        setattr(message, field.name, not value)
    elif isinstance(value, int):
        number = int.from_bytes(new[:8], "big") if how & 1 else value + how - 128
        try:
            setattr(message, field.name, number)
        except ValueError:
            setattr(message, field.name, number & 0x7F)


# JSON, deflated ---------------------------------------------------------------------------------------------------


def _json(decoder: Callable[[bytes], Any], bad: type[Exception]) -> Callable[[bytes], None]:
    """A target whose input is the JSON itself (first byte 0) or the deflated bytes (1)."""

    def run(data: bytes) -> None:
        if not data:
            return
        text = data[1:] if data[:1] == b"1" else zlib.compress(data[1:], 1)
        try:
            found = decoder(text)
        except bad as error:
            reason = str(error)
            if not reason.isprintable() or len(reason) > 300:
                raise Broken(f"reason {reason!r}") from None
            return
        again = getattr(found, "encode", None)
        if again is not None and decoder(again()) != found:
            raise Broken("what was decoded does not come back")

    return run


def _texts(*rows: Any) -> Callable[[], list[bytes]]:
    def seeds_() -> list[bytes]:
        texts = [json.dumps(row, separators=(",", ":")).encode() for row in rows]
        return [b"0" + text for text in texts] + [b"1" + zlib.compress(text, 1) for text in texts]

    return seeds_


FILTER = {
    "apiVersion": "packhound.dev/v1alpha1", "kind": "HuntFilter", "metadata": {"name": "a", "namespace": "t"},
    "spec": {"match": {"any": [{"field": "dns.qname", "glob": ["*.x"]}, {"not": {"field": "sip.method", "equals": ["BYE"]}}]}},
}  # fmt: skip
POD = {
    "namespace": "n", "name": "p", "uid": "u", "node": "k", "ips": ["10.0.0.1"], "labels": {"a": "b"}, "host_network": False,
    "owner_kind": "Deployment", "owner_name": "d", "containers": [["c", "0" * 64]], "since": 1, "until": None,
}  # fmt: skip
NUMBERS = tuple(map(str.encode, ("9" * 5000, "1e400", "-1", "0.5", "true", "null", "[]", "{}", '""', "[[]]", "NaN", "1e5",
                                 "18446744073709551616", '"\\ud800"', '["a","b","c"]', '"\\u0000"', "[" * 200)))  # fmt: skip


def _packed(row: bytes) -> list[bytes]:
    return [b"0" + zlib.decompress(row), b"1" + row]


def _plan_seeds() -> list[bytes]:
    made = plans.PlanMessage.of([FILTER], revision=2, created_ns=3, publisher="op", previous=1, traceparent=_ID)
    return _packed(made.encode())


def _plan(data: bytes) -> None:
    """A plan whose digest is put right, so that what stands behind it is read."""
    if data[:1] != b"1":
        try:
            row = json.loads(data[1:])
            row["digest"] = plans.digest_of(row["filters"])
            data = b"0" + json.dumps(row).encode()
        except (ValueError, TypeError, KeyError, RecursionError):
            pass
    _json(plans.PlanMessage.decode, BadMessage)(data)


def _ack_seeds() -> list[bytes]:
    return _packed(plans.PlanAck("n", 1, 2, "0" * 64, "rejected", "why", 4, warnings=("w",), traceparent=_ID).encode())


def _beat() -> beats.Heartbeat:
    return beats.Heartbeat(
        "n", 1, 2, books=Books().as_dict(), modes={"kernel": "native"}, conditions=("c",),
        interfaces=(beats.InterfaceState("eth0", 1, captured=4),), cpu=0.5, cluster="x",
    )  # fmt: skip


def _beat_seeds() -> list[bytes]:
    return _packed(_beat().encode())


def _watch_seeds() -> list[bytes]:
    return _packed(beats.MediaWatch("c", ("t/a",), (("10.0.0.1", 4000), ("::1", 2)), 7, "n").encode())


def _status_seeds() -> list[bytes]:
    ack = plans.PlanAck("n", 1, 2, "0" * 64, "applied")
    return _packed(beats.NodeStatus(_beat(), ack).encode()) + _packed(beats.NodeStatus(None, None).encode())


def _planner_seeds() -> list[bytes]:
    rows = ([FILTER], [{"object": FILTER, "created": 5, "guard": ["10.0.0.1"]}], [{"object": FILTER, "guard": None}])
    return [json.dumps(row).encode() for row in rows]


def _planner(data: bytes) -> None:
    try:
        rows = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return
    found = Planner(check_pcap=check_pcap).take(tuple(rows[:8]), revision=1, now=1)
    if not isinstance(found, Compiled | Rejected):
        raise Broken(repr(found))
    if isinstance(found, Rejected) and len(found.reason) > 2000:
        raise Broken("a long reason")


def _spooled(data: bytes) -> None:
    """A record that is sealed anew, so that what stands behind the checksum is read."""
    view = memoryview(data)
    head = records.head_at(view, 0)
    if head is None and len(data) >= records.HEAD_BYTES and data[:4] == records.MAGIC:
        from zlib import crc32

        *_, trace, wanted, size = records._HEAD.unpack_from(data)
        whole = records.HEAD_BYTES + trace + wanted + size
        fresh = data[:4] + crc32(data[8:whole]).to_bytes(4, "little") + data[8:]
        view = memoryview(fresh)
        head = records.head_at(view, 0)
    if head is not None and head.size > len(data):
        raise Broken("a record is larger than its file")


def _spool_seeds() -> list[bytes]:
    parcel = Parcel(number=1, kind="packets", epoch=2, shard=3, sequence=4, packets=5, media=False, data=b"abc" * 9, traceparent=_ID)
    return [b"".join(records.pack(records.Record(parcel, {("a", "b"): 5}, 6, 7)))]


def targets() -> list[Target]:
    """The decoders."""
    rng = random.Random(1)
    bends = [bytes(rng.randrange(256) for _ in range(24)) for _ in range(64)]
    beat = {"node": "n", "received_ns": 1, "replied_ns": 2, "processor": "p"}
    return [
        Target("wire-parcel", _parcel, _parcel_seeds, group="messages", turns=False),
        Target("wire-fields", _fields, lambda: bends, group="messages", turns=False, size=64),
        Target("wire-plan", _plan, _plan_seeds, group="messages", words=NUMBERS, turns=False, size=16_000),
        Target("wire-ack", _json(plans.PlanAck.decode, BadMessage), _ack_seeds, group="messages", words=NUMBERS, turns=False, size=16_000),
        Target("wire-beat", _json(beats.Heartbeat.decode, BadMessage), _beat_seeds, group="messages", words=NUMBERS, turns=False, size=16_000),
        Target("wire-reply", _json(beats.BeatReply.decode, BadMessage), _texts(beat), group="messages", words=NUMBERS, turns=False, size=16_000),
        Target("wire-watch", _json(beats.MediaWatch.decode, BadMessage), _watch_seeds, group="messages", words=NUMBERS, turns=False, size=16_000),
        Target("wire-status", _json(beats.NodeStatus.decode, BadMessage), _status_seeds, group="messages", words=NUMBERS, turns=False, size=16_000),
        Target("wire-pods", _json(pods.decode, pods.BadTable), _texts({"node": "k", "revision": 3, "node_ips": ["10.0.0.9"], "pods": [POD]}),
               group="messages", words=NUMBERS, turns=False, size=16_000),
        Target("planner", _planner, _planner_seeds, group="messages", words=NUMBERS, turns=False),
        Target("spool-record", _spooled, _spool_seeds, group="messages", turns=False),
    ]  # fmt: skip
