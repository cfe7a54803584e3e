"""Pods as the API shows them become the tables that packets are named by."""

from __future__ import annotations

from packhound.operator.pods import PodBoard, pod_of
from packhound.wire.pods import KEPT_NS, PodBook

RAW = {
    "metadata": {
        "name": "web-5d4f7b-x2x", "namespace": "shop", "uid": "u1", "labels": {"app": "web", "pod-template-hash": "5d4f7b", "secret": "x"},
        "ownerReferences": [{"kind": "ReplicaSet", "name": "web-5d4f7b", "controller": True}],
    },
    "spec": {"nodeName": "n1"},
    "status": {
        "phase": "Running", "podIP": "10.1.0.5", "podIPs": [{"ip": "10.1.0.5"}, {"ip": "fd00::5"}], "startTime": "2026-01-01T00:00:00Z",
        "containerStatuses": [{"name": "main", "containerID": "containerd://abc"}],
    },
}  # fmt: skip


def changed(**status):
    return {**RAW, "status": {**RAW["status"], **status}}


def test_what_a_person_calls_it():
    pod = pod_of(RAW, now=5)
    assert (pod.owner_kind, pod.owner_name) == ("Deployment", "web")
    assert pod.labels == {"app": "web", "pod-template-hash": "5d4f7b", "secret": "x"}
    assert pod.ips == ("10.1.0.5", "fd00::5")
    assert pod.containers == (("main", "abc"),)
    assert pod.since == 1767225600 * 10**9


def test_a_pod_without_address_or_over_is_none():
    assert pod_of(changed(podIP=None, podIPs=None), now=0) is None
    assert pod_of(changed(phase="Succeeded"), now=0) is None
    assert pod_of({**RAW, "spec": {}}, now=0) is None


def test_an_address_that_went_is_named_by_its_old_owner_for_a_while():
    board, start = PodBoard(), 1767225600 * 10**9
    assert board.see("u1", pod_of(RAW, now=start), now=start) == {"n1"}
    assert board.see("u1", pod_of(RAW, now=start + 1), now=start + 1) == set()
    assert board.see("u1", None, now=start + 100) == {"n1"}
    book = PodBook()
    book.take(board.table("n1", node_ips=(), revision=2))
    assert book.find("10.1.0.5", start + 50).name == "web-5d4f7b-x2x"
    assert book.find("10.1.0.5", start + 150) is None
    assert board.age(start + 100 + KEPT_NS) == {"n1"}
    assert board.table("n1", node_ips=(), revision=3).pods == ()


def test_a_table_is_bounded_and_the_living_come_first():
    board = PodBoard()
    for n in range(5000):
        board.see(f"u{n}", pod_of({**RAW, "metadata": {**RAW["metadata"], "uid": f"u{n}"}}, now=0), now=0)
        if n % 2:
            board.see(f"u{n}", None, now=n)
    table = board.table("n1", node_ips=(), revision=1)
    assert len(table.pods) == 4096
    assert sum(pod.until is None for pod in table.pods) == 2500


def test_only_labels_that_may_be_shown_are_in_a_table():
    board = PodBoard()
    board.see("u1", pod_of(RAW, now=0), now=0)
    assert board.table("n1", node_ips=(), revision=1, shown=lambda key: key == "app").pods[0].labels == {"app": "web"}


def test_an_address_that_two_pods_show_is_that_of_the_younger():
    """The network plugin may give an address away before the API has deleted the pod that had it."""
    board, later = PodBoard(), {**RAW, "metadata": {**RAW["metadata"], "uid": "u2", "name": "new", "namespace": "other"}}
    old, new = pod_of(RAW, now=0), pod_of({**later, "status": {**RAW["status"], "startTime": "2026-01-01T01:00:00Z"}}, now=0)
    for first, second in (("u1", "u2"), ("u2", "u1")):
        board = PodBoard()
        for uid in (first, second):
            board.see(uid, {"u1": old, "u2": new}[uid], now=new.since)
        living = {pod.uid: pod.ips for pod in board.living()}
        assert living == {"u1": (), "u2": ("10.1.0.5", "fd00::5")}
        assert dict(board.moved())["u1"].ips == ()
        board.see("u2", None, now=new.since + 5)
        board.see("u1", None, now=new.since + 5)
        assert board.living() == []


def test_what_the_broker_remembers_is_not_forgotten_by_a_restart():
    board, start = PodBoard(), 1767225600 * 10**9
    board.see("u1", pod_of(RAW, now=start), now=start)
    table = board.table("n1", node_ips=(), revision=1)
    again = PodBoard()
    again.recall(table, now=start + 50)
    found = again.table("n1", node_ips=(), revision=2).pods
    assert [(pod.uid, pod.until) for pod in found] == [("u1", start + 50)]
