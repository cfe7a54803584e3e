"""What a round left behind, read back: books of every sensor epoch, what processors settled, ids in the recordings."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from packhound.processor.shared.redis import RedisState
from packhound.processor.track.shard import ShardTrack
from tests.chaos.fleet import Fleet, Process
from tests.support.hunting import recorded

MARK = re.compile(rb"PHCHAOS!(..)(.{8})", re.DOTALL)
SECOND = 1_000_000_000
SHARDS = 16
#: What a sensor may hold in its kernel ring and its open batch, and what the generator's log is off by.
UNSAVED_NS = SECOND // 2


class Gap(NamedTuple):
    """From `down` to `up` nobody captured on host `n`; `killed`: what had not reached the spool is gone too."""

    host: int
    down: int
    up: int
    killed: bool


@dataclass
class Epoch:
    """One life of a sensor. `books` of one that ended in order; of one that was killed the next life tells `matched`."""

    process: str
    node: str
    epoch: int
    books: dict[str, Any] | None = None
    matched: int = 0
    known: bool = False
    settled: Counter[str] = field(default_factory=Counter)

    @property
    def lost(self) -> Counter[str]:
        """By cause: as the sensor says, else as its tombstones told."""
        if self.books is not None:
            return Counter(self.books.get("lost", {}))
        return Counter({k.partition(":")[2]: v for k, v in self.settled.items() if k.startswith("told_lost:")})

    @property
    def told(self) -> int:
        return sum(count for name, count in self.settled.items() if name.startswith("told_lost:"))

    @property
    def residual(self) -> int:
        """Matched packets that nobody accounts for."""
        mine, done = self.books or {}, self.settled
        kept = done["recorded"] + done["processed_only"] + sum(v for k, v in done.items() if k.startswith("lost:"))
        return self.matched - kept - self.lost.total() - mine.get("spooled", 0) - mine.get("in_flight", 0)

    @property
    def residual_seen(self) -> int:
        """Packets that came to the sensor and are in none of its books."""
        mine = self.books or {}
        passed = sum(mine.get(name, 0) for name in ("unmatched", "sampled_out", "duplicate_capture", "matched"))
        return mine.get("seen", 0) - passed - sum(sum(mine.get(n, {}).values()) for n in ("kernel_dropped", "shed"))

    def line(self) -> str:
        mine = self.books or {}
        delivered = mine.get("delivered", 0) if self.books is not None else "?"
        lost = " ".join(f"{cause}={count}" for cause, count in sorted(self.lost.items()) if count) or "0"
        kernel = sum(mine.get("kernel_dropped", {}).values())
        return (
            f"  {self.process:<9} {self.epoch:016x} {'in order' if self.books is not None else 'killed  '} "
            f"seen {mine.get('seen', '?'):>6} kernel_dropped {kernel} matched {self.matched:>6} delivered {delivered:>6} "
            f"lost {lost} recorded {self.settled['recorded']:>6} duplicates {self.settled['duplicates_dropped']} "
            f"residual {self.residual}"
        )


def epochs_of(fleet: Fleet) -> list[Epoch]:
    """Every life of every sensor, as their logs tell."""
    found: dict[int, Epoch] = {}
    for name in fleet.of("sensor"):
        for row in fleet.processes[name].rows():
            epoch = int(row.get("epoch", "0"), 16)
            if row.get("event") == "sensor started":
                found[epoch] = Epoch(name, row["node"], epoch)
                for old, count in row["matched_before"].items():
                    before = found[int(old, 16)]
                    before.matched, before.known = count, True
            elif row.get("event") == "sensor stopped":
                found[epoch].books, found[epoch].known = row["books"], True
                found[epoch].matched = row["books"].get("matched", 0)
    return list(found.values())


def settle(epochs: Sequence[Epoch], shared: RedisState) -> Counter[str]:
    """Add what processors say became of the packets; what belongs to no epoch known here is returned."""
    by_key = {(each.node, each.epoch): each for each in epochs}
    strange: Counter[str] = Counter()
    for entry, count in shared.books().items():
        if entry.kind != "sensor":
            continue
        each = by_key.get((entry.name, entry.epoch))
        name = f"{entry.counter}:{entry.cause}" if entry.cause else entry.counter
        (each.settled if each is not None else strange)[name] += count
    return strange


def gaps_in_ledger(shared: RedisState) -> dict[tuple[int, int], int]:
    """Parcels that were numbered and never came, by epoch and shard."""
    found = {}
    for shard in range(SHARDS):
        track = ShardTrack(shard)
        track.restore(shared.load(shard))
        found.update(track.ledger.gaps())
    return found


class Sent:
    """What a generator sent, and when."""

    def __init__(self, log: Path) -> None:
        rows = [line.split() for line in log.read_text().splitlines()]
        self._at = [int(row[0]) for row in rows if len(row) == 2]
        self._count = [int(row[1]) for row in rows if len(row) == 2]
        self.total = self._count[-1] if self._count else 0

    def before(self, ns: int) -> int:
        """How many had been sent at that time, at least."""
        at = bisect_right(self._at, ns) - 1
        return self._count[at] if at >= 0 else 0

    def when(self, number: int) -> int:
        """When that id had been sent, at the latest."""
        at = bisect_right(self._count, number)
        return self._at[min(at, len(self._at) - 1)]


def ids_of(fleet: Fleet) -> dict[str, Counter[tuple[int, int]]]:
    """By processor: (host, number) of every packet in every recording."""
    found: dict[str, Counter[tuple[int, int]]] = {}
    for name in fleet.of("processor"):
        mine = found[name] = Counter()
        for path in sorted(fleet.out(name).rglob("*.pcapng")):
            marks = [(int.from_bytes(m[1], "big"), int.from_bytes(m[2], "big")) for m in MARK.finditer(path.read_bytes())]
            mine.update(marks)
            packets = sum(1 for _ in recorded(path))
            if packets != len(marks):
                raise AssertionError(f"{path} has {packets} packets with {len(marks)} marks")
    return found


def runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ids without a hole, as first and last."""
    for _, group in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        some = [number for _, number in group]
        yield some[0], some[-1]


