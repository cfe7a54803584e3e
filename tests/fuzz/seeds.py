"""Where mutation starts: conversations, frames and files of the corpus, and a few of our own where there is none."""

# ruff: noqa: ISC004  # long messages in parts, each beside its direction

from __future__ import annotations

import os
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache

from packhound.net import session as sessions
from packhound.net.detect import App
from packhound.net.frame import Status, decode
from packhound.sensor.tap.errors import TapError
from tests.fuzz.turns import pack, unpack
from tests.support import capture_files as files
from tests.support.corpus import CORPUS, captures
from tests.support.dissected import packets
from tests.support.headers import SAMPLES
from tests.support.payloads import Talk, talks, verdict
from tests.support.raw_packets import packets as raw_packets

MOST = 160 * 1024  # bytes of a capture that seeds are taken from
PER_APP = 48
MOST_FILES = 100_000  # captures that are read, smallest first
TURNS, TURN_BYTES = 12, 1500
WHOLE = (1, 58)

#: One message at least of every protocol that has a session, by application and IP protocol: (direction, data).
OWN: dict[tuple[int, int], list[tuple[int, bytes]]] = {
    (App.SIP, 17): [(0, b"INVITE sip:b@x SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@x>;tag=1\r\n"
                        b"To: <sip:b@x>\r\nCall-ID: c@h\r\nCSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n"
                        b"Content-Length: 71\r\n\r\nv=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\n"
                        b"m=audio 4000 RTP/AVP 0\r\n")],
    (App.SIP, 6): [(0, b"OPTIONS sip:b@x SIP/2.0\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 2\r\n\r\nab"),
                   (1, b"SIP/2.0 200 OK\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n")],
    (App.RTP, 17): [(0, b"\x80\x08\x00\x01\0\0\0\xa0\x11\x22\x33\x44" + bytes(20))],
    (App.RTCP, 17): [(0, b"\x81\xc8\x00\x0c\x11\x22\x33\x44" + bytes(44))],
    (App.DNS, 17): [(0, b"\x124\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03com\0\0\x01\0\x01"),
                    (1, b"\x124\x81\x80\0\x01\0\x02\0\0\0\x01\x03www\x07example\x03com\0\0\x01\0\x01\xc0\x0c\0\x05\0\x01"
                        b"\0\0\0<\0\x04\x01a\xc0\x10\xc0\x2d\0\x01\0\x01\0\0\0<\0\x04\x0a\0\0\x01\0\0)\x10\0\0\0\0\0\0\0")],
    (App.DNS, 6): [(0, b"\0\x19\x124\x01\0\0\x01\0\0\0\0\0\0\x03www\x03com\0\0\x01\0\x01\0\0\0")],
    (App.TLS, 6): [(0, b"\x16\x03\x01\0\x4a\x01\0\0\x46\x03\x03" + bytes(32) + b"\0\0\x04\x13\x01\xc0\x2f\x01\0\0\x19"
                       b"\0\0\0\x08\0\x06\0\0\x03a.b\0\x10\0\x05\0\x03\x02h2\0\x2b\0\0"),
                   (1, b"\x16\x03\x03\0\x2a\x02\0\0\x26\x03\x03" + bytes(32) + b"\0\x13\x01\0")],
    (App.DTLS, 17): [(0, b"\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x36\x01\0\0\x2a\0\0\0\0\0\0\0\x2a\xfe\xfd" + bytes(32)
                         + b"\0\0\0\x02\xc0\x2f\x01\0"),
                     (0, b"\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x20\x01\0\0\x2a\0\x01\0\0\0\0\0\x14\xfe\xfd" + bytes(18)),
                     (0, b"\x16\xfe\xfd\0\0\0\0\0\0\0\0\0\x22\x01\0\0\x2a\0\x01\0\0\x14\0\0\x16" + bytes(14)
                         + b"\0\0\0\x02\xc0\x2f\x01\0")],
    (App.QUIC, 17): [(0, b"\xc3\0\0\0\x01\x08" + bytes(8) + b"\0\0\x44\x9e" + bytes(1182))],
    (App.HTTP, 6): [(0, b"POST /a?b HTTP/1.1\r\nHost: x.y\r\nUser-Agent: z\r\nTransfer-Encoding: chunked\r\n\r\n"
                        b"5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"),
                    (1, b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 404 N\r\n\r\n")],
    (App.SSH, 6): [(0, b"SSH-2.0-OpenSSH_9.6\r\n"), (1, b"SSH-2.0-x\r\n" + struct.pack(">IBB", 120, 4, 20) + bytes(16)
                       + (b"\0\0\0\x03a,b" + b"\0\0\0\x01c") * 5 + bytes(24))],
    (App.BGP, 6): [(0, b"\xff" * 16 + b"\0\x1d\x01\x04\xfd\xe8\0\xb4\x0a\0\0\x01\0"),
                   (1, b"\xff" * 16 + b"\0\x2f\x02\0\0\0\x14\x40\x01\x01\0\x40\x02\x06\x02\x02\xfd\xe8\xfd\xe9\x40\x03\x04"
                       b"\x0a\0\0\x01\x10\x0a\x01")],
    (App.OSPF, 89): [(0, b"\x02\x01\0\x2c\x0a\0\0\x01\0\0\0\0\0\0\0\0" + bytes(8) + b"\xff\xff\xff\0\0\x0a\x02\x01"
                         + bytes(12))],
    (App.EIGRP, 88): [(0, b"\x02\x05\0\0" + bytes(14) + b"\0\x01\0\x01\0\x0c\x01\0\x01\0\0\0\0\x0f")],
    (App.DIAMETER, 6): [(0, b"\x01\0\0\x2c\x80\0\x01\x01\0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\x01\x08\x40\0\0\x0ehost.x\0\0"
                            b"\0\0\x01\x0c\x40\0\0\x0c\0\0\x07\xd1")],
    (App.SCTP, 132): [(0, b"\0\x03\0\x18\0\0\0\x01\0\0\0\0\0\0\0\x2e\x01\0\0\x14\x80\0\x01\x01")],
    (App.RIP, 17): [(0, b"\x02\x02\0\0\0\x02\0\0\x0a\0\0\0\xff\0\0\0\0\0\0\0\0\0\0\x01")],
    (App.ICMP, 1): [(0, b"\x08\0\0\0\0\x01\0\x01abcdefgh"), (1, b"\x03\x03\0\0\0\0\0\0E\0\0\x1c" + bytes(24))],
    (App.ICMPV6, 58): [(0, b"\x87\0\0\0\0\0\0\0\xfe\x80" + bytes(14) + b"\x01\x01\0\0\0\0\0\x01")],
    (App.DHCP, 17): [(0, b"\x01\x01\x06\0abcd" + bytes(228) + b"c\x82Sc\x35\x01\x01\x0c\x04host\x3c\x03abc\x37\x02\x01\x03\xff")],
    (App.DHCPV6, 17): [(0, b"\x01abc\0\x01\0\x0a\0\x03\0\x01\0\0\0\0\0\x01\0\x06\0\x02\0\x17\0\x27\0\x06\0\x04host")],
    (App.SNMP, 17): [(0, b"0&\x02\x01\x01\x04\x06public\xa0\x19\x02\x01\x01\x02\x01\0\x02\x01\x000\x0e0\x0c\x06\x08+\x06\x01\x02"
                         b"\x01\x01\x01\0\x05\0")],
    (App.NTP, 17): [(0, b"\x23\x02\x06\xec" + bytes(44))],
    (App.SSDP, 17): [(0, b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nST: ssdp:all\r\n\r\n")],
    (App.NBNS, 17): [(0, b"\0\x01\x01\x10\0\x01\0\0\0\0\0\0 " + b"CA" * 16 + b"\0\0\x20\0\x01")],
    (App.NBDGM, 17): [(0, b"\x11\x02\0\x01\x0a\0\0\x01\0\x8a\0\x50\0\0 " + b"CA" * 16 + b"\0 " + b"CA" * 16 + b"\0\xffSMB")],
    (App.NBSS, 6): [(0, b"\x81\0\0\x44 " + b"CA" * 16 + b"\0 " + b"CA" * 16 + b"\0"), (1, b"\x82\0\0\0")],
    (App.LDAP, 6): [(0, b"0\x0c\x02\x01\x01`\x07\x02\x01\x03\x04\0\x80\0"),
                    (0, b"0\x25\x02\x01\x02c\x20\x04\x05dc=ab\x0a\x01\x02\x0a\x01\0\x02\x01\0\x02\x01\0\x01\x01\0\x87\x0b"
                        b"objectClass0\0"), (1, b"0\x0c\x02\x01\x01a\x07\x0a\x01\0\x04\0\x04\0")],
    (App.LDAP, 17): [(0, b"0\x25\x02\x01\x02c\x20\x04\0\x0a\x01\0\x0a\x01\0\x02\x01\0\x02\x01\0\x01\x01\0\xa0\x05\xa3\x03"
                         b"\x04\x01a0\x07\x04\x05aaaaa")],
    (App.RADIUS, 17): [(0, b"\x01\x01\0\x1a" + bytes(16) + b"\x01\x06user")],
    (App.KERBEROS, 17): [(0, b"j\x200\x1e\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0a\xa4\x120\x10\xa0\x07\x03\x05\0@\0\0\0\xa2\x05"
                             b"\x1b\x03ABC")],
    (App.KERBEROS, 6): [(0, b"\0\0\0\x22j\x200\x1e\xa1\x03\x02\x01\x05\xa2\x03\x02\x01\x0a\xa4\x120\x10\xa0\x07\x03\x05\0@\0\0\0"
                            b"\xa2\x05\x1b\x03ABC")],
    (App.SMB, 6): [(0, b"\0\0\0\x44\xfeSMB\x40\0" + bytes(58) + b"\x24\0\0\0"), (1, b"\0\0\0\x23\xffSMBr" + bytes(30))],
    (App.SMTP, 6): [(1, b"220 mx ESMTP\r\n"), (0, b"EHLO a\r\n"), (1, b"250-mx\r\n250 STARTTLS\r\n"),
                    (0, b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"), (1, b"250 ok\r\n250 ok\r\n354 go\r\n"),
                    (0, b"From: a@b\r\nSubject: =?utf-8?q?h=C3=A9?=\r\nMessage-ID: <1@b>\r\nContent-Type: multipart/mixed; "
                        b"boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; name=a\r\n\r\nhi\r\n--x--\r\n.\r\nQUIT\r\n")],
    (App.IMAP, 6): [(1, b"* OK ready\r\n"), (0, b"a1 LOGIN u {1}\r\n"), (1, b"+ go\r\n"), (0, b"p\r\na2 SELECT INBOX\r\n"),
                    (1, b"a1 OK\r\n* 1 EXISTS\r\na2 OK\r\n"), (0, b"a3 FETCH 1 BODY[]\r\n"),
                    (1, b"* 1 FETCH (BODY[] {24}\r\nFrom: a@b\r\nSubject: c\r\n\r\n)\r\na3 OK\r\n")],
    (App.POP3, 6): [(1, b"+OK ready\r\n"), (0, b"USER u\r\nPASS p\r\nRETR 1\r\n"),
                    (1, b"+OK\r\n+OK\r\n+OK\r\nFrom: a@b\r\nSubject: c\r\n\r\nx\r\n.\r\n")],
    (App.FTP, 6): [(1, b"220 ftp\r\n"), (0, b"USER a\r\nPASS b\r\nPASV\r\nRETR f\r\n"),
                   (1, b"331 p\r\n230 ok\r\n227 Entering (10,0,0,1,4,1)\r\n150 go\r\n226 done\r\n")],
    (App.STUN, 17): [(0, b"\0\x01\0\x08!\x12\xa4B" + bytes(12) + b"\x80\x22\0\x04test")],
    (App.STUN, 6): [(0, b"\0\x01\0\x08!\x12\xa4B" + bytes(12) + b"\0\x20\0\x08\0\x01\x12\x34\x56\x78\x9a\xbc")],
    (App.MQTT, 6): [(0, b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02id"), (0, b"\x30\x05\0\x03a/bx"), (1, b"\x20\x02\0\0")],
    (App.ARP, -1): [(0, b"\0\x01\x08\0\x06\x04\0\x01\0\0\0\0\0\x01\x0a\0\0\x01\0\0\0\0\0\0\x0a\0\0\x02")],
}  # fmt: skip
for _app, _like in ((App.MDNS, App.DNS), (App.LLMNR, App.DNS), (App.TURN, App.STUN)):
    OWN[_app, 17] = OWN[_like, 17]
    OWN[_app, 6] = OWN[_like, 6]


def forget() -> None:
    """Empty the caches."""
    for each in (conversations, frames, arp, capture_texts):
        each.cache_clear()


def _files(most: int) -> Iterator[str]:
    """Captures of the corpus that are not large, smallest first; `most` of them (0: `MOST_FILES`)."""
    if not (CORPUS / "MANIFEST.tsv").is_file():
        return
    sized = sorted((os.path.getsize(CORPUS / name), name) for name in captures())
    yield from [name for size, name in sized if size <= MOST][: most or MOST_FILES]


@cache
def conversations(most: int = 0) -> dict[tuple[int, int], list[bytes]]:
    """Inputs of turns by application and IP protocol: flows of `most` captures, whose detection says what they are."""
    found: dict[tuple[int, int], list[bytes]] = defaultdict(list)
    for key, said in OWN.items():
        found[int(key[0]), key[1]].append(pack(said))
    for name in _files(most):
        for talk in talks(name, TURNS):
            app = int(verdict(talk).app)
            if app and len(found[app, talk.proto]) < PER_APP:
                found[app, talk.proto].append(_talk_turns(talk))
        talks.cache_clear()
        _whole(name, found)
    for one, other, change in _ALIKE:
        found[other] += [pack((t.order, change(t.data)) for t in unpack(text)) for text in found.get(one, [])][:PER_APP]
    for key, opener in sessions._OPENERS.items():
        if opener and not found.get(key):
            found[key] = [pack(said) for said in OWN.values()]
    return dict(found)


def _sized2(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _chunk(data: bytes) -> bytes:
    """A Diameter message as the one DATA chunk of an SCTP packet."""
    return b"\0\x03" + (16 + len(data)).to_bytes(2, "big") + data[12:16] + bytes(7) + b"\x2e" + data


#: What two rows of the session table read alike: seeds of the one, changed, are seeds of the other.
_ALIKE: tuple[tuple[tuple[int, int], tuple[int, int], Callable[[bytes], bytes]], ...] = (
    ((App.DNS, 17), (App.DNS, 6), _sized2), ((App.LLMNR, 17), (App.LLMNR, 6), _sized2),
    ((App.KERBEROS, 6), (App.KERBEROS, 17), lambda data: data[4:]), ((App.STUN, 17), (App.STUN, 6), bytes),
    ((App.TURN, 17), (App.TURN, 6), bytes), ((App.LDAP, 6), (App.LDAP, 17), bytes),
    ((App.SCTP, 132), (App.DIAMETER, 6), lambda data: data[16:]), ((App.DIAMETER, 6), (App.SCTP, 132), _chunk),
    ((App.NBDGM, 17), (App.NBSS, 6), lambda data: b"\x81\0\0\x44" + data[14:82]), ((App.SIP, 17), (App.SIP, 6), bytes),
)


def _talk_turns(talk: Talk) -> bytes:
    return pack((each.direction, each.data[:TURN_BYTES]) for each in talk.spoken)


def _whole(name: str, found: dict[tuple[int, int], list[bytes]]) -> None:
    """ICMP is read with its header."""
    apps = {1: int(App.ICMP), 58: int(App.ICMPV6)}
    try:
        for packet in packets(str(CORPUS / name)):
            f = packet.frame
            if f.proto in WHOLE and f.l4 and len(found[apps[f.proto], f.proto]) < 4 * PER_APP:
                found[apps[f.proto], f.proto].append(pack([(0, packet.data[f.l4 : f.l4 + TURN_BYTES])]))
    except TapError:
        return


@cache
def frames(most: int = 0) -> list[tuple[int, list[bytes]]]:
    """Link type and first packets of captures, with the packets that our own tests are made of."""
    found = [(linktype, [data]) for linktype, data in SAMPLES.values()]
    for name in _files(most):
        by_type: dict[int, list[bytes]] = defaultdict(list)
        for packet in raw_packets(CORPUS / name):
            if len(by_type[packet.linktype]) < TURNS:
                by_type[packet.linktype].append(packet.data[:TURN_BYTES])
        found.extend(by_type.items())
    return found


@cache
def arp(most: int = 0) -> list[bytes]:
    """Payloads of ARP frames."""
    found = [data for _, data in OWN[App.ARP, -1]]
    for linktype, several in frames(most):
        for data in several:
            f = decode(data, linktype=linktype)
            if f.status is Status.NOT_IP and f.l3 and f.ethertype == 0x0806:
                found.append(data[f.l3 :])
    return found[: 4 * PER_APP]


@cache
def capture_texts(most: int = 0) -> list[bytes]:
    """Whole small capture files, packed ones too, and some of every layout that we write."""
    found = []
    for order in "<>":
        for magic, tail in ((0xA1B2C3D4, b""), (0xA1B23C4D, b""), (0xA1B2CD34, bytes(8))):
            head = files.pcap_header(order=order, magic=magic)
            found.append(head + b"".join(files.record(1, n, bytes(20 + n), order=order, tail=tail) for n in range(3)))
        name = files.option(2, b"eth0", order=order) + files.option(9, b"\x09", order=order)
        found.append(
            files.section(order=order) + files.interface(options=name, order=order)
            + files.enhanced(5, bytes(30), order=order) + files.block(3, struct.pack(order + "I", 9) + bytes(9), order=order)
            + files.block(5, struct.pack(order + "III", 0, 0, 9) + files.option(5, bytes(8), order=order), order=order)
            + files.block(2, struct.pack(order + "HHIIII", 0, 0, 0, 7, 9, 9) + bytes(9), order=order)
        )  # fmt: skip
    for name in _files(most):
        path = CORPUS / name
        if path.stat().st_size <= 12_000:
            found.append(path.read_bytes())
    return found[:400]
