"""The corpus of real captures beside the checkout: where it is, what is in it, what other tools say of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CORPUS = Path(os.environ.get("PACKHOUND_CORPUS", Path(__file__).resolve().parents[3] / "shared" / "corpus"))

needs_corpus = pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus at {CORPUS} (set PACKHOUND_CORPUS)")


def captures() -> list[str]:
    """Names of every capture, relative to `CORPUS`, in the manifest's order; none where there is no corpus."""
    if not CORPUS.is_dir():
        return []
    lines = (CORPUS / "MANIFEST.tsv").read_text().splitlines()[1:]
    return [line.split("\t", 1)[0] for line in lines]


def expected(name: str) -> Iterator[dict[str, Any]]:
    """Rows of `expected/NAME.jsonl`; none where there is no corpus."""
    if not CORPUS.is_dir():
        return
    with (CORPUS / "expected" / f"{name}.jsonl").open() as handle:
        for line in handle:
            yield json.loads(line)
