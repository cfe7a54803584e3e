"""The generated messages and services are what the .proto files say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("grpc_tools", reason="grpcio-tools generates the messages")

ROOT = Path(__file__).resolve().parents[2] / "proto"
FOLDER = ROOT / "packhound/wire/v1"
SOURCES = sorted(str(path.relative_to(ROOT)) for path in FOLDER.glob("*.proto"))
SERVICES = [each for each in SOURCES if "\nservice " in (ROOT / each).read_text("utf-8")]


def generate(out: Path) -> None:
    for kinds, sources in ((["python", "pyi"], SOURCES), (["grpc_python"], SERVICES)):
        command = [sys.executable, "-m", "grpc_tools.protoc", "-I", ".", *(f"--{kind}_out={out}" for kind in kinds)]
        subprocess.run([*command, *sources], cwd=ROOT, check=True, timeout=60)


def test_generated_messages_are_up_to_date(tmp_path: Path) -> None:
    generate(tmp_path)
    fresh = {path.name: path.read_text("utf-8") for path in (tmp_path / "packhound/wire/v1").iterdir()}
    held = {path.name: path.read_text("utf-8") for path in FOLDER.glob("*_pb2*.py*")}
    assert held == fresh, "run `make proto`"
