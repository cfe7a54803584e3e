"""Every session that a flow can get, both directions, in any cut, with losses; and frames that belong to no flow."""

from __future__ import annotations

from collections.abc import Callable

from packhound.net import session as sessions
from packhound.net.detect import App
from tests.fuzz import seeds
from tests.fuzz.target import GROUND, HELD, SPREAD, Broken, Target, held, sound
from tests.fuzz.turns import unpack

TCP = 6
STARTING = 1_700_000_000_000_000_000
PER_CALL = 4096  # messages of one call, at most: each takes bytes
DATAGRAM = 2048  # the most that one datagram costs in memory beside its text
PROTOS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6", 88: "eigrp", 89: "ospf", 132: "sctp"}


def talk(app: int, proto: int, data: bytes, *, looks: bool = True) -> None:
    """Feed a session what the turns say, as the sensor does."""
    session = sessions.open_session(app, proto=proto)
    if session is None:
        raise Broken("no session")
    fed = 0
    for number, turn in enumerate(unpack(data)):
        if turn.lost and proto == TCP:
            session.gap(turn.direction, turn.lost)
        for piece in turn.pieces() if proto == TCP else (turn.data,):
            found = session.feed(turn.direction, piece, now=STARTING + number)
            fed += len(piece)
            if not found:
                continue
            said = sound(found)
            if said > SPREAD * fed + GROUND or len(found) > PER_CALL:
                raise Broken(f"{len(piece)} bytes ({fed} in all) said {said} bytes in {len(found)} messages")
    if looks:
        bounded(session, fed)


def bounded(session: object, fed: int) -> None:
    """Check what a session holds against what it was fed."""
    kept = held(session)
    if kept > min(SPREAD * fed + GROUND, HELD):
        raise Broken(f"{fed} bytes keep {kept} alive")


def _target(app: int, proto: int) -> Target:
    def run(data: bytes) -> None:
        talk(app, proto, data, looks=not len(data) & 3)  # what is kept costs more to count than to keep

    return Target(
        f"session-{App(app).name.lower()}-{PROTOS[proto]}", run, lambda: seeds.conversations().get((app, proto), []),
        group="sessions", words=WORDS.get(App(app).name, ()),
    )  # fmt: skip


def _frame(data: bytes) -> None:
    said = sound(sessions.read_frame(int(App.ARP), data))
    if said > SPREAD * len(data) + GROUND:
        raise Broken(f"{len(data)} bytes said {said}")


def _words(*texts: str) -> tuple[bytes, ...]:
    return tuple(text.encode() for text in texts)


_MAIL = _words("\r\n.\r\n", "{10}\r\n", "{99999999999}", "STARTTLS\r\n", "Content-Type: multipart/mixed; boundary=x\r\n",
               "\r\n--x\r\n", "=?utf-8?b?AAAA?=", "=?x?q?=?=", "From: ", "Subject: ", "AUTH LOGIN\r\n", "AUTH PLAIN AGEAYg==\r\n",
               "334 ", "354 go\r\n", "BDAT 5 LAST\r\n", "NAMESPACE", "BODY[", "LITERAL+")  # fmt: skip
_BER = tuple(map(bytes.fromhex, ("30800000", "308400000010", "3084ffffffff", "0201ff", "0609", "a0820100", "0480", "0a0101")))
WORDS: dict[str, tuple[bytes, ...]] = {
    "HTTP": _words("Transfer-Encoding: chunked\r\n", "Content-Length: 5\r\n", "Content-Length: -1\r\n", "HTTP/1.1 101 S\r\n",
                   "CONNECT a:1 HTTP/1.1\r\n\r\n", "ffffffffffffffff\r\n", "0\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n", "GET / HTTP/1.1\r\n"),
    "SIP": _words("Content-Length: 99999\r\n", "l: 5\r\n", "INVITE sip:a SIP/2.0\r\n", "SIP/2.0 200 OK\r\n", "m=audio 1 RTP/AVP 0\r\n",
                  "a=rtpmap:0 x/8000\r\n", "c=IN IP4 1.2.3.4\r\n", "Content-Type: multipart/mixed;boundary=x\r\n", "<sip:a@b;lr>", "tag="),
    "SMTP": _MAIL, "IMAP": _MAIL, "POP3": _MAIL,
    "FTP": _words("AUTH TLS\r\n", "234 ok\r\n", "227 (1,2,3,4,5,6)\r\n", "229 (|||1|)\r\n", "EPRT |1|1.2.3.4|5|\r\n", "150-\r\n", "CCC\r\n"),
    "SNMP": _BER, "LDAP": _BER, "KERBEROS": _BER,
    "DNS": tuple(map(bytes.fromhex, ("c00c", "c000", "3f", "ffff", "0029", "000c0001"))),
    "BGP": (b"\xff" * 16, b"\xff" * 16 + b"\0\x13\x04"),
    "DIAMETER": (b"\x01\0\0\x14", b"\x01\0\0\x14\x80\0\x01\x01" + bytes(12)),
    "TLS": (b"\x16\x03\x01\0\x05", b"\x14\x03\x03\0\x01\x01", b"\x17\x03\x03\0\x05", b"\x0b\0\0\x20\0\0\x1d\0\0\x1a"),
    "SMB": (b"\0\0\0\x40\xfeSMB", b"\xffSMB", b"NTLMSSP\0\x03\0\0\0"),
    "MQTT": (b"\x30\xff\xff\xff\x7f", b"\x10\x0e\0\x04MQTT\x05"),
}  # fmt: skip
WORDS["MDNS"] = WORDS["LLMNR"] = WORDS["NBNS"] = WORDS["DNS"]


def targets() -> list[Target]:
    """One per row of the session table, and one for frames."""
    openers: dict[tuple[int, int], Callable[[int], object]] = dict(sessions._OPENERS)  # every row of it
    return [
        *(_target(app, proto) for app, proto in sorted(openers)),
        Target("frame-arp", _frame, seeds.arp, group="sessions", turns=False),
    ]
