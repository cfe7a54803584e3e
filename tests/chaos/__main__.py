"""`python -m tests.chaos --seed 1 --rounds 20 [--only FAULT]`: run the fault table and print the books."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

from tests.chaos.faults import FAULTS
from tests.chaos.rounds import play


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=1, help="rounds of each fault chosen")
    parser.add_argument("--only", default="", help=f"faults, by comma: {', '.join(FAULTS)}")
    parser.add_argument("--keep", action="store_true", help="keep what each round left behind")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "packhound-chaos")
    chosen = parser.parse_args()
    names = chosen.only.split(",") if chosen.only else [name for name, fault in FAULTS.items() if not fault.slow]
    seeds = random.Random(chosen.seed)
    bad = []
    for number in range(chosen.rounds):
        for name in names:
            seed = seeds.randrange(1 << 31)
            found = play(FAULTS[name], seed, chosen.folder / f"{name}-{seed}", keep=chosen.keep)
            print(f"[{number + 1}/{chosen.rounds}] {found.text}", flush=True)
            if not found.good:
                bad.append(f"{name} seed {seed}")
    print(f"{len(bad)} rounds bad" + "".join(f"\n  {each}" for each in bad))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
