"""Whatever the text: reading it never fails, every fault has its place, and what is read compiles or is refused."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.api import HuntFilter, load_text
from packhound.api.huntfilter import OPERATORS
from packhound.fields import FIELDS
from packhound.rules import bpf
from packhound.rules.compile import compile_plan
from packhound.rules.explain import explain

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 1 << 70), st.floats(), st.text(max_size=12),
    st.sampled_from(["10.0.0.0/8", "80-90", "*.example.com", "a*b", "+46701234567", "(", "any", "5Gi", "30s", "call"]),
)  # fmt: skip
KEYS = st.sampled_from([
    "any", "all", "not", "field", *OPERATORS, "caseSensitive", "minDigits", "target", "interfaces", "podSelector",
    "matchLabels", "pcapFilter", "match", "scope", "capture", "payload", "snaplen", "sample", "rate", "actions", "record",
    "alert", "budget", "totalBytes", "schedule", "ttl", "suspend", "purpose", "any_", "str", "int",
])  # fmt: skip
ANYTHING = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=4) | st.dictionaries(KEYS, below, max_size=4), max_leaves=12
)


def leaf(field: str, operator: str, values: Any) -> dict[str, Any]:
    return {"field": field, operator: values}


LEAVES = st.builds(
    leaf,
    st.sampled_from(sorted(FIELDS)),
    st.sampled_from(OPERATORS),
    st.lists(SCALARS.filter(lambda each: isinstance(each, str | int)), min_size=1, max_size=3),
)
TREES = st.recursive(
    LEAVES,
    lambda below: st.one_of(
        st.builds(lambda each: {"not": each}, below),
        st.builds(lambda kind, each: {kind: each}, st.sampled_from(["any", "all"]), st.lists(below, max_size=3)),
    ),
    max_leaves=6,
)
SPECS = ANYTHING | st.fixed_dictionaries(
    {"match": TREES},
    optional={
        "scope": st.sampled_from(["packet", "flow", "call"]),
        "pcapFilter": st.sampled_from(["tcp", "udp port 53", "tpc", "host a.example"]),
        "suspend": st.booleans(),
        "schedule": st.just({"ttl": "1h"}),
    },
)


def text_of(spec: Any, kind: str, name: Any) -> str:
    value = {"apiVersion": "packhound.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    return yaml.safe_dump(value, allow_unicode=True)


@given(text=st.text(max_size=200) | st.text(alphabet="ab:-{}[]\n &*!|>%#'\",? \t", max_size=80))
@settings(max_examples=400, deadline=None)
def test_any_text_is_read_or_said_to_be_wrong(text: str) -> None:
    found = load_text(text, file="f")
    assert not found.objects
    for each in found.bad:
        assert str(each).startswith("f:") or each.line == 0
        assert 0 <= each.line <= len(text.splitlines()) + 1


@given(spec=SPECS, kind=st.sampled_from(["HuntFilter", "ClusterHuntFilter", "HuntFleet"]), name=st.just("a") | SCALARS)
@settings(max_examples=600, deadline=None)
def test_any_filter_is_compiled_or_refused_with_its_place(spec: Any, kind: str, name: Any) -> None:
    text = text_of(spec, kind, name)
    found = load_text(text, file="f")
    assert bool(found.objects) != bool(found.bad)
    for each in found.bad:
        assert 1 <= each.line <= len(text.splitlines())
        assert each.reason
    filters = [each for each in found.objects if isinstance(each, HuntFilter)]
    result = compile_plan(filters, revision=1, now=0, check_pcap=check_pcap)
    assert len(result.plan.filters) + bool(result.refused) == len(filters)
    for refused in result.refused:
        assert refused.path in found.lines[0], "the path leads to something that was written"
        assert refused.reason
    assert len(explain(result.plan)) == len(result.plan.filters)


def check_pcap(text: str) -> str | None:
    found = bpf.compile_expression(text)
    return found.reason if isinstance(found, bpf.BadExpression) else None
