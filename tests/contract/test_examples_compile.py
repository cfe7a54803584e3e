"""Every example of crds/examples is a filter that this version takes, and shows what it says it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from packhound.api import HuntFilter, load_text
from packhound.rules import bpf
from packhound.rules.compile import compile_plan
from packhound.rules.plan import CompiledFilter, Mode

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "crds" / "examples").glob("*.yaml"))


def check_pcap(text: str) -> str | None:
    found = bpf.compile_expression(text)
    return found.reason if isinstance(found, bpf.BadExpression) else None


def filters_of(path: Path) -> list[HuntFilter]:
    found = load_text(path.read_text("utf-8"), file=path.name)
    assert [str(each) for each in found.bad] == []
    assert found.objects
    return [each for each in found.objects if isinstance(each, HuntFilter)]


def compiled(name: str) -> CompiledFilter:
    path = next(path for path in EXAMPLES if path.stem == name)
    plan = compile_plan(filters_of(path), revision=1, now=0, check_pcap=check_pcap).plan
    return plan.filters[0]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_compiles_and_says_why_it_is_there(path: Path) -> None:
    filters = filters_of(path)
    result = compile_plan(filters, revision=1, now=0, check_pcap=check_pcap)
    assert result.refused == []
    assert [each.name for each in result.plan.filters] == [each.full_name for each in filters]
    assert path.read_text("utf-8").startswith("# ")
    for each in filters:
        assert each.metadata.name == path.stem


def test_they_compile_together() -> None:
    every = [each for path in EXAMPLES for each in filters_of(path)]
    result = compile_plan(every, revision=1, now=0, check_pcap=check_pcap)
    assert result.refused == []
    assert len(result.plan.filters) == len(every) >= 12


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("sip-user", "call"), ("phone-number", "call"), ("rtp-codec", "call"), ("sip-method-packets", "packet"),
        ("tls-sni", "flow"), ("not-tls", "flow"), ("big-flows", "flow"), ("pcap-only", "packet"),
    ],
)  # fmt: skip
def test_scopes(name: str, scope: str) -> None:
    assert compiled(name).scope == scope


def test_a_suspended_example_is_kept_and_matches_nothing() -> None:
    assert not compiled("ssh-software").active


def test_an_address_needs_no_payload() -> None:
    path = next(path for path in EXAMPLES if path.stem == "address-range")
    plan = compile_plan(filters_of(path), revision=1, now=0, check_pcap=check_pcap).plan
    assert plan.modes == {}
    assert plan.headers.v4
    assert plan.headers.v6


def test_a_server_name_is_looked_for_before_anything_is_dissected() -> None:
    path = next(path for path in EXAMPLES if path.stem == "tls-sni")
    plan = compile_plan(filters_of(path), revision=1, now=0, check_pcap=check_pcap).plan
    assert plan.modes["tls"] == Mode.PREFILTER
    assert plan.literals["tls"] == {b"example.com"}
    assert plan.client_hello_only
