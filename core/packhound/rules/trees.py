"""Trees over numbered leaves and their three-valued judgement.

Promise: pure; values only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from typing import NamedTuple

from packhound.rules.plan import LeafSpec, Node
from packhound.rules.ranges import Range, merged, range_of


class Tree(NamedTuple):
    """`any`, `all` or `not` over `branches`, or the leaf of that number and field."""

    kind: str
    branches: tuple[Tree, ...] = ()
    leaf: int = -1
    field: str = ""


def tree_of(node: Node, numbers: Mapping[LeafSpec, int]) -> Tree:
    """The tree of a node, its leaves replaced by their numbers."""
    if node.leaf is not None:
        return Tree("leaf", leaf=numbers[node.leaf], field=node.leaf.field)
    return Tree(node.kind, tuple(tree_of(branch, numbers) for branch in node.branches))


class ByteRanges:
    """The ranges of every `flow.bytes` leaf by its number, and all thresholds at which one of them changes."""

    def __init__(self, specs: Iterable[LeafSpec]) -> None:
        self.of_leaf: dict[int, tuple[Range, ...]] = {
            i: merged(range_of(value, each.field) for value in each.values)
            for i, each in enumerate(specs)
            if each.field == "flow.bytes"
        }
        ends = {end for ranges in self.of_leaf.values() for low, high in ranges for end in (low, high + 1)}
        self.marks: tuple[int, ...] = tuple(sorted(ends))


@dataclass(frozen=True, slots=True)
class State:
    """What is known: leaves that are true, fields that were seen or cannot come, bytes of the flow so far (None: not
    known), whether nothing more comes."""

    true: Set[int]
    known: Set[str]
    ranges: ByteRanges
    total: int | None
    finished: bool

    def of_bytes(self, leaf: int) -> bool | None:
        """What a `flow.bytes` leaf says; None while the flow may still grow into its range."""
        ranges, total = self.ranges.of_leaf[leaf], self.total
        if total is not None and any(low <= total <= high for low, high in ranges):
            return True
        return None if not self.finished and (total is None or total < ranges[-1][1]) else False


def judge(tree: Tree, state: State) -> bool | None:
    """Kleene logic: None where what is known does not decide."""
    if tree.kind == "leaf":
        if tree.leaf in state.ranges.of_leaf:
            return state.of_bytes(tree.leaf)
        if tree.leaf in state.true:
            return True
        return False if tree.field in state.known else None
    if tree.kind == "not":
        found = judge(tree.branches[0], state)
        return None if found is None else not found
    decisive, unknown = tree.kind == "any", False
    for branch in tree.branches:
        found = judge(branch, state)
        if found is decisive:
            return decisive
        unknown |= found is None
    return None if unknown else not decisive
