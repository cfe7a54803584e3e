"""Pods, a bridge and an uplink of real interfaces: what is sent once is delivered once, and the books say what was seen."""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from packhound.net.frame import decode
from packhound.rules.compile import compile_plan
from packhound.sensor.agent import Agent, AgentSettings
from packhound.sensor.report import books_of
from packhound.sensor.tap.live import LiveTap
from tests.support import netns
from tests.support.hunts import hunt

pytestmark = netns.needs_root
NOBODY = {"delivered": 0, "spooled": 0, "in_flight": 0}


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=10)


@pytest.fixture
def node() -> Iterator[None]:
    """A node as a CNI bridge makes it: two pods (namespaces) on `cni0`, and an uplink to `far`; names are the test's."""
    pods = ("phcp-a", "phcp-b", "phcp-far")
    with contextlib.ExitStack() as stack:
        for name in pods:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False, timeout=10)
            run("ip", "netns", "add", name)
            stack.callback(subprocess.run, ["ip", "netns", "del", name], capture_output=True, check=False, timeout=10)
        stack.enter_context(netns.namespace())
        netns.ip("link set lo up")
        with open("/proc/sys/net/ipv4/ip_forward", "w", encoding="ascii") as file:
            file.write("1")
        netns.ip("link add cni0 type bridge")
        netns.ip("addr add 10.1.0.1/24 dev cni0")
        for n, name in enumerate(pods, 1):
            netns.ip(f"link add host{n} type veth peer name eth0 netns {name}")
            run("ip", "-n", name, "link", "set", "eth0", "up")
        for n in (1, 2):
            netns.ip(f"link set host{n} master cni0 up")
            run("ip", "-n", pods[n - 1], "addr", "add", f"10.1.0.{n + 1}/24", "dev", "eth0")
            run("ip", "-n", pods[n - 1], "route", "add", "default", "via", "10.1.0.1")
        netns.ip("addr add 10.2.0.1/24 dev host3")
        netns.ip("link set host3 up")
        run("ip", "-n", "phcp-far", "addr", "add", "10.2.0.2/24", "dev", "eth0")
        run("ip", "-n", "phcp-far", "route", "add", "default", "via", "10.2.0.1")
        netns.ip("link set cni0 up")
        yield


def send(pod: str, to: str, count: int) -> None:
    """`count` datagrams, each another, from inside a pod to port 5060 of `to`."""
    code = (f"import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            f"[s.sendto(b'%d' % n * 20, ('{to}', 5060)) for n in range({count})]")  # fmt: skip
    run("ip", "netns", "exec", pod, "/usr/bin/env", "python3", "-c", code)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kernel", ["native", "portable"])
def test_one_packet_sent_is_one_packet_delivered(node: None, kernel: str) -> None:
    tap = LiveTap(["any"])
    shipped: list[tuple[str, bytes]] = []

    def take(batch) -> None:
        for at in range(len(batch)):
            data = batch.packet(at)
            frame = decode(data, linktype=batch.interfaces[int(batch.iface[at])].linktype)
            shipped.append((f"{frame.src[1]}.{frame.src[3]}-{frame.dst[1]}.{frame.dst[3]}", data[frame.payload :]))

    agent = Agent(tap, settings=AgentSettings(kernel=kernel, capacity=1024), on_batch=take, on_flows=lambda *_: None,
                  clock=time.time_ns)  # fmt: skip
    plan = compile_plan([hunt({"field": "port", "equals": 5060})], revision=1, now=0, check_pcap=lambda _: None).plan
    agent.set_plan(plan)
    worker = threading.Thread(target=agent.run)
    worker.start()
    try:
        send("phcp-a", "10.2.0.2", 40)  # veth, bridge, uplink
        send("phcp-a", "10.1.0.3", 40)  # one pod to the other: two veths, and the bridge where it listens
        send("phcp-far", "10.1.0.3", 40)  # from outside
        deadline = time.monotonic() + 20
        while agent.counters()["matched"] < 120 and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        tap.stop()
        worker.join(20)
        tap.close()
    sent = Counter(way for way, _ in shipped)
    assert sent == {"1.2-2.2": 40, "1.2-1.3": 40, "2.2-1.3": 40}
    assert len(set(shipped)) == 120
    counters = agent.counters()
    books = books_of("n1", counters, agent.matched_by_filter(), NOBODY | {"in_flight": counters["matched"]}, open_=0)
    account = books.sensor("n1")
    assert account.duplicate_capture >= 40 * 2 + 40 + 40 * 2
    assert account.residual().seen == 0


@pytest.mark.timeout(60)
def test_a_filter_for_one_interface_gets_that_interfaces_packets(node: None) -> None:
    tap = LiveTap(["any"])
    names: Counter[str] = Counter()
    agent = Agent(
        tap, settings=AgentSettings(capacity=1024), on_flows=lambda *_: None, clock=time.time_ns,
        on_batch=lambda batch: names.update(batch.interfaces[int(each)].name for each in batch.iface),
    )  # fmt: skip
    wanted = hunt({"field": "port", "equals": 5060}, target={"interfaces": ["host3"]})
    agent.set_plan(compile_plan([wanted], revision=1, now=0, check_pcap=lambda _: None).plan)
    worker = threading.Thread(target=agent.run)
    worker.start()
    try:
        send("phcp-a", "10.2.0.2", 30)
        deadline = time.monotonic() + 20
        while agent.counters()["matched"] < 30 and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        tap.stop()
        worker.join(20)
        tap.close()
    assert names == {"host3": 30}
    assert agent.counters()["duplicate_capture"] == 0
