"""The compiled prefilter hits exactly the payloads that the portable one hits."""

from __future__ import annotations

import random
from itertools import islice

import pytest

from packhound.rules.literals import LiteralSet
from packhound.sensor.tap.errors import TapError
from tests.support.corpus import CORPUS, captures, needs_corpus
from tests.support.dissected import packets

kernel = pytest.importorskip("packhound.sensor.kernel._scan", reason="the native kernel is not built")

HUNTED = (
    b"google", b"mozilla/5.0", b"example.com", b"alice", b"invite sip:", b"User-Agent", b"\x00\x00", b"ac", b"q",
    b"facebook.com",
    b"content-length: 0", b"\x16\x03\x01", b"wikipedia.org", b"200 OK", b"BYE", b"dropbox",
)  # fmt: skip


@pytest.mark.parametrize("size", range(1, 65))
def test_every_length_at_every_place(size: int) -> None:
    rng = random.Random(size)
    literal = rng.randbytes(size)
    literals = LiteralSet([literal])
    for place in range(70):
        payload = bytes(place) + literal.upper() + bytes(place % 5)
        assert kernel.prefilter_one(literals, payload), place
        assert kernel.prefilter_one(literals, payload[:-1]) == literals.hit(payload[:-1]), place


def test_a_payload_shorter_than_any_gram() -> None:
    literals = LiteralSet([b"abc", b"abcd-efgh-ijkl"])
    for payload in (b"", b"a", b"ab", b"abc"):
        assert kernel.prefilter_one(literals, payload) == literals.hit(payload)


@needs_corpus
def test_twins_agree_on_real_payloads() -> None:
    sets = [LiteralSet(HUNTED[start:]) for start in (0, 3, 9)] + [LiteralSet([word]) for word in HUNTED]
    seen = hits = 0
    for name in captures()[::9]:
        try:
            found = list(islice(packets(str(CORPUS / name)), 60))
        except TapError:
            continue  # a capture that cannot be read is another test's business
        for packet in found:
            f = packet.frame
            payload = packet.data[f.payload : f.payload + f.payload_len]
            literals = sets[seen % len(sets)]
            expected = literals.hit(payload)
            assert kernel.prefilter_one(literals, payload) == expected, (name, payload)
            seen += 1
            hits += expected
    assert seen > 500
    assert 0 < hits < seen
