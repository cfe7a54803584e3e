"""The compiled detection says of every payload exactly what the portable one says, and remembers the same."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packhound.net.detect import App, detect, refine
from tests.support.corpus import captures, needs_corpus
from tests.support.payloads import Talk, talks

kernel = pytest.importorskip("packhound.sensor.kernel._scan", reason="the native kernel is not built")

FOLDERS = sorted({name.split("/")[1] for name in captures()})
PORTS = (
    21, 25, 587, 110, 143, 53, 5353, 137, 5355, 123, 67, 547, 546, 1812, 5683, 3478, 2000, 502, 23, 3389, 51820, 4500, 520, 521, 514, 1900,
    1080, 3868, 1023, 1024, 40000,
)  # fmt: skip
PROTOS = (6, 17, 1, 2, 50, 58, 88, 89, 103, 112, 132, 200)
STARTS = (
    b"GET / HTTP/1.1\r\n", b"SIP/2.0 200 OK\r\n", b"INVITE sip:a SIP/2.0\r\n", b"220 x SMTP\r\n", b"220-\r\n",
    b"+OK\r\n", b"-ERR no\r\n", b"250 ok\r\n", b"RETR a\r\n", b"DATA\r\n", b"* 1 EXISTS\r\n", b"a1 OK x", b"* OK\r\n",
    b"a1 LOGIN ", b"NICK a\r\nUSER ", b":a NOTICE b :", b"\x16\x03\x01\x00\x05\x01",
    b"\x16\xfe\xfd", b"\x80.\x01", b"\xc0\x00\x00\x00\x01\x08", b"\x00\x01\x00\x08!\x12\xa4B", b"\x80\x08\x00\x01",
    b"\x81\xc8\x00\x06", b"0\x82\x00 \x02\x01\x01", b"0 \x02\x01\x03", b"j\x81\x80",
    b"\x124\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01", b"\x00\x01octet\x00octet\x00",
    b"<34>1 2003-10-11T22:14:15", b"*3\r\n$3\r\n", b"RFB 003.008\n", b"\xff\xfb\x01\xff\xfd\x03", b"\x05\x01\x00",
    b"d1:ad2:id20:", b"\x10\x10\x00\x04MQTT\x04", b"\x03\x00\x00\x13\x0e\xe0", b"\x05\x00\x0b\x03\x10\x00\x00\x00",
    b"8" + bytes(13), b"AMQP\x00\x00\t\x01", b"\x01\x00\x00\x00", b"\x81\x00\x00D ", b"HTTP/1.1 200 OK\r\nUSN: x\r\n",
    b"@\x01\x00\x01\xb3abc", b"INFO {\"server_id\"", b"\xc0\x00", b"\xd0\x00",
    b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80",
    b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x80\x00\x00\x00\x04\x01",
    b"\xff\xff\xff\xff\x00\x40\x18\x01\xbb\xff\x56\x87\x04\xd0\x04\xd0" + bytes(1200),
)  # fmt: skip


def agreed(payload: bytes, scratch: list[int], **asked: int) -> None:
    """Ask both twins; `scratch` moves on as they leave it."""
    theirs = list(scratch)
    native = kernel.detect_one(payload, scratch=theirs, **asked)
    portable = detect(payload, scratch=scratch, **asked)
    assert native == tuple(map(int, portable)), (payload, asked)
    assert theirs == scratch, (payload, asked)


def walk(talk: Talk) -> None:
    scratch = [0, 0, 0, 0]
    for count, each in enumerate(talk.spoken, 1):
        ports: dict[str, Any] = {"sport": each.sport, "dport": each.dport, "direction": each.direction}
        agreed(each.data, scratch, proto=talk.proto, payload_packets=count, **ports)
        for proto in (6, 17):
            agreed(each.data, [count % 8, 0, 0, 0], proto=proto, payload_packets=count, **ports)


def refined(payload: bytes, scratch: list[int], **asked: int) -> None:
    """Ask both twins what a flow turns out to carry."""
    theirs = list(scratch)
    native = kernel.refine_one(payload, scratch=theirs, **asked)
    assert native == tuple(map(int, refine(payload, scratch=scratch, **asked))), (payload, asked)
    assert theirs == scratch, (payload, asked)


@settings(max_examples=1000, deadline=None)
@given(
    payloads=st.lists(st.sampled_from(STARTS) | st.binary(max_size=40), min_size=1, max_size=4),
    app=st.sampled_from((App.STUN, App.STUN, App.TURN, App.SIP, App.UNKNOWN)), proto=st.sampled_from((6, 17, 17)),
    ports=st.tuples(st.sampled_from(PORTS), st.sampled_from(PORTS)), direction=st.integers(0, 1),
)  # fmt: skip
def test_twins_agree_on_what_a_flow_turns_out_to_carry(
    payloads: list[bytes], app: App, proto: int, ports: tuple[int, int], direction: int
) -> None:
    scratch = [0, 0, 0, 0]
    for payload in payloads:
        for tail in (b"", b"\xa0" * 20):
            refined(
                payload + tail, scratch, app=int(app), proto=proto, sport=ports[0], dport=ports[1], direction=direction
            )


@needs_corpus
@pytest.mark.parametrize("folder", FOLDERS)
def test_twins_agree_on_every_payload_of_the_corpus(folder: str) -> None:
    for name in captures():
        if name.split("/")[1] == folder:
            for talk in talks(name, 1 << 20):
                walk(talk)


@needs_corpus
def test_twins_agree_on_cut_and_broken_payloads() -> None:
    rng = random.Random(1)
    pool = [(talk.proto, each) for name in captures()[::7] for talk in talks(name) for each in talk.spoken[:3]]
    for _ in range(40_000):
        proto, each = rng.choice(pool)
        data = bytearray(each.data[: rng.choice((len(each.data), rng.randrange(len(each.data) + 1)))])
        for _ in range(rng.randrange(4)):
            if data:
                data[min(int(rng.expovariate(0.1)), len(data) - 1)] = rng.choice((0, 1, 255, rng.randrange(256)))
        agreed(
            bytes(data), [rng.randrange(8), 0, 0, 0], proto=rng.choice((proto, proto, proto, *PROTOS)),
            payload_packets=1, sport=rng.choice((each.sport, *PORTS)), dport=each.dport, direction=rng.randrange(2),
        )  # fmt: skip


@settings(max_examples=2000, deadline=None)
@given(
    start=st.sampled_from((*STARTS, b"")),
    rest=st.binary(max_size=120),
    cut=st.integers(0, 160) | st.just(1300),
    proto=st.sampled_from(PROTOS),
    ports=st.tuples(st.sampled_from(PORTS), st.sampled_from(PORTS)),
    direction=st.integers(0, 1),
    scratch=st.lists(st.one_of(st.integers(0, 9), st.integers(0, 0xFFFFFFFF)), min_size=4, max_size=4),
)
def test_twins_agree_on_anything(
    start: bytes, rest: bytes, cut: int, proto: int, ports: tuple[int, int], direction: int, scratch: list[int]
) -> None:
    payload = (start + rest)[:cut]
    agreed(payload, scratch, proto=proto, sport=ports[0], dport=ports[1], direction=direction, payload_packets=2)


def test_every_number_is_known_to_both() -> None:
    for app in App:
        assert 0 <= int(app) < 256
