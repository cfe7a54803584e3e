"""A set of literals: which payloads it hits, and the tables the kernel walks."""

from __future__ import annotations

import random

import pytest

from packhound.rules.literals import ENTRY_DTYPE, LiteralSet, Tier, hash_of, word_of


def walked(literals: LiteralSet, payload: bytes) -> bool:
    """What the kernel does with the tables, in the plainest way."""
    folded = payload.lower()
    return any(_tier_hits(tier, literals.blob, folded) for tier in literals.tiers)


def _tier_hits(tier: Tier, blob: bytes, folded: bytes) -> bool:
    for at in range(0, len(folded) - tier.gram + 1, tier.stride):
        hashed = hash_of(word_of(folded[at : at + tier.gram]))
        block = int(tier.bloom[hashed >> (38 - tier.bits)])
        if not block >> (hashed >> 15 & 63) & block >> (hashed >> 9 & 63) & 1:
            continue
        index = int(tier.heads[hashed >> (32 - tier.head_bits)])
        while index >= 0:
            entry = tier.entries[index]
            start, size, place = int(entry["start"]), int(entry["size"]), at - int(entry["offset"])
            if place >= 0 and folded[place : place + size] == blob[start : start + size]:
                return True
            index = int(entry["next"])
    return False


def test_case_of_letters_does_not_matter_and_of_nothing_else() -> None:
    literals = LiteralSet([b"Alice@Example.COM"])
    assert literals.hit(b"From: <sip:aLICE@eXAMPLE.com>")
    assert not literals.hit(b"alice`example.com")  # @ and ` differ by the bit that folds letters


def test_an_empty_set_hits_nothing() -> None:
    assert not LiteralSet([]).hit(b"anything")
    assert LiteralSet([]).tiers == ()


def test_an_empty_literal_is_refused() -> None:
    with pytest.raises(ValueError, match="empty literal"):
        LiteralSet([b"abc", b""])


def test_what_starts_with_another_literal_needs_no_entry() -> None:
    assert LiteralSet([b"example.com", b"example.com.evil.test", b"Example.com"]).literals == (b"example.com",)


def test_long_literals_are_looked_for_at_every_stride_only() -> None:
    (tier,) = LiteralSet([b"a-host-of-sixteen"[:16]]).tiers
    assert (tier.gram, tier.stride) == (4, 13)
    assert len(tier.entries) == 13


def test_a_few_short_literals_do_not_slow_the_long_ones() -> None:
    rng = random.Random(5)
    long = [bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz", k=rng.randint(12, 30))) for _ in range(500)]
    short, rest = LiteralSet([*long, b"q7x"]).tiers
    assert (short.gram, short.stride, len(short.entries)) == (3, 1, 1)
    assert (rest.gram, rest.stride) == (4, 9)


def test_windows_avoid_what_ordinary_traffic_holds() -> None:
    literals = LiteralSet([b"http://www.zqxjkv.example", b"user-agent: zqxjkv", b"zqxjkv"])
    for entry in literals.tiers[0].entries:
        assert entry["word"] not in {word_of(gram) for gram in (b"http", b"://w", b"www.", b"user", b"agen")}


def test_tables_have_the_shape_the_kernel_expects() -> None:
    for tier in LiteralSet([b"x", b"four", b"a longer literal"]).tiers:
        assert tier.bloom.nbytes * 8 == 1 << tier.bits
        assert len(tier.heads) == 1 << tier.head_bits
        assert tier.entries.dtype == ENTRY_DTYPE
        assert int(tier.heads.max()) < len(tier.entries)


@pytest.mark.parametrize("size", range(1, 65))
def test_a_literal_of_any_length_is_found_at_any_place(size: int) -> None:
    rng = random.Random(size)
    literal = rng.randbytes(size)
    literals = LiteralSet([literal, rng.randbytes(size), rng.randbytes(min(size + 3, 64))])
    for place in range(70):
        payload = bytes(place) + literal.upper() + bytes(rng.randrange(8))
        assert literals.hit(payload)
        assert walked(literals, payload), place


def test_tables_and_specification_agree_on_look_alikes() -> None:
    literals = LiteralSet([b"@@@@", b"zzz.example", b"[ab]"])
    for payload in (b"````", b"@@@`", b"ZZZ.EXAMPLE", b"ZZZNEXAMPLE", b"{AB}", b"[aB]", b"{ab]"):
        assert walked(literals, payload) == literals.hit(payload), payload
