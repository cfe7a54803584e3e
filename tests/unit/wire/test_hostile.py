"""Whatever bytes come, the reader says MalformedParcel or BadMessage, or returns what may be used without a look."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.net.facts import Fact
from packhound.wire import beats, flowrecords, plans
from packhound.wire.batch import Batch, check
from packhound.wire.books import Books
from packhound.wire.checked import BadMessage
from packhound.wire.codec import MalformedParcel, decode, encode, header
from packhound.wire.v1 import packets_pb2 as pb
from tests.support.batches import batch_of, udp_packet
from tests.support.parcels import LOSTS, PARCELS, flow_records

LIMIT = 1 << 20


def hold(error: BadMessage) -> None:
    assert error.reason.isprintable()
    assert 0 < len(error.reason) < 200


def use(data: bytes) -> None:
    """Decode; everything that came out must hold."""
    try:
        found = decode(data, limit=LIMIT)
    except MalformedParcel as error:
        hold(error)
        return
    assert header(data).identity == found.identity
    if isinstance(found, Batch):
        assert check(found) is None
        assert sum(len(found.packet(at)) for at in range(len(found))) == len(found.blob)
    assert decode(encode(found)).identity == found.identity


@st.composite
def mutated(draw):
    """The bytes of a parcel, bent in a few places, cut, doubled or mixed with those of another."""
    data = bytearray(encode(draw(PARCELS), compress=draw(st.booleans())))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.integers(0, 4)):
            case 0 if data:
                data[at] = draw(st.integers(0, 255))
            case 1:
                data[at:at] = draw(st.binary(max_size=6))
            case 2:
                del data[at : at + draw(st.integers(1, 40))]
            case 3 if data:
                data[at] ^= 1 << draw(st.integers(0, 7))
            case 4:
                other = encode(draw(PARCELS))
                data[at:] = other[draw(st.integers(0, len(other))) :]
    return bytes(data)


@settings(max_examples=250, deadline=None)
@given(mutated())
def test_bent_parcels_are_refused_or_hold(data):
    use(data)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_refused(data):
    use(data)
    try:
        header(data)
    except MalformedParcel:
        pass


FACT = Fact("sip", {"sip.method": "INVITE", "dns.answer": ("a", 2, 3.5, True, 1 << 80), "sip.status": 200})


def well_formed() -> pb.Envelope:
    batch = batch_of([udp_packet(i) for i in range(3)], facts=[(0, 1, 2, FACT), (-1, 1, 2, FACT)],
                     calls=["a", None, "b"])  # fmt: skip
    return pb.Envelope.FromString(encode(batch))


COLUMNS = [each.name for each in pb.PacketBatch.DESCRIPTOR.fields if each.type == each.TYPE_BYTES and not each.is_repeated]
FACT_COLUMNS = [each.name for each in pb.Facts.DESCRIPTOR.fields if each.type == each.TYPE_BYTES and not each.is_repeated]
HEADER_NUMBERS = ["epoch", "shard", "sequence", "plan", "packets", "blob_bytes", "compression", "kind"]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_well_formed_messages_that_lie_are_refused_or_hold(data):
    message = well_formed()
    for _ in range(data.draw(st.integers(1, 3))):
        match data.draw(st.integers(0, 4)):
            case 0:
                bend(data, message.packets, data.draw(st.sampled_from(COLUMNS)))
            case 1 | 2:
                bend(data, message.packets.facts, data.draw(st.sampled_from(FACT_COLUMNS)))
            case 3:
                name = data.draw(st.sampled_from(HEADER_NUMBERS))
                setattr(message.header, name, data.draw(st.integers(0, (1 << 31) - 1) | st.integers(0, 5)))
            case 4:
                table = data.draw(st.sampled_from(["calls", "filter_sets", "interfaces"]))
                del getattr(message.packets, table)[0:1]
    use(message.SerializeToString())


@settings(max_examples=150, deadline=None)
@given(flow_records(), st.data())
def test_flow_records_that_lie_are_refused_or_hold(flows, data):
    message = pb.Envelope.FromString(encode(flows))
    message.blob = b"".join(flows.records[name].tobytes() for name in flowrecords.COLUMNS)
    message.header.compression = pb.COMPRESSION_NONE
    match data.draw(st.integers(0, 5)):
        case 0:
            message.flows.records = data.draw(st.integers(0, 1 << 32) | st.integers(0, 9)) & 0xFFFFFFFF
        case 1:
            column = message.flows.columns[data.draw(st.integers(0, len(message.flows.columns) - 1))]
            column.bytes = data.draw(st.integers(0, 20))
        case 2:
            column = message.flows.columns[data.draw(st.integers(0, len(message.flows.columns) - 1))]
            column.name = data.draw(st.sampled_from(["", "serial", "spare", "x"]))
        case 3:
            del message.flows.columns[data.draw(st.integers(0, 3)) :: 2]
        case 4:
            bend(data, message.flows, data.draw(st.sampled_from(["host", "call", "filter_set"])))
        case 5:
            bend(data, message, "blob")
            message.header.blob_bytes = len(message.blob)
    use(message.SerializeToString())


@settings(max_examples=200, deadline=None)
@given(LOSTS, st.data())
def test_tombstones_that_lie_are_refused_or_hold(lost, data):
    message = pb.Envelope.FromString(encode(lost))
    match data.draw(st.integers(0, 4)):
        case 0:
            message.header.packets = data.draw(st.integers(0, 1 << 31))
        case 4:
            message.lost.last = data.draw(st.integers(0, (1 << 64) - 1))
        case 1:
            message.lost.cause = data.draw(st.text(max_size=80).filter(lambda text: text.isprintable()))
        case 2:
            message.lost.wanted.add(filters=["a\nb"], packets=data.draw(st.integers(0, 1 << 63)))
        case 3:
            message.lost.kind_lost = data.draw(st.integers(0, 9))
    use(message.SerializeToString())


def bend(data, message, name):
    column = bytearray(getattr(message, name))
    if column and data.draw(st.booleans()):
        column[data.draw(st.integers(0, len(column) - 1))] = data.draw(st.integers(0, 255))
    else:
        column = column[: data.draw(st.integers(0, len(column)))]
    setattr(message, name, bytes(column))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: setattr(m.header, "sequence", 0), "identity"),
        (lambda m: setattr(m.header, "epoch", 1 << 63), "identity"),
        (lambda m: setattr(m.header, "shard", 5000), "identity"),
        (lambda m: setattr(m.header, "sensor", "a\nb"), "bad name"),
        (lambda m: setattr(m.header, "traceparent", "x"), "traceparent"),
        (lambda m: setattr(m.header, "packets", 2), "column"),
        (lambda m: setattr(m.header, "packets", 1 << 31), "more than"),
        (lambda m: setattr(m, "blob", m.blob[1:]), "blob"),
        (lambda m: setattr(m.header, "kind", pb.KIND_LOST), "kind"),
        (lambda m: m.packets.filter_sets[0].filters.append("a\x1bb"), "name"),
        (lambda m: m.packets.filter_sets.add(number=1), "twice"),
        (lambda m: m.packets.calls.pop(), "table"),
        (lambda m: m.packets.facts.names.pop(), "table"),
        (lambda m: setattr(m.packets.facts, "tag", bytes(len(m.packets.facts.tag))), "tag"),
    ],
)
def test_lies_are_told_apart(change, reason):
    message = well_formed()
    change(message)
    with pytest.raises(MalformedParcel, match=reason):
        decode(message.SerializeToString())


def test_a_second_header_cannot_change_the_first():
    data = encode(batch_of([udp_packet()]))
    for forged in (data + data, data + pb.Envelope(header=pb.Header(sequence=9)).SerializeToString()):
        with pytest.raises(MalformedParcel):
            decode(forged)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
READERS = (plans.PlanMessage, plans.PlanAck, beats.Heartbeat, beats.BeatReply, beats.MediaWatch, beats.NodeStatus)
BOOKS = Books()
BOOKS.settle("n", {("a/b",): 3}, "lost", cause="spool_full")
BEAT = beats.Heartbeat(
    "n", 1, 2, modes={"kernel": "native"}, interfaces=(beats.InterfaceState("e", 1),),
    books=BOOKS.as_dict(),
)  # fmt: skip
EXAMPLES = {
    plans.PlanMessage: plans.PlanMessage.of([{"kind": "HuntFilter"}], revision=1, created_ns=1),
    plans.PlanAck: plans.PlanAck("n", 1, 2, "", "applied"),
    beats.Heartbeat: BEAT,
    beats.BeatReply: beats.BeatReply(1, 2, "p"),
    beats.MediaWatch: beats.MediaWatch("c", ("a/b",), (("10.0.0.1", 4000),), 5, "n"),
    beats.NodeStatus: beats.NodeStatus(BEAT, plans.PlanAck("n", 1, 2, "", "rejected")),
}


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(READERS), st.data())
def test_bent_messages_are_refused_or_hold(reader, data):
    row = json.loads(zlib.decompress(EXAMPLES[reader].encode()))
    assert reader.decode(EXAMPLES[reader].encode()) == EXAMPLES[reader]
    for _ in range(data.draw(st.integers(1, 3))):
        at = row
        while isinstance(at, dict) and at:
            key = data.draw(st.sampled_from(sorted(at)))
            if not isinstance(at[key], dict) or not at[key] or data.draw(st.booleans()):
                at[key] = data.draw(JSON)
                break
            at = at[key]
    made = zlib.compress(json.dumps(row).encode())
    for bent in (made, made[: data.draw(st.integers(0, len(made)))], made + b"x"):
        try:
            found = reader.decode(bent)
        except BadMessage as error:
            hold(error)
        else:
            assert reader.decode(found.encode()) == found


@pytest.mark.parametrize("reader", READERS[:-1])  # all of a status may be absent
@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", zlib.compress(b"[]"), zlib.compress(b"{}"), zlib.compress(b'{"a":' * 100_000),
        zlib.compress(b"[" * 100_000), zlib.compress(b'{"revision": ' + b"9" * 5000 + b"}"),
        zlib.compress(bytes(100 << 20), 9), zlib.compress(b'{"filters": [{"a": 1e999}], "digest": "' + b"0" * 64 + b'"}'),
        zlib.compress(b'{"revision": NaN}'), zlib.compress(b'{"\\ud800": "\\udfff"}'),
    ],
)  # fmt: skip
def test_known_tricks_are_refused(reader, data):
    with pytest.raises(BadMessage):
        reader.decode(data)
