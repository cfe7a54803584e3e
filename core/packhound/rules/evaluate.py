"""Evaluation of filters on facts: the naive meaning, and the selection that makes a thousand filters cheap.

Promise: pure. `evaluate` is the specification; `Selector` finds the same true leaves without trying each (the only door
to pyahocorasick). A field that a message lacks makes its leaves false.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import ahocorasick

from packhound.fields import Type
from packhound.net.facts import Scalar, Value
from packhound.rules.plan import LeafSpec, Node
from packhound.rules.values import Test, build, glob_tokens

_TEXT = (Type.STRING, Type.NAME)


def test_of(leaf: LeafSpec) -> Test:
    """The test of one value for `leaf`. Raises BadValue."""
    return build(
        leaf.operator, leaf.values, kind=leaf.row.type, field=leaf.field, case=leaf.case, min_digits=leaf.min_digits
    )


def values_of(value: Value | None) -> tuple[Scalar, ...]:
    """A field's values as a tuple."""
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)


def evaluate(node: Node, facts: Mapping[str, Value]) -> bool:
    """The naive meaning of a tree on one set of facts: any value of a field may satisfy a leaf."""
    if node.leaf is not None:
        test = test_of(node.leaf)
        return any(test(value) for value in values_of(facts.get(node.leaf.field)))
    branches = (evaluate(branch, facts) for branch in node.branches)
    if node.kind == "any":
        return any(branches)
    if node.kind == "all":
        return all(branches)
    return not next(branches)


class _FieldIndex:
    """Leaves of one field by how they can be found: exact values, domains, inner literals, or by trying."""

    def __init__(self) -> None:
        self.exact: dict[str, list[int]] = defaultdict(list)
        self.domains: dict[str, list[int]] = defaultdict(list)
        self.literals: dict[str, list[int]] = defaultdict(list)
        self.rest: list[int] = []
        self.automaton: Any = None

    def add(self, number: int, leaf: LeafSpec) -> None:
        if leaf.row.type not in _TEXT or leaf.operator == "regex":
            self.rest.append(number)
            return
        keys = [_key(str(value), leaf.operator) for value in leaf.values]
        if not all(keys):
            self.rest.append(number)
            return
        table = self.literals
        if leaf.operator in ("equals", "in"):
            table = self.exact
        elif leaf.operator == "domain":
            table = self.domains
        for key in keys:
            table[key].append(number)

    def seal(self) -> None:
        if not self.literals:
            return
        self.automaton = ahocorasick.Automaton()
        for literal, numbers in self.literals.items():
            self.automaton.add_word(literal, tuple(numbers))
        self.automaton.make_automaton()

    def candidates(self, text: str) -> set[int]:
        folded = text.casefold()
        found = set(self.exact.get(folded, ()))
        if self.domains:
            name = folded.rstrip(".")
            while name:
                found.update(self.domains.get(name, ()))
                name = name.partition(".")[2]
        if self.automaton is not None:
            for _, numbers in self.automaton.iter(folded):
                found.update(numbers)
        return found


def _key(value: str, operator: str) -> str:
    if operator == "domain":
        return value.casefold().removeprefix("*").strip(".")
    if operator == "glob":
        runs = [text for kind, text in glob_tokens(value) if kind == "lit"]
        return max(runs, key=len, default="").casefold()
    return value.casefold()


class Selector:
    """All distinct leaves of a plan, and which of them a set of facts satisfies."""

    def __init__(self, specs: Iterable[LeafSpec]) -> None:
        self.specs: list[LeafSpec] = list(dict.fromkeys(specs))
        self.number: dict[LeafSpec, int] = {spec: i for i, spec in enumerate(self.specs)}
        self._tests = [test_of(spec) for spec in self.specs]
        self._fields: dict[str, _FieldIndex] = defaultdict(_FieldIndex)
        for spec, number in self.number.items():
            self._fields[spec.field].add(number, spec)
        for index in self._fields.values():
            index.seal()

    @property
    def fields(self) -> frozenset[str]:
        """Fields that any leaf uses."""
        return frozenset(self._fields)

    def satisfied(self, facts: Mapping[str, Value]) -> set[int]:
        """Numbers of the leaves that `facts` make true."""
        out: set[int] = set()
        for name, index in self._fields.items():
            value = facts.get(name)
            if value is None:
                continue
            for each in values_of(value):
                for number in (*index.candidates(str(each)), *index.rest):
                    if number not in out and self._tests[number](each):
                        out.add(number)
        return out
