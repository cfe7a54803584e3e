"""Packets kept back: each leaves once, the first of a pile are kept, the oldest pile goes first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from packhound.sensor.kept import Keep, Kept


def packet(ts: int, size: int = 10) -> Kept:
    return Kept(ts, size, 0, ts, bytes(size))


def keep(*, pile_bytes: int = 100, pile_packets: int = 5, total_bytes: int = 1000) -> Keep:
    return Keep(pile_bytes=pile_bytes, pile_packets=pile_packets, total_bytes=total_bytes)


def stamps(packets: list[Kept]) -> list[int]:
    return [each.ts for each in packets]


def test_a_pile_comes_out_whole_in_order_and_once() -> None:
    kept = keep()
    for ts in (1, 2, 3):
        assert kept.add("a", packet(ts))
    assert kept.add("b", packet(9))
    assert "a" in kept
    assert stamps(kept.take("a")) == [1, 2, 3]
    assert kept.take("a") == []
    assert (kept.packets, kept.bytes) == (1, 10)


def test_a_full_pile_refuses_and_keeps_its_first_packets() -> None:
    by_count, by_size = keep(pile_packets=2), keep(pile_bytes=25)
    for each in (by_count, by_size):
        assert [each.add("a", packet(ts)) for ts in (1, 2, 3)] == [True, True, False]
        assert stamps(each.take("a")) == [1, 2]


def test_a_first_packet_larger_than_a_pile_is_kept_alone() -> None:
    kept = keep(pile_bytes=5)
    assert kept.add("a", packet(1))
    assert not kept.add("a", packet(2, 1))


def test_over_its_budget_the_oldest_pile_is_given_up() -> None:
    kept = keep(total_bytes=35)
    for key, ts in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        kept.add(key, packet(ts))
    assert stamps(list(kept.released())) == [1, 3]
    assert list(kept.released()) == []
    assert ("a" in kept, "b" in kept, "c" in kept) == (False, True, True)


def test_age_gives_up_what_is_older_and_keeps_the_rest_of_a_pile() -> None:
    kept = keep()
    for key, ts in (("a", 1), ("b", 2), ("a", 5), ("b", 6)):
        kept.add(key, packet(ts))
    kept.age(5)
    assert sorted(stamps(list(kept.released()))) == [1, 2]
    assert stamps(kept.take("a")) == [5]
    assert stamps(kept.take("b")) == [6]


def test_rebase_writes_the_set_of_the_new_plan() -> None:
    kept = keep()
    kept.add("a", packet(1))
    kept.rebase(7)
    assert [each.base for each in kept.take("a")] == [7]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 40), st.sampled_from(("add", "take", "age")))))
def test_every_packet_leaves_exactly_once(steps: list[tuple[str, int, str]]) -> None:
    kept, left, went_in = keep(pile_bytes=60, total_bytes=120), [], []
    for at, (key, size, what) in enumerate(steps):
        if what == "add":
            each = packet(at, size)
            went_in.append(at)
            if not kept.add(key, each):
                left.append(at)
        elif what == "take":
            left += stamps(kept.take(key))
        else:
            kept.age(at - size // 4)
        left += stamps(list(kept.released()))
        assert kept.packets == len(went_in) - len(left)
    kept.age(1 << 62)
    left += stamps(list(kept.released()))
    assert sorted(left) == went_in
    assert (kept.packets, kept.bytes) == (0, 0)
