"""OpenVPN: the TLS in its control channel over UDP and TCP, with and without tls-auth, out of order and sent again."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packhound.net.detect import App, detect
from packhound.net.facts import Fact, Malformed
from packhound.net.openvpn import AUTHENTICATED, control, packet_size
from packhound.net.session import TCP, UDP, Session, open_session
from tests.support.hellos import client_hello, handshake, record, server_hello, sni
from tests.support.infra import held
from tests.support.mutations import damaged

HELLO = record(22, handshake(1, client_hello((0x1301,), sni("vpn.example.org"))))
ANSWER = record(22, handshake(2, server_hello(0x1301)))


def packet(opcode: int, number: int | None, data: bytes = b"", *, acks: Sequence[int] = (), extra: int = 0) -> bytes:
    out = bytes((opcode << 3,)) + b"session1" + bytes(range(extra)) + bytes((len(acks),))
    if acks:
        out += b"".join(struct.pack(">I", each) for each in acks) + b"session2"
    return out + (b"" if number is None else struct.pack(">I", number)) + data


def talk(extra: int) -> list[tuple[int, bytes]]:
    """Resets, an acknowledgement, a hello in two messages, the server's answer, data."""
    return [
        (0, packet(7, 0, extra=extra)), (1, packet(8, 0, acks=(0,), extra=extra)),
        (0, packet(5, None, acks=(0,), extra=extra)), (0, packet(4, 1, HELLO[:40], extra=extra)),
        (0, packet(4, 2, HELLO[40:], extra=extra)), (1, packet(4, 1, ANSWER, acks=(1, 2), extra=extra)),
        (0, bytes((6 << 3,)) + bytes(100)),
    ]  # fmt: skip


def kinds(session: Session, packets: Sequence[tuple[int, bytes]]) -> list[str]:
    found = [each for direction, data in packets for each in held(session.feed(direction, data, now=0))]
    assert not any(isinstance(each, Malformed) for each in found)
    return [each.kind for each in found if isinstance(each, Fact)]


def opened(proto: int) -> Session:
    session = open_session(App.OPENVPN, proto=proto)
    assert session is not None
    return session


@pytest.mark.parametrize("extra", AUTHENTICATED)
def test_the_hellos_inside(extra: int) -> None:
    assert kinds(opened(UDP), talk(extra)) == ["tls.client_hello", "tls.server_hello"]


def test_messages_out_of_order_and_sent_again() -> None:
    reset, answer, ack, one, two, said, data = talk(0)
    spoken = [reset, answer, ack, one, one, (0, packet(4, 3, b"later")), two, one, said, said, data]
    assert kinds(opened(UDP), spoken) == ["tls.client_hello", "tls.server_hello"]


@pytest.mark.parametrize("size", [1, 30, 5000])
def test_over_tcp_in_any_cut(size: int) -> None:
    framed = [(direction, len(data).to_bytes(2, "big") + data) for direction, data in talk(28)]
    cut = [(way, data[at : at + size]) for way, data in framed for at in range(0, len(data), size)]
    assert kinds(opened(TCP), cut) == ["tls.client_hello", "tls.server_hello"]


def test_what_is_wrapped_says_nothing() -> None:
    assert kinds(opened(UDP), [(0, packet(4, 1, bytes(range(200))))]) == []


def test_a_reset_is_what_detection_goes_by() -> None:
    reset = packet(7, 0)
    verdict = detect(
        reset, proto=UDP, sport=40000, dport=40001, direction=0, scratch=[0, 0, 0, 0], payload_packets=1
    )
    assert verdict.app is App.OPENVPN


def test_sizes_of_packets_over_tcp() -> None:
    assert packet_size(b"\0") == 0
    assert packet_size(b"\0\x0e\x38") == 16
    assert packet_size(b"\0\x00\x38") == packet_size(b"\0\x0e\xff") == -1


def test_too_many_messages_do_not_wait() -> None:
    session = opened(UDP)
    kinds(session, talk(0)[:4])
    assert kinds(session, [(0, packet(4, number, b"x" * 9)) for number in range(50, 1000)]) == []


@given(damaged([data for _, data in talk(28)]), st.integers(0, 1))
def test_no_bytes_raise(data: bytes, direction: int) -> None:
    for size in AUTHENTICATED:
        control(data, size)
    for proto in (UDP, TCP):
        held(opened(proto).feed(direction, data, now=0))
