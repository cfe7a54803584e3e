"""What a flow speaks: every protocol proven by a capture or by its specification, and nothing made of noise."""

from __future__ import annotations

import random
import struct
from collections import Counter
from functools import cache

import pytest

from packhound.net.detect import BY_NAME, EVERY, GIVE_UP_AFTER, PROTOCOLS, UNDECIDED, App, Verdict, detect, name_of
from tests.support.corpus import needs_corpus
from tests.support.payloads import every_talk, verdict

TCP, UDP = 6, 17
EPHEMERAL = (40000, 50000)

Said = bytes | tuple[bytes, ...]


def ask(said: Said, proto: int, ports: tuple[int, int] = EPHEMERAL, *, direction: int = 0) -> Verdict:
    """What detection makes of these payloads in turn; two payloads go there and back."""
    scratch = [0, 0, 0, 0]
    found = UNDECIDED
    for number, payload in enumerate(said if isinstance(said, tuple) else (said,)):
        there = (direction + number) & 1
        sport, dport = ports[::-1] if there else ports
        found = detect(
            payload, proto=proto, sport=sport, dport=dport, direction=there, scratch=scratch, payload_packets=number + 1
        )
        if found.app:
            return found
    return found


# Protocols that no capture of the corpus holds (in a way that decides them): what their specifications print.
BY_SPECIFICATION: dict[App, tuple[Said, int]] = {
    App.RTSP: (b"DESCRIBE rtsp://example.com/media.mp4 RTSP/1.0\r\nCSeq: 2\r\n\r\n", TCP),
    App.NBSS: ((b"\x81\0\0\x44 " + b"CA" * 16 + b"\0 " + b"CA" * 16 + b"\0", b"\x83\0\0\x01\x82"), TCP),
    App.DIAMETER: (
        bytes.fromhex("0100003880000101000000000a0b0c0d01020304000001084000000c") + b"host" + bytes(24), TCP
    ),
    App.KAFKA: (bytes.fromhex("000000190012000300000001000a") + b"rdkafka-01" + b"\0rd\x02a", TCP),
    App.MONGODB: (
        struct.pack("<iiii", 58, 1, 0, 2004) + bytes(4) + b"admin.$cmd\0" + struct.pack("<ii", 0, -1) + bytes(19), TCP
    ),
    App.AMQP: (b"AMQP\0\0\x09\x01", TCP),
    App.NATS: (b'INFO {"server_id":"NDQ","version":"2.10.7","go":"go1.21"}\r\n', TCP),
}  # fmt: skip


SETTINGS = bytes.fromhex("00000c0400000000000003000000800004ffffffff")[:21]


@cache
def seen() -> dict[App, Counter[str]]:
    """Which captures yield each protocol, with how many flows."""
    out: dict[App, Counter[str]] = {}
    for name, talk in every_talk():
        out.setdefault(verdict(talk).app, Counter())[name] += 1
    return out


def test_numbers_and_names_are_unique_and_stable() -> None:
    assert [row.app for row in PROTOCOLS] == sorted(App)
    assert len({row.name for row in PROTOCOLS}) == len(PROTOCOLS)
    assert max(App) < 256
    assert (App.DNS, App.TLS, App.HTTP, App.SIP, App.RTP, App.BGP, App.COAP) == (1, 5, 8, 9, 10, 22, 77)
    assert all(name_of(int(app)) == name and BY_NAME[name] == app for name, app in BY_NAME.items())
    assert name_of(250) == "unknown"
    assert all(0 <= row.yield_packets <= EVERY for row in PROTOCOLS)


@needs_corpus
@pytest.mark.parametrize("row", [row for row in PROTOCOLS if row.app], ids=lambda row: row.name)
def test_every_detected_protocol_is_proven(row: object) -> None:
    assert isinstance(row, type(PROTOCOLS[0]))
    if row.app in BY_SPECIFICATION:
        said, proto = BY_SPECIFICATION[row.app]
        assert row.detected
        assert row.app not in seen(), "the corpus has it now: take it off the list"
        assert ask(said, proto).app == row.app
    else:
        assert (row.app in seen()) == row.detected


@needs_corpus
def test_a_verdict_is_one_of_the_transports_it_is_declared_for() -> None:
    declared = {row.app: row.transports for row in PROTOCOLS}
    for name, talk in every_talk():
        found = verdict(talk)
        assert not found.app or talk.proto in declared[found.app], (name, found)


