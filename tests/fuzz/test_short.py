"""A short run of every target, the same every time, and every input that once broke something.

The long runs are `make fuzz`; docs/fuzzing.md says what they were.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import seeds
from tests.fuzz.all import targets
from tests.fuzz.mutation import Mutator
from tests.fuzz.target import is_own
from tests.fuzz.turns import MARK, Turn, pack, unpack

FEW = 80  # captures that seeds come from: all of them take a while to read
TARGETS = targets()
SLOW = {"engine": 60, "sensor": 40, "reassembly": 150, "decode": 100, "yaml-filters": 100}
REGRESSIONS = sorted((Path(__file__).parent / "regressions").glob("*.hex"))


@pytest.fixture(autouse=True, scope="module")
def few_seeds() -> object:
    """Read few captures; the caches are emptied for others."""
    most = seeds.MOST_FILES
    seeds.MOST_FILES = FEW
    seeds.forget()
    yield
    seeds.MOST_FILES = most
    seeds.forget()


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_damaged_inputs_break_no_promise(name: str) -> None:
    target = TARGETS[name]
    mutator = Mutator(target.seeds(), seed=5, words=target.words, size=target.size, turns=target.turns)
    for data in target.seeds()[:20]:
        target.run(data[: target.size])
    for _ in range(SLOW.get(name, 300)):
        target.run(mutator.next())


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
def test_what_once_broke_holds(path: Path) -> None:
    TARGETS[path.stem.partition("--")[0]].run(bytes.fromhex(path.read_text()))


def test_every_regression_names_a_target() -> None:
    assert REGRESSIONS
    assert {path.stem.partition("--")[0] for path in REGRESSIONS} <= set(TARGETS)


def test_every_target_has_seeds() -> None:
    assert [name for name, target in TARGETS.items() if not any(target.seeds())] == []


def test_mutation_is_the_same_every_time_and_never_the_same_twice() -> None:
    def some(seed: int) -> list[bytes]:
        mutator = Mutator([b"abcdef", pack([(0, b"xyz"), (1, b"123")])], seed=seed, size=100, turns=True)
        return [mutator.next() for _ in range(200)]

    assert some(1) == some(1) != some(2)
    assert len(set(some(1))) > 120


@pytest.mark.parametrize("order", range(256))
def test_turns_are_cut_without_loss(order: int) -> None:
    data = bytes(range(256)) * 3
    assert b"".join(Turn(order, data).pieces()) == data
    assert unpack(pack([(order, b"abc"), (1, b"")])) == [Turn(order, b"abc"), Turn(1, b"")]
    assert MARK not in bytes(range(256))


def test_reasons_that_are_not_ours_are_told_from_ours() -> None:
    assert is_own("DNS record breaks its message")
    assert is_own("LDAP stream lost its framing")
    assert not is_own("GET / HTTP/1.1")
    assert not is_own("DNS record breaks its message: evil\x1b[2J")
