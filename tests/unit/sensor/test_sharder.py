"""Parcels of a sensor: every packet and record in one of them, numbered without gaps, each call and flow in one shard."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.net.detect import App
from packhound.net.facts import Fact
from packhound.net.flow import FLOW_DTYPE
from packhound.sensor import kernel
from packhound.sensor.kernel import portable_gather
from packhound.sensor.sharder import Made, Sharder, ShardLimits
from packhound.wire.codec import decode
from packhound.wire.shards import shard_of_call, shard_of_flow
from packhound.wire.subjects import BadName
from tests.support.batches import batch_of, udp_packet
from tests.support.parcels import batches

A, B = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
EPOCH = 77


def sharder(**changes) -> Sharder:
    return Sharder(**({"sensor": "n1", "epoch": EPOCH, "shards": 8} | changes))


def shard_of_ports(sport: int, dport: int) -> int:
    return shard_of_flow(17, A, sport, B, dport, 8)


def reverse(packet: bytes) -> bytes:
    """The same packet the other way."""
    return packet[:26] + packet[30:34] + packet[26:30] + packet[36:38] + packet[34:36] + packet[38:]


def check_parcels(made: list[Made]) -> None:
    """What a parcel says of itself is what its bytes say; sequences have no gaps."""
    sequences: Counter[int] = Counter()
    for at, (parcel, wanted) in enumerate(made):
        value = decode(parcel.data)
        assert parcel.number == at + 1
        assert (parcel.epoch, value.identity, value.sensor) == (EPOCH, parcel.identity, "n1")
        sequences[parcel.shard] += 1
        assert parcel.sequence == sequences[parcel.shard]
        assert sum(wanted.values()) == parcel.packets
        if parcel.kind == "packets":
            assert parcel.packets == len(value)
            assert parcel.media == value.media


@settings(max_examples=60, deadline=None)
@given(st.lists(batches(most=30, numbered=False), min_size=1, max_size=4), st.integers(1, 2000))
def test_every_packet_is_in_one_parcel(given_batches, size):
    one = sharder(limits=ShardLimits(packets=7, bytes=size, parcel=max(1500, size)))
    made = [each for batch in given_batches for each in one.batch(batch)]
    check_parcels(made)
    values = [decode(each.parcel.data) for each in made]
    packets = Counter((int(value.ts[at]), value.packet(at)) for value in values for at in range(len(value)))
    assert packets == Counter((int(each.ts[at]), each.packet(at)) for each in given_batches for at in range(len(each)))
    assert sum(len(value.facts) for value in values) == sum(len(each.facts) for each in given_batches)
    wanted: Counter[tuple[str, ...]] = Counter()
    for each in made:
        wanted.update(each.wanted)
    expected = Counter(each.fsets[number] for each in given_batches for number in each.fset.tolist())
    assert wanted == expected


def test_both_ways_of_a_flow_go_to_its_shard():
    there, back = udp_packet(sport=4000, dport=5060), reverse(udp_packet(sport=4000, dport=5060))
    made = sharder().batch(batch_of([there, back, udp_packet(sport=4002)], flow=[1, 1, 2]))
    found = {each.parcel.shard: decode(each.parcel.data).flow.tolist() for each in made}
    expected = defaultdict(list)
    expected[shard_of_ports(4000, 5060)] += [1, 1]
    expected[shard_of_ports(4002, 5060)] += [2]
    assert found == dict(expected)


def test_a_flow_is_looked_up_once():
    one = sharder()
    one.batch(batch_of([udp_packet(sport=4000)], flow=1))
    made = one.batch(batch_of([b"no packet at all"], flow=1))
    assert made[0].parcel.shard == shard_of_ports(4000, 5060)
    assert made[0].parcel.sequence == 2


def test_two_sensors_agree_on_a_flow_whatever_its_serial_and_direction():
    one = sharder().batch(batch_of([udp_packet(sport=4000)], flow=3))
    two = sharder(sensor="n2").batch(batch_of([reverse(udp_packet(sport=4000))], flow=99))
    assert one[0].parcel.shard == two[0].parcel.shard


def test_a_piece_without_ports_goes_with_the_piece_that_has_them():
    tail = bytearray(udp_packet(sport=4000))
    tail[20:22] = (100).to_bytes(2, "big")  # fragment offset
    made = sharder().batch(batch_of([bytes(tail), udp_packet(sport=4000)], flow=1))
    assert [(each.parcel.shard, each.parcel.packets) for each in made] == [(shard_of_ports(4000, 5060), 2)]


def test_packets_of_no_flow_stay_together():
    arp = bytes(12) + b"\x08\x06" + bytes(46)
    made = sharder().batch(batch_of([arp, arp + b"x", udp_packet()], flow=0))
    assert [each.parcel.packets for each in made] == [3]


def test_a_call_has_one_shard_over_flows_and_nodes():
    call = "a84b4c76e66710@pc33"
    shard = shard_of_call(call, 8)
    sip = batch_of([udp_packet(sport=4000), udp_packet(sport=4002)], flow=[1, 2], app=App.SIP, calls=[call, call])
    rtp = batch_of([udp_packet(sport=9000)], flow=3, app=App.RTP, calls=[call])
    unmarked = batch_of([udp_packet(sport=7000)], flow=4, facts=[(0, 4, 1, Fact("sip", {"sip.call_id": call}))])
    late = batch_of([], facts=[(-1, 5, 1, Fact("sip", {"sip.call_id": call}))])
    one = sharder()
    made = [each for batch in (sip, rtp, unmarked, late) for each in one.batch(batch)]
    assert {each.parcel.shard for each in made} == {shard}
    assert [each.parcel.media for each in made] == [False, True, False, False]
    check_parcels(made)
    records = np.zeros(2, FLOW_DTYPE)
    records["serial"] = (3, 1)
    records["proto"], records["sport"], records["dport"] = 17, (9000, 4000), 5060
    records["src"][:, :4], records["dst"][:, :4] = tuple(A), tuple(B)
    shards = {}
    for each in one.flows(records):
        value = decode(each.parcel.data)
        shards |= dict.fromkeys(value.records["serial"].tolist(), each.parcel.shard)
        assert value.calls == ({3: call} if 3 in value.records["serial"] else {})
    assert shards == {3: shard, 1: shard_of_ports(4000, 5060)}  # signalling flows carry many calls


def test_signalling_goes_out_before_media():
    apps = [App.RTP, App.SIP, App.RTCP, App.SIP]
    batch = batch_of([udp_packet(i) for i in range(4)])
    batch.app = np.array(apps, np.uint8)
    assert [(each.parcel.media, each.parcel.packets) for each in sharder().batch(batch)] == [(False, 2), (True, 2)]


def test_every_record_is_in_one_parcel_with_what_is_known_of_it():
    records = np.zeros(300, FLOW_DTYPE)
    records["serial"] = np.arange(1, 301)
    records["sport"] = np.arange(300)
    records["proto"] = 6
    hosts = {serial: f"h{serial}.example" for serial in range(1, 301, 2)}
    filters = dict.fromkeys(range(1, 301, 3), ("a/b",))
    one = sharder(limits=ShardLimits(records=60, parcel=1100))
    made = one.flows(records, hosts=hosts, filters=filters, calls={7: "c@x"}, interfaces=["eth0"], plan=4)
    check_parcels(made)
    assert len(made) > 8
    assert max(len(each.parcel.data) for each in made) <= 1100
    values = [decode(each.parcel.data) for each in made]
    assert sorted(serial for value in values for serial in value.records["serial"].tolist()) == list(range(1, 301))
    for name, whole in (("hosts", hosts), ("filters", filters), ("calls", {7: "c@x"})):
        assert {k: v for value in values for k, v in getattr(value, name).items()} == whole
    assert {(value.plan, *value.interfaces) for value in values} == {(4, "eth0")}


def test_a_batch_that_is_too_big_encoded_is_halved():
    many = {1: tuple(f"space/filter-{i}" for i in range(40))}
    facts = [(at, 1, at, Fact("sip", {"sip.method": f"{at:300}"})) for at in range(64)]
    batch = batch_of([udp_packet(i, size=100) for i in range(64)], fsets=many, facts=facts)
    made = sharder(limits=ShardLimits(parcel=9000, bytes=1 << 20)).batch(batch)
    check_parcels(made)
    assert len(made) >= 4
    assert max(len(each.parcel.data) for each in made) <= 9000


def test_one_packet_that_is_too_big_goes_out_all_the_same():
    made = sharder(limits=ShardLimits(parcel=1000)).batch(batch_of([udp_packet(size=5000), udp_packet()]))
    assert [each.parcel.packets for each in made] == [1, 1]
    assert len(made[0].parcel.data) > 5000


def test_text_is_compressed_and_media_is_not():
    text = batch_of([udp_packet(size=600) for _ in range(20)], app=App.SIP)
    media = batch_of([udp_packet(size=600) for _ in range(20)], app=App.RTP)
    assert len(sharder().batch(text)[0].parcel.data) < 3000 < len(sharder().batch(media)[0].parcel.data)
    assert len(sharder(compress=False).batch(text)[0].parcel.data) > 12000


def test_what_names_the_batch_is_on_every_parcel():
    batch = batch_of([udp_packet(sport=4000 + i) for i in range(50)], flow=list(range(1, 51)))
    batch.plan, batch.traceparent = 9, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    one = sharder(cluster="east", number=iter(range(100, 200)).__next__, gather=portable_gather)
    one.clock_offset_ns = -5
    made = one.batch(batch)
    assert [each.parcel.number for each in made] == list(range(100, 100 + len(made)))
    for each in made:
        value = decode(each.parcel.data)
        assert (value.plan, value.traceparent, value.cluster, value.clock_offset_ns) == (9, batch.traceparent, "east", -5)
        assert each.parcel.traceparent == batch.traceparent
        assert one.sequence(each.parcel.shard) == each.parcel.sequence


def test_the_portable_decoder_gives_the_same_shards(monkeypatch):
    packets = [udp_packet(sport=4000 + i) for i in range(30)]
    native = sharder().batch(batch_of(packets, flow=list(range(1, 31))))
    monkeypatch.setattr(kernel, "available", lambda: kernel.PORTABLE)
    portable = sharder().batch(batch_of(packets, flow=list(range(1, 31))))
    assert native == portable


@pytest.mark.parametrize("changes", [{"sensor": ""}, {"sensor": "a\n"}, {"sensor": "n" * 254}, {"shards": 0}, {"shards": 2000}])
def test_a_sensor_that_cannot_be_named_is_refused(changes):
    with pytest.raises(BadName):
        sharder(**changes)
