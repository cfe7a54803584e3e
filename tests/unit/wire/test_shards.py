"""A batch split by shard: every packet and message once, in order, in the shard it belongs to, within the limits."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.net.detect import App
from packhound.net.facts import Fact
from packhound.wire.batch import check
from packhound.wire.codec import encode
from packhound.wire.shards import ROW_BYTES, RTCP, RTP, shard_of_call, shard_of_flow, split, weight_of
from tests.support.batches import batch_of, udp_packet
from tests.support.parcels import batches, facts_of

ADDRESS = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)
PORT = st.integers(0, 65535)


def test_media_is_rtp_and_rtcp():
    assert (RTP, RTCP) == (App.RTP, App.RTCP)


@given(st.integers(0, 255), ADDRESS, PORT, ADDRESS, PORT, st.integers(1, 64))
def test_a_flow_has_one_shard_whichever_way_it_is_seen(proto, a, sport, b, dport, shards):
    shard = shard_of_flow(proto, a, sport, b, dport, shards)
    assert shard == shard_of_flow(proto, b, dport, a, sport, shards)
    assert shard == shard_of_flow(proto, a.ljust(16, b"\0"), sport, b.ljust(16, b"\0"), dport, shards)
    assert 0 <= shard < shards


def test_shards_are_used_alike():
    calls = Counter(shard_of_call(f"{i}@host", 16) for i in range(16000))
    flows = Counter(shard_of_flow(17, bytes((10, 0, 0, 1)), 10000 + 2 * i, bytes((10, 0, 0, 2)), 5060, 16)
                    for i in range(16000))  # fmt: skip
    for counts in (calls, flows):
        assert len(counts) == 16
        assert max(counts.values()) < 1.2 * 1000


@settings(max_examples=150, deadline=None)
@given(batches(most=40), st.data())
def test_nothing_is_lost_doubled_or_turned_round(batch, data):
    shards = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(batch), max_size=len(batch))), np.int64)
    alone = [at for at, fact in enumerate(batch.facts) if fact[0] < 0]
    loose = {at: data.draw(st.integers(0, 3)) for at in alone}
    limits = {"max_packets": data.draw(st.integers(1, 10)), "max_bytes": data.draw(st.integers(1, 2000))}
    pieces = split(batch, shards, loose=loose, **limits)
    media = np.isin(batch.app, (RTP, RTCP))
    for shard in range(4):
        for is_media in (False, True):
            mine = [piece for piece in pieces if (piece.shard, piece.media) == (shard, is_media)]
            rows = np.flatnonzero((shards == shard) & (media == is_media)).tolist()
            assert [piece.packet(at) for piece in mine for at in range(len(piece))] == [batch.packet(at) for at in rows]
            for column in ("ts", "wirelen", "iface", "flow", "fset", "direction", "app"):
                whole = getattr(batch, column)[rows].tolist()
                assert [value for piece in mine for value in getattr(piece, column).tolist()] == whole
            calls = [None] * len(rows) if batch.calls is None else batch.calls[rows].tolist()
            assert [call for piece in mine
                    for call in ([None] * len(piece) if piece.calls is None else piece.calls.tolist())] == calls  # fmt: skip
            held = [
                fact[1:] for at, fact in enumerate(batch.facts)
                if (loose[at] == shard and not is_media if fact[0] < 0 else fact[0] in rows)
            ]  # fmt: skip
            assert [fact[1:] for piece in mine for fact in piece.facts] == held
    for piece in pieces:
        assert check(piece) is None
        assert len(piece) <= limits["max_packets"]
        weight = sum(weight_of(fact[3]) for fact in piece.facts) + len(piece.blob) + ROW_BYTES * len(piece)
        assert len(piece) + len(piece.facts) > 0
        assert weight <= limits["max_bytes"] or len(piece) <= 1
        assert set(piece.fset.tolist()) <= set(piece.fsets) <= set(batch.fsets)
    assert [piece.media for piece in pieces] == sorted(piece.media for piece in pieces)


@settings(max_examples=60, deadline=None)
@given(batches())
def test_a_message_stays_with_its_packet(batch):
    for at, fact in enumerate(batch.facts):
        batch.facts[at] = (*fact[:3], Fact(f"f{at}"))
    of_packet = {f"f{at}": batch.packet(fact[0]) for at, fact in enumerate(batch.facts) if fact[0] >= 0}
    found = {}
    for piece in split(batch, (batch.flow % 3).astype(np.int64), max_packets=3):
        for packet, _, _, fact in piece.facts:
            if packet >= 0:
                found[fact.kind] = piece.packet(packet)
    assert found == of_packet


def test_a_message_without_packet_goes_where_its_flow_went():
    facts = [(0, 7, 1, Fact("a")), (-1, 8, 2, Fact("b")), (-1, 99, 3, Fact("c"))]
    batch = batch_of([udp_packet(i) for i in range(4)], flow=[7, 8, 7, 8], facts=facts)
    pieces = split(batch, np.array([1, 2, 1, 2]))
    assert {piece.shard: [fact[3].kind for fact in piece.facts] for piece in pieces} == {0: ["c"], 1: ["a"], 2: ["b"]}


@settings(max_examples=60, deadline=None)
@given(batches())
def test_the_weight_of_a_message_is_no_less_than_its_bytes(batch):
    alone = batch_of([])
    for _, _, _, fact in batch.facts:
        bare = len(encode(alone))
        alone.facts = [(-1, 1, 1, fact)]
        assert len(encode(alone)) - bare <= weight_of(fact) + 40, facts_of(alone)  # once per batch: tags of its columns
        alone.facts = []


def test_a_batch_of_one_shard_is_not_copied():
    batch = batch_of([udp_packet(i) for i in range(9)])
    (piece,) = split(batch, np.full(9, 5))
    assert piece.blob is batch.blob
    assert (piece.shard, batch.shard) == (5, 0)


def test_nothing_makes_nothing():
    assert split(batch_of([]), np.zeros(0, np.int64)) == []
