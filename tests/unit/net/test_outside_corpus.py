"""Fields that no capture of the corpus fills and that belong to no other test: what fills them."""

from __future__ import annotations

from packhound.net.detect import App
from packhound.net.facts import Fact
from packhound.net.session import TCP, open_session
from tests.support.infra import held


def told(*spoken: tuple[int, bytes]) -> dict[str, object]:
    session = open_session(App.HTTP, proto=TCP)
    assert session is not None
    found = [each for way, data in spoken for each in held(session.feed(way, data, now=0)) if isinstance(each, Fact)]
    return {name: value for fact in found for name, value in fact.fields.items()}


def test_a_proxy_says_for_whom_it_asks() -> None:
    fields = told((0, b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7, 10.0.0.1\r\n\r\n"))
    assert fields["http.forwarded_for"] == "192.0.2.7, 10.0.0.1"


def test_what_a_websocket_agrees_on() -> None:
    ask = (
        b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    )
    answer = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: mqtt\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
    )
    fields = told((0, ask), (1, answer))
    assert (fields["websocket.subprotocol"], fields["websocket.extensions"]) == ("mqtt", "permessage-deflate")
