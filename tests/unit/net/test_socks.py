"""SOCKS: who asks for which end, what the proxy says, and HTTP or TLS behind it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net import socks
from packhound.net.facts import Fact, Malformed
from packhound.net.sessions.socks import SocksStream
from packhound.net.socks import SocksMessage
from tests.support.hellos import client_hello, handshake, record, sni
from tests.support.mutations import chunks, damaged

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
HELLO = record(22, handshake(1, client_hello((0x1301,), sni("inner.example"))))
NAMED = b"\5\1\0\3\x0bexample.com\x01\xbb"
GRANTED = b"\5\0\0\1\x7f\0\0\1\0\x50"
OLD = b"\4\1\0\x50\xc0\0\2\1bob\0"
OLD_NAMED = b"\4\1\0\x50\0\0\0\1\0example.com\0"
LOGIN = b"\1\5alice\6secret"


def run(session: SocksStream, *said: tuple[int, bytes]) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for now, (direction, data) in enumerate(said):
        for fact in session.feed(direction, data, now=now):
            assert isinstance(fact, Fact), fact
            found.append({"kind": fact.kind, **fact.fields})
    return found


def test_version_5_with_a_login_then_tls() -> None:
    said = run(
        SocksStream(max_bytes=4096), (0, b"\5\2\0\2"), (1, b"\5\2"), (0, LOGIN), (1, b"\1\0"), (0, NAMED), (1, GRANTED),
        (0, HELLO),
    )  # fmt: skip
    assert said[:3] == [
        {"kind": "socks", "socks.version": 5, "socks.user": "alice"},
        {"kind": "socks", "socks.version": 5, "socks.command": "connect", "socks.host": "example.com", "socks.port": 443,
         "socks.user": "alice"},
        {"kind": "socks", "socks.version": 5, "socks.status": 0},
    ]  # fmt: skip
    assert said[3]["tls.sni"] == "inner.example"
    assert "secret" not in repr(said)


@pytest.mark.parametrize(
    ("request_", "end"),
    [(OLD, {"socks.ip": "192.0.2.1", "socks.user": "bob"}), (OLD_NAMED, {"socks.host": "example.com"})],
)
def test_version_4_then_http(request_: bytes, end: dict[str, object]) -> None:
    asked, answered, http = run(SocksStream(max_bytes=4096), (0, request_), (1, b"\0\x5a" + bytes(6)), (0, GET))
    assert asked == {"kind": "socks", "socks.version": 4, "socks.command": "connect", "socks.port": 80, **end}
    assert answered == {"kind": "socks", "socks.version": 4, "socks.status": 90}
    assert http["http.host"] == "h"


@given(st.integers(1, 30))
def test_any_cut_gives_the_same(size: int) -> None:
    session = SocksStream(max_bytes=4096)
    said = run(session, *((0, piece) for piece in chunks(LOGIN + NAMED, [size])))
    said += run(session, *((1, piece) for piece in chunks(GRANTED, [size])), (0, GET))
    assert [each["kind"] for each in said] == ["socks", "socks", "socks", "http.request"]


def test_a_refusal_or_a_tunnel_of_anything_else_ends_it() -> None:
    refused = SocksStream(max_bytes=4096)
    assert run(refused, (0, NAMED), (1, b"\5\2\0\1" + bytes(6)))[-1]["socks.status"] == 2
    assert refused.done
    other = SocksStream(max_bytes=4096)
    assert len(run(other, (0, NAMED), (1, GRANTED), (0, b"\x7fELF"))) == 2
    assert other.done


def test_addresses_of_every_type() -> None:
    six = socks.parse_request(b"\5\3\0\4" + bytes(15) + b"\1\0\x35")
    assert isinstance(six, SocksMessage)
    assert (six.ip, six.port, six.command) == ("::1", 53, 3)
    assert isinstance(socks.parse_request(b"\5\1\0\2" + bytes(9)), Malformed)
    assert isinstance(socks.parse_request(b"\4\1\0\x50\xc0\0\2\1" + b"u" * 300), Malformed)
    assert isinstance(socks.parse_request(b"\6\1"), Malformed)
    assert isinstance(socks.parse_reply(b"\5\0\0\2" + bytes(9), version=5), Malformed)
    for data in (NAMED, OLD, OLD_NAMED):
        assert all(socks.parse_request(data[:size]) is None for size in range(len(data)))


@given(damaged([NAMED, OLD, OLD_NAMED, LOGIN + NAMED, GRANTED, b"\5\1\0"]), st.lists(st.integers(1, 40), max_size=4))
def test_no_bytes_raise(data: bytes, sizes: list[int]) -> None:
    session = SocksStream(max_bytes=512)
    for piece in chunks(data, sizes):
        session.feed(0, piece, now=0)
        session.feed(1, piece, now=0)
    session.gap(1, 9)
