"""What was used lately is kept, in bounded memory."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from packhound.sensor.recent import Recent


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=200), st.integers(1, 16))
def test_the_last_half_is_there_and_never_more_than_the_limit(steps: list[tuple[bool, int]], limit: int) -> None:
    made: Recent[int, int] = Recent(limit)
    used: list[int] = []
    for put, key in steps:
        if put:
            made[key] = key * 2
        elif made.get(key) is None:
            continue
        used = [each for each in used if each != key] + [key]
        assert len(made) <= max(2, limit)
        kept = used[-max(1, limit // 2) :]
        assert [made._young.get(each, made._old.get(each)) for each in kept] == [each * 2 for each in kept]


@given(st.lists(st.integers(0, 30), max_size=60), st.lists(st.integers(0, 30), max_size=60))
def test_many_at_once_find_what_one_by_one_finds(put: list[int], asked: list[int]) -> None:
    one: Recent[int, str] = Recent(20)
    many: Recent[int, str] = Recent(20)
    for key in put:
        one[key] = many[key] = str(key)
    found = many.of(asked)
    for key, value in zip(asked, found, strict=True):
        assert value in (None, str(key))
        assert one.get(key) is None or value is not None
    assert len(many) <= 20
