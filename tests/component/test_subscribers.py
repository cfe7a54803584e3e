"""Subscribers over real sockets: everybody sees what is theirs, a slow one knows what it missed, a stranger nothing."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from packhound.kit.rpc import RpcError, new_channel, new_server, token_check
from packhound.processor.serve.api import Caller, SubscriberApi, authorised_by
from packhound.processor.serve.feed import MAX_WAITING, Feed, View, cut_batch
from packhound.wire.codec import decode
from packhound.wire.v1 import events_pb2 as pb
from packhound.wire.v1 import events_pb2_grpc as stubs
from tests.support.batches import batch_of, udp_packet
from tests.support.certificates import Authority


def batch(sequence=1, count=4):
    made = batch_of([udp_packet(n) for n in range(count)], sequence=sequence, fset=[1 + n % 3 for n in range(count)],
                    fsets={1: ("voice/a",), 2: ("shop/b", "voice/a"), 3: ("everywhere",)})  # fmt: skip
    made.sensor = "n1"
    return made


class Known:
    def filters(self, view):
        return pb.ListFiltersReply(filters=[pb.FilterStatus(name=name) for name in ("voice/a", "shop/b") if view.sees(name)])

    def sensors(self, node):
        return [pb.SensorStatus(node=each) for each in ("n1", "n2") if node in ("", each)]

    def topology(self):
        return pb.TopologyReply(fleet="local", shards=16)

    def status(self):
        return pb.StatusReply(processor="p1")


async def serving(*, tls=None, authorise=None):
    feed = Feed()
    api = SubscriberApi(feed, answers=Known(), authorise=authorise or authorised_by(tls=tls is not None, token=token_check(None)))
    server, port = new_server("127.0.0.1:0", tls=tls, client_certificates=False)
    stubs.add_SubscriberServicer_to_server(api, server)
    await server.start()
    return feed, server, port


def run(test):
    asyncio.run(asyncio.wait_for(test, 20))


def packets_of(event):
    return decode(event.parcel.SerializeToString())


def test_what_is_hidden_is_left_out_and_not_named():
    cut = cut_batch(batch(6), View(namespaces=frozenset({"shop"})).sees)
    assert len(cut) == 1
    assert cut.fsets == {2: ("shop/b",)}
    assert cut.packet(0) == udp_packet(1)
    assert cut_batch(batch(), View(filters=frozenset({"x/y"})).sees) is None
    assert not View(namespaces=frozenset({"shop"})).sees("everywhere")


def test_packets_arrive_as_they_were_with_a_position_to_go_on_from():
    async def go():
        feed, server, port = await serving()
        async with new_channel(f"127.0.0.1:{port}", tls=None) as channel:
            stub = stubs.SubscriberStub(channel)
            call = stub.StreamPackets(pb.StreamRequest())
            await call.initial_metadata()
            feed.packets(batch(1))
            feed.packets(batch(2))
            first = await call.read()
            got = packets_of(first)
            assert got.blob == batch().blob
            assert np.array_equal(got.ts, batch().ts)
            call.cancel()
            again = stub.StreamPackets(pb.StreamRequest(resume=first.position))
            assert packets_of(await again.read()).sequence == 2
            again.cancel()
        await server.stop(0)

    run(go())


def test_a_slow_subscriber_is_told_what_it_missed_and_costs_nobody():
    async def go():
        feed = Feed()
        slow, quick = feed.subscribe("packets", View()), feed.subscribe("packets", View())
        for n in range(MAX_WAITING + 10):
            feed.packets(batch(n))
            await asyncio.sleep(0)
            assert (await quick.next()).skipped == 0
        for _ in range(MAX_WAITING):
            assert (await slow.next()).skipped in (0, 40)
        feed.packets(batch(9999))
        assert (await slow.next()).skipped + slow.skipped in (0, 40)

    run(go())


def test_rows_are_cut_and_sanitised():
    async def go():
        feed, server, port = await serving(authorise=None)
        async with new_channel(f"127.0.0.1:{port}", tls=None) as channel:
            call = stubs.SubscriberStub(channel).StreamFlows(pb.StreamRequest(selection=pb.Selection(namespace="voice")))
            await call.initial_metadata()
            feed.rows("flows", [{"filter": ("shop/b",), "flow.id": 1}, {"filter": ("voice/a", "shop/b"), "flow.id": 2, "flow.host": "a\x1b[31m"}])
            event = await call.read()
            assert len(event.records) == 1
            fields = event.records[0].fields
            assert fields["flow.id"].integer == 2
            assert [each.text for each in fields["filter"].list.values] == ["voice/a"]
            assert "\x1b" not in fields["flow.host"].text
            call.cancel()
        await server.stop(0)

    run(go())


def test_a_caller_of_one_namespace_sees_no_other():
    async def review(context):
        return Caller("alice", frozenset({"voice"}))

    async def go():
        _, server, port = await serving(authorise=review)
        async with new_channel(f"127.0.0.1:{port}", tls=None) as channel:
            stub = stubs.SubscriberStub(channel)
            assert [each.name for each in (await stub.ListFilters(pb.ListFiltersRequest())).filters] == ["voice/a"]
            with pytest.raises(RpcError, match="is not yours"):
                await stub.ListFilters(pb.ListFiltersRequest(selection=pb.Selection(namespace="shop")))
            assert len((await stub.ListSensors(pb.ListSensorsRequest(selection=pb.Selection(node="n2")))).sensors) == 1
        await server.stop(0)

    run(go())


def test_a_stranger_is_told_to_show_something_and_gets_nothing(tmp_path):
    async def go():
        authority = Authority(tmp_path)
        tokens = tmp_path / "tokens"
        tokens.write_text("secret\n")
        tls = authority.issue("processor")
        _, server, port = await serving(tls=tls, authorise=authorised_by(tls=True, token=token_check(tokens)))
        import grpc

        root = grpc.ssl_channel_credentials(authority.path.read_bytes())
        async with grpc.aio.secure_channel(f"127.0.0.1:{port}", root) as channel:
            stub = stubs.SubscriberStub(channel)
            for metadata in ((), (("authorization", "Bearer wrong"),)):
                with pytest.raises(RpcError, match="certificate or a token"):
                    await stub.Status(pb.StatusRequest(), metadata=metadata)
                with pytest.raises(RpcError, match="certificate or a token"):
                    await stub.StreamPackets(pb.StreamRequest(), metadata=metadata).read()
            found = await stub.Status(pb.StatusRequest(), metadata=(("authorization", "Bearer secret"),))
            assert found.processor == "p1"
        await server.stop(0)

    run(go())
