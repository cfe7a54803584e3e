"""docs/protocols.md is what the code says, and names every protocol."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from packhound.net.detect import PROTOCOLS

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_up_to_date_and_names_every_protocol_that_is_found() -> None:
    spec = importlib.util.spec_from_file_location("protocols_page", ROOT / "docs" / "protocols.py")
    assert spec
    assert spec.loader
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    assert maker.PAGE.read_text() == maker.page(maker.written()), "run `python docs/protocols.py`"
    assert {row.name for row in PROTOCOLS if row.detected} <= set(maker.written())
    for proof in maker.written().values():
        assert not proof.startswith("tests/") or (ROOT / proof).is_file()
