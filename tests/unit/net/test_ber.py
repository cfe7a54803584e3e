"""BER: lengths, integers and object identifiers at their edges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net import ber
from packhound.net.octets import Octets, Short


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 70000])
def test_lengths_short_and_long(size: int) -> None:
    body = bytes(size)
    long = b"\x04\x84" + size.to_bytes(4, "big") + body
    assert ber.octets(Octets(long)) == body
    if size < 128:
        assert ber.octets(Octets(bytes((4, size)) + body)) == body


@pytest.mark.parametrize("data", ["", "04", "0402ff", "0480", "048500000000010a", "04ff", "1f1f00", "0484ffffffff00"])
def test_what_has_no_end_is_short(data: str) -> None:
    with pytest.raises(Short):
        ber.element(Octets(bytes.fromhex(data)))


def test_a_small_tag_in_the_long_form_is_that_tag() -> None:
    assert ber.element(Octets(b"\xbf\x04\x00")).tag == 0xA4


@given(st.integers(-(1 << 63), (1 << 63) - 1))
def test_integers_come_back(value: int) -> None:
    body = value.to_bytes(8, "big", signed=True)
    assert ber.number(Octets(b"\x02\x08" + body)) == value


@pytest.mark.parametrize("body", [b"", bytes(10)])
def test_integers_of_no_size_or_too_long_break(body: bytes) -> None:
    with pytest.raises(Short):
        ber.integer(Octets(body))


def test_unsigned_values_do_not_become_negative() -> None:
    assert ber.integer(Octets(b"\xff\xff\xff\xff"), signed=False) == 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "text"),
    [("2b06010201", "1.3.6.1.2.1"), ("0000", "0.0.0"), ("8837", "2.999"), ("78", "2.40"), ("2a8648", "1.2.840"), ("", ""),
     ("2b8fffffff7f", "1.3.4294967295")],
)  # fmt: skip
def test_object_identifiers(data: str, text: str) -> None:
    assert ber.oid(Octets(bytes.fromhex(data))) == text


@pytest.mark.parametrize("data", [b"\x2b\x86", b"\x2b" + b"\xff" * 11 + b"\x7f", b"\x2b" + b"\1" * 200])
def test_object_identifiers_that_do_not_end_break(data: bytes) -> None:
    with pytest.raises(Short):
        ber.oid(Octets(data))
