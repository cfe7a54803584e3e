"""STUN, DTLS and media on one UDP port: what is read, and what the flow is called in the end."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from packhound.net.detect import UNDECIDED, App, refine
from packhound.net.facts import Fact
from packhound.net.session import TCP, UDP, open_session
from tests.support.hellos import client_hello, sni, vector
from tests.support.infra import held

STUN = b"\0\1\0\0\x21\x12\xa4\x42transaction!"
BODY = client_hello((0xC02B,), sni("call.example"), version=0xFEFD, dtls=True)
DTLS = b"\x16\xfe\xfd" + bytes(8) + vector(2, b"\1" + vector(3, BODY)[:3] + bytes(5) + vector(3, BODY))
CHANNEL = b"\x40\0\0\4data"


def rtp(number: int, *, source: bytes = b"abcd", kind: int = 96) -> bytes:
    return struct.pack(">BBHI", 0x80, kind, number, 160 * number) + source + b"voice"


def called(*packets: bytes, proto: int = UDP, app: int = App.STUN) -> App:
    """What a flow that began as `app` is called after these packets."""
    scratch = [0, 0, 0, 0]
    for data in packets:
        verdict = refine(data, app=app, proto=proto, sport=40000, dport=40002, direction=0, scratch=scratch)
        if verdict != UNDECIDED:
            return verdict.app
    return App(app)


@pytest.mark.parametrize(
    ("packets", "app"),
    [
        ([STUN, STUN], App.STUN),
        ([STUN, DTLS], App.DTLS),
        ([STUN, rtp(1)], App.STUN),
        ([STUN, rtp(1), STUN, rtp(2)], App.RTP),
        ([STUN, rtp(1), rtp(9000)], App.STUN),
        ([STUN, rtp(1), rtp(2, source=b"else")], App.STUN),
        ([STUN, CHANNEL, bytes([200]) * 40, b""], App.STUN),
        ([STUN, bytes([22]) * 40], App.STUN),
    ],
)
def test_a_stun_flow_is_called_by_what_it_carries(packets: list[bytes], app: App) -> None:
    assert called(*packets) is app


def test_nothing_else_is_called_anew() -> None:
    assert called(DTLS, proto=TCP) is App.STUN
    assert called(DTLS, app=App.TURN) is App.TURN
    assert called(rtp(1), rtp(2), app=App.SIP) is App.SIP


@pytest.mark.parametrize("app", [App.STUN, App.DTLS])
def test_all_of_it_is_read(app: App) -> None:
    session = open_session(app, proto=UDP)
    assert session is not None
    said: list[Any] = [session.feed(0, data, now=0) for data in (STUN, rtp(1), DTLS, rtp(2), rtp(3), CHANNEL, b"")]
    kinds = [[fact.kind for fact in held(found) if isinstance(fact, Fact)] for found in said]
    assert kinds == [["stun"], [], ["tls.client_hello"], ["rtp"], [], [], []]
    assert not session.done
