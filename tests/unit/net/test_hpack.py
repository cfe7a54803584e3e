"""HPACK: the examples of its RFC, a table joined late, and no bomb."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net import hpack
from packhound.net.facts import Malformed
from packhound.net.hpack import HeaderList, HpackDecoder
from tests.support.mutations import damaged, is_linear

# RFC 7541 appendix C.4: three requests of one connection, Huffman coded
REQUESTS = tuple(map(bytes.fromhex, (
    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
    "828684be5886a8eb10649cbf",
    "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
)))  # fmt: skip


def literal(name: bytes, value: bytes, *, first: int = 0x40) -> bytes:
    """A literal with a new name; 0x40: into the table."""
    return bytes((first, len(name))) + name + bytes((len(value),)) + value


def decoded(decoder: HpackDecoder, block: bytes) -> HeaderList:
    found = decoder.decode(block)
    assert isinstance(found, HeaderList)
    return found


def test_the_requests_of_the_rfc() -> None:
    decoder = HpackDecoder()
    first, second, third = (decoded(decoder, each) for each in REQUESTS)
    assert first.fields == (
        (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com"),
    )  # fmt: skip
    assert second.fields == (*first.fields, ("cache-control", "no-cache"))
    assert (third.get(":path"), third.get("custom-key")) == ("/index.html", "custom-value")


def test_entries_leave_a_table_that_is_full() -> None:
    decoder = HpackDecoder()
    decoded(decoder, b"\x3f\x21" + literal(b"a", b"1") + literal(b"b", b"2"))  # at most 64 bytes: one entry of 34
    assert decoded(decoder, b"\xbe").fields == (("b", "2"),)
    assert decoded(decoder, b"\xbf").missing == 1
    decoded(decoder, b"\x20")
    assert decoded(decoder, b"\xbe").missing == 1


def test_a_table_joined_late_says_what_it_misses_and_is_right_behind_it() -> None:
    decoder = HpackDecoder()
    decoded(decoder, REQUESTS[0])
    decoder.forget()
    late = decoded(decoder, REQUESTS[1])
    assert (late.get(":authority"), late.missing) == ("", 1)
    assert decoded(decoder, b"\xbe").fields == (("cache-control", "no-cache"),)
    assert decoded(decoder, b"\x7f\x01\x01x").missing == 1  # a name out of the lost part


@pytest.mark.parametrize(
    "block",
    [
        b"\x40", b"\x40\x00\x00", b"\x40\x05ab", b"\x40\x7f\xff\xff\xff\xff\xff\x00", b"\x3f\xe2\xff\xff\x0f",
        b"\x40\x81\x00\x01x",  # Huffman padding of zeros
        b"\x40\x84\xff\xff\xff\xff\x01x",  # its end symbol
        b"\x40\x82\xff\xff\x01x",  # more than seven bits of padding
    ],
)  # fmt: skip
def test_what_breaks_the_rules_is_malformed(block: bytes) -> None:
    assert isinstance(HpackDecoder().decode(block), Malformed)


def test_huffman_reads_every_octet() -> None:
    codes, code, before = {}, 0, 0
    for symbol in sorted(range(257), key=lambda each: (hpack._LENGTHS[each], each)):
        size = hpack._LENGTHS[symbol]
        code <<= size - before
        before = size
        codes[symbol] = f"{code:0{size}b}"
        code += 1
    assert code == 1 << 30  # the code is whole
    text = bytes(range(256)) * 2
    bits = "".join(codes[octet] for octet in text)
    bits += "1" * (-len(bits) % 8)
    assert hpack.huffman(int(bits, 2).to_bytes(len(bits) // 8, "big")) == text


def test_references_to_a_long_entry_are_counted_not_kept() -> None:
    decoder = HpackDecoder()
    decoded(decoder, b"\x40\x01x\x7f\xa1\x1e" + b"v" * 4000)
    found = decoded(decoder, b"\xbe" * 20_000)
    assert sum(len(value) for _, value in found.fields) <= hpack.MAX_LIST
    assert len(found.fields) + found.cut == 20_000


@given(damaged([*REQUESTS, literal(b"a", b"1") * 3]), st.booleans())
def test_no_bytes_raise(block: bytes, again: bool) -> None:
    decoder = HpackDecoder()
    for each in (block, *REQUESTS, block) if again else (block,):
        decoder.decode(each)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: b"\xbe" * n,
        lambda n: literal(b"a", b"1") * (n // 5),
        lambda n: b"\x3f\xe1\xff\x03" + literal(b"a", b"1") * (n // 6) + b"\xff\x80\x10" * (n // 6),
        lambda n: (b"\x40\x01a\xe4" + bytes(100)) * (n // 104),
    ],
)
def test_hostile_blocks_stay_linear(make: object) -> None:
    assert callable(make)
    assert is_linear(lambda data: HpackDecoder().decode(literal(b"n", b"v") + data), make, size=20_000)
