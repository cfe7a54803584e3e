"""What goes over the wire comes back the same; a plain protobuf reader reads it too."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.net.facts import Fact as NetFact
from packhound.net.flow import FLOW_DTYPE
from packhound.wire.codec import MalformedParcel, decode, encode, header
from packhound.wire.flowrecords import COLUMNS, RECORD_DTYPE, FlowRecords
from packhound.wire.lost import Lost
from packhound.wire.v1 import packets_pb2 as pb
from tests.support.batches import batch_of, udp_packet
from tests.support.parcels import PARCELS, batches, flow_records, same

LIMIT = 1 << 20


@settings(max_examples=120, deadline=None)
@given(PARCELS, st.booleans())
def test_a_parcel_comes_back_as_it_went(parcel, compress):
    assert same(decode(encode(parcel, compress=compress), limit=LIMIT), parcel)


@settings(deadline=None)
@given(PARCELS)
def test_the_header_says_the_same_without_the_rest(parcel):
    data = encode(parcel)
    head = header(data)
    assert head.identity == parcel.identity
    assert (head.sensor, head.plan, head.traceparent) == (parcel.sensor, parcel.plan, parcel.traceparent)
    assert head.media is bool(getattr(parcel, "media", False))
    expected = {"Batch": ("packets", "ts"), "FlowRecords": ("flows", None), "Lost": ("lost", None)}
    kind, column = expected[type(parcel).__name__]
    assert head.kind == kind
    assert head.packets == (len(getattr(parcel, column)) if column else getattr(parcel, "packets", 0))


@settings(deadline=None)
@given(batches())
def test_it_is_protobuf(batch):
    message = pb.Envelope.FromString(encode(batch))
    assert message.WhichOneof("body") == "packets"
    assert message.blob == batch.blob
    assert message.packets.ts == batch.ts.tobytes()
    assert message.SerializeToString() == encode(batch)


def test_text_shrinks_and_noise_stays():
    text = batch_of([b"INVITE sip:alice@example.com SIP/2.0\r\n" * 20] * 50)
    random = np.random.default_rng(1)
    noise = batch_of([random.bytes(800) for _ in range(50)])
    assert len(encode(text, compress=True)) < len(text.blob) // 4
    assert pb.Envelope.FromString(encode(noise, compress=True)).header.compression == pb.COMPRESSION_NONE
    assert same(decode(encode(text, compress=True)), decode(encode(text)))


@pytest.mark.parametrize("way", ["zlib", "zstd"])
def test_either_compression_is_read(way, monkeypatch):
    if way == "zlib":
        monkeypatch.setattr("packhound.wire.envelope._zstandard", lambda: None)
    else:
        pytest.importorskip("zstandard")
    batch = batch_of([b"a" * 900] * 20)
    data = encode(batch, compress=True)
    assert header(data).compression == {"zlib": pb.COMPRESSION_ZLIB, "zstd": pb.COMPRESSION_ZSTD}[way]
    assert same(decode(data), decode(encode(batch)))


@pytest.mark.parametrize("way", ["zlib", "zstd"])
def test_a_blob_that_unpacks_to_more_than_it_says_is_refused(way, monkeypatch):
    if way == "zlib":
        monkeypatch.setattr("packhound.wire.envelope._zstandard", lambda: None)
    message = pb.Envelope.FromString(encode(batch_of([b"a" * 9000] * 20), compress=True))
    message.header.blob_bytes -= 1
    with pytest.raises(MalformedParcel, match=r"cut short|size"):
        decode(message.SerializeToString())
    message.header.blob_bytes = 1 << 40
    with pytest.raises(MalformedParcel, match="larger"):
        decode(message.SerializeToString())


def test_a_parcel_over_the_limit_is_refused():
    data = encode(batch_of([udp_packet(i) for i in range(20)]))
    assert decode(data, limit=len(data))
    with pytest.raises(MalformedParcel, match="larger"):
        decode(data, limit=len(data) - 1)


def test_numbers_texts_and_truth_keep_their_type():
    values = (1, True, 1.0, "1", 1 << 63, -(1 << 63), 1 << 200, float("inf"), "\ud800", 0, False, "")
    fact = NetFact("dns", {"dns.answer": values, "dns.rcode": np.uint16(3), "dns.ttl": (), "dns.qname": "x"})
    found = decode(encode(batch_of([udp_packet()], facts=[(0, 7, 9, fact), (-1, 8, 10, fact)]))).facts
    assert [row[:3] for row in found] == [(0, 7, 9), (-1, 8, 10)]
    for _, _, _, each in found:
        assert each.fields == dict(fact.fields)
        assert [type(value) for value in each.fields["dns.answer"]] == [type(value) for value in values]


@pytest.mark.parametrize("value", [None, b"x", {"a": 1}, ((1,),)])
def test_what_no_dissector_says_is_our_bug(value):
    with pytest.raises(TypeError):
        encode(batch_of([udp_packet()], facts=[(0, 1, 1, NetFact("sip", {"x": value}))]))


def test_the_layout_of_flow_records_is_that_of_the_flow_table():
    assert RECORD_DTYPE == FLOW_DTYPE
    assert set(FLOW_DTYPE.names) - set(COLUMNS) == {"has_isn", "isn", "slot", "fset", "scratch", "spare"}


@settings(max_examples=30, deadline=None)
@given(flow_records())
def test_columns_that_only_newer_sensors_know_are_skipped(flows):
    message = pb.Envelope.FromString(encode(dataclasses.replace(flows, sequence=1)))
    message.blob = decode_blob(message) + b"x" * 3 * len(flows)
    message.header.compression, message.header.blob_bytes = pb.COMPRESSION_NONE, len(message.blob)
    message.flows.columns.add(name="new", bytes=3)
    assert same(decode(message.SerializeToString()), dataclasses.replace(flows, sequence=1))


def decode_blob(message: pb.Envelope) -> bytes:
    records = decode(message.SerializeToString()).records
    return b"".join(np.ascontiguousarray(records[name]).tobytes() for name in COLUMNS)


def test_records_of_another_layout_are_not_encoded():
    with pytest.raises(ValueError, match="layout"):
        encode(FlowRecords(np.zeros(2, np.int64)))


def test_a_tombstone_counts_each_packet_once():
    lost = Lost(1, 2, 3, "n", {("a/b", "a/c"): 4, ("a/b",): 5}, "spool_full")
    assert header(encode(lost)).packets == lost.packets == 9
    assert decode(encode(lost)) == lost
    many = dataclasses.replace(lost, last=70)
    assert (decode(encode(many)), many.through, lost.through) == (many, 70, 3)
    with pytest.raises(MalformedParcel, match="ends before"):
        decode(encode(dataclasses.replace(lost, last=3)))
