"""The compiled kernel under AddressSanitizer and UBSan: `python -m tests.fuzz.sanitised [--runs N] [--seed S]`.

Builds `_scan` with -fsanitize=address,undefined in a folder of its own (the kernel in use stays), preloads libasan and
drives every door of the kernel with damaged input. What is read lies in buffers that end where the data ends, each
allocated by itself (PYTHONMALLOC=malloc), so that one byte too far is an error of the sanitizer and the end of the run.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
KERNEL = ROOT / "sensor/packhound/sensor/kernel"
FLAGS = [
    "-O1", "-g", "-fno-omit-frame-pointer", "-fno-strict-aliasing", "-fsanitize=address,undefined",
    "-fno-sanitize-recover=undefined", "-w",
]  # fmt: skip
NAME = "packhound.sensor.kernel._scan"


def missing() -> str:
    """Why this machine cannot do it; empty when it can."""
    try:
        found = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "no gcc"
    if not Path(found.stdout.strip()).is_absolute():
        return "no libasan"
    return "" if importlib.util.find_spec("Cython") else "no Cython"


def build(folder: Path) -> Path:
    """Compile the kernel with the sanitizers into `folder`."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    extension = Extension("_scan", [str(KERNEL / "_scan.pyx")], extra_compile_args=FLAGS, extra_link_args=FLAGS)
    modules = cythonize([extension], include_path=[str(KERNEL)], build_dir=str(folder), force=True, quiet=True)
    command = build_ext(Distribution({"ext_modules": modules}))
    command.build_lib = command.build_temp = str(folder)
    command.ensure_finalized()
    command.run()
    return next(folder.glob("_scan*.so"))


def drive(built: Path, *, runs: int, seed: int) -> subprocess.CompletedProcess[str]:
    """Run this module again under libasan, with that kernel."""
    where = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True)
    environment = os.environ | {
        "LD_PRELOAD": where.stdout.strip(), "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1:allocator_may_return_null=1:detect_stack_use_after_return=1",
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    }  # fmt: skip
    line = [sys.executable, "-m", "tests.fuzz.sanitised", "--kernel", str(built), "--runs", str(runs), "--seed", str(seed)]
    return subprocess.run(line, env=environment, cwd=ROOT, capture_output=True, text=True)


# inside the sanitised process ----------------------------------------------------------------------------------------


def use(built: Path) -> Any:
    """Put that kernel in the place of the one in use."""
    import packhound.sensor.kernel as package

    spec = importlib.util.spec_from_file_location(NAME, built)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = module
    spec.loader.exec_module(module)
    package._scan = module  # type: ignore[attr-defined]
    return module


def doors(native: Any) -> dict[str, Callable[[bytes], None]]:
    """What is driven, by name: one function of an input each."""
    import numpy as np

    from packhound.rules import bpf
    from packhound.rules.literals import LiteralSet
    from tests.fuzz import captures, language, packets, streams
    from tests.fuzz.turns import Turn, unpack

    del streams
    names = LiteralSet([b"google", b"example", b"microsoft", b"www", b"local"])
    said: list[Any] = []

    def exact(turn: Turn) -> Any:
        """A block of one packet, whose buffer ends with it."""
        block = packets.block_of([turn])
        block.data = memoryview(np.frombuffer(bytearray(turn.data), np.uint8).copy()) if turn.data else b""
        return block

    def scan(data: bytes) -> None:
        tables, decide, programs = packets._settings()[len(data) & 1]
        kernel = native.Kernel(capacity=(64, 3)[len(data) >> 1 & 1])
        kernel.set_hold_limits(8, 4096, (1 << 20, 600)[len(data) >> 1 & 1])
        kernel.load(tables)
        if tables.base_fset:
            kernel.define_fset(1, need=1, free=False)
        kernel.set_interfaces(programs)
        for turn in unpack(data):
            block = exact(turn)
            events, at = kernel.scan(block, 0)
            while decide and len(events):
                said[:] = [packets._answer(kernel, block, event) for event in events if not event["flags"] & packets.FRAGMENT]
                if at >= len(block):
                    break
                events, at = kernel.scan(block, at)
            kernel.drain()
            kernel.given_up()
        kernel.age_held(1 << 62)
        kernel.flush()
        kernel.drain()
        kernel.counters()

    def engine(data: bytes) -> None:
        turns = unpack(data)
        if turns:
            tables, decide, programs = packets._settings()[len(data) & 1]
            kernel = native.Kernel(capacity=(64, 3)[len(data) >> 1 & 1])
            packets.drive(kernel, packets.block_of(turns), tables, programs, decide=decide, hold=600)

    def decode(data: bytes) -> None:
        for turn in unpack(data):
            for config in packets.CONFIGS:
                native.decode_one(turn.data, packets._linktype(turn), config)

    def detect(data: bytes) -> None:
        scratch = [0, 0, 0, 0]
        for turn in unpack(data):
            proto = (6, 17, 6, 17, 6, 17, 1, 58, 88, 89, 103, 112, 132, 2, 50, 47)[turn.order >> 1 & 15]
            native.detect_one(turn.data, proto=proto, sport=packets.PORTS[turn.order >> 5], dport=53,
                              direction=turn.direction, scratch=scratch, payload_packets=1)  # fmt: skip
            native.prefilter_one(names, turn.data)

    def file(data: bytes) -> None:
        captures._file(data)

    def program(data: bytes) -> None:
        language._program(data)

    del bpf
    return {"scan": scan, "engine": engine, "decode": decode, "detect": detect, "capture-file": file, "bpf-program": program}


def inside(built: Path, *, runs: int, seed: int) -> None:
    """Drive every door with `runs` inputs each."""
    native = use(built)
    from tests.fuzz.all import targets
    from tests.fuzz.mutation import Mutator

    known = targets()
    like = {"scan": "engine"}
    for name, run in doors(native).items():
        target = known[like.get(name, name)]
        mutator = Mutator(target.seeds(), seed=seed, words=target.words, size=target.size, turns=target.turns)
        began = time.time()
        for _ in range(runs):
            run(mutator.next())
        print(f"sanitised {name}: {runs} inputs, {time.time() - began:.0f} s", flush=True)


def main() -> int:
    """Build and drive; 1 when a sanitizer spoke."""
    parser = argparse.ArgumentParser(prog="tests.fuzz.sanitised", description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000, help="inputs of each door")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kernel", type=Path, help="a sanitised kernel: we are inside")
    parser.add_argument("--build", type=Path, help="folder to build in, and to find the kernel in again")
    given = parser.parse_args()
    if given.kernel:
        inside(given.kernel, runs=given.runs, seed=given.seed)
        return 0
    why = missing()
    if why:
        print(f"sanitised: {why}")
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.build or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        built = next(folder.glob("_scan*.so"), None) or build(folder)
        done = drive(built, runs=given.runs, seed=given.seed)
    print(done.stdout, done.stderr[-6000:], sep="\n")
    return 1 if done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
