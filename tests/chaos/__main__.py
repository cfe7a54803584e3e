"""`python -m tests.chaos --seed 1 [--mixed 6 | --rounds 2 --only FAULT,...]`: run the fault table, print the books."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.faults import FAULTS
from tests.chaos.needs import missing
from tests.chaos.rounds import play

EXTREMES = ("takeover_s", "unsaved_ms", "rss_growth_mib", "drain_s")


def chosen(names: list[str], *, rounds: int, mixed: int, seeds: random.Random) -> Iterator[str]:
    """Faults in the order in which they are played: `rounds` times all of them, or `mixed` of them at random, none
    again before all others were."""
    if not mixed:
        yield from names * rounds
    while mixed > 0:
        lot = seeds.sample(names, len(names))[:mixed]
        mixed -= len(lot)
        yield from lot


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1, help="rounds of each fault chosen")
    parser.add_argument("--mixed", type=int, default=0, help="so many rounds, of faults chosen at random")
    parser.add_argument("--only", default="", help=f"faults, by comma: {', '.join(FAULTS)}")
    parser.add_argument("--long", action="store_true", help="those that take minutes too")
    parser.add_argument("--keep", action="store_true", help="keep what each round left behind")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "packhound-chaos")
    told = parser.parse_args()
    if missing():
        print(f"chaos: this machine lacks {missing()}: nothing was run")
        return 1
    names = told.only.split(",") if told.only else [n for n, fault in FAULTS.items() if told.long or not fault.slow]
    for name in [name for name in names if FAULTS[name].lacks]:
        print(f"left out: {name}, which needs {FAULTS[name].lacks}")
        names.remove(name)
    seeds = random.Random(told.seed)
    bad, sums, most = [], Counter[str](), dict[str, float]()
    order = list(chosen(names, rounds=told.rounds, mixed=told.mixed, seeds=seeds))
    for number, name in enumerate(order, 1):
        seed = seeds.randrange(1 << 31)
        found = play(FAULTS[name], seed, told.folder / f"{name}-{seed}", keep=told.keep)
        print(f"[{number}/{len(order)}] {found.text}", flush=True)
        sums.update({what: count for what, count in found.numbers.items() if what not in EXTREMES})
        for what, value in {**found.numbers, **found.measured}.items():
            if what in EXTREMES:
                most[what] = max(most.get(what, value), value)
        if not found.good:
            bad.append(f"{name} seed {seed}")
    print(f"{len(order)} rounds, seed {told.seed}: {' '.join(f'{what} {count}' for what, count in sums.items())}")
    print("at most: " + (", ".join(f"{what} {value:.2f}" for what, value in most.items()) or "nothing measured"))
    print(f"{len(bad)} rounds bad" + "".join(f"\n  {each}" for each in bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
