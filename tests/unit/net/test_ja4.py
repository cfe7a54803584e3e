"""JA3 and JA4: GREASE left out, versions, counts and ALPN marks as the specifications say."""

from __future__ import annotations

import hashlib

import pytest

from packhound.net.ja3 import ja3, ja3_full, ja3s
from packhound.net.ja4 import alpn_mark, ja4, ja4_raw
from packhound.net.tls_messages import ClientHello, ServerHello, parse_client_hello, parse_server_hello
from tests.support.hellos import alpn, client_hello, extension, server_hello, sni, u16, vector


def hello(ciphers: tuple[int, ...], extensions: bytes, *, version: int = 0x0303) -> ClientHello:
    found = parse_client_hello(client_hello(ciphers, extensions, version=version))
    assert isinstance(found, ClientHello)
    return found


VERSIONS = extension(43, vector(1, u16(0x1A1A, 0x0304, 0x0303)))
SIGNATURES = extension(13, vector(2, u16(0x0804, 0x0403, 0x0A0A)))
GROUPS = extension(10, vector(2, u16(0x2A2A, 0x001D, 0x0017)))
FORMATS = extension(11, vector(1, b"\0\1"))
FULL = hello(
    (0x0A0A, 0x1302, 0x1301, 0x00FF),
    extension(0x3A3A, b"") + sni("a.example") + GROUPS + FORMATS + SIGNATURES + alpn(b"h2", b"http/1.1") + VERSIONS,
)


def test_ja4_of_a_hello_with_everything() -> None:
    raw = "t13d0306h2_00ff,1301,1302_000a,000b,000d,002b_0804,0403"
    assert ja4_raw(FULL) == raw
    head, ciphers, rest = raw.split("_", 2)
    digests = (hashlib.sha256(part.encode()).hexdigest()[:12] for part in (ciphers, rest))
    assert ja4(FULL) == "_".join((head, *digests))
    assert ja4(FULL, transport="q").startswith("q13d0306h2_")


def test_ja3_leaves_grease_out_and_uses_the_legacy_version() -> None:
    text = "771,4866-4865-255,0-10-11-13-16-43,29-23,0-1"
    assert ja3_full(FULL) == text
    assert ja3(FULL) == hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def test_a_bare_hello_has_zeroes_for_hashes() -> None:
    bare = hello((), b"", version=0x0300)
    assert ja4(bare) == "ts3i000000_000000000000_000000000000"
    assert ja3_full(bare) == "768,,,,"


def test_counts_stop_at_99() -> None:
    many = hello(tuple(range(1, 200)), b"".join(extension(number, b"") for number in range(100, 250)))
    assert ja4(many).startswith("t12i999900_")


@pytest.mark.parametrize(
    ("name", "mark"),
    [
        (b"h2", "h2"), (b"H2", "H2"), (b"http/1.1", "h1"), (b"h", "hh"), (b"", "00"), (b"\xab", "ab"),
        (b"\xab\xcd", "ad"), (b"\x30\xab", "3b"), (b"\x30\x31\xab\xcd", "3d"), (b"\x30\xab\xcd\x31", "01"),
        (b"\x0a\x0a", "0a"), (b"-x", "28"),
    ],
)  # fmt: skip
def test_alpn_marks(name: bytes, mark: str) -> None:
    assert alpn_mark(name) == mark


def test_versions_of_dtls_count_downwards() -> None:
    found = hello((), extension(43, vector(1, u16(0xFEFD, 0xFEFC))), version=0xFEFD)
    assert ja4(found, transport="d").startswith("dd3i0001")


def test_ja3s_of_a_server_hello() -> None:
    found = parse_server_hello(server_hello(0x1301, extension(43, u16(0x0304)) + extension(51, b"")))
    assert isinstance(found, ServerHello)
    assert ja3s(found) == hashlib.md5(b"771,4865,43-51", usedforsecurity=False).hexdigest()
