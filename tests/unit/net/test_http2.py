"""HTTP/2: the messages of every stream, gRPC's ends, WebSocket's beginnings; whatever is cut, lost or hostile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net import grpc_facts
from packhound.net.facts import Fact, Malformed
from packhound.net.http_headers import login
from packhound.net.sessions.http1 import HttpStream
from packhound.net.sessions.http2 import MAX_STREAMS, Http2Stream
from tests.support.corpus import CORPUS, needs_corpus
from tests.support.dissected import dissect
from tests.support.mutations import chunks, damaged, is_linear
from tests.unit.net.test_hpack import REQUESTS, literal

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, PUSH, GOAWAY, CONTINUATION = 0, 1, 3, 4, 5, 7, 9
GRPC = literal(b"content-type", b"application/grpc+proto")


def frame(kind: int, payload: bytes = b"", *, stream: int = 0, flags: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def headers(block: bytes, *, stream: int = 1, last: bool = False) -> bytes:
    return frame(HEADERS, block, stream=stream, flags=4 | last)


ASK = b"\x83\x86" + literal(b":path", b"/pkg.v1.Users/Get") + literal(b":authority", b"h:1") + GRPC + b"\x40\x02te\x01x"
CLIENT = (
    PREFACE + frame(SETTINGS) + headers(REQUESTS[0]) + headers(ASK, stream=3) + frame(DATA, b"x" * 300, stream=3, flags=1)
)
ANSWER = b"\x88" + GRPC
TRAILERS = literal(b"grpc-status", b"5") + literal(b"grpc-message", b"no%20such%20%c3%a9")
SERVER = (
    frame(SETTINGS) + headers(b"\x8d" + literal(b"server", b"s"), last=True) + headers(ANSWER, stream=3)
    + frame(DATA, bytes(500), stream=3) + headers(TRAILERS, stream=3, last=True)
)  # fmt: skip


def stream(max_bytes: int = 65536) -> Http2Stream:
    return Http2Stream(max_bytes=max_bytes)


def run(
    session: Http2Stream | HttpStream, direction: int, data: bytes, sizes: list[int] | None = None, *, now: int = 0
) -> list[Fact | Malformed]:
    return [fact for piece in chunks(data, sizes or []) for fact in session.feed(direction, piece, now=now)]


def facts(found: list[Fact | Malformed], kind: str) -> list[dict[str, object]]:
    return [dict(each.fields) for each in found if isinstance(each, Fact) and each.kind == kind]


@given(st.lists(st.integers(1, 60), max_size=6), st.lists(st.integers(1, 60), max_size=6))
def test_every_stream_over_any_cut(one: list[int], other: list[int]) -> None:
    session = stream()
    asked = run(session, 0, CLIENT, one, now=10)
    said = run(session, 1, SERVER, other, now=250)
    get, post = facts(asked, "http.request")
    assert get == {
        "http.version": "2", "http2.stream": 1, "http.method": "GET", "http.host": "www.example.com",
        "http.path": "/", "http.url": "http://www.example.com/",
    }  # fmt: skip
    assert (post["grpc.service"], post["grpc.method"], post["http.host"]) == ("pkg.v1.Users", "Get", "h")
    assert facts(said, "http.response") == [
        {"http.version": "2", "http2.stream": 1, "http.status": 404, "http.server": "s", "http.response_time": 240},
        {"http.version": "2", "http2.stream": 3, "http.status": 200, "http.response_time": 240,
         "http.content_type": "application/grpc+proto"},
    ]  # fmt: skip
    assert facts(said, "grpc") == [{
        "grpc.service": "pkg.v1.Users", "grpc.method": "Get", "grpc.status": 5, "grpc.status.name": "NOT_FOUND",
        "grpc.message": "no such é", "grpc.duration": 240, "http2.stream": 3,
    }]  # fmt: skip
    assert len(asked) == 2
    assert len(said) == 3


def test_padding_priority_and_continuation() -> None:
    padded = bytes((3,)) + bytes(5) + REQUESTS[0][:4] + bytes(3)
    whole = PREFACE + frame(HEADERS, padded, stream=1, flags=0x28) + frame(CONTINUATION, REQUESTS[0][4:], stream=1, flags=4)
    assert facts(run(stream(), 0, whole, [9]), "http.request")[0]["http.host"] == "www.example.com"


def test_what_a_server_pushes_keeps_the_table_right() -> None:
    session = stream()
    push = frame(PUSH, b"\0\0\0\2" + REQUESTS[0] + literal(b"server", b"pushed"), stream=1, flags=4)
    assert run(session, 1, frame(SETTINGS) + push) == []
    assert facts(run(session, 1, headers(b"\x88\xbe", stream=2)), "http.response")[0]["http.server"] == "pushed"


def test_interim_answers_do_not_end_the_wait() -> None:
    session = stream()
    run(session, 0, CLIENT, now=5)
    early, late = facts(run(session, 1, headers(b"\x48\x03103") + headers(b"\x88"), now=9), "http.response")
    assert (early["http.status"], late["http.status"], late["http.response_time"]) == (103, 200, 4)


def test_a_loss_inside_data_costs_nothing_elsewhere_what_follows_is_read_again() -> None:
    session = stream()
    run(session, 0, CLIENT)
    run(session, 1, frame(SETTINGS) + frame(DATA, bytes(400), stream=1)[:100])
    session.gap(1, 309)
    assert facts(run(session, 1, headers(ANSWER, stream=3)), "http.response")[0]["http.content_type"]
    session.gap(1, 50)
    assert run(session, 1, b"in the middle of something") == []
    lost = run(session, 1, headers(b"\x88\xbe" + literal(b"server", b"s")))
    assert facts(lost, "http.response")[0]["http.server"] == "s"
    assert [each.reason for each in lost if isinstance(each, Malformed)] == ["HPACK reference to what was not seen"]


def test_a_connection_joined_late_is_read_from_the_first_frame_on() -> None:
    assert facts(run(stream(), 1, headers(b"\x88") + frame(DATA, b"x", stream=1)), "http.response")
    assert isinstance(run(stream(), 1, b"no frame at all, none")[0], Malformed)


def test_an_upgrade_of_http_1_goes_on_as_http_2() -> None:
    session = HttpStream(max_bytes=65536)
    run(session, 0, b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n", now=1)
    switched = run(session, 1, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n" + SERVER, now=8)
    assert [each["http.status"] for each in facts(switched, "http.response")] == [101, 404, 200]
    assert facts(switched, "http.response")[1]["http.response_time"] == 7
    assert len(facts(run(session, 0, CLIENT.replace(headers(REQUESTS[0]), b"")), "http.request")) == 1


def test_an_upgrade_to_a_websocket_is_said_and_its_frames_are_not_read() -> None:
    session = HttpStream(max_bytes=65536)
    key, proof = b"dGhlIHNhbXBsZSBub25jZQ==", b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3
    run(session, 0, b"GET /chat?a=1 HTTP/1.1\r\nHost: h:80\r\nUpgrade: websocket\r\nSec-WebSocket-Key: %s\r\n"
        b"Sec-WebSocket-Version: 13\r\n\r\n" % key)  # fmt: skip
    said = run(session, 1, b"HTTP/1.1 101 X\r\nUpgrade: WebSocket\r\nSec-WebSocket-Protocol: mqtt\r\n"
               b"Sec-WebSocket-Accept: %s\r\n\r\n" % proof)  # fmt: skip
    assert facts(said, "websocket") == [{
        "websocket.host": "h", "websocket.path": "/chat", "websocket.version": "13", "websocket.subprotocol": "mqtt",
        "websocket.valid": True,
    }]  # fmt: skip
    assert facts(said, "http.response")[0]["http.upgrade"] == "WebSocket"
    assert run(session, 0, b"\x81\x05hello") == []
    assert session.done


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("Basic YWxpY2U6c2VjcmV0", ("Basic", "alice")), ("Basic !!", ("Basic", "")), ("Bearer abc", ("Bearer", "")),
        ('Digest realm="r", username="bob", nonce="x"', ("Digest", "bob")), ("", ("", "")), ("????", ("", "")),
    ],
)  # fmt: skip
def test_a_login_names_its_user_never_the_secret(value: str, said: tuple[str, str]) -> None:
    assert login(value) == said


@pytest.mark.parametrize(
    ("path", "call"),
    [("/a.B/C", ("a.B", "C")), ("/x/a.B/C", ("x/a.B", "C")), ("/C", ("", "")), ("a/b", ("", "")), ("/", ("", ""))],
)
def test_a_path_names_its_call(path: str, call: tuple[str, str]) -> None:
    assert grpc_facts.call_of(path) == call


def test_what_waits_is_bounded() -> None:
    session = stream()
    run(session, 0, PREFACE + b"".join(headers(REQUESTS[0], stream=2 * n + 1) for n in range(MAX_STREAMS + 50)))
    assert len(session._calls) == MAX_STREAMS
    small = stream(2048)
    flood = PREFACE + frame(HEADERS, b"\x82" * 1000, stream=1) + frame(CONTINUATION, b"\x82" * 1000, stream=1) * 9
    found = run(small, 0, flood + frame(CONTINUATION, stream=1, flags=4) + headers(REQUESTS[0], stream=3))
    assert [each.reason for each in found if isinstance(each, Malformed)] == ["HTTP/2 header block is larger than its cap"]
    assert facts(found, "http.request")[0]["http2.stream"] == 3


@given(damaged([CLIENT, SERVER]), st.lists(st.integers(1, 99), max_size=4))
def test_no_bytes_raise(data: bytes, sizes: list[int]) -> None:
    session = stream(512)
    for direction in (0, 1):
        run(session, direction, data, sizes)
        session.gap(direction, 30)
        run(session, direction, data)


@pytest.mark.parametrize(
    "make",
    [
        lambda n: frame(SETTINGS) * (n // 9),
        lambda n: headers(REQUESTS[0]) * (n // 26),
        lambda n: frame(HEADERS, stream=1) + frame(CONTINUATION, stream=1) * (n // 9),
        lambda n: frame(DATA, bytes(1), stream=1) * (n // 10),
    ],
)
def test_hostile_streams_stay_linear(make: object) -> None:
    assert callable(make)
    assert is_linear(lambda data: run(stream(), 0, PREFACE + data), make, size=12_000)
    assert is_linear(lambda data: run(stream(), 0, PREFACE + data, [1]), make, size=3000)


@needs_corpus
def test_dns_over_http_2_in_the_clear() -> None:
    path = str(CORPUS / "captures/suricata-verify/app-layer-protocol-exact__input.pcap")
    said = [each.fact for each in dissect(path) if isinstance(each.fact, Fact)]
    assert [each.fields["dns.encrypted"] for each in said if each.kind == "http.request"] == ["doh"] * 4
    assert [each.fields["http.content_type"] for each in said if each.kind == "http.response"] == [
        "application/dns-message"
    ] * 4
