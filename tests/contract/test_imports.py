"""Every module imports, every package says its role; the kernel takes nothing else of packhound at C level."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOTS = ("crds", "proto", "core", "operator", "sensor", "processor")
FILES = sorted(path for folder in ROOTS for path in (ROOT / folder / "packhound").rglob("*.py"))
KERNEL = ROOT / "sensor/packhound/sensor/kernel"
BANNED = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", FILES, ids=_module)
def test_module_imports(path: Path) -> None:
    importlib.import_module(_module(path))


def test_every_package_says_its_role() -> None:
    silent = [_module(p) for p in FILES if p.name == "__init__.py" and not ast.get_docstring(ast.parse(p.read_text()))]
    assert silent == []


def test_every_folder_with_modules_is_a_package() -> None:
    folders = {path.parent for path in FILES if path.parent.name != "packhound"}
    assert [str(each.relative_to(ROOT)) for each in sorted(folders) if not (each / "__init__.py").exists()] == []


def test_names_are_nouns_of_the_field() -> None:
    assert [_module(path) for path in FILES if path.stem in BANNED] == []


def test_kernel_takes_no_c_code_of_packhound() -> None:
    """import-linter does not read Cython: the kernel cimports nothing else of packhound."""
    assert [each for each in _kernel_imports() if "cimport" in each] == []


def test_kernel_keeps_to_the_layers() -> None:
    """Its imports, all lazy or of constants, go down: net, rules, and its own folder."""
    allowed = re.compile(r"from packhound\.(net|rules|fields|sensor\.kernel)\b")
    assert [each for each in _kernel_imports() if not allowed.search(each)] == []


def _kernel_imports() -> list[str]:
    return [
        f"{path.name}: {line.strip()}"
        for path in sorted([*KERNEL.glob("*.pyx"), *KERNEL.glob("*.pxi")])
        for line in path.read_text("utf-8").splitlines()
        if re.match(r"\s*(from|import|cimport)\s+packhound\b", line)
    ]


def test_dissectors_pull_in_no_door() -> None:
    """Heavy and native libraries are loaded by whoever needs them, not by importing the dissectors."""
    code = (
        "import sys, packhound.net.session, packhound.net.sip; "
        "print(sorted({'duckdb', 'cryptography', 'pcapy', 'structlog', 'asyncio', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
