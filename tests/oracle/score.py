"""The score: what `packhound inspect` says against what other tools say of the same captures.

    python tests/oracle/score.py [--json] [--show CHECK] [CAPTURE-SUBSTRING]

Prints per check: captures compared, rows equal, rows different by class. Peers are peers, not truth.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from packhound.processor.track.calls import CallTracker, call_row
from packhound.run.look import Inspection
from packhound.sensor.agent import AgentSettings
from packhound.sensor.tap.errors import TapError
from packhound.sensor.tap.merge import open_captures
from tests.oracle import checks
from tests.support.corpus import CORPUS, captures, expected

PROTO = {6: "tcp", 17: "udp", 132: "sctp"}
Row = dict[str, Any]


@dataclass
class Check:
    """One check's account."""

    captures: int = 0
    equal: int = 0
    different: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def note(self, capture: str, kind: str, detail: object) -> None:
        if "fuzz" in capture or "oobr" in capture or "malformed" in capture:
            kind += " (fuzzed capture)"
        self.different[kind] += 1
        if len(self.examples[kind]) < 5:
            self.examples[kind].append(f"{capture}: {detail}")


def rows_of(capture: str) -> list[Row]:
    """Everything that inspect says of a capture."""
    try:
        tap = open_captures([str(CORPUS / capture)])
    except TapError:
        return []
    rows = list(Inspection(tap, settings=AgentSettings(capacity=65536)).rows())
    tap.close()
    return rows


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


def compare(check: Check, capture: str, theirs: Counter[Any], ours: Counter[Any]) -> None:
    """Multisets of messages: equal, missing, extra."""
    both = theirs & ours
    check.equal += both.total()
    for row, count in (theirs - both).items():
        for _ in range(count):
            check.note(capture, "only the peer", row)
    for row, count in (ours - both).items():
        for _ in range(count):
            check.note(capture, "only ours", row)


def calls(check: Check, capture: str, peer: Row, rows: list[Row]) -> None:
    tracker = CallTracker()
    for row in rows:
        if row["kind"] == "sip":
            tracker.message({k: v for k, v in row.items() if k.startswith(("sip.", "sdp.", "rtp."))}, now=row["time_ns"], src=None, dst=None, filters=())
    mine = {r["sip.call_id"]: r for r in (call_row(c) for c in tracker.calls())}
    for row in peer["expected"]:
        got = mine.get(row["call_id"])
        if got is None:
            check.note(capture, "only the peer has this dialog", row["call_id"])
            continue
        wanted = row["methods"], row["responses"], row["is_call"]
        found = dict(got["call.methods"]), dict(got["call.responses"]), got["call.is_call"]
        if wanted == found:
            check.equal += 1
        else:
            check.note(capture, "methods or responses differ", (row["call_id"], wanted, found))


def _from_modules() -> dict[str, tuple[str, Callable[[Check, str, Row, list[Row]], None]]]:
    """The checks of every module of tests/oracle/checks: its CHECKS, file of expected rows to (check, comparison)."""
    found: dict[str, tuple[str, Callable[[Check, str, Row, list[Row]], None]]] = {}
    for module in pkgutil.iter_modules(checks.__path__):
        found |= importlib.import_module(f"tests.oracle.checks.{module.name}").CHECKS
    return found


CHECKS: dict[str, tuple[str, Callable[[Check, str, Row, list[Row]], None]]] = _from_modules() | {
    "tshark_flows": ("flows", flows),
    "sip_calls": ("sip_dialogs", calls),
}


def score(only: str = "") -> dict[str, Check]:
    """Every check over every capture that it speaks of."""
    wanted: dict[str, list[tuple[str, Row]]] = defaultdict(list)
    for name, (kind, _) in CHECKS.items():
        for row in expected("zeek_logs" if name.startswith("zeek_") else name):  # one file for all of Zeek's logs
            if row["check"] == kind and only in row["capture"]:
                wanted[row["capture"]].append((name, row))
    found = {name: Check() for name in CHECKS}
    for capture in captures():
        if capture in wanted:
            rows = rows_of(capture)
            for name, row in wanted[capture]:
                found[name].captures += 1
                CHECKS[name][1](found[name], capture, row, rows)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="?", default="", help="captures whose name contains this")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--show", help="a check whose differences are listed")
    args = parser.parse_args()
    if not CORPUS.is_dir():
        sys.exit(f"no corpus at {CORPUS}: set PACKHOUND_CORPUS")
    found = score(args.only)
    if args.json:
        print(json.dumps({n: {"captures": c.captures, "equal": c.equal, "different": c.different} for n, c in found.items()}))
        return
    print(f"{'check':<26}{'captures':>9}{'equal':>8}{'differ':>8}{'agree':>9}")
    for name, check in found.items():
        total = check.equal + check.different.total()
        print(f"{name:<26}{check.captures:>9}{check.equal:>8}{check.different.total():>8}{check.equal / max(total, 1):>9.2%}")
        for kind, count in check.different.most_common():
            print(f"    {count:>6}  {kind}")
            if args.show == name:
                for example in check.examples[kind]:
                    print(f"            {example[:300]}")


if __name__ == "__main__":
    main()
