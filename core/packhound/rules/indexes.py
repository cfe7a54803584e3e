"""Which leaves of one field a value may satisfy, without trying them all: hash tables over what users wrote.

Promise: pure; a candidate may turn out false, but no leaf that is true is ever left out. Leaves are numbers here.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable

from packhound.net.facts import Scalar
from packhound.rules.phone import phone_of
from packhound.rules.ranges import Range, network_of, number_in, plain_address, range_of
from packhound.rules.text import absolute, domain_of, domain_stem, fold
from packhound.rules.values import text_of

MAX_RANGE_CELLS = 1_000_000


class ExactIndex:
    """Leaves `equals` and `in` on text, by the text."""

    def __init__(self) -> None:
        self._by_text: dict[str, set[int]] = defaultdict(set)

    def add(self, number: int, values: Iterable[Scalar]) -> None:
        for value in values:
            self._by_text[absolute(fold(text_of(value)))].add(number)

    def find(self, value: Scalar) -> Iterable[int]:
        return self._by_text.get(absolute(fold(text_of(value))), ())


class DomainIndex:
    """Leaves `domain`, by the name they start from."""

    def __init__(self) -> None:
        self._by_stem: dict[str, set[int]] = defaultdict(set)

    def add(self, number: int, values: Iterable[Scalar]) -> None:
        for value in values:
            found = domain_stem(text_of(value))
            if found is not None:
                self._by_stem[found[0]].add(number)

    def find(self, value: Scalar) -> Iterable[int]:
        found: set[int] = set()
        name = domain_of(text_of(value))
        while name and self._by_stem:
            found.update(self._by_stem.get(name, ()))
            name = name.partition(".")[2]
        return found


class AddressIndex:
    """Leaves on addresses, by network: one hash table a prefix length."""

    def __init__(self) -> None:
        self._by_prefix: dict[tuple[int, int], dict[int, set[int]]] = {}

    def add(self, number: int, values: Iterable[Scalar]) -> None:
        for value in values:
            network = network_of(value)
            shift = network.max_prefixlen - network.prefixlen
            table = self._by_prefix.setdefault((network.version, shift), defaultdict(set))
            table[int(network.network_address) >> shift].add(number)

    def find(self, value: Scalar) -> Iterable[int]:
        address = plain_address(value) if isinstance(value, str) else None
        if address is None:
            return ()
        found: set[int] = set()
        for (version, shift), table in self._by_prefix.items():
            if version == address.version:
                found.update(table.get(int(address) >> shift, ()))
        return found


class NumberIndex:
    """Leaves on numbers: single ones by hash, ranges by the cell between two of their ends."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._single: dict[int, set[int]] = defaultdict(set)
        self._ranges: list[tuple[Range, int]] = []
        self._cuts: list[int] = []
        self._cells: list[frozenset[int]] = []

    def add(self, number: int, values: Iterable[Scalar]) -> None:
        for value in values:
            low, high = range_of(value, self._field)
            if low == high:
                self._single[low].add(number)
            else:
                self._ranges.append(((low, high), number))

    def seal(self) -> None:
        """Cut the ranges into cells; one cell when there would be too many leaves in all of them."""
        cuts = sorted({end for (low, high), _ in self._ranges for end in (low, high + 1)})
        if len(cuts) * len(self._ranges) > MAX_RANGE_CELLS:
            cuts = cuts[:1]
        self._cuts = cuts
        cells: list[set[int]] = [set() for _ in cuts]
        for (low, high), number in self._ranges:
            for at in range(max(bisect_right(cuts, low) - 1, 0), bisect_right(cuts, high)):
                cells[at].add(number)
        self._cells = [frozenset(each) for each in cells]

    def find(self, value: Scalar) -> Iterable[int]:
        number = number_in(value, self._field)
        if number is None:
            return ()
        at = bisect_right(self._cuts, number) - 1
        single = self._single.get(number, ())
        return {*single, *self._cells[at]} if at >= 0 else single


class PhoneIndex:
    """Leaves `number`: by every spelling, and by the last digits that decide a comparison of different lengths."""

    def __init__(self) -> None:
        self._spelt: dict[str, set[int]] = defaultdict(set)
        self._ends: dict[int, dict[str, set[int]]] = {}

    def add(self, number: int, values: Iterable[Scalar], *, min_digits: int) -> None:
        ends = self._ends.setdefault(min_digits, defaultdict(set))
        for value in values:
            phone = phone_of(text_of(value))
            if phone is None:
                continue
            for each in (*phone.spellings, phone.digits):
                self._spelt[each].add(number)
            if len(phone.digits) >= min_digits:
                ends[phone.digits[-min_digits:]].add(number)

    def find(self, value: Scalar) -> Iterable[int]:
        phone = phone_of(text_of(value))
        if phone is None:
            return ()
        found: set[int] = set()
        for each in (*phone.spellings, phone.digits):
            found.update(self._spelt.get(each, ()))
        for size, ends in self._ends.items():
            if len(phone.digits) >= size:
                found.update(ends.get(phone.digits[-size:], ()))
        return found