@pytest.mark.parametrize(
    ("said", "app"),
    [
        (b"OPTIONS rtsp://10.0.0.1/x RTSP/1.0\r\nCSeq: 1\r\n\r\n", App.RTSP),
        (b"RTSP/1.0 200 OK\r\n", App.RTSP),
        (b"OPTIONS sip:bob@example.com SIP/2.0\r\n", App.SIP),
        (b"SIP/2.0 404 Not Found\r\n", App.SIP),
        (b"OPTIONS * HTTP/1.1\r\n", App.HTTP),
        (b"PROPFIND /dav HTTP/1.1\r\n", App.HTTP),
        (b"GET /" + b"a" * 1400, App.HTTP),
        (b"GET me out of here\r\n", App.UNKNOWN),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", App.HTTP2),
        (SETTINGS, App.HTTP2),
        (SETTINGS + b"\0\0\0\4\1\0\0\0\0", App.HTTP2),
        (SETTINGS + b"\0\0\1\0\0\0\0\0\1x", App.UNKNOWN),
        (SETTINGS.replace(b"\0\3", b"\1\3"), App.UNKNOWN),
        (b"HTTP/1.1 200 OK\r\n", App.HTTP),
    ],
)  # fmt: skip
def test_what_looks_like_http_is_told_apart_by_its_version(said: bytes, app: App) -> None:
    assert ask(said, TCP, (40000, 80)).app == app


@pytest.mark.parametrize(
    ("said", "app"),
    [
        ((b"220 mail.example.com ESMTP\r\n",), App.SMTP),
        ((b"220 ProFTPD FTP Server ready\r\n",), App.FTP),
        ((b"220 welcome\r\n", b"EHLO a\r\n"), App.SMTP),
        ((b"220 welcome\r\n", b"USER anonymous\r\n"), App.FTP),
        ((b"220 welcome\r\n", b"AUTH TLS\r\n"), App.FTP),
        ((b"220 welcome\r\n", b"hm\r\n", b"250-SIZE\r\n"), App.SMTP),
        ((b"+OK ready\r\n", b"USER bob\r\n"), App.POP3),
        ((b"+OK ready\r\n", b"PING\r\n"), App.UNKNOWN),
        ((b"* OK ready\r\n", b"a1 NOOP\r\n"), App.IMAP),
        ((b"a001 LOGIN bob secret\r\n",), App.IMAP),
        ((b"NICK bob\r\n", b":irc.example.com NOTICE * :hi\r\n"), App.IRC),
        ((b"USER bob\r\n",), App.UNKNOWN),
        ((b"\xc0\0", b"\xd0\0"), App.MQTT),
        ((b"\xd0\0", b"\xc0\0"), App.UNKNOWN),
    ],
)  # fmt: skip
def test_greetings_need_what_follows_them(said: tuple[bytes, ...], app: App) -> None:
    assert ask(said, TCP, direction=1).app == app
    assert ask(said, TCP, direction=0).app == app, "a capture may begin after the handshake"


def rtp(seq: int, ts: int, ssrc: int = 0x12345678, kind: int = 8) -> bytes:
    return struct.pack(">BBHII", 0x80, kind, seq & 0xFFFF, ts & 0xFFFFFFFF, ssrc) + bytes(160)


def one_way(*said: bytes) -> Verdict:
    scratch, found = [0, 0, 0, 0], UNDECIDED
    for count, payload in enumerate(said, 1):
        found = detect(
            payload, proto=UDP, sport=16384, dport=30000, direction=0, scratch=scratch, payload_packets=count
        )
        if found.app:
            break
    return found


def test_rtp_takes_two_packets_of_one_source() -> None:
    assert one_way(rtp(65535, 0xFFFFFFF0)).app == App.UNKNOWN
    assert one_way(rtp(65535, 0xFFFFFFF0), rtp(0, 144)) == (App.RTP, 90, 2)
    assert one_way(rtp(7, 0), rtp(9, 320)).app == App.RTP
    assert one_way(rtp(7, 0), rtp(8, 80000)).app == App.RTP, "silence suppressed for ten seconds"
    assert ask((rtp(7, 0), rtp(8, 160)), UDP).app == App.UNKNOWN, "one packet each way is not a stream"