@dataclass
class Verdict:
    lines: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    numbers: Counter[str] = field(default_factory=Counter)

    def check(self, good: bool, what: str) -> None:
        if not good:
            self.wrong.append(what)


def audit(
    fleet: Fleet, sent: dict[int, Sent], gaps: Sequence[Gap], *, may_lose: frozenset[str] = frozenset(), gone: int = 0
) -> Verdict:
    """Judge a round. `sent` by host; `may_lose`: causes of loss that this fault may have; `gone`: matched packets that
    the fault is known to have destroyed. Redis still runs, everything else has ended."""
    found = Verdict()
    epochs = epochs_of(fleet)
    shared = fleet.shared()
    strange = settle(epochs, shared)
    ids = ids_of(fleet)
    everything: Counter[tuple[int, int]] = sum(ids.values(), Counter())
    _epochs(found, epochs, may_lose, gone)
    for name, mine in ids.items():
        lives = [row for row in fleet.processes[name].rows() if row.get("event") == "processor started"]
        found.lines.append(f"  {name:<11} lives {len(lives)} recorded {mine.total():>6} recovered "
                           f"{sum(r.get('event') == 'recovered' for r in fleet.processes[name].rows())}")  # fmt: skip
    found.check(not strange, f"books of sensors that nobody knows: {dict(strange)}")
    doubled = [key for key, count in everything.items() if count > 1]
    found.check(not doubled, f"{len(doubled)} ids recorded more than once, the first {sorted(doubled)[:3]}")
    settled = sum(each.settled["recorded"] for each in epochs)
    found.check(everything.total() == settled, f"{everything.total()} packets in files, {settled} in the books")
    holes = {key: n for key, n in gaps_in_ledger(shared).items() if n}
    known = {each.epoch for each in epochs}
    found.check(bool(gone) or not any(epoch in known for epoch, _ in holes), f"parcels missing: {len(holes)} holes")
    shared.close()
    missing = 0
    for host, log in sent.items():
        missing += _ids(found, host, log, {n for h, n in everything if h == host}, [g for g in gaps if g.host == host],
                        [each for each in epochs if _host(fleet.processes[each.process], fleet) == host], gone)  # fmt: skip
    hidden = [p for name in fleet.of("processor") for p in fleet.out(name).rglob(".*.part")]
    found.check(not hidden, f"hidden files left: {hidden[:3]}")
    for name, code in fleet.codes.items():
        found.check(code == 0, f"{name} ended with code {code}")
    found.numbers.update({
        "sent": sum(each.total for each in sent.values()), "matched": sum(each.matched for each in epochs),
        "recorded": everything.total(), "lost": sum(each.lost.total() for each in epochs), "missing": missing,
        "kernel_dropped": sum(sum((each.books or {}).get("kernel_dropped", {}).values()) for each in epochs),
        "duplicates": sum(each.settled["duplicates_dropped"] for each in epochs),
        "residual": sum(each.residual for each in epochs),
    })  # fmt: skip
    return found


