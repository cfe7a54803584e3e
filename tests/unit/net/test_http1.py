"""HTTP/1: heads of every message of a connection, whatever its bodies, cuts and losses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net import http1
from packhound.net.facts import Fact, Malformed
from packhound.net.sessions.http1 import HttpStream
from tests.support.hellos import client_hello, handshake, record, sni
from tests.support.mutations import chunks, damaged, is_linear

GET = b"GET /a/b?q=1 HTTP/1.1\r\nHost: example.com\r\nUser-Agent: curl/8\r\nX: folded\r\n  more\r\n\r\n"
POST = b"POST /form HTTP/1.1\nhost:h\ncontent-length: 5\n\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nServer: s\r\n\r\n"
CHUNKED += b"5;x=y\r\nhello\r\nA\r\n0123456789\r\n0\r\nT: x\r\n\r\n"
SIZED = b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n404"


def run(session: HttpStream, direction: int, data: bytes, sizes: list[int] | None = None) -> list[Fact | Malformed]:
    return [fact for piece in chunks(data, sizes or []) for fact in session.feed(direction, piece, now=0)]


def stream() -> HttpStream:
    return HttpStream(max_bytes=65536)


def values(facts: list[Fact | Malformed], name: str) -> list[object]:
    return [fact.fields.get(name) for fact in facts if isinstance(fact, Fact)]


def test_a_request() -> None:
    (fact,) = run(stream(), 0, GET)
    assert fact == Fact("http.request", {
        "http.version": "1.1", "http.method": "GET", "http.path": "/a/b", "http.host": "example.com",
        "http.url": "http://example.com/a/b?q=1", "http.user_agent": "curl/8",
    })  # fmt: skip


@pytest.mark.parametrize(
    ("head", "host", "path", "url"),
    [
        (b"GET http://user@Ex.com:8080/x?y HTTP/1.1\r\nHost: other\r\n\r\n", "Ex.com", "/x", "http://user@Ex.com:8080/x?y"),
        (b"GET http://ex.com HTTP/1.0\r\n\r\n", "ex.com", "/", "http://ex.com"),
        (b"CONNECT h:443 HTTP/1.1\r\n\r\n", "h", None, "h:443"),
        (b"GET / HTTP/1.1\r\nHost: [2001:db8::1]:81\r\n\r\n", "2001:db8::1", "/", "http://[2001:db8::1]:81/"),
        (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "h", "*", "*"),
        (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", "h", "/a b", "http://h/a b"),
        (b"GET HTTP/1.1\r\nHost: h\r\n\r\n", "h", None, None),
    ],
)  # fmt: skip
def test_every_form_of_target(head: bytes, host: str, path: str | None, url: str | None) -> None:
    (fact,) = run(stream(), 0, head)
    assert isinstance(fact, Fact)
    assert (fact.fields.get("http.host"), fact.fields.get("http.path"), fact.fields.get("http.url")) == (
        host,
        path,
        url,
    )


@given(st.lists(st.integers(1, 200), max_size=6))
def test_pipelined_messages_over_any_cut(sizes: list[int]) -> None:
    session = stream()
    assert values(run(session, 0, POST + GET + POST, sizes), "http.method") == ["POST", "GET", "POST"]
    assert values(run(session, 1, CHUNKED + SIZED + CHUNKED, sizes), "http.status") == [200, 404, 200]


def test_responses_without_body() -> None:
    session = stream()
    run(session, 0, GET.replace(b"GET", b"HEAD") + GET + GET)
    continued = b"HTTP/1.1 100 Continue\r\n\r\n"
    head = SIZED[: SIZED.index(b"\r\n\r\n") + 4]
    unchanged = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"
    assert values(run(session, 1, continued + head + unchanged + SIZED), "http.status") == [100, 404, 304, 404]


def test_a_body_until_close_holds_no_messages() -> None:
    assert values(run(stream(), 1, b"HTTP/1.0 200 OK\r\n\r\n" + SIZED), "http.status") == [200]


def test_losses_inside_a_body_cost_nothing_elsewhere_the_next_start_line_is_found() -> None:
    session = stream()
    run(session, 1, b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nxx")
    session.gap(1, 998)
    assert values(run(session, 1, SIZED), "http.status") == [404]
    run(session, 1, b"HTTP/1.1 200 OK\r\nX: ")
    session.gap(1, 100)
    assert run(session, 1, b"rest of it\r\n\r\nbody") == []
    assert values(run(session, 1, SIZED), "http.status") == [404]


def test_the_preface_of_a_proxy_does_not_hide_the_request() -> None:
    session = stream()
    assert isinstance(run(session, 0, b"\x04\x01\0\x50\xc0\0\2\1user\0")[0], Malformed)
    assert values(run(session, 0, GET), "http.method") == ["GET"]


def test_the_hello_inside_a_connect_tunnel_is_read() -> None:
    session = stream()
    run(session, 0, b"CONNECT h:443 HTTP/1.1\r\n\r\n")
    run(session, 1, b"HTTP/1.1 200 OK\r\n\r\n")
    facts = run(session, 0, record(22, handshake(1, client_hello((0x1301,), sni("inner.example")))), [7])
    assert values(facts, "tls.sni") == ["inner.example"]


def test_an_upgraded_connection_is_done() -> None:
    session = stream()
    run(session, 0, GET)
    run(session, 1, b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    assert run(session, 0, b"\x81\x05hello") == []
    assert session.done


def test_huge_heads_are_given_up() -> None:
    session = stream()
    facts = run(session, 0, b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000, [1400])
    assert [isinstance(fact, Malformed) for fact in facts] == [True]
    assert values(run(session, 0, GET), "http.method") == ["GET"]


@given(damaged([GET, POST, CHUNKED, SIZED, GET + POST]), st.lists(st.integers(1, 99), max_size=4))
def test_no_bytes_raise(data: bytes, sizes: list[int]) -> None:
    session = HttpStream(max_bytes=512)
    for direction in (0, 1):
        run(session, direction, data, sizes)
        session.gap(direction, 3)
        run(session, direction, data)
    http1.parse(data)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: b"GET /" + b"a HTTP/" * (n // 7),
        lambda n: b"GET / HTTP/1.1\r\n" + b" x\r\n" * (n // 4),
        lambda n: GET * (n // len(GET)),
        lambda n: b"\r\n" * n,
        lambda n: b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * (n // 6),
    ],
)
def test_hostile_streams_stay_linear(make: object) -> None:
    assert callable(make)
    assert is_linear(lambda data: run(stream(), 1, data), make, size=12_000)
    assert is_linear(lambda data: run(stream(), 0, data, [1]), make, size=3000)
