"""Calls as the tracker keeps them, against the dialogs that tshark finds in the corpus."""

from __future__ import annotations

from packhound.net.facts import Fact
from packhound.processor.track.calls import Call, CallTracker, Peer
from tests.support.corpus import CORPUS, expected, needs_corpus
from tests.support.dissected import dissect

MILLISECOND = 1_000_000
#: Rows that differ, each with the reason.
KNOWN = {
    "ipfixprobe/sip.pcap": "the peer counts messages that ICMP errors quote",
    "ndpi/fuzz-2006-06-26-2594.pcap": "fuzzed: the peer reads headers of messages that break off",
}


def follow(path: str) -> dict[str, Call]:
    tracker = CallTracker()
    for said in dissect(path):
        if isinstance(said.fact, Fact) and said.fact.kind == "sip":
            src, dst = Peer(said.src.address, said.src.port), Peer(said.dst.address, said.dst.port)
            tracker.message(said.fact.fields, now=said.frame * MILLISECOND, src=src, dst=dst)
    return {call.call_id: call for call in tracker.calls()}


def differences(row: dict, call: Call | None) -> list[str]:
    if call is None:
        return ["not found"]
    pairs = {
        "methods": (row["methods"], dict(call.methods)),
        "responses": (row["responses"], dict(call.responses)),
        "is_call": (row["is_call"], call.is_call),
        "from": (row.get("from") or "", call.sender),
        "to": (row.get("to") or "", call.receiver),
    }
    return [f"{name}: {theirs} != {ours}" for name, (theirs, ours) in pairs.items() if theirs != ours]


def compare() -> tuple[int, dict[str, list[str]]]:
    rows, found = 0, {}
    for entry in expected("sip_calls"):
        name = entry["capture"].removeprefix("captures/")
        calls = follow(str(CORPUS / entry["capture"]))
        for row in entry["expected"]:
            rows += 1
            different = differences(row, calls.get(row["call_id"]))
            if different:
                found.setdefault(name, []).append(f"{row['call_id']}: {'; '.join(different)}")
    return rows, found


@needs_corpus
def test_calls_agree_with_the_peer_or_the_difference_is_explained():
    rows, found = compare()
    assert rows > 100
    assert {name: lines for name, lines in found.items() if name not in KNOWN} == {}
    assert all(call.state in {"setup", "ringing", "established", "ended", "failed", "cancelled"} for call in follow(
        str(CORPUS / "captures/arkime/gtp-iphone.pcap")).values() if call.is_call)  # fmt: skip