def _host(process: Process, fleet: Fleet) -> int:
    return next(n for n, ns in enumerate(fleet.hosts.names, 1) if ns in process.words)


def _epochs(found: Verdict, epochs: Sequence[Epoch], may_lose: frozenset[str], gone: int) -> None:
    for each in epochs:
        found.lines.append(each.line())
        if not each.known:  # killed before it had anything in its spool, or its spool had been emptied
            found.check(not each.settled["recorded"] or bool(gone), f"{each.process}: an epoch that nobody knows of")
            continue
        if not gone:
            found.check(each.residual == 0, f"{each.process} {each.epoch:x}: residual {each.residual}")
        found.check(each.residual_seen == 0, f"{each.process} {each.epoch:x}: {each.residual_seen} seen and in no book")
        found.check(set(+each.lost) <= may_lose, f"{each.process}: lost {dict(each.lost)}")
        found.check(each.told == each.lost.total() or bool(gone),
                    f"{each.process}: lost {each.lost.total()}, tombstones tell of {each.told}")  # fmt: skip
    if gone:
        residual = sum(each.residual for each in epochs)
        found.check(residual == gone, f"residual {residual}, {gone} packets are known to be gone")


def _ids(
    found: Verdict, host: int, sent: Sent, kept: set[int], gaps: Sequence[Gap], epochs: Sequence[Epoch], gone: int
) -> int:
    """Every id is recorded, or there is a reason why not."""
    found.check(not kept or max(kept) < sent.total, f"host {host}: ids that were never sent")
    missing = sorted(set(range(sent.total)) - kept)
    unexplained = []
    for first, last in runs(missing):
        reason = next((gap for gap in gaps if _within(sent, first, last, gap)), None)
        if reason is None:
            unexplained += range(first, last + 1)
        else:
            before = max(0, (reason.down - sent.when(first)) // 1_000_000)
            found.numbers["unsaved_ms"] = max(found.numbers["unsaved_ms"], before)
            found.lines.append(f"  host {host}: ids {first}-{last} fell into the {(reason.up - reason.down) / SECOND:.1f} s "
                               f"without a sensor, the first {before} ms before its end")  # fmt: skip
    counted = sum(each.lost.total() + sum((each.books or {}).get("kernel_dropped", {}).values()) for each in epochs)
    counted += gone
    if gaps or gone:
        found.check(len(unexplained) <= counted, f"host {host}: {len(unexplained)} ids missing, {counted} counted")
    else:
        found.check(len(unexplained) == counted, f"host {host}: {len(unexplained)} ids missing, {counted} counted; "
                                                 f"{list(runs(unexplained))[:4]}")  # fmt: skip
        seen = sum((each.books or {}).get("seen", 0) for each in epochs)
        found.check(seen == sent.total * len(epochs), f"host {host}: sent {sent.total}, seen {seen}")
    return len(missing)


def _within(sent: Sent, first: int, last: int, gap: Gap) -> bool:
    slack = UNSAVED_NS if gap.killed else 0
    return first >= sent.before(gap.down - slack) and last <= sent.before(gap.up + UNSAVED_NS)
