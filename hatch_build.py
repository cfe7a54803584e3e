"""Compiles the one native kernel (Cython and a C compiler); without them the portable twin runs and says so.

As a build hook for wheels and editable installs, or by hand: `python hatch_build.py` builds in place.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
KERNEL = ROOT / "sensor/packhound/sensor/kernel"
FLAGS = ["-O3", "-fno-strict-aliasing", "-fvisibility=hidden", "-Wno-sign-compare", "-Wno-unused-function",
         "-Wno-address-of-packed-member", "-Wno-discarded-qualifiers"]  # fmt: skip


def built() -> Path | None:
    """The compiled kernel of this Python, if it is there."""
    from importlib.machinery import EXTENSION_SUFFIXES

    return next((p for suffix in EXTENSION_SUFFIXES if (p := KERNEL / f"_scan{suffix}").is_file()), None)


def is_fresh() -> bool:
    """Tell whether the compiled kernel is newer than all its sources."""
    target = built()
    if target is None:
        return False
    sources = [*KERNEL.glob("*.pyx"), *KERNEL.glob("*.pxi")]
    return target.stat().st_mtime >= max(path.stat().st_mtime for path in sources)


def build() -> bool:
    """Compile when needed; False when there is no compiler."""
    if is_fresh():
        return True
    try:
        from Cython.Build import cythonize
        from setuptools import Distribution, Extension
        from setuptools.command.build_ext import build_ext
    except ImportError as error:
        print(f"packhound: no {error.name}: the portable kernel will run", file=sys.stderr)
        return False
    with tempfile.TemporaryDirectory() as scratch:
        extension = Extension("_scan", [str(KERNEL / "_scan.pyx")], extra_compile_args=FLAGS)
        modules = cythonize([extension], include_path=[str(KERNEL)], build_dir=scratch, force=True, quiet=True)
        command = build_ext(Distribution({"ext_modules": modules}))
        command.build_lib = command.build_temp = scratch
        command.ensure_finalized()
        try:
            command.run()
        except Exception as error:  # whatever the compiler says, the portable twin runs
            print(
                f"packhound: the native kernel was not compiled ({error}): the portable one will run", file=sys.stderr
            )
            return False
        for path in Path(scratch).glob("_scan*.so"):
            target = KERNEL / path.name
            hidden = KERNEL / f".{path.name}.{os.getpid()}"
            shutil.copy(path, hidden)
            hidden.replace(target)
    return built() is not None


try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:
    pass
else:

    class KernelHook(BuildHookInterface[Any]):
        """Hatch's way to `build`: the wheel then holds the compiled kernel and is for this machine."""

        PLUGIN_NAME = "custom"

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            if os.environ.get("PACKHOUND_PORTABLE") != "1" and build() and version != "editable":
                build_data["pure_python"] = False
                build_data["infer_tag"] = True


if __name__ == "__main__":
    build()  # it has said why not; the portable twin is no failure
