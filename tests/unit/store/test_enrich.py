"""Pods on flows, calls and packets: by the time of the packet, both ends, never a guess."""

from __future__ import annotations

import numpy as np

from packhound.processor.enrich import PodNames
from packhound.processor.service import Processor
from packhound.wire.pods import Pod, PodBook, PodTable
from tests.support.batches import START, batch_of, udp_packet
from tests.support.hunting import recorded


def book(*pods, node_ips=()):
    made = PodBook()
    made.take(PodTable("n1", 1, node_ips, pods))
    return made


CLIENT = Pod("shop", "web-1", "u1", "n1", ("10.0.0.1",), owner_kind="Deployment", owner_name="web")
OLD = Pod("shop", "gone", "u2", "n1", ("10.0.0.2",), until=START - 1)
SERVER = Pod("voice", "sip-0", "u3", "n1", ("10.0.0.2",), since=START - 1)


def run(tmp_path, pods, **batch):
    processor = Processor(tmp_path, clock=lambda: START)
    if pods is not None:
        processor.use_pods(pods)
    packets = [udp_packet(0), udp_packet(1)]
    processor.accept(batch_of(packets, ts=[START, START + 1], **batch))
    processor.close()
    return [packet.comment for path in processor.recordings for packet in recorded(path)]


def test_packets_name_the_pods_of_both_ends_at_their_time(tmp_path):
    comments = run(tmp_path, book(CLIENT, OLD, SERVER), direction=[0, 1])
    assert "k8s.src.pod=shop/web-1 k8s.dst.pod=voice/sip-0" in comments[0]
    assert "k8s.src.pod=voice/sip-0 k8s.dst.pod=shop/web-1" in comments[1]


def test_an_address_of_the_node_names_nobody(tmp_path):
    assert "k8s" not in " ".join(run(tmp_path, book(CLIENT, node_ips=("10.0.0.1", "10.0.0.2"))))


def test_without_tables_nothing_is_said(tmp_path):
    assert "k8s" not in " ".join(run(tmp_path, None))


def test_flows_name_the_pods_of_their_first_packet_and_the_node(tmp_path):
    names = PodNames()
    names.use(book(CLIENT, SERVER, node_ips=("192.168.0.1",)))
    flows = {
        "ip.src": np.array(["10.0.0.1", "192.168.0.1", None], object), "ip.dst": np.array(["10.0.0.2", "9.9.9.9", None], object),
        "flow.first_ns": np.array([START, START, START]),
    }  # fmt: skip
    found = {name: column.tolist() for name, column in names.columns(flows).items()}
    assert found["k8s.src.pod.name"] == ["web-1", None, None]
    assert found["k8s.src.workload"] == ["Deployment/web", None, None]
    assert found["k8s.dst.namespace"] == ["voice", None, None]
    assert found["k8s.src.node.name"] == ["n1", "n1", None]
