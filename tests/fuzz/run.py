"""Drive targets: `python -m tests.fuzz.run NAME... --runs N --seed S [--engine atheris|plain] [--out FOLDER]`.

`plain` mutates without feedback and is the same every time; `atheris` follows coverage. Both go on after a finding (one
file per place and kind of fault) and write what they did to `FOLDER/NAME.json`. A slow input is one that takes more
than its allowance of processor time three times in a row; that is looked at here and never in a test.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

SLOW_GROUND, SLOW_BYTE = 0.05, 0.0001  # seconds of an input, and of each of its bytes: far above what is usual


class Driver:
    """One target, its counts and findings."""

    def __init__(self, target: Any, *, engine: str, seed: int, out: Path, share: float = 1.0) -> None:
        self.target = target
        self._engine, self._seed, self._out, self._share = engine, seed, out, share
        self._where: Counter[str] = Counter()
        self.runs = 0
        self._began = time.time()
        self.worst = 0.0
        out.mkdir(parents=True, exist_ok=True)

    def one(self, data: bytes) -> None:
        """Run one input; keep what it finds."""
        data = data[: self.target.size]
        self.runs += 1
        began = time.thread_time()
        try:
            self.target.run(data)
        except Exception as error:  # whatever comes is what is looked for
            self._keep(error, data)
        taken = time.thread_time() - began
        if taken > SLOW_GROUND + SLOW_BYTE * len(data):
            self._again(data)
        if self.runs % 20_000 == 0:
            self.write()

    def _again(self, data: bytes) -> None:
        best = float("inf")
        for _ in range(3):
            began = time.thread_time()
            try:
                self.target.run(data)
            except Exception:  # it was kept before
                pass
            best = min(best, time.thread_time() - began)
        per_byte = best / max(1, len(data))
        self.worst = max(self.worst, per_byte)
        if best > SLOW_GROUND + SLOW_BYTE * len(data):
            self._save("slow", f"{best:.3f} s for {len(data)} bytes", data)

    def _keep(self, error: BaseException, data: bytes) -> None:
        frames = [f"{Path(each.filename).name}:{each.lineno}" for each in traceback.extract_tb(error.__traceback__)]
        text = "".join(each for each in str(error)[:60] if not each.isdigit())
        self._save(f"{type(error).__name__} {frames[-1]} {text if frames[-1].startswith(('target', 'sessions')) else ''}",
                   f"{error!r:.300} {' '.join(frames[-5:])}", data)

    def _save(self, where: str, what: str, data: bytes) -> None:
        self._where[where] += 1
        if self._where[where] > 3:
            return
        digest = hashlib.sha256(data).hexdigest()[:10]
        path = self._out / f"{self.target.name}-{digest}.bin"
        path.write_bytes(data)
        print(f"FOUND {self.target.name}: {what}\n  {path}", flush=True)

    def write(self) -> None:
        """Say what was done so far."""
        row = {
            "target": self.target.name, "group": self.target.group, "engine": self._engine, "seed": self._seed,
            "runs": self.runs, "seconds": round(time.time() - self._began, 1), "findings": dict(self._where),
            "date": time.strftime("%Y-%m-%d"),
        }  # fmt: skip
        (self._out / f"{self.target.name}-{self._engine}-{self._seed}.json").write_text(json.dumps(row))


def plain(target: Any, *, runs: int, seed: int, out: Path) -> Driver:
    """Mutate without feedback."""
    from tests.fuzz.mutation import Mutator

    driver = Driver(target, engine="plain", seed=seed, out=out)
    given = target.seeds()
    mutator = Mutator(given, seed=seed, words=target.words, size=target.size, turns=target.turns)
    for data in given[:runs]:
        driver.one(data)
    while driver.runs < runs:
        driver.one(mutator.next())
    driver.write()
    return driver


def guided(names: list[str], *, runs: int, seed: int, out: Path) -> None:
    """Follow coverage with atheris; the process ends when its one target is done."""
    import atheris

    with atheris.instrument_imports(include=["packhound"]):
        from tests.fuzz.all import targets
    target = targets()[names[0]]
    from tests.fuzz.mutation import Mutator

    driver = Driver(target, engine="atheris", seed=seed, out=out)
    corpus = out / "corpus" / target.name
    corpus.mkdir(parents=True, exist_ok=True)
    given = target.seeds()
    for data in given[:300]:
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data[: target.size])
    words = out / f"{target.name}.dict"
    words.write_text("".join('"' + "".join(f"\\x{b:02x}" for b in word) + '"\n' for word in (*target.words, b"\xab\xcd\xfe")))
    mutator = Mutator(given, seed=seed, words=target.words, size=target.size, turns=target.turns)

    def change(data: bytes, most: int, _: int) -> bytes:
        """Half ours, which knows turns and numbers, half libFuzzer's."""
        return mutator.change(data)[:most] if mutator.coin() else atheris.Mutate(data, most)

    def test(data: bytes) -> None:
        driver.one(data)
        if driver.runs >= runs:
            driver.write()

    arguments = [
        "fuzz", f"-runs={runs}", f"-seed={seed}", f"-max_len={target.size}", f"-dict={words}", "-rss_limit_mb=2048", "-verbosity=0",
        "-timeout=120", f"-artifact_prefix={out}/{target.name}-", "-print_final_stats=0", str(corpus),
    ]  # fmt: skip
    atheris.Setup(arguments, test, custom_mutator=change)
    atheris.Fuzz()


