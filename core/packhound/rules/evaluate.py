"""Evaluation of filters on facts: the naive meaning, and the selection that makes a thousand filters cheap.

Promise: pure. `evaluate` is the specification; `Selector` finds the same true leaves without trying each (the only door
to pyahocorasick). A field that a message lacks makes its leaves false.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ahocorasick

from packhound.fields import Type
from packhound.net.facts import Scalar, Value
from packhound.rules.indexes import AddressIndex, DomainIndex, ExactIndex, NumberIndex, PhoneIndex
from packhound.rules.plan import LeafSpec, Node
from packhound.rules.text import fold, glob_tokens
from packhound.rules.values import Test, build, text_of


def leaf_test(leaf: LeafSpec) -> Test:
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
        test = leaf_test(node.leaf)
        return any(test(value) for value in values_of(facts.get(node.leaf.field)))
    branches = (evaluate(branch, facts) for branch in node.branches)
    if node.kind == "any":
        return any(branches)
    if node.kind == "all":
        return all(branches)
    return not next(branches)


class _InnerTexts:
    """Leaves `prefix`, `suffix`, `contains` and `glob`, by a text that must be in the value."""

    def __init__(self) -> None:
        self._by_text: dict[str, set[int]] = defaultdict(set)
        self._automaton: Any = None

    def add(self, number: int, leaf: LeafSpec) -> bool:
        """Take a leaf; False when one of its values has no such text."""
        keys = [_inner_text(text_of(value), leaf.operator) for value in leaf.values]
        if not all(keys):
            return False
        for key in keys:
            self._by_text[key].add(number)
        return True

    def seal(self) -> None:
        if self._by_text:
            self._automaton = ahocorasick.Automaton()
            for text, numbers in self._by_text.items():
                self._automaton.add_word(text, tuple(numbers))
            self._automaton.make_automaton()

    def find(self, value: Scalar) -> Iterable[int]:
        found: set[int] = set()
        if self._automaton is not None:
            for _, numbers in self._automaton.iter(fold(text_of(value))):
                found.update(numbers)
        return found


def _inner_text(value: str, operator: str) -> str:
    if operator != "glob":
        return fold(value)
    return fold(max((text for kind, text in glob_tokens(value) if kind == "lit"), key=len, default=""))


class _FieldIndex:
    """All leaves of one field; `rest` are those that must be tried on every value."""

    def __init__(self, field: str) -> None:
        self.exact, self.domains, self.inner = ExactIndex(), DomainIndex(), _InnerTexts()
        self.addresses, self.numbers, self.phones = AddressIndex(), NumberIndex(field), PhoneIndex()
        self.rest: list[int] = []
        self._used: dict[int, Callable[[Scalar], Iterable[int]]] = {}

    def add(self, number: int, leaf: LeafSpec) -> None:
        kind, operator = leaf.row.type, leaf.operator
        if kind == Type.BOOL or operator == "regex":
            self.rest.append(number)
        elif kind == Type.ADDRESS:
            self.addresses.add(number, leaf.values)
            self._use(self.addresses)
        elif kind == Type.NUMBER:
            self.numbers.add(number, leaf.values)
            self._use(self.numbers)
        elif operator == "number":
            self.phones.add(number, leaf.values, min_digits=leaf.min_digits)
            self._use(self.phones)
        elif operator == "domain":
            self.domains.add(number, leaf.values)
            self._use(self.domains)
        elif operator in ("equals", "in"):
            self.exact.add(number, leaf.values)
            self._use(self.exact)
        elif self.inner.add(number, leaf):
            self._use(self.inner)
        else:
            self.rest.append(number)

    def _use(self, index: Any) -> None:
        self._used[id(index)] = index.find

    def seal(self) -> None:
        self.inner.seal()
        self.numbers.seal()

    def candidates(self, value: Scalar) -> set[int]:
        found = set(self.rest)
        for find in self._used.values():
            found.update(find(value))
        return found


class Selector:
    """All distinct leaves of a plan, numbered, and which of them a set of facts satisfies."""

    def __init__(self, specs: Iterable[LeafSpec]) -> None:
        self.specs: list[LeafSpec] = list(dict.fromkeys(specs))
        self.number: dict[LeafSpec, int] = {spec: i for i, spec in enumerate(self.specs)}
        self._tests = [leaf_test(spec) for spec in self.specs]
        self._fields: dict[str, _FieldIndex] = {}
        for spec, number in self.number.items():
            if spec.field not in self._fields:
                self._fields[spec.field] = _FieldIndex(spec.field)
            self._fields[spec.field].add(number, spec)
        for index in self._fields.values():
            index.seal()
        self.fields = frozenset(self._fields)

    def satisfied(self, facts: Mapping[str, Value]) -> set[int]:
        """Numbers of the leaves that `facts` make true."""
        out: set[int] = set()
        for name in self.fields & facts.keys():
            index = self._fields[name]
            for each in values_of(facts[name]):
                for number in index.candidates(each):
                    if number not in out and self._tests[number](each):
                        out.add(number)
        return out