@pytest.mark.parametrize(
    "second",
    [rtp(7, 0), rtp(900, 160), rtp(8, 160, ssrc=9), rtp(8, 1 << 30), rtp(8, 160, kind=60), b"\x80\x08\0\x08"],
    ids=["repeated", "far sequence", "another source", "far time", "kind in no use", "cut"],
)
def test_what_only_looks_like_rtp_is_not(second: bytes) -> None:
    assert one_way(rtp(7, 0), second).app == App.UNKNOWN


def test_rdp_over_udp_opens_with_a_padded_datagram() -> None:
    opening = b"\xff\xff\xff\xff\0\x40\x18\1\0\0\0\1\x04\xd0\x04\xd0"
    assert ask(opening.ljust(1232, b"\0"), UDP, (54759, 40000)).app == App.RDP
    for other in (opening, opening.ljust(1232, b"\0").replace(b"\4\xd0", b"\5\xd0"), b"\xff" * 1232):
        assert ask(other, UDP, (54759, 3389)).app == App.UNKNOWN


def test_rtcp_must_add_up() -> None:
    report = struct.pack(">BBHI", 0x80, 200, 6, 1) + bytes(20)
    assert one_way(report).app == App.RTCP
    assert one_way(report + bytes(14)) == (App.RTCP, 80, 1), "SRTCP: what follows the report is encrypted"
    assert one_way(struct.pack(">BBHI", 0x81, 200, 6, 1) + bytes(20)).app == App.UNKNOWN, "no room for its block"
    assert one_way(struct.pack(">BBHI", 0x81, 200, 9, 1) + bytes(20)).app == App.UNKNOWN
    feedback = struct.pack(">BBHII", 0x8F, 206, 2, 7, 9)
    assert one_way(feedback).app == App.UNKNOWN, "without a report it takes two"
    assert one_way(feedback, feedback) == (App.RTCP, 85, 2)


def test_ports_only_break_ties() -> None:
    assert ask(b"hello, this is not DNS at all, not a bit", UDP, (40000, 53)).app == App.UNKNOWN
    assert ask(b"GET / HTTP/1.1\r\n", TCP, (40000, 5060)).app == App.HTTP
    assert ask(b"SSH-2.0-x\r\n", TCP, (40000, 443)).app == App.SSH
    query = bytes.fromhex("1234010000010000000000000161000001 0001".replace(" ", ""))
    for port, app in ((53, App.DNS), (5353, App.MDNS), (5355, App.LLMNR), (9999, App.DNS)):
        assert ask(query, UDP, (40000, port)).app == app


def test_nothing_is_asked_of_an_empty_payload() -> None:
    for proto in (TCP, UDP, 89, 250):
        assert ask(b"", proto) == UNDECIDED


@pytest.mark.parametrize("proto", [TCP, UDP])
def test_random_payloads_stay_unknown(proto: int) -> None:
    """Encrypted and random bytes: a verdict would be a false one. Eight packets a flow, as the engine would ask."""
    rng = random.Random(20)
    ports = [*EPHEMERAL, 443, 8080, 2048, 53, 123, 5060]
    false: Counter[str] = Counter()
    for _ in range(3000):
        scratch, size = [0, 0, 0, 0], rng.choice((8, 20, 48, 64, 160, 300, 1200))
        sport, dport = 40000, rng.choice(ports)
        for count in range(1, GIVE_UP_AFTER + 1):
            found = detect(
                rng.randbytes(size), proto=proto, sport=sport, dport=dport, direction=count & 1, scratch=scratch,
                payload_packets=count,
            )  # fmt: skip
            false[name_of(found.app)] += bool(found.app)
    allowed = {"ntp"} if proto == UDP else set()  # on its own port a version and a mode are all there is to see
    assert not {name for name, count in false.items() if count} - allowed


def test_counters_that_look_like_rtp_stay_unknown() -> None:
    """A protocol of its own with a version that reads as RTP's, a counter and a constant."""
    rng = random.Random(21)
    for _ in range(300):
        head = bytes([0x80 | rng.randrange(16), rng.randrange(256)])
        packets = [head + struct.pack(">H", i) + rng.randbytes(4) + rng.randbytes(4) + bytes(20) for i in range(8)]
        assert one_way(*packets).app == App.UNKNOWN