def table(out: Path) -> str:
    """What was run, as the table of docs/fuzzing.md: inputs by engine, findings, the day of the last run and its seed."""
    from tests.fuzz.all import targets

    rows = [json.loads(path.read_text()) for path in sorted(out.glob("*.json"))]
    lines = ["| target | plain | atheris | open findings | last run | seeds |", "| --- | ---: | ---: | ---: | --- | --- |"]
    for name in targets():
        mine = [row for row in rows if row["target"] == name]
        count = Counter[str]()
        for row in mine:
            count[row["engine"]] += row["runs"]
        open_ = sum(sum(row["findings"].values()) for row in mine)
        day = max((row["date"] for row in mine), default="never")
        used = ", ".join(str(each) for each in sorted({row["seed"] for row in mine}))
        lines.append(f"| `{name}` | {count['plain']:,} | {count['atheris']:,} | {open_} | {day} | {used} |")
    return "\n".join(lines)


def main() -> int:
    """Run what the command line names; 1 when anything was found."""
    parser = argparse.ArgumentParser(prog="tests.fuzz.run", description=__doc__)
    parser.add_argument("names", nargs="*", help="targets, or groups; none: all")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=("plain", "atheris"), default="plain")
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"))
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--table", action="store_true", help="print what the files in the folder say was run")
    given = parser.parse_args()
    if given.table:
        print(table(given.out))
        return 0
    if given.engine == "atheris" and len(given.names) == 1:
        guided(given.names, runs=given.runs, seed=given.seed, out=given.out)
        return 0
    from tests.fuzz.all import targets

    known = targets()
    names = [name for name, each in known.items() if not given.names or name in given.names or each.group in given.names]
    if given.list:
        print("\n".join(names))
        return 0
    found = 0
    for name in names:
        if given.engine == "atheris":  # a process each: libFuzzer ends the one that it runs in
            again = [a for a in sys.argv[1:] if a not in given.names]
            found += subprocess.run([sys.executable, "-m", "tests.fuzz.run", name, *again]).returncode
            continue
        driver = plain(known[name], runs=given.runs, seed=given.seed, out=given.out)
        found += sum(driver._where.values())
        print(f"{name}: {driver.runs} inputs, {time.time() - driver._began:.0f} s, {dict(driver._where)}", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
