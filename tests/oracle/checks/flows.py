"""Flows, calls and media against tshark, and that nothing crashes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from packhound.processor.track.calls import CallTracker, call_row

if TYPE_CHECKING:
    from tests.oracle.score import Check

Row = dict[str, Any]
PROTO = {6: "tcp", 17: "udp", 132: "sctp"}


def address(text: str) -> str:
    return str(ip_address(text))


def flow_table(rows: Iterable[Row], mine: bool) -> dict[tuple[Any, ...], list[int]]:
    """5-tuple (ends sorted) -> packets, bytes, payload from the lower end and to it, summed over reuse."""
    out: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0] * 6)
    for row in rows:
        if mine:
            proto = PROTO.get(row["ip.proto"])
            if proto is None:
                continue
            ends = (address(row["ip.src"]), row["port.src"]), (address(row["ip.dst"]), row["port.dst"])
            forth = [row["flow.packets.fwd"], row["flow.bytes.fwd"], row["flow.payload.fwd"]]
            back = [row["flow.packets.rev"], row["flow.bytes.rev"], row["flow.payload.rev"]]
        else:
            proto = row["proto"]
            ends = (address(row["src"]), row["sport"]), (address(row["dst"]), row["dport"])
            forth = [row["fwd_packets"], row["fwd_bytes"], row["fwd_payload"]]
            back = [row["rev_packets"], row["rev_bytes"], row["rev_payload"]]
        if ends[0] > ends[1]:
            ends, forth, back = (ends[1], ends[0]), back, forth
        entry = out[proto, *ends]
        for i, value in enumerate((*forth, *back)):
            entry[i] += value
    return out


def flows(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """5-tuples with packets, bytes and payload each way. The peer has no payload of SCTP."""
    if peer.get("truncated"):
        return
    theirs = flow_table(peer["expected"], mine=False)
    ours = flow_table((r for r in rows if r["kind"] == "flow"), mine=True)
    loose = bool(peer.get("has_ip_fragments"))
    for key, wanted in theirs.items():
        got = ours.pop(key, None)
        if got is None:
            check.note(capture, "only the peer has this flow", key)
        elif got == wanted or (key[0] == "sctp" and [got[i] for i in (0, 1, 3, 4)] == [wanted[i] for i in (0, 1, 3, 4)]):
            check.equal += 1
        elif [got[i] for i in (0, 3)] == [wanted[i] for i in (0, 3)] and [got[i] for i in (1, 4)] == [wanted[i] for i in (1, 4)]:
            if loose:
                check.equal += 1
            else:
                check.note(capture, "payload differs, packets and bytes equal", (key, wanted, got))
        else:
            check.note(capture, "packets or bytes differ", (key, wanted, got))
    for key in ours:
        check.note(capture, "only we have this flow", key)


def calls(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Dialogs by Call-ID: methods and responses with their counts. What ICMP errors quote is no message of ours."""
    tracker = CallTracker()
    for row in rows:
        if row["kind"] == "sip":
            tracker.message({k: v for k, v in row.items() if k.startswith(("sip.", "sdp.", "rtp."))}, now=row["time_ns"], src=None, dst=None, filters=())
    mine = {r["sip.call_id"]: r for r in (call_row(c) for c in tracker.calls())}
    quoted = {row["frame"] for row in rows if row["kind"] in ("icmp", "icmpv6")}
    for row in peer["expected"]:
        got = mine.get(row["call_id"])
        if got is None:
            check.note(capture, "only the peer has this dialog", row["call_id"])
            continue
        wanted = row["methods"], row["responses"], row["is_call"]
        found = dict(got["call.methods"]), dict(got["call.responses"]), got["call.is_call"]
        more = sum(row["methods"].values()) + sum(row["responses"].values()) - sum(found[0].values()) - sum(found[1].values())
        last = row.get("last_frame") in quoted and more == 1 and found[0].keys() == row["methods"].keys()
        if wanted == found or (last and found[1:] == wanted[1:]):
            check.equal += 1
        else:
            check.note(capture, "methods or responses differ", (row["call_id"], wanted, found))


def rtp(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Streams: the flow between their ends is RTP, and has as many packets each way at least."""
    sent: dict[tuple[Any, ...], int] = defaultdict(int)
    apps: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for row in rows:
        if row["kind"] == "flow" and row["ip.proto"] == 17:
            ends = (address(row["ip.src"]), row["port.src"]), (address(row["ip.dst"]), row["port.dst"])
            for way, name in ((ends, "flow.packets.fwd"), (ends[::-1], "flow.packets.rev")):
                sent[way] += row[name]
                apps[way].add(row["app.protocol"])
    media = {  # DTLS and STUN may share the flow
        ((address(row["ip.src"]), row["port.src"]), (address(row["ip.dst"]), row["port.dst"]))
        for row in rows if row["kind"] == "rtp"
    }  # fmt: skip
    wanted: dict[tuple[Any, ...], int] = defaultdict(int)
    for row in peer["expected"]:
        wanted[(address(row["src"]), row["sport"]), (address(row["dst"]), row["dport"])] += row["packets"]
    for way, packets in wanted.items():
        if ("rtp" in apps[way] or way in media) and sent[way] >= packets:
            check.equal += 1
        else:
            check.note(capture, f"RTP for the peer, we {'/'.join(sorted(apps[way])) or 'no flow'}", (way, packets, sent[way]))


def no_crash(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    """Reading the capture came to its end: what raises is noted by the score itself."""
    del capture, peer, rows
    check.equal += 1


CHECKS: dict[str, tuple[str, Callable[[Check, str, Row, list[Row]], None]]] = {
    "tshark_flows": ("flows", flows), "sip_calls": ("sip_dialogs", calls), "rtp_streams": ("rtp_streams", rtp),
    "no_crash": ("no_crash", no_crash),
}  # fmt: skip
