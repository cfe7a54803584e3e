"""A sensor follows the pods of its node, a processor those of all; what cannot be read changes nothing."""

from __future__ import annotations

import asyncio

from packhound.fleet.pods import PodFollower
from packhound.fleet.streams import Layout, ensure
from packhound.kit.bus import Bucket, Bus, BusSettings
from packhound.wire.pods import Pod, PodTable
from packhound.wire.subjects import Subjects
from tests.support.nats_server import nats_server

NAMES = Subjects("f")


def table(node, revision, *ips):
    return PodTable(node, revision, (), tuple(Pod("shop", f"p{n}", f"u{n}", node, (ip,)) for n, ip in enumerate(ips)))


async def until(holds):
    for _ in range(250):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError


def test_tables_are_followed(tmp_path):
    async def go(url):
        async with await Bus.connect(BusSettings((url,), "t")) as bus:
            await bus.ready(30)
            await ensure(bus, Layout("f"))
            bucket, seen = Bucket(bus, NAMES.pods_bucket), []
            await bucket.put(NAMES.pods_key("n.1"), table("n.1", 1, "10.0.0.1").encode())
            own = PodFollower(bus, NAMES, node="n.1", changed=lambda book: seen.append(book.revision))
            every = PodFollower(bus, NAMES)
            tasks = [asyncio.create_task(each.run()) for each in (own, every)]
            await until(lambda: own.book.find("10.0.0.1", 5) and every.book.find("10.0.0.1", 5))
            for node, revision, value in (("n2", 1, table("n2", 1, "10.0.0.2").encode()), ("n.1", 2, table("n.1", 2, "10.0.0.3").encode())):
                await bucket.put(NAMES.pods_key(node), value)
                await bus.say(NAMES.pods(node), str(revision).encode())
            await until(lambda: own.book.find("10.0.0.3", 5) and every.book.find("10.0.0.2", 5))
            assert own.book.find("10.0.0.1", 5) is None
            assert own.book.find("10.0.0.2", 5) is None
            await bucket.put(NAMES.pods_key("n.1"), b"no table")
            await bus.say(NAMES.pods("n.1"), b"3")
            await until(lambda: own.malformed == 1)
            assert own.book.find("10.0.0.3", 5)
            assert seen == [1, 2]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    with nats_server(tmp_path) as server:
        asyncio.run(asyncio.wait_for(go(server.url), 20))
