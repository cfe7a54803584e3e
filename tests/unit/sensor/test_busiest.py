"""The busiest pods of a filter: of this node, at the time of the packet, of the filter's own namespace."""

from __future__ import annotations

import numpy as np

from packhound.net.frame import DecodeConfig
from packhound.sensor.busiest import KEPT, Busiest
from packhound.sensor.sharder import decoder
from packhound.sensor.tap.frames import Interface
from packhound.wire.batch import Batch
from packhound.wire.pods import Pod, PodBook, PodTable
from tests.support.tape import udp

SECOND = 10**9
NOW = 1_800_000_000 * SECOND


def pod(name: str, ip: str, *, space: str = "shop", since: int = 0, until: int | None = None) -> Pod:
    return Pod(space, name, f"uid-{name}", "n1", (ip,), since=since, until=until)


def book(*pods: Pod) -> PodBook:
    made = PodBook()
    made.take(PodTable("n1", 1, (), pods))
    return made


def batch(*rows: tuple[int, int, bytes], names: dict[int, tuple[str, ...]], at: int = NOW) -> Batch:
    """(flow, filter set, packet) rows."""
    def column(values, kind):
        return np.array(list(values), kind)

    count = len(rows)
    sizes = column((len(data) for _, _, data in rows), np.uint32)
    return Batch(
        ts=column([at] * count, np.int64), caplen=sizes, wirelen=sizes, iface=column([0] * count, np.uint16),
        flow=column((flow for flow, _, _ in rows), np.uint64), fset=column((fset for _, fset, _ in rows), np.uint32),
        direction=column([0] * count, np.uint8), app=column([0] * count, np.uint8),
        blob=b"".join(data for _, _, data in rows), fsets=names, interfaces=[Interface("eth0", 1, 65535, 0)], facts=[],
    )  # fmt: skip


def busiest(*pods: Pod) -> Busiest:
    made = Busiest(decoder(DecodeConfig()))
    made.use(book(*pods))
    return made


ONE, OTHER, THIRD = udp(1, 5060, 2, 5060, b"x"), udp(2, 5060, 1, 5060, b"y"), udp(3, 1, 2, 1, b"z")
FIRST, SECOND_IP, THIRD_IP = "10.0.0.1", "10.0.0.2", "10.0.0.3"


def test_both_ends_that_are_pods_here_count_every_packet_of_their_flows():
    made = busiest(pod("web", FIRST), pod("db", SECOND_IP))
    made.count(batch((7, 1, ONE), (7, 1, OTHER), (8, 1, THIRD), names={1: ("shop/a", "all")}))
    assert made.top() == {"shop/a": {"shop/db": 3, "shop/web": 2}, "all": {"shop/db": 3, "shop/web": 2}}


def test_a_namespaced_filter_names_pods_of_its_namespace_alone():
    made = busiest(pod("web", FIRST), pod("spy", SECOND_IP, space="other"))
    made.count(batch((7, 1, ONE), names={1: ("shop/a", "all")}))
    assert made.top() == {"shop/a": {"shop/web": 1}, "all": {"other/spy": 1, "shop/web": 1}}


def test_an_address_is_of_whom_it_was_at_the_time():
    made = busiest(pod("old", FIRST, until=NOW - SECOND), pod("new", FIRST, since=NOW))
    made.count(batch((7, 1, ONE), names={1: ("shop/a",)}, at=NOW - 60 * SECOND))
    made.count(batch((7, 1, ONE), (7, 1, ONE), names={1: ("shop/a",)}, at=NOW + 60 * SECOND))
    assert made.top() == {"shop/a": {"shop/new": 2, "shop/old": 1}}


def test_without_a_table_nothing_is_said():
    made = Busiest(decoder(DecodeConfig()))
    made.count(batch((7, 1, ONE), names={1: ("shop/a",)}))
    assert made.top() == {}


def test_many_pods_are_forgotten_from_the_quietest():
    pods = [pod(f"p{n}", f"10.0.0.{n}") for n in range(1, 200)]
    made = busiest(*pods)
    for n in range(1, 200):
        made.count(batch(*[(n, 1, udp(n, 5, 250, 5, b"x"))] * n, names={1: ("shop/a",)}))
    assert made.top()["shop/a"] == {f"shop/p{n}": n for n in range(199, 194, -1)}
    assert len(made._counts["shop/a"]) <= KEPT
