"""Every operator of every field that a filter may use changes an outcome; every other is refused."""

from __future__ import annotations

from typing import Any

import pytest

from packhound.fields import FIELDS, OPERATORS, POD, Field, Type
from packhound.rules.compile import compile_plan
from packhound.rules.evaluate import evaluate
from packhound.rules.latch import Matcher
from tests.support.hunts import compiled, hunt, plan_for

USABLE = [row for row in FIELDS.values() if row.matchable and row.filled_by not in ((), (POD,))]
OF_PODS = [row for row in FIELDS.values() if row.filled_by == (POD,)]
#: operator and what is wanted of it, a value that meets it, one that does not: by type.
CASES: dict[Type, dict[str, tuple[object, Any, Any]]] = {
    Type.STRING: {
        "equals": ("abc", "ABC", "abcd"), "glob": ("a*c?", "axxcd", "axxc"), "prefix": ("ab", "abc", "xab"),
        "suffix": ("bc", "abc", "bcx"), "contains": ("b", "abc", "ac"), "in": (["x", "abc"], "abc", "y"),
        "regex": ("^a.c$", "abc", "abcd"),
    },
    Type.ADDRESS: {"equals": ("10.0.0.1", "10.0.0.1", "10.0.0.2"), "in": ("10.0.0.0/24", "10.0.0.9", "10.0.1.9")},
    Type.NUMBER: {"equals": (7, 7, 8), "in": (["3-5", 7], 4, 6)},
    Type.PHONE: {"equals": ("+461", "+461", "461"), "number": ("+46701234567", "701234567", "701234568")},
    Type.BOOL: {"equals": (True, True, False)},
}  # fmt: skip
CASES[Type.NAME] = {**CASES[Type.STRING], "domain": (".a.com", "x.a.com", "xa.com")}
APP = {"equals": ("sip", "SIP", "tls"), "in": (["sip", "rtp"], "rtp", "tls")}


def case_of(row: Field, operator: str) -> tuple[object, Any, Any]:
    return (APP if row.name == "app.protocol" else {}).get(operator) or CASES[row.type][operator]


def test_every_type_has_a_case_for_each_of_its_operators():
    for kind, operators in OPERATORS.items():
        assert set(CASES[kind]) == set(operators)


@pytest.mark.parametrize(
    ("row", "operator"), [(row, operator) for row in USABLE for operator in row.operators],
    ids=lambda each: each.name if isinstance(each, Field) else each,
)  # fmt: skip
def test_it_changes_an_outcome(row, operator):
    wanted, meets, misses = case_of(row, operator)
    plan = plan_for({"field": row.name, operator: wanted}, scope="flow")
    tree = plan.filters[0].tree
    assert evaluate(tree, {row.name: meets})
    assert not evaluate(tree, {row.name: misses})
    assert not evaluate(tree, {})
    assert evaluate(tree, {row.name: (misses, meets)})
    for value, expected in ((meets, {0}), (misses, set())):
        latch = Matcher(plan).open("flow")
        latch.learn({row.name: value})
        assert latch.verdict().wanted == expected


@pytest.mark.parametrize(
    ("row", "operator"), [(row, operator) for row in OF_PODS for operator in row.operators],
    ids=lambda each: each.name if isinstance(each, Field) else each,
)  # fmt: skip
def test_on_pods_it_changes_which_addresses_are_meant(row, operator):
    wanted, meets, misses = case_of(row, operator)

    class OnePod:
        def __init__(self, value):
            self.value = value

        def addresses(self, field, test):
            return ("10.0.0.1",) if field == row.name and test(self.value) else ()

    for value, expected in ((meets, True), (misses, False)):
        made = compile_plan([hunt({"field": row.name, operator: wanted})], revision=1, now=0,
                            check_pcap=lambda _: None, identity=OnePod(value))  # fmt: skip
        assert evaluate(made.plan.filters[0].tree, {"ip.addr": ("10.0.0.1",)}) is expected


@pytest.mark.parametrize("row", list(FIELDS.values()), ids=lambda row: row.name)
def test_operators_that_a_field_has_not_are_refused(row):
    for operator in sorted({name for each in OPERATORS.values() for name in each} - set(row.operators)):
        result = compiled({"field": row.name, operator: ["1"]})
        assert [each.path[:3] for each in result.refused] in (
            [("spec", "match", operator)], [("spec", "match", "field")],
        )  # fmt: skip
        assert not result.plan.filters


@pytest.mark.parametrize("row", [row for row in FIELDS.values() if not row.filled_by], ids=lambda row: row.name)
def test_a_field_that_nothing_fills_is_refused_with_that_reason(row):
    found = compiled(hunt({"field": row.name, row.operators[0]: "x" if row.type == Type.STRING else 1})).refused
    assert [(each.path, each.reason) for each in found] == [
        (("spec", "match", "field"), f"{row.name} is not filled by this version")
    ]


@pytest.mark.parametrize("row", [row for row in FIELDS.values() if not row.matchable], ids=lambda row: row.name)
def test_an_output_column_is_refused_with_that_reason(row):
    assert "output column" in compiled({"field": row.name, "equals": "x"}).refused[0].reason
